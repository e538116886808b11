//! A world with a recurring job.

use super::world::{World, seconds, task};
use crate::domain::{
    Accepted, Effect, Event, Jitter, Limits, Overlap, Priority, Refusal, SECOND_US, ScheduleSpec,
    ScheduleView, TaskType, TraceId, When,
};

pub(super) const MINUTE: f64 = 60.0;
pub(super) const HOUR: f64 = 3_600.0;

/// A world with jobs, whose tasks end at once when nobody says otherwise.
pub(super) struct Jobs {
    pub world: World,
    pub specs: Vec<ScheduleSpec>,
    pub jitter: Jitter,
    pub tasks_end: bool,
    /// The times of day of the runs since this was looked at last, in seconds.
    pub ran: Vec<f64>,
    /// Why there were none.
    pub skipped: Vec<&'static str>,
    pub fresh: u32,
}

pub(super) fn job(when: When) -> ScheduleSpec {
    ScheduleSpec {
        name: "job".into(),
        when,
        task_type: TaskType::Heartbeat,
        payload: serde_json::from_str(r#"{"a":1}"#).unwrap(),
        priority: Priority::new(3).unwrap(),
        overlap: Overlap::Skip,
        jitter_us: 0,
    }
}

pub(super) fn every(s: f64) -> ScheduleSpec {
    job(When::Every(seconds(s)))
}

pub(super) fn cron(pattern: &str) -> ScheduleSpec {
    job(When::Cron(Box::new(pattern.parse().unwrap())))
}

impl Jobs {
    pub(super) fn of(spec: ScheduleSpec) -> Self {
        Self::with(spec, |_| {})
    }

    /// Starts at midnight.
    pub(super) fn with(spec: ScheduleSpec, limits: impl FnOnce(&mut Limits)) -> Self {
        let mut world = World::with(limits, Vec::new());
        let day_us = 24 * 3_600 * SECOND_US;
        world.now.wall_us = world.now.wall_us.next_multiple_of(day_us);
        world.now.mono_us = world.now.wall_us;
        let mut jobs = Self {
            world,
            specs: vec![spec],
            jitter: Jitter::from_bits(0),
            tasks_end: true,
            ran: Vec::new(),
            skipped: Vec::new(),
            fresh: 0,
        };
        jobs.load();
        jobs
    }

    pub(super) fn load(&mut self) {
        self.load_only();
        self.pass(0.0);
    }

    /// The same, before a first timer.
    pub(super) fn load_only(&mut self) {
        let (specs, notes) = (self.specs.clone(), self.world.disk.notes.clone());
        let jitter = self.jitter;
        self.world.call(|s, now, _| s.load_schedules(specs, &notes, || jitter, now));
    }

    pub(super) fn id(&mut self) -> String {
        self.fresh += 1;
        format!("run{}", self.fresh)
    }

    /// Time passes on both clocks.
    pub(super) fn pass(&mut self, s: f64) {
        let until_us = self.world.now.mono_us + seconds(s);
        while let Some(at_us) = self.world.scheduler.next_timeout().filter(|&at| at <= until_us) {
            self.turn_to(at_us.max(self.world.now.mono_us));
            self.world.call(|s, now, fx| s.handle_timeout(now, fx));
            self.run_due();
        }
        self.turn_to(until_us);
    }

    pub(super) fn turn_to(&mut self, mono_us: u64) {
        self.world.now.wall_us += mono_us - self.world.now.mono_us;
        self.world.now.mono_us = mono_us;
    }

    /// What the shell does after each timer.
    pub(super) fn run_due(&mut self) {
        while let Some(index) = self.world.scheduler.due_schedule(self.world.now) {
            let (what, jitter) = (self.id(), self.jitter);
            let trace = TraceId::parse("run").unwrap();
            self.world
                .call(|s, now, fx| s.run_schedule(index, task(&what), trace, jitter, now, fx));
            self.look_at_effects();
            if self.tasks_end && self.world.scheduler.is_live_task(task(&what)) {
                self.world.cancel(&what).unwrap();
            }
        }
    }

    pub(super) fn look_at_effects(&mut self) {
        for effect in &self.world.effects {
            match effect {
                Effect::Event(Event::ScheduleRan { .. }) => {
                    self.ran.push(self.world.now.wall_us as f64 / 1e6);
                }
                Effect::Event(Event::ScheduleSkipped { reason, .. }) => self.skipped.push(*reason),
                _ => {}
            }
        }
    }

    /// The daemon is killed, and the next one starts after so long; the clock may be turned back.
    pub(super) fn restart_after(&mut self, s: f64) {
        self.world.crash_for(s, false);
        self.load();
    }

    /// The clock on the wall is turned.
    pub(super) fn turn_clock(&mut self, s: f64) {
        self.world.turn_clock(s);
    }

    pub(super) fn stand_still(&mut self, s: f64) {
        self.world.stand_still(s);
        self.pass(0.0);
    }

    pub(super) fn order(&mut self) -> Result<Accepted, Refusal> {
        let what = self.id();
        let trace = TraceId::parse("hand").unwrap();
        let answer = self.world.call(|s, now, fx| s.order_run("job", task(&what), trace, now, fx));
        self.look_at_effects();
        if self.tasks_end && answer.is_ok() {
            self.world.cancel(&what).unwrap();
        }
        answer
    }

    pub(super) fn pause(&mut self) {
        self.world.call(|s, now, fx| s.pause_schedule("job", now, fx)).unwrap();
    }

    pub(super) fn resume(&mut self) {
        let jitter = self.jitter;
        self.world.call(|s, now, fx| s.resume_schedule("job", jitter, now, fx)).unwrap();
    }

    pub(super) fn view(&self) -> ScheduleView {
        self.world.scheduler.schedule_views(self.world.now).remove(0)
    }

    /// The runs since this was asked last, in seconds since midnight.
    pub(super) fn ran(&mut self) -> Vec<f64> {
        std::mem::take(&mut self.ran).into_iter().map(|at| at % (24.0 * HOUR)).collect()
    }
}
