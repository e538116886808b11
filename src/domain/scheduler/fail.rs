//! A client fails an agent, or recovers it.

use super::end::AttemptEnd;
use super::{Jitter, Scheduler};
use crate::domain::agent::{Dying, Ending, Health, StatusReason};
use crate::domain::attempt::Failure;
use crate::domain::effect::{Effect, Event};
use crate::domain::ids::{AgentId, ContextIds, TaskId};
use crate::domain::refusal::Refusal;
use crate::domain::stop::StopReason;
use crate::domain::time::Now;
use crate::domain::timers::Timer;

/// How far the failing of an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// Its run is over; this task was taken away.
    Done(Option<TaskId>),
    /// Its process is being killed; [`Effect::FailedOver`] says when the task was moved.
    Underway,
}

impl Scheduler {
    /// A client says that the agent is no good: it gets nothing more, and its task goes to another
    /// as soon as its run is over (rule 9).
    ///
    /// # Errors
    /// `AgentNotFound`.
    pub fn fail_agent(
        &mut self,
        id: AgentId,
        reason: &str,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Failing, Refusal> {
        let agent = self.agents.get_mut(&id).ok_or(Refusal::AgentNotFound)?;
        let failure = Failure::new("failed_by_client", reason);
        if agent.is_process() && agent.dying.is_none() && !agent.alive {
            return Ok(Failing::Done(None)); // it is dead already, and waits for its restart
        }
        if !(agent.is_process() && matches!(agent.health, Health::Degraded { .. })) {
            let reason = StatusReason::Failed;
            agent.health = Health::Degraded { reason, detail: failure.detail.clone() };
        }
        self.idle.remove(id);
        if agent.is_process() {
            let incarnation = agent.incarnation;
            // A death that came before the client counts, or a crash loop could be failed for ever.
            let dying = agent.dying.get_or_insert_with(|| Dying {
                cause: Some(failure),
                pardoned: true,
                ..Dying::default()
            });
            dying.killed = true;
            if let Some(run) = &mut agent.run {
                run.failed_by_client = true;
                run.ending.get_or_insert(Ending::FailedByClient);
            }
            let has_run = agent.run.is_some();
            self.note_kill(id, now);
            self.reckon(id, now);
            effects.push(Effect::KillTree { agent: id, incarnation });
            self.status_changed(id, effects);
            return Ok(if has_run { Failing::Underway } else { Failing::Done(None) });
        }
        self.unsaved.touch_agent(id);
        if let Some(until_us) = agent.lease.until_us.take() {
            self.timers.clear(until_us, Timer::Lease(id));
        }
        if agent.lease.open_calls > 0 {
            effects.push(Effect::Wake { agent: id });
        }
        let incarnation = agent.incarnation;
        let run = agent.run.as_ref().map(|run| (run.task, run.task_id, run.ending.clone()));
        let failed = Event::AgentFailed { agent: id, incarnation, failure: failure.clone() };
        effects.push(Effect::Event(failed));
        self.reckon(id, now);
        let mut taken = None;
        if let Some((seq, task_id, ending)) = run {
            let end = match ending {
                Some(Ending::TimedOut) => AttemptEnd::TimedOut(None),
                _ => AttemptEnd::AgentFailed(failure),
            };
            self.note_stop(id, StopReason::AgentFailed);
            taken = (ending != Some(Ending::Cancelled)).then_some(task_id);
            self.close_attempt(seq, id, end, now, Jitter::FULL, effects);
            self.run_over(id, now, effects);
        }
        self.status_changed(id, effects);
        self.dispatch(now, effects);
        Ok(Failing::Done(taken))
    }

    /// Makes a degraded agent take work again: an external one at once, with the ids `fresh`; a
    /// process one when it is started again.
    ///
    /// # Errors
    /// `AgentNotFound`; `NotDegraded` when there is nothing to recover.
    pub fn recover_agent(
        &mut self,
        id: AgentId,
        fresh: ContextIds,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let agent = self.agent(id)?;
        let status = agent.status().name();
        if agent.leaving.is_some() {
            return Err(Refusal::NotDegraded { status: "being removed" });
        }
        if agent.health == Health::Fit {
            return Err(Refusal::NotDegraded { status });
        }
        if agent.is_process() {
            if !agent.alive
                && let Some(agent) = self.agents.get_mut(&id)
            {
                let detail = String::new();
                agent.health = Health::Degraded { reason: StatusReason::Restarting, detail };
            }
            self.reckon(id, now);
            effects.push(Effect::RecoverAgent { agent: id });
            return Ok(());
        }
        // With a lease it gets work again when its program calls, which nobody did just now.
        self.begin_external_life(id, fresh, effects);
        self.reckon(id, now);
        self.offer(id, now);
        effects.push(Effect::AgentSettled { agent: id });
        self.dispatch(now, effects);
        Ok(())
    }
}
