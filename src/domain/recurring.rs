//! A recurring job at work: when it is due next, and what of it outlives the daemon.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::TaskId;
use super::schedule::{ScheduleSpec, When};
use super::scheduler::Jitter;
use super::time::{Now, SECOND_US};

/// How long the time of day is taken at its word. Somebody may set it, and nobody tells.
const LOOK_AGAIN_US: u64 = 60 * SECOND_US;

/// By how much the time of day may go back without that the pattern begins anew there: clocks that
/// are kept in step are moved by less, and would run what they just ran a second time.
const STEP_US: u64 = SECOND_US;

/// A configured job. Its times are those of the clock that it goes by, see [`When::after`].
#[derive(Debug)]
pub(super) struct Recurring {
    pub(super) spec: ScheduleSpec,
    pub(super) memory: Memory,
    /// The timer that looks at it, in monotonic microseconds; `None` when it is due or paused.
    pub(super) timer_us: Option<u64>,
    /// Every time up to this one has had its run, or needs none.
    done_us: u64,
    /// `None` while it is paused.
    due: Option<Due>,
    /// When it was looked at last.
    seen: Now,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    /// The time itself.
    base_us: u64,
    /// By how much the run is late.
    late_us: u64,
}

impl Due {
    const fn at_us(self) -> u64 {
        self.base_us.saturating_add(self.late_us)
    }
}

/// What of a job outlives the daemon. A member that a note does not have is as at the first start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    /// When it ran when this was written: another `every` or `cron` begins anew.
    when: String,
    /// Up to which time of day every time has had its run, or needs none.
    done_us: u64,
    pub(super) paused: bool,
    /// A time of day.
    pub(super) last_run_us: Option<u64>,
    pub(super) last_task: Option<TaskId>,
    pub(super) runs: u64,
    /// By reason.
    pub(super) skipped: BTreeMap<String, u64>,
    pub(super) last_skip: Option<Skip>,
}

/// A run that was not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// When, as a time of day in microseconds.
    pub at_us: u64,
    /// Why: `overlap`, or the code of the refusal.
    pub reason: String,
}

impl Recurring {
    /// The job as its note left it; whether there is something new to note. What was missed meanwhile
    /// is one run, at once.
    pub(super) fn load(
        spec: ScheduleSpec,
        note: Option<&str>,
        jitter: Jitter,
        now: Now,
    ) -> (Self, bool) {
        let known = note.and_then(|note| serde_json::from_str::<Memory>(note).ok());
        let mut memory = known.unwrap_or_default();
        let when = spec.when.text();
        // A time that lies ahead says that the clock was turned back since.
        let is_believed =
            memory.when == when && memory.done_us <= now.wall_us.saturating_add(STEP_US);
        memory.when = when;
        let mut job = Self { spec, memory, timer_us: None, done_us: 0, due: None, seen: now };
        // Both clocks are one at the start.
        job.done_us = if is_believed { job.memory.done_us } else { job.clock_us(now) };
        job.plan(jitter);
        (job, !is_believed)
    }

    /// What is to be noted of it.
    pub(super) fn note(&self, now: Now) -> String {
        let done_us = match self.spec.when {
            When::Every(_) => now.wall_of(self.done_us),
            When::Cron(_) => self.done_us,
        };
        let memory = Memory { done_us, ..self.memory.clone() };
        serde_json::to_string(&memory).unwrap_or_default()
    }

    /// The clock that it goes by.
    const fn clock_us(&self, now: Now) -> u64 {
        match self.spec.when {
            When::Every(_) => now.mono_us,
            When::Cron(_) => now.wall_us,
        }
    }

    fn plan(&mut self, jitter: Jitter) {
        let when = &self.spec.when;
        let next = when.after(self.done_us).filter(|_| !self.memory.paused);
        self.due = next.map(|base_us| {
            // A run is never so late that the next one is due.
            let gap_us = when.after(base_us).map_or(u64::MAX, |following| following - base_us);
            let most_us = self.spec.jitter_us.min(gap_us.saturating_sub(1));
            Due { base_us, late_us: jitter.share(most_us) }
        });
    }

    /// Looks at the clock. When the time of day was turned back, the pattern applies to the new one.
    pub(super) fn look(&mut self, now: Now) {
        let seen = std::mem::replace(&mut self.seen, now);
        let passed_us = now.since(seen.mono_us);
        let is_turned_back =
            now.wall_us.saturating_add(STEP_US) < seen.wall_us.saturating_add(passed_us);
        if matches!(self.spec.when, When::Cron(_)) && is_turned_back {
            // It was turned since then, so nothing of the new time is left out.
            self.done_us = now.wall_us.saturating_sub(passed_us);
            if let Some(due) = &mut self.due
                && let Some(base_us) = self.spec.when.after(self.done_us)
            {
                due.base_us = base_us;
            }
        }
    }

    pub(super) fn is_due(&self, now: Now) -> bool {
        self.due.is_some_and(|due| due.at_us() <= self.clock_us(now))
    }

    /// When to look at it again, in monotonic microseconds; `None` while it is paused.
    pub(super) fn look_again_us(&self, now: Now) -> Option<u64> {
        let due_us = self.due?.at_us();
        Some(match self.spec.when {
            When::Every(_) => due_us,
            When::Cron(_) => {
                let wait_us = due_us.saturating_sub(now.wall_us);
                now.mono_us.saturating_add(wait_us.min(LOOK_AGAIN_US))
            }
        })
    }

    /// Its run is made or skipped: what was missed until now went with it.
    pub(super) fn go_on(&mut self, jitter: Jitter, now: Now) {
        let Some(due) = self.due else { return };
        let clock_us = self.clock_us(now);
        // The next time may have come already: then something was missed, and all of it is this run.
        let was_missed = self.spec.when.after(due.base_us).is_some_and(|next| next <= clock_us);
        let up_to_us = if was_missed { clock_us } else { due.base_us };
        self.done_us = self.spec.when.done_at(self.done_us, up_to_us);
        self.plan(jitter);
    }

    pub(super) fn pause(&mut self) {
        self.memory.paused = true;
        self.due = None;
    }

    /// Goes on from now: nothing is made up.
    pub(super) fn resume(&mut self, jitter: Jitter, now: Now) {
        self.memory.paused = false;
        self.done_us = self.clock_us(now);
        self.seen = now;
        self.plan(jitter);
    }

    pub(super) fn count_run(&mut self, task_id: TaskId, now: Now) {
        self.memory.runs += 1;
        self.memory.last_task = Some(task_id);
        self.memory.last_run_us = Some(now.wall_us);
    }

    pub(super) fn count_skip(&mut self, reason: &str, now: Now) {
        *self.memory.skipped.entry(reason.to_owned()).or_default() += 1;
        self.memory.last_skip = Some(Skip { at_us: now.wall_us, reason: reason.to_owned() });
    }

    /// When it runs next, as a time of day.
    pub(super) fn next_wall_us(&self, now: Now) -> Option<u64> {
        let due_us = self.due?.at_us();
        Some(match self.spec.when {
            When::Every(_) => now.wall_of(due_us),
            When::Cron(_) => due_us,
        })
    }
}
