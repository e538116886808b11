//! The answer of a run that was asked to end is held until nothing of the run can act any more
//! (rule 9): until no process that it started is left, and the signal that it may have been sent has
//! arrived, which would hit the next run else.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use actix::{AsyncContext, Context};
use rustix::process::Signal;

use super::{END_WITHIN, Stop, WorkerAgent};
use crate::actors::messages::{AgentFailed, TaskEnded};
use crate::domain::{Failure, Report};
use crate::worker::proc::{self, Process};

/// How often to look whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long processes that the worker told to end may take for that.
const CHILDREN_END_WITHIN: Duration = Duration::from_millis(250);
/// How long after the end of its grace what ends by itself may take for that.
const BEYOND_GRACE: Duration = Duration::from_millis(250);
/// How long what a signal does may take to be seen, once it has been delivered.
const SIGNAL_ACTS_WITHIN: Duration = Duration::from_millis(250);

/// What belongs to a worker that is ready, and to no run.
#[derive(Debug, Default)]
pub(super) struct Household {
    worker: u32,
    processes: BTreeSet<Process>,
}

impl Household {
    /// What there is now under this launcher.
    pub(super) fn of(launcher: u32, worker: u32) -> Self {
        // What cannot be seen counts with the first run that is stopped.
        let mut processes = proc::tree_by_parent(launcher).unwrap_or_default();
        processes.push(Process { pid: worker, started_ticks: proc::start_ticks(worker) });
        Self { worker, processes: processes.into_iter().collect() }
    }

    /// How many other processes under this launcher can act now. One of the household that hides
    /// since is another: nobody can tell any more what is below it.
    fn strangers(&self, launcher: u32) -> io::Result<usize> {
        let stranger =
            |process: &Process| !self.processes.contains(process) && proc::is_alive(process.pid);
        Ok(proc::tree_by_parent(launcher)?.iter().filter(|process| stranger(process)).count())
    }
}

/// An answer that waits.
#[derive(Debug)]
pub(super) struct Held {
    answer: TaskEnded,
    since_us: u64,
    stop: Stop,
}

impl Held {
    /// How long it may wait for this. What is left of the grace may be used; but who answers just
    /// before the end of it gets no more than a moment, as a stop is over soon after the grace.
    fn patience(&self, what: Unsettled) -> Duration {
        let grace = self.stop.grace_over_us.saturating_sub(self.since_us);
        match what {
            Unsettled::Processes => CHILDREN_END_WITHIN,
            Unsettled::Ending | Unsettled::Signal => {
                END_WITHIN.min(Duration::from_micros(grace) + BEYOND_GRACE)
            }
        }
    }
}

/// Why an answer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unsettled {
    /// The worker, or its launcher, has ended; the rest follows.
    Ending,
    /// Processes of the run are left.
    Processes,
    /// A signal is on its way, or just came.
    Signal,
}

impl Unsettled {
    fn failure(self) -> Failure {
        match self {
            Self::Processes => Failure::new(
                "left_processes",
                "the run was asked to end and answered, but processes that it had started lived \
                 on, so the whole tree was killed",
            ),
            Self::Ending | Self::Signal => Failure::new(
                "killed_after_grace",
                "the run answered, but the signal that it had been sent did not arrive or its \
                 worker did not end of it, so the whole tree was killed",
            ),
        }
    }
}

impl WorkerAgent {
    /// Holds what a run that was asked to end has answered, for as long as it takes.
    pub(super) fn hold(&mut self, answer: TaskEnded, stop: Stop, ctx: &mut Context<Self>) {
        self.held = Some(Held { answer, since_us: self.clock.mono_us(), stop });
        self.settle(ctx);
    }

    /// Passes the answer on when nothing of the run is left, and ends this life when something
    /// stays: the answer follows when its tree is gone.
    fn settle(&mut self, ctx: &mut Context<Self>) {
        let Some(held) = &self.held else { return };
        if self.pipe_closed || self.tree_gone || self.failure.is_some() {
            return; // this life ends already
        }
        let waited = self.since(held.since_us);
        match self.unsettled(held) {
            None => {
                if let Some(held) = self.held.take() {
                    self.router.do_send(held.answer);
                }
            }
            Some(what) if waited >= held.patience(what) => {
                let failure = what.failure();
                self.failure = Some(failure.clone());
                let (id, incarnation) = (self.id, self.incarnation);
                self.router.do_send(AgentFailed { id, incarnation, failure, actor_gone: false });
            }
            Some(_) => {
                ctx.run_later(LOOK_EVERY, Self::settle);
            }
        }
    }

    fn unsettled(&self, held: &Held) -> Option<Unsettled> {
        let (worker, launcher) = (self.household.worker, self.launcher_pid);
        if !proc::is_alive(worker) || !proc::is_alive(launcher) {
            return Some(Unsettled::Ending);
        }
        // When nobody can be asked, nobody said that nothing is left.
        if self.household.strangers(launcher).map_or(true, |left| left > 0) {
            return Some(Unsettled::Processes);
        }
        let signalled_us = held.stop.signalled_us?;
        let is_on_its_way = proc::has_pending(launcher, Signal::USR1)
            || proc::has_pending(worker, Signal::TERM)
            || self.since(signalled_us) < SIGNAL_ACTS_WITHIN;
        is_on_its_way.then_some(Unsettled::Signal)
    }

    fn since(&self, then_us: u64) -> Duration {
        Duration::from_micros(self.clock.mono_us().saturating_sub(then_us))
    }

    /// When this life ends, an answer that is held still counts. The agent must get no other task
    /// for it, so its end is said first; and a task does not move while its processes may act.
    pub(super) fn let_go(&mut self, failure: &Failure) {
        let Some(Held { answer, .. }) = self.held.take() else { return };
        if self.tree_gone || matches!(answer.report, Report::Completed { .. }) {
            let (id, incarnation, failure) = (self.id, self.incarnation, failure.clone());
            self.router.do_send(AgentFailed { id, incarnation, failure, actor_gone: false });
            self.router.do_send(answer);
        }
    }
}
