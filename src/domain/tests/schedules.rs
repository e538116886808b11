//! Recurring jobs: when they run, through ends of the daemon and turned clocks.

use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{World, seconds, task};
use crate::domain::{
    Accepted, Effect, Event, Jitter, Limits, Overlap, Priority, Refusal, SECOND_US, ScheduleSpec,
    ScheduleView, TaskType, TraceId, When,
};

const MINUTE: f64 = 60.0;
const HOUR: f64 = 3_600.0;

/// A world with jobs, whose tasks end at once when nobody says otherwise.
struct Jobs {
    world: World,
    specs: Vec<ScheduleSpec>,
    jitter: Jitter,
    tasks_end: bool,
    /// The times of day of the runs since this was looked at last, in seconds.
    ran: Vec<f64>,
    /// Why there were none.
    skipped: Vec<&'static str>,
    fresh: u32,
}

fn job(when: When) -> ScheduleSpec {
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

fn every(s: f64) -> ScheduleSpec {
    job(When::Every(seconds(s)))
}

fn cron(pattern: &str) -> ScheduleSpec {
    job(When::Cron(Box::new(pattern.parse().unwrap())))
}

impl Jobs {
    fn of(spec: ScheduleSpec) -> Self {
        Self::with(spec, |_| {})
    }

    /// Starts at midnight.
    fn with(spec: ScheduleSpec, limits: impl FnOnce(&mut Limits)) -> Self {
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

    fn load(&mut self) {
        let (specs, notes) = (self.specs.clone(), self.world.disk.notes.clone());
        let jitter = self.jitter;
        self.world.call(|s, now, _| s.load_schedules(specs, &notes, || jitter, now));
        self.pass(0.0);
    }

    fn id(&mut self) -> String {
        self.fresh += 1;
        format!("run{}", self.fresh)
    }

    /// Time passes on both clocks.
    fn pass(&mut self, s: f64) {
        let until_us = self.world.now.mono_us + seconds(s);
        while let Some(at_us) = self.world.scheduler.next_timeout().filter(|&at| at <= until_us) {
            self.turn_to(at_us.max(self.world.now.mono_us));
            self.world.call(|s, now, fx| s.handle_timeout(now, fx));
            self.run_due();
        }
        self.turn_to(until_us);
    }

    fn turn_to(&mut self, mono_us: u64) {
        self.world.now.wall_us += mono_us - self.world.now.mono_us;
        self.world.now.mono_us = mono_us;
    }

    /// What the shell does after each timer.
    fn run_due(&mut self) {
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

    fn look_at_effects(&mut self) {
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
    fn restart_after(&mut self, s: f64) {
        self.world.crash_for(s, false);
        self.load();
    }

    /// The clock on the wall is turned.
    fn turn_clock(&mut self, s: f64) {
        self.world.turn_clock(s);
    }

    fn stand_still(&mut self, s: f64) {
        self.world.stand_still(s);
        self.pass(0.0);
    }

    fn order(&mut self) -> Result<Accepted, Refusal> {
        let what = self.id();
        let trace = TraceId::parse("hand").unwrap();
        let answer = self.world.call(|s, now, fx| s.order_run("job", task(&what), trace, now, fx));
        self.look_at_effects();
        if self.tasks_end && answer.is_ok() {
            self.world.cancel(&what).unwrap();
        }
        answer
    }

    fn pause(&mut self) {
        self.world.call(|s, now, fx| s.pause_schedule("job", now, fx)).unwrap();
    }

    fn resume(&mut self) {
        let jitter = self.jitter;
        self.world.call(|s, now, fx| s.resume_schedule("job", jitter, now, fx)).unwrap();
    }

    fn view(&self) -> ScheduleView {
        self.world.scheduler.schedule_views(self.world.now).remove(0)
    }

    /// The runs since this was asked last, in seconds since midnight.
    fn ran(&mut self) -> Vec<f64> {
        std::mem::take(&mut self.ran).into_iter().map(|at| at % (24.0 * HOUR)).collect()
    }
}

#[test]
fn a_job_runs_after_each_interval_the_first_time_after_one() {
    let mut jobs = Jobs::of(every(30.0));
    jobs.pass(29.0);
    assert_eq!(jobs.ran(), [0.0; 0]);
    jobs.pass(91.0);
    assert_eq!(jobs.ran(), [30.0, 60.0, 90.0, 120.0]);
    let view = jobs.view();
    assert_eq!((view.runs, view.skipped, view.last_skip), (4, 0, None));
    assert_eq!(view.last_task, Some(task("run4")));
    assert_eq!(view.last_run_us, Some(jobs.world.now.wall_us));
    assert_eq!(view.next_run_us, Some(jobs.world.now.wall_us + seconds(30.0)));
}

#[test]
fn its_task_is_as_configured_and_has_a_trace_of_its_own() {
    let mut jobs = Jobs::of(every(1.0));
    jobs.tasks_end = false;
    jobs.pass(1.0);
    let task = jobs.world.view("run1");
    assert_eq!(task.payload.as_str(), r#"{"a":1}"#);
    assert_eq!(task.summary.kind, TaskType::Heartbeat);
    assert_eq!(task.summary.priority.get(), 3);
    assert_eq!(task.summary.trace.as_str(), "run");
}

#[test]
fn a_pattern_runs_at_its_times_of_day() {
    let mut jobs = Jobs::of(cron("*/20 2,3 * * *"));
    assert_eq!(jobs.view().next_run_us, Some(jobs.world.now.wall_us + seconds(2.0 * HOUR)));
    jobs.pass(24.0 * HOUR);
    let minutes: Vec<_> = jobs.ran().into_iter().map(|s| s / MINUTE).collect();
    assert_eq!(minutes, [120.0, 140.0, 160.0, 180.0, 200.0, 220.0]);
}

#[test]
fn a_pattern_without_a_time_never_runs() {
    let mut jobs = Jobs::of(cron("0 0 30 2 *"));
    assert_eq!(jobs.view().next_run_us, None);
    jobs.pass(HOUR);
    assert_eq!(jobs.ran(), [0.0; 0]);
    assert!(jobs.order().is_ok());
}

#[test]
fn a_run_is_late_by_its_random_part_and_the_grid_stays() {
    for spec in [every(60.0), cron("* * * * *")] {
        let mut jobs = Jobs::of(ScheduleSpec { jitter_us: seconds(10.0), ..spec });
        jobs.pass(30.0);
        let mut expected = vec![60.0]; // what was drawn at the start
        for (n, bits) in [(1_u16, u16::MAX), (2, u16::MAX / 2), (3, 0)] {
            jobs.jitter = Jitter::from_bits(bits); // for the run after this one
            jobs.pass(60.0);
            let late = 10.0 * f64::from(bits) / f64::from(u16::MAX);
            expected.push(f64::from(n + 1) * 60.0 + late);
        }
        jobs.pass(60.0);
        let ran = jobs.ran();
        let agree = |(ran, expected): (&f64, &f64)| (ran - expected).abs() < 0.001;
        assert!(ran.iter().zip(&expected).all(agree), "{ran:?} {expected:?}");
        assert_eq!(ran.len(), expected.len());
    }
}

#[test]
fn a_run_is_never_so_late_that_the_next_one_is_due() {
    let mut jobs = Jobs::of(ScheduleSpec { jitter_us: seconds(60.0), ..every(1.0) });
    jobs.jitter = Jitter::FULL;
    jobs.pass(1_000.5);
    assert!(jobs.ran().len() >= 999);
}

#[test]
fn a_job_whose_last_task_has_not_ended_is_skipped_or_queued() {
    for (overlap, runs, skipped) in [(Overlap::Skip, 1, 2), (Overlap::Queue, 3, 0)] {
        let mut jobs = Jobs::of(ScheduleSpec { overlap, ..every(1.0) });
        jobs.tasks_end = false;
        jobs.pass(3.0);
        assert_eq!((jobs.ran().len(), jobs.skipped.len()), (runs, skipped));
        let view = jobs.view();
        assert_eq!((view.runs, view.skipped), (runs as u64, skipped as u64));
    }
    let mut jobs = Jobs::of(every(1.0));
    jobs.tasks_end = false;
    jobs.pass(2.0);
    let skip = jobs.view().last_skip.unwrap();
    assert_eq!((&*skip.reason, skip.at_us), ("overlap", jobs.world.now.wall_us));
    jobs.restart_after(0.0);
    jobs.pass(1.0);
    assert_eq!(jobs.ran().len(), 1, "its task came back with the daemon");
    jobs.world.cancel("run1").unwrap();
    jobs.pass(1.0);
    assert_eq!(jobs.ran().len(), 1, "and has ended");
}

#[test]
fn a_run_that_finds_the_queue_full_is_skipped_and_counted_and_is_no_refused_submit() {
    let mut jobs = Jobs::with(every(1.0), |limits| limits.max_depth = 1);
    jobs.world.submit("t1", TaskType::General).unwrap();
    jobs.pass(2.0);
    assert_eq!((jobs.ran().len(), &jobs.skipped[..]), (0, &["queue_full"; 2][..]));
    assert_eq!(jobs.world.metrics().tasks_rejected, 0);
    jobs.world.cancel("t1").unwrap();
    jobs.pass(1.0);
    assert_eq!(jobs.ran(), [3.0], "the grid went on");
    let counts = jobs.world.metrics().schedules.remove(0);
    assert_eq!((counts.runs, counts.skipped["queue_full"]), (1, 2));
    jobs.world.scheduler.set_store_full(Some(64));
    jobs.pass(1.0);
    assert_eq!(jobs.skipped.pop(), Some("store_full"));
}

#[test]
fn nothing_is_due_while_the_daemon_stops() {
    for spec in [every(1.0), cron("* * * * *")] {
        let mut jobs = Jobs::of(spec);
        jobs.world.drain();
        jobs.pass(5.0 * MINUTE);
        assert_eq!((jobs.ran().len(), jobs.skipped.len()), (0, 0));
        assert_eq!(jobs.order(), Err(Refusal::Draining));
        jobs.restart_after(0.0);
        assert_eq!(jobs.ran().len(), 1, "what was missed");
    }
}

#[test]
fn what_was_missed_while_the_daemon_was_down_is_one_run_and_the_grid_goes_on() {
    for spec in [every(60.0), cron("* * * * *")] {
        let mut jobs = Jobs::of(spec);
        jobs.pass(60.0);
        jobs.restart_after(20.0);
        jobs.pass(39.0);
        assert_eq!(jobs.ran(), [60.0], "nothing was missed");
        jobs.pass(1.0);
        assert_eq!(jobs.ran(), [120.0]);
        jobs.restart_after(HOUR + 5.0);
        assert_eq!(jobs.ran(), [120.0 + HOUR + 5.0], "at once");
        jobs.restart_after(0.0);
        assert_eq!(jobs.ran(), [0.0; 0], "that was it");
        jobs.pass(60.0);
        assert_eq!(jobs.ran(), [180.0 + HOUR]);
    }
}

#[test]
fn a_daemon_that_never_lives_for_an_interval_runs_its_jobs_all_the_same() {
    let mut jobs = Jobs::of(every(HOUR));
    for _ in 0..12 {
        jobs.pass(10.0 * MINUTE);
        jobs.restart_after(MINUTE);
    }
    assert_eq!(jobs.ran().len(), 2, "in two hours and twelve minutes");
}

#[test]
fn a_stored_time_that_lies_ahead_is_not_believed() {
    for spec in [every(60.0), cron("* * * * *")] {
        let mut jobs = Jobs::of(spec);
        jobs.pass(60.0 * MINUTE);
        jobs.ran();
        jobs.restart_after(-30.0 * MINUTE);
        jobs.pass(60.0);
        assert_eq!(jobs.ran(), [31.0 * MINUTE]);
        jobs.restart_after(0.0);
        jobs.pass(60.0);
        assert_eq!(jobs.ran(), [32.0 * MINUTE], "and was forgotten");
    }
}

#[test]
fn another_interval_or_pattern_begins_anew() {
    let other = [every(10.0), cron("* * * * *")];
    for (spec, first) in other.into_iter().zip([10.0, 60.0]) {
        let mut jobs = Jobs::of(every(HOUR));
        jobs.pass(HOUR);
        jobs.ran();
        jobs.specs = vec![spec];
        jobs.restart_after(30.0 * MINUTE);
        jobs.pass(60.0);
        assert_eq!(jobs.ran()[0], 90.0 * MINUTE + first, "no burst");
        assert!(jobs.view().runs > 1, "what it did is not forgotten");
    }
}

#[test]
fn a_job_that_is_gone_leaves_a_note_that_nobody_reads() {
    let mut jobs = Jobs::of(every(1.0));
    jobs.pass(1.0);
    jobs.specs.clear();
    jobs.restart_after(MINUTE);
    jobs.pass(MINUTE);
    assert_eq!(jobs.ran().len(), 1);
    assert!(jobs.world.scheduler.schedule_views(jobs.world.now).is_empty());
}

#[test]
fn a_note_that_cannot_be_read_is_as_none() {
    let mut jobs = Jobs::of(every(10.0));
    jobs.pass(10.0);
    jobs.world.disk.notes.insert("schedule:job".into(), "{\"runs\":\"many\"}".into());
    jobs.restart_after(5.0);
    jobs.pass(10.0);
    assert_eq!(jobs.ran(), [10.0, 25.0]);
}

#[test]
fn after_a_standstill_one_run_makes_up_for_all() {
    for spec in [every(60.0), cron("* * * * *")] {
        let mut jobs = Jobs::of(spec);
        jobs.stand_still(600.0 + 5.0);
        assert_eq!(jobs.ran(), [605.0]);
        jobs.pass(60.0);
        assert_eq!(jobs.ran(), [660.0]);
    }
}

#[test]
fn a_clock_that_is_turned_does_not_move_an_interval() {
    let mut jobs = Jobs::of(every(60.0));
    for turn in [HOUR, -2.0 * HOUR, 3.0, -3.0] {
        let before = jobs.world.now.mono_us;
        jobs.turn_clock(turn);
        jobs.pass(59.0);
        assert_eq!(jobs.ran().len(), 0, "{turn}");
        jobs.pass(1.0);
        assert_eq!(jobs.ran().len(), 1, "{turn}");
        assert_eq!(jobs.world.now.mono_us - before, seconds(60.0));
    }
}

#[test]
fn a_clock_that_is_turned_forward_over_several_times_means_one_run_within_a_minute() {
    let mut jobs = Jobs::of(cron("0 * * * *"));
    jobs.pass(10.0 * MINUTE);
    jobs.turn_clock(5.0 * HOUR);
    jobs.pass(MINUTE);
    assert_eq!(jobs.ran().len(), 1);
    jobs.pass(49.0 * MINUTE);
    assert_eq!(jobs.ran(), [6.0 * HOUR], "then it goes on");
}

#[test]
fn a_clock_that_is_turned_back_means_that_the_pattern_applies_to_the_new_time() {
    let mut jobs = Jobs::of(cron("0 * * * *"));
    jobs.pass(5.5 * HOUR);
    assert_eq!(jobs.ran().len(), 5);
    jobs.turn_clock(-3.0 * HOUR);
    jobs.pass(HOUR);
    assert_eq!(jobs.ran(), [3.0 * HOUR], "not after three hours");
    assert_eq!(jobs.view().next_run_us.map(|us| us / SECOND_US % 86_400), Some(4 * 3_600));
    // It is noticed within a minute, and what lies in that minute is not missed.
    jobs.turn_clock(-30.1 * MINUTE);
    jobs.pass(MINUTE);
    assert_eq!(jobs.ran().len(), 1);
    jobs.pass(58.0 * MINUTE);
    assert_eq!(jobs.ran().len(), 0);
}

#[test]
fn a_clock_that_is_kept_in_step_runs_nothing_twice() {
    let mut jobs = Jobs::of(cron("* * * * *"));
    jobs.pass(60.0);
    for _ in 0..10 {
        jobs.turn_clock(-0.5);
        jobs.pass(60.0);
    }
    let ran = jobs.ran();
    let minutes: Vec<_> = ran.iter().map(|s| (s / 60.0).floor() as u32).collect();
    assert_eq!(minutes, (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_paused_job_is_not_due_until_it_is_resumed_and_makes_nothing_up() {
    for spec in [every(60.0), cron("* * * * *")] {
        let mut jobs = Jobs::of(spec);
        jobs.pass(60.0);
        jobs.pause();
        jobs.pause();
        assert_eq!((jobs.view().paused, jobs.view().next_run_us), (true, None));
        jobs.pass(10.0 * MINUTE);
        jobs.restart_after(10.0 * MINUTE);
        jobs.pass(9.0 * MINUTE);
        assert_eq!(jobs.ran(), [60.0]);
        assert!(jobs.order().is_ok(), "by hand it runs");
        jobs.ran();
        jobs.resume();
        jobs.restart_after(0.0);
        assert_eq!(jobs.ran(), [0.0; 0]);
        jobs.pass(60.0);
        assert_eq!(jobs.ran(), [31.0 * MINUTE]);
        let now = jobs.view();
        jobs.resume();
        assert_eq!(jobs.view(), now, "it was not paused");
        assert!(jobs.world.effects.is_empty());
    }
}

#[test]
fn a_run_by_hand_is_a_submit_and_moves_nothing() {
    let mut jobs = Jobs::with(every(60.0), |limits| limits.max_depth = 2);
    jobs.tasks_end = false;
    let next = jobs.view().next_run_us;
    jobs.pass(30.0);
    jobs.order().unwrap();
    assert_eq!(jobs.order().unwrap().queue_position, Some(2), "whatever overlaps");
    assert!(matches!(jobs.order(), Err(Refusal::QueueFull { .. })));
    assert_eq!(jobs.world.metrics().tasks_rejected, 1);
    let view = jobs.view();
    assert_eq!((view.runs, view.skipped, view.next_run_us), (2, 0, next));
    assert_eq!(view.last_task, Some(task("run2")));
    jobs.pass(30.0);
    assert_eq!(jobs.skipped, ["overlap"], "it is the last task that counts");
}

#[test]
fn what_has_no_name_here_is_refused() {
    let mut jobs = Jobs::of(every(1.0));
    let trace = TraceId::parse("t").unwrap();
    let world = &mut jobs.world;
    let refused = Some(Refusal::ScheduleNotFound);
    assert_eq!(
        world.call(|s, now, fx| s.order_run("no", task("t"), trace, now, fx)).err(),
        refused
    );
    assert_eq!(world.call(|s, now, fx| s.pause_schedule("no", now, fx)).err(), refused);
    let jitter = Jitter::FULL;
    assert_eq!(world.call(|s, now, fx| s.resume_schedule("no", jitter, now, fx)).err(), refused);
}

#[test]
fn a_crash_before_the_commit_of_a_run_makes_it_again_and_one_after_it_does_not() {
    for (lost_after, runs) in [(1, 1), (2, 1)] {
        let mut jobs = Jobs::of(every(60.0));
        jobs.world.lost_after = Some(lost_after);
        jobs.tasks_end = false;
        jobs.pass(60.0);
        jobs.restart_after(1.0);
        let tasks = jobs.world.disk.all().count();
        assert_eq!((tasks, jobs.view().runs), (runs, runs as u64), "{lost_after}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u32),
    Restart(i32),
    Turn(i32),
    StandStill(u32),
    Pause,
    Resume,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..400_u32).prop_map(Step::Pass),
        1 => (-2_000..4_000_i32).prop_map(Step::Restart),
        1 => (-4_000..4_000_i32).prop_map(Step::Turn),
        1 => (1..2_000_u32).prop_map(Step::StandStill),
        1 => Just(Step::Pause),
        1 => Just(Step::Resume),
    ]
}

proptest! {
    /// While time passes there are as many runs as the grid has times, never more; whatever happens
    /// to the daemon or its clock adds one at most.
    #[test]
    fn whatever_happens_there_is_no_burst_and_no_silence(
        steps in vec(step(), 1..40),
        is_cron in any::<bool>(),
        bits in any::<u16>(),
        jitter_s in 0..30_u32,
    ) {
        let spec = if is_cron { cron("* * * * *") } else { every(60.0) };
        let mut jobs = Jobs::of(ScheduleSpec { jitter_us: seconds(f64::from(jitter_s)), ..spec });
        jobs.world.unchecked = true;
        jobs.jitter = Jitter::from_bits(bits);
        let (mut passed_s, mut shocks, mut paused, mut turned_back) = (0.0, 0, false, false);
        let mut quiet_s = 0.0; // since the last run, or since it was resumed
        for step in steps {
            let before = jobs.ran.len();
            let mut here_s = 0.0;
            match step {
                Step::Pass(s) => {
                    jobs.pass(f64::from(s));
                    here_s = f64::from(s);
                }
                Step::Restart(s) => {
                    jobs.restart_after(f64::from(s));
                    shocks += 1;
                    // What lies ahead is not believed, and the grid begins anew.
                    if s < 0 || std::mem::take(&mut turned_back) {
                        quiet_s = 0.0;
                    }
                }
                Step::Turn(s) => {
                    jobs.turn_clock(f64::from(s));
                    shocks += 1;
                    turned_back |= s < 0;
                }
                Step::StandStill(s) => {
                    jobs.stand_still(f64::from(s));
                    shocks += 1;
                }
                Step::Pause => {
                    jobs.pause();
                    paused = true;
                }
                Step::Resume => {
                    jobs.resume();
                    // A grid that begins anew may be up to an interval ahead of the old one.
                    shocks += u32::from(paused);
                    paused = false;
                    quiet_s = 0.0;
                }
            }
            if paused {
                prop_assert_eq!(jobs.ran.len(), before, "it is paused");
                continue;
            }
            passed_s += here_s;
            quiet_s = if jobs.ran.len() > before { 0.0 } else { quiet_s + here_s };
            let late_s = f64::from(jitter_s);
            // A step back by a second or less leaves the pattern where it is.
            prop_assert!(quiet_s <= 60.0 + late_s + 1.0, "silent for {} s", quiet_s);
            // A change of the clock is noticed within a minute, and another restart may follow.
            let most = (passed_s / 60.0) as usize + 1 + 2 * shocks as usize;
            prop_assert!(jobs.ran.len() <= most, "{} runs, at most {most}", jobs.ran.len());
        }
    }
}
