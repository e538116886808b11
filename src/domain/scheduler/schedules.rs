//! Recurring jobs: they submit tasks by themselves.
//!
//! A run and what is remembered of it are one turn, so after a crash neither is there without the
//! other.

use std::collections::BTreeMap;

use super::{Accepted, Jitter, Scheduler};
use crate::domain::change::Change;
use crate::domain::effect::{Effect, Event};
use crate::domain::ids::{TaskId, TraceId};
use crate::domain::recurring::Recurring;
use crate::domain::refusal::Refusal;
use crate::domain::schedule::{OVERLAP, Overlap, ScheduleSpec};
use crate::domain::task::TaskSpec;
use crate::domain::time::Now;
use crate::domain::timers::Timer;
use crate::domain::view::{ScheduleCounts, ScheduleView};

impl Scheduler {
    /// The jobs that are configured, each as its note left it; once, at the start. `jitter` gives
    /// each a random part.
    pub fn load_schedules(
        &mut self,
        specs: Vec<ScheduleSpec>,
        notes: &BTreeMap<String, String>,
        mut jitter: impl FnMut() -> Jitter,
        now: Now,
    ) {
        for (index, spec) in specs.into_iter().enumerate() {
            let note = notes.get(&note_name(&spec.name)).map(String::as_str);
            let (job, is_news) = Recurring::load(spec, note, jitter(), now);
            self.schedules.push(job);
            self.arm_schedule(index, now);
            if is_news {
                self.note_schedule(index, now);
            }
        }
    }

    /// A timer of this job: it is due, or looked at again later.
    pub(super) fn look_at_schedule(&mut self, index: usize, now: Now) {
        let Some(job) = self.schedules.get_mut(index) else { return };
        job.timer_us = None;
        job.look(now);
        if !job.is_due(now) {
            self.arm_schedule(index, now);
        }
    }

    /// A job that is due now; after [`handle_timeout`](Self::handle_timeout) the shell asks until
    /// there is none, and has each [run](Self::run_schedule).
    #[must_use]
    pub fn due_schedule(&self, now: Now) -> Option<usize> {
        if self.draining || self.deaf {
            return None;
        }
        self.schedules.iter().position(|job| job.timer_us.is_none() && job.is_due(now))
    }

    /// A job is due: its task is submitted as `id`, or the run is skipped.
    pub fn run_schedule(
        &mut self,
        index: usize,
        id: TaskId,
        trace: TraceId,
        jitter: Jitter,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(job) = self.schedules.get_mut(index) else { return };
        job.go_on(jitter, now);
        let kind = job.spec.task_type;
        let last = job.memory.last_task.filter(|_| job.spec.overlap == Overlap::Skip);
        let overlaps = last
            .and_then(|last| self.status_here(last))
            .is_some_and(|status| !status.is_terminal());
        let admitted = self.admit(kind, now).map_err(|(_refusal, reason)| reason);
        match if overlaps { Err(OVERLAP) } else { admitted } {
            Ok(()) => {
                self.submit_scheduled(index, id, trace, now, effects);
            }
            Err(reason) => {
                let Some(job) = self.schedules.get_mut(index) else { return };
                job.count_skip(reason, now);
                let schedule = job.spec.name.clone();
                effects.push(Effect::Event(Event::ScheduleSkipped { schedule, trace, reason }));
            }
        }
        self.arm_schedule(index, now);
        self.note_schedule(index, now);
    }

