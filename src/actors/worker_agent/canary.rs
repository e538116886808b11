//! The canary, as far as one worker goes: it is asked only between tasks, and never waited for.

use actix::{Context, Handler};
use slog::debug;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{END_WITHIN, Phase, WorkerAgent};
use crate::actors::messages::{CanaryAnswer, CanaryStep, DoCanary, GiveUpCanary};
use crate::worker::protocol::{CanaryDone, CanaryNews, ToWorker};

/// A step that the worker has not answered yet.
#[derive(Debug)]
pub(super) struct Due {
    run: Uuid,
    /// Whether this is what comes of the step. What a worker says too late belongs to none.
    is_answered_by: fn(&CanaryDone) -> bool,
    answer: oneshot::Sender<CanaryAnswer>,
}

impl Handler<DoCanary> for WorkerAgent {
    type Result = ();

    fn handle(&mut self, DoCanary { run, step, answer }: DoCanary, _ctx: &mut Context<Self>) {
        if self.phase != Phase::Ready
            || self.pipe_closed
            || self.run.is_some()
            || self.held.is_some()
        {
            // Whoever asked may have given up.
            let _nobody_waits = answer.send(CanaryAnswer::Busy);
            return;
        }
        if !self.takes_canaries {
            let _nobody_waits = answer.send(CanaryAnswer::Unsupported);
            return;
        }
        let is_answered_by: fn(&CanaryDone) -> bool = match &step {
            CanaryStep::Plant(secret) => {
                self.send(&ToWorker::CanaryPlant { run, secret });
                |done| matches!(done, CanaryDone::Planted(_) | CanaryDone::Busy)
            }
            CanaryStep::Look(hints) => {
                self.send(&ToWorker::CanaryLook { run, hints });
                |done| matches!(done, CanaryDone::Found(_) | CanaryDone::Busy)
            }
            CanaryStep::Clear => {
                self.send(&ToWorker::CanaryClear { run });
                |done| matches!(done, CanaryDone::Cleared | CanaryDone::Busy)
            }
        };
        self.canary = Some(Due { run, is_answered_by, answer });
    }
}

impl Handler<GiveUpCanary> for WorkerAgent {
    type Result = ();

    /// A task that it was given meanwhile waits behind what it does not do. What it said while the
    /// daemon stood still is yet to be read, so it gets a little time.
    fn handle(&mut self, GiveUpCanary { run }: GiveUpCanary, ctx: &mut Context<Self>) {
        self.after(END_WITHIN, ctx, move |agent, ctx| {
            if agent.canary.as_ref().is_some_and(|due| due.run == run) {
                let detail = "the worker did not answer the canary in time and was killed";
                agent.fail("canary_no_answer", detail, ctx);
            }
        });
    }
}

impl WorkerAgent {
    /// Passes on what came of a step. What comes too late, or was never asked for, is nobody's.
    pub(super) fn canary_news(&mut self, CanaryNews { run, done }: CanaryNews) {
        let is_due = |due: &mut Due| due.run == run && (due.is_answered_by)(&done);
        let Some(due) = self.canary.take_if(is_due) else {
            debug!(self.log, "late_frame_dropped"; "frame" => "canary");
            return;
        };
        let _nobody_waits = due.answer.send(match done {
            CanaryDone::Planted(planted) => CanaryAnswer::Planted(planted),
            CanaryDone::Found(found) => CanaryAnswer::Found(found),
            CanaryDone::Cleared => CanaryAnswer::Cleared,
            CanaryDone::Busy => CanaryAnswer::Busy,
        });
    }
}
