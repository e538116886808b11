//! The calls of external agents (rule 3).

use super::Scheduler;
use super::assign::previous_failure;
use crate::domain::agent::{AgentKind, AgentStatus, Ending, Health, Run, StatusReason};
use crate::domain::attempt::Failure;
use crate::domain::effect::{Assignment, Effect, Event};
use crate::domain::ids::{AgentId, Attempt, ContextIds, Incarnation, TaskId};
use crate::domain::refusal::Refusal;
use crate::domain::time::Now;
use crate::domain::timers::Timer;

use super::Jitter;
use super::end::AttemptEnd;

/// What a heartbeat is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The status of the agent.
    pub status: AgentStatus,
    /// Its present life.
    pub incarnation: Incarnation,
    /// What it runs.
    pub run: Option<(TaskId, Attempt)>,
    /// Whether it should stop that run: cancelled, timed out, or no longer its own.
    pub cancel_requested: bool,
}

impl Scheduler {
    /// A sign of life of an external agent; it holds its lease and begins a new life after a lost
    /// one, with the ids `fresh`.
    ///
    /// # Errors
    /// `AgentNotFound`, `NotExternal`, `StaleIncarnation`.
    pub fn heartbeat(
        &mut self,
        id: AgentId,
        incarnation: Option<Incarnation>,
        fresh: ContextIds,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Heartbeat, Refusal> {
        self.external_call(id, incarnation, fresh, now, effects)?;
        self.dispatch(now, effects);
        let agent = self.agent(id)?;
        Ok(Heartbeat {
            status: agent.status(),
            incarnation: agent.incarnation,
            run: agent.run.as_ref().map(|run| (run.task_id, run.attempt)),
            cancel_requested: agent.run.as_ref().is_some_and(|run| run.ending.is_some()),
        })
    }

    /// What the external agent is to do, if anything; the first fetch is its start. Fetching again
    /// answers the same attempt until it ends.
    ///
    /// # Errors
    /// `AgentNotFound`, `NotExternal`, `StaleIncarnation`, `AgentFailed`.
    pub fn fetch(
        &mut self,
        id: AgentId,
        incarnation: Option<Incarnation>,
        fresh: ContextIds,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(Incarnation, Option<Assignment>), Refusal> {
        self.external_call(id, incarnation, fresh, now, effects)?;
        self.dispatch(now, effects);
        let agent = self.agent(id)?;
        if agent.status_reason().is_some_and(|(reason, _)| reason == StatusReason::Failed) {
            return Err(Refusal::AgentFailed);
        }
        let incarnation = agent.incarnation;
        let open = agent.run.as_ref().filter(|run| run.ending != Some(Ending::Cancelled));
        let Some(seq) = open.map(|run| run.task) else { return Ok((incarnation, None)) };
        self.mark_started(id, now, effects);
        let assignment = self.tasks.get(&seq).map(|task| Assignment {
            task_id: task.id,
            attempt: task.attempt,
            kind: task.spec.kind,
            payload: task.spec.payload.clone(),
            trace: task.spec.trace.clone(),
            timeout_us: self.limits.timeout_of(task),
            previous_failure: previous_failure(task),
        });
        Ok((incarnation, assignment))
    }

    /// A fact: an `assignment` call of the agent waits; it holds the lease.
    pub fn call_opened(&mut self, id: AgentId, now: Now) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        agent.lease.open_calls += 1;
        if let Some(until_us) = agent.lease.until_us.take() {
            self.timers.clear(until_us, Timer::Lease(id));
        }
        self.reckon(id, now);
    }

    /// A fact: an `assignment` call of the agent waits no more; the lease runs from here.
    pub fn call_closed(&mut self, id: AgentId, now: Now) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        agent.lease.open_calls = agent.lease.open_calls.saturating_sub(1);
        self.renew_lease(id, now);
        self.reckon(id, now);
    }

    /// What every call of an external agent does first.
    fn external_call(
        &mut self,
        id: AgentId,
        given: Option<Incarnation>,
        fresh: ContextIds,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let agent = self.agent_mut(id)?;
        if agent.is_process() {
            return Err(Refusal::NotExternal);
        }
        let current = agent.incarnation;
        let lost = matches!(agent.health, Health::Degraded { reason: StatusReason::LeaseLost, .. });
        if let Some(given) = given
            && (given != current || lost)
        {
            return Err(Refusal::StaleIncarnation { given, current });
        }
        if lost {
            self.begin_external_life(id, fresh, effects);
        }
        self.renew_lease(id, now);
        self.reckon(id, now);
        self.offer(id, now);
        Ok(())
    }

    /// Gives the agent's lease its full length from now on, if it has one and no call holds it.
    pub(super) fn renew_lease(&mut self, id: AgentId, now: Now) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        let AgentKind::External { lease_us: Some(lease_us) } = agent.kind else { return };
        if agent.lease.open_calls > 0 || !matches!(agent.health, Health::Fit) {
            return;
        }
        agent.lease.unheard = false;
        let until_us = now.mono_us.saturating_add(lease_us);
        if let Some(before_us) = agent.lease.until_us.replace(until_us) {
            self.timers.clear(before_us, Timer::Lease(id));
        }
        self.timers.set(until_us, Timer::Lease(id));
    }

    /// The lease ended: before the fetch nothing was done, after it nobody knows.
    pub(super) fn lease_ended(&mut self, id: AgentId, now: Now, effects: &mut Vec<Effect>) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        agent.lease.until_us = None;
        let detail = "no assignment or heartbeat call came within lease_s".to_owned();
        agent.health = Health::Degraded { reason: StatusReason::LeaseLost, detail: detail.clone() };
        self.idle.remove(id);
        self.unsaved.touch_agent(id);
        let timed_out = |run: &Run| run.ending == Some(Ending::TimedOut);
        let run = agent.run.as_ref().map(|run| (run.task, run.started, timed_out(run)));
        let failure = Failure::new("lease_lost", detail);
        self.reckon(id, now);
        if let Some((seq, started, timed_out)) = run {
            let end = if timed_out {
                AttemptEnd::TimedOut(None)
            } else if started {
                AttemptEnd::AgentFailed(failure.clone())
            } else {
                AttemptEnd::Interrupted { failure: failure.clone(), by_order: false, usage: None }
            };
            self.close_attempt(seq, id, end, now, Jitter::FULL, effects);
            self.run_over(id, now, effects);
        }
        let incarnation = self.agents.get(&id).map(|agent| agent.incarnation);
        if let Some(incarnation) = incarnation {
            let failed = Event::AgentFailed { agent: id, incarnation, failure };
            effects.push(Effect::Event(failed));
        }
        self.status_changed(id, effects);
    }

    /// An external agent begins its next life, fit for work.
    pub(super) fn begin_external_life(
        &mut self,
        id: AgentId,
        fresh: ContextIds,
        effects: &mut Vec<Effect>,
    ) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        agent.incarnation = agent.incarnation.next();
        agent.ids = fresh;
        agent.health = Health::Fit;
        let incarnation = agent.incarnation;
        self.touch_agent(id);
        effects.push(Effect::Event(Event::AgentRestarted { agent: id, incarnation }));
        self.status_changed(id, effects);
    }
}
