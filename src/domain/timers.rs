//! What is due when.

use std::collections::BTreeSet;

use super::ids::AgentId;
use super::priority::Seq;

/// What a deadline is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A retry is offered again.
    Backoff(Seq),
    /// Exclusions are lifted.
    Relax(Seq),
    /// A run has taken too long.
    RunTimeout(AgentId),
    /// An external agent has not answered a cancel or time-out.
    Grace(AgentId),
    /// The lease of an external agent ends.
    Lease(AgentId),
    /// A leaving agent's run is stopped.
    Leave(AgentId),
    /// An agent that is being started no longer counts as live.
    Start(AgentId),
    /// A gate was held closed for long enough.
    GateHold(usize),
    /// It is told that a gate is closed of which nothing good is known.
    GateQuiet(usize),
    /// Tasks may have waited too long for a gate.
    GateWait(usize),
    /// A recurring job is looked at: this one of the configured.
    Schedule(usize),
}

/// Every deadline, in monotonic microseconds.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(u64, Timer)>,
}

impl Timers {
    /// Adds one.
    pub(super) fn set(&mut self, at_us: u64, timer: Timer) {
        self.due.insert((at_us, timer));
    }

    /// Takes one back; one that is not there is no error.
    pub(super) fn clear(&mut self, at_us: u64, timer: Timer) {
        self.due.remove(&(at_us, timer));
    }

    /// When the next one is due.
    #[must_use]
    pub(super) fn next(&self) -> Option<u64> {
        self.due.first().map(|&(at_us, _)| at_us)
    }

    /// Every deadline, the next first.
    pub(super) fn into_iter(self) -> impl Iterator<Item = (u64, Timer)> {
        self.due.into_iter()
    }

    /// Takes the first one that is due.
    pub(super) fn pop_due(&mut self, now_us: u64) -> Option<Timer> {
        let &(at_us, timer) = self.due.first()?;
        (at_us <= now_us).then(|| {
            self.due.pop_first();
            timer
        })
    }
}

#[cfg(test)]
impl Timers {
    /// Every deadline, the next first.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, Timer)> {
        self.due.iter().copied()
    }
}