    /// Runs a job by order, whatever it waits for; its times stay as they are.
    ///
    /// # Errors
    /// `ScheduleNotFound`, and those of [`submit`](Self::submit).
    pub fn order_run(
        &mut self,
        name: &str,
        id: TaskId,
        trace: TraceId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Accepted, Refusal> {
        let index = self.schedule(name)?;
        let kind = self.schedules[index].spec.task_type;
        self.admit_or_reject(kind, &trace, now, effects)?;
        let accepted = self.submit_scheduled(index, id, trace, now, effects);
        self.note_schedule(index, now);
        Ok(accepted)
    }

    /// Nothing of the job is due until it is resumed. Saying it again changes nothing.
    ///
    /// # Errors
    /// `ScheduleNotFound`.
    pub fn pause_schedule(
        &mut self,
        name: &str,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<ScheduleView, Refusal> {
        let index = self.schedule(name)?;
        let job = &mut self.schedules[index];
        if !job.memory.paused {
            job.pause();
            let schedule = job.spec.name.clone();
            effects.push(Effect::Event(Event::SchedulePaused { schedule }));
            self.arm_schedule(index, now);
            self.note_schedule(index, now);
        }
        Ok(view(&self.schedules[index], now))
    }

    /// The job goes on from now: nothing is made up. Saying it again changes nothing.
    ///
    /// # Errors
    /// `ScheduleNotFound`.
    pub fn resume_schedule(
        &mut self,
        name: &str,
        jitter: Jitter,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<ScheduleView, Refusal> {
        let index = self.schedule(name)?;
        let job = &mut self.schedules[index];
        if job.memory.paused {
            job.resume(jitter, now);
            let schedule = job.spec.name.clone();
            effects.push(Effect::Event(Event::ScheduleResumed { schedule }));
            self.arm_schedule(index, now);
            self.note_schedule(index, now);
        }
        Ok(view(&self.schedules[index], now))
    }

    /// Every job, in the order of the configuration.
    #[must_use]
    pub fn schedule_views(&self, now: Now) -> Vec<ScheduleView> {
        self.schedules.iter().map(|job| view(job, now)).collect()
    }

    pub(super) fn schedule_counts(&self) -> Vec<ScheduleCounts> {
        let counts = |job: &Recurring| ScheduleCounts {
            name: job.spec.name.to_string(),
            runs: job.memory.runs,
            skipped: job.memory.skipped.clone(),
        };
        self.schedules.iter().map(counts).collect()
    }

    fn schedule(&self, name: &str) -> Result<usize, Refusal> {
        let index = self.schedules.iter().position(|job| &*job.spec.name == name);
        index.ok_or(Refusal::ScheduleNotFound)
    }

    fn submit_scheduled(
        &mut self,
        index: usize,
        id: TaskId,
        trace: TraceId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Accepted {
        let job = &mut self.schedules[index];
        job.count_run(id, now);
        let schedule = job.spec.name.clone();
        let ran = Event::ScheduleRan { schedule, task_id: id, trace: trace.clone() };
        effects.push(Effect::Event(ran));
        let spec = TaskSpec {
            kind: job.spec.task_type,
            payload: job.spec.payload.clone(),
            priority: job.spec.priority,
            preferred: None,
            timeout_us: None,
            key: None,
            trace,
        };
        self.accept(id, spec, None, now, effects)
    }

    /// Sets the timer that looks at the job next, if any must.
    fn arm_schedule(&mut self, index: usize, now: Now) {
        let Some(job) = self.schedules.get_mut(index) else { return };
        let timer = Timer::Schedule(index);
        if let Some(at_us) = job.timer_us.take() {
            self.timers.clear(at_us, timer);
        }
        job.timer_us = job.look_again_us(now).filter(|_| !self.draining);
        if let Some(at_us) = job.timer_us {
            self.timers.set(at_us, timer);
        }
    }

    fn note_schedule(&mut self, index: usize, now: Now) {
        let Some(job) = self.schedules.get(index) else { return };
        let name = note_name(&job.spec.name).into();
        self.remember(Change::Note { name, text: job.note(now) });
    }
}

#[cfg(test)]
impl Scheduler {
    /// The timers that its jobs ought to have.
    pub(in crate::domain) fn schedule_timers(&self) -> impl Iterator<Item = (u64, Timer)> {
        let timer =
            |(index, job): (usize, &Recurring)| Some((job.timer_us?, Timer::Schedule(index)));
        self.schedules.iter().enumerate().filter_map(timer)
    }
}

fn note_name(name: &str) -> String {
    format!("schedule:{name}")
}

fn view(job: &Recurring, now: Now) -> ScheduleView {
    let memory = &job.memory;
    ScheduleView {
        spec: job.spec.clone(),
        paused: memory.paused,
        next_run_us: job.next_wall_us(now),
        last_run_us: memory.last_run_us,
        last_task: memory.last_task,
        runs: memory.runs,
        skipped: memory.skipped.values().sum(),
        last_skip: memory.last_skip.clone(),
    }
}
