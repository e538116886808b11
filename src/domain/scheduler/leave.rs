//! Agents leave the pool: one by one, or all when the pool shuts down (rules 1 and 17).

use super::end::AttemptEnd;
use super::report::stopped;
use super::{Closing, Jitter, Scheduler};
use crate::domain::agent::{Ending, Health, Leaving, StatusReason};
use crate::domain::effect::{Effect, Event, PoolClosed};
use crate::domain::ids::AgentId;
use crate::domain::refusal::Refusal;
use crate::domain::stop::StopReason;
use crate::domain::time::Now;
use crate::domain::timers::Timer;

impl Scheduler {
    /// Removes an agent: it gets nothing more, a run may go on for `drain_us` and is then stopped
    /// and its task requeued. [`Effect::AgentRemoved`] says when the agent is gone.
    ///
    /// # Errors
    /// `AgentNotFound`.
    pub fn remove_agent(
        &mut self,
        id: AgentId,
        drain_us: u64,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let agent = self.agent_mut(id)?;
        let until_us = now.mono_us.saturating_add(drain_us);
        let discard = agent.leaving.is_some_and(|leaving| leaving.discard);
        if let Some(Leaving { until_us: Some(before_us), .. }) = agent.leaving {
            if before_us <= until_us {
                return Ok(());
            }
            self.timers.clear(before_us, Timer::Leave(id));
        }
        let agent = self.agent_mut(id)?;
        agent.leaving = Some(Leaving { until_us: None, drain_us, discard });
        let runs = agent.run.as_ref().is_some_and(|run| run.ending.is_none());
        let has_run = agent.run.is_some();
        if runs && drain_us > 0 {
            agent.leaving = Some(Leaving { until_us: Some(until_us), drain_us, discard });
            self.timers.set(until_us, Timer::Leave(id));
        }
        self.idle.remove(id);
        self.touch_agent(id);
        self.reckon(id, now);
        effects.push(Effect::Wake { agent: id });
        if !has_run {
            self.leave_without_run(id, effects);
        } else if !(runs && drain_us > 0) {
            self.stop_run(id, now, effects);
        }
        self.dispatch(now, effects);
        Ok(())
    }

    /// Stops the run of an agent that leaves, or whose daemon does: a process goes down the ladder, of
    /// an external agent nothing more is awaited.
    pub(super) fn stop_run(&mut self, id: AgentId, now: Now, effects: &mut Vec<Effect>) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        if let Some(until_us) = agent.leaving.as_mut().and_then(|leaving| leaving.until_us.take()) {
            self.timers.clear(until_us, Timer::Leave(id));
        }
        if agent.is_process() {
            self.end_run_early(id, Ending::Stopped, now, effects);
            return;
        }
        let Some(run) = &mut agent.run else { return };
        run.ending.get_or_insert(Ending::Stopped);
        let (seq, ending) = (run.task, run.ending.clone());
        self.note_stop(id, StopReason::Interrupted);
        self.reckon(id, now);
        let end = match ending {
            Some(Ending::TimedOut) => AttemptEnd::TimedOut(None),
            _ => stopped(None),
        };
        self.close_attempt(seq, id, end, now, Jitter::FULL, effects);
        self.run_over(id, now, effects);
    }

    /// Goes on with leaving when no run is (any more) in the way.
    pub(super) fn leave_without_run(&mut self, id: AgentId, effects: &mut Vec<Effect>) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        let leaving = agent.leaving.get_or_insert_default();
        if let Some(until_us) = leaving.until_us.take() {
            self.timers.clear(until_us, Timer::Leave(id));
        }
        let unkillable =
            matches!(agent.health, Health::Degraded { reason: StatusReason::Unkillable, .. });
        if agent.is_process() && agent.alive && !unkillable {
            let incarnation = agent.incarnation;
            effects.push(Effect::StopAgent { agent: id, incarnation });
        } else if agent.run.is_none() {
            self.forget_agent(id, effects);
        }
    }

    /// Takes an agent out of the pool for good; nothing of it can act any more.
    pub(super) fn forget_agent(&mut self, id: AgentId, effects: &mut Vec<Effect>) {
        self.idle.remove(id);
        let Some(agent) = self.agents.remove(&id) else { return };
        self.family.count_agent(agent.is_live, false);
        if let Some(due_us) = agent.due_us {
            self.timers.clear(due_us, Timer::Start(id));
        }
        self.unsaved.agent_gone(id);
        if let Some(until_us) = agent.lease.until_us {
            self.timers.clear(until_us, Timer::Lease(id));
        }
        effects.push(Effect::Event(Event::AgentRemoved { agent: id }));
        effects.push(Effect::AgentRemoved { agent: id });
        self.close_pool_if_empty(effects);
    }

    /// Shuts the pool down: every agent leaves; pending tasks stay for the next pool, or are
    /// cancelled with what the stop brings back when `discard` is set.
    /// [`Effect::PoolClosed`] says when it is done. A second call joins the first.
    pub fn close_pool(
        &mut self,
        drain_us: u64,
        discard: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if self.closing.is_some() {
            return;
        }
        self.closing = Some(Closing { stopped: self.agents.len(), requeued: 0 });
        if discard {
            let pending: Vec<_> = self.queue.iter().map(|place| place.seq()).collect();
            for seq in pending {
                self.cancel_pending(seq, now, effects);
            }
        }
        let ids: Vec<_> = self.agents.keys().copied().collect();
        // First nobody takes anything more, then runs are stopped: a task that one agent gives
        // back must not go to the next.
        for &id in &ids {
            self.idle.remove(id);
            if let Some(agent) = self.agents.get_mut(&id) {
                agent.leaving.get_or_insert_default().discard = discard;
                self.touch_agent(id);
                self.reckon(id, now);
            }
        }
        for id in ids {
            if self.remove_agent(id, drain_us, now, effects).is_err() {
                debug_assert!(false, "an agent was gone before it was removed");
            }
        }
        self.close_pool_if_empty(effects);
    }

    /// Sends an agent away that comes while the pool is shut down; whether it is.
    pub(super) fn join_closing_pool(&mut self, id: AgentId, effects: &mut Vec<Effect>) -> bool {
        let Some(closing) = &mut self.closing else { return false };
        closing.stopped += 1;
        self.touch_agent(id);
        self.leave_without_run(id, effects);
        true
    }

    fn close_pool_if_empty(&mut self, effects: &mut Vec<Effect>) {
        if !self.agents.is_empty() {
            return;
        }
        let Some(closing) = self.closing.take() else { return };
        let closed = PoolClosed {
            agents_stopped: closing.stopped,
            tasks_requeued: closing.requeued,
            tasks_pending: self.queue.len(),
        };
        effects.push(Effect::Event(Event::PoolShutdown(closed)));
        effects.push(Effect::PoolClosed(closed));
    }
}
