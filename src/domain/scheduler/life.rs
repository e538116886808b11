//! The lives of agents: facts of the supervisor, the agents' actors and the spawner.

use super::children::deadlocked;
use super::end::AttemptEnd;
use super::report::stopped;
use super::{Jitter, Scheduler};
use crate::domain::agent::{Agent, AgentKind, Dying, Ending, Health, ProcessFacts, StatusReason};
use crate::domain::attempt::Failure;
use crate::domain::effect::{Effect, Event, LifeEnded};
use crate::domain::exit::Exit;
use crate::domain::ids::{AgentId, ContextIds, Incarnation};
use crate::domain::task_type::TaskTypes;
use crate::domain::time::Now;

impl Scheduler {
    /// A fact: the pool has one more agent. An external one is idle at once; a process one is
    /// degraded until its process is ready. One that comes to a pool that is being shut down
    /// leaves at once.
    pub fn add_agent(
        &mut self,
        id: AgentId,
        kind: AgentKind,
        types: TaskTypes,
        ids: ContextIds,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let health = match kind {
            AgentKind::External { .. } => Health::Fit,
            AgentKind::Process => {
                Health::Degraded { reason: StatusReason::Starting, detail: String::new() }
            }
        };
        let mut agent = Agent::new(id, kind, types, Incarnation::FIRST, ids, health);
        agent.alive = kind == AgentKind::Process;
        self.agents.insert(id, agent);
        self.touch_agent(id);
        effects.push(Effect::Event(Event::AgentSpawned { agent: id, kind: kind.name() }));
        let leaves = self.join_closing_pool(id, effects);
        self.reckon(id, now);
        if leaves {
            return;
        }
        if kind != AgentKind::Process {
            effects.push(Effect::AgentSettled { agent: id });
            self.offer(id, now);
            self.dispatch(now, effects);
        }
    }

    /// A fact: the supervisor begins the next life of a process agent.
    pub fn begin_life(
        &mut self,
        id: AgentId,
        incarnation: Incarnation,
        ids: ContextIds,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(agent) = self.agents.get_mut(&id).filter(|agent| !agent.alive) else { return };
        agent.incarnation = incarnation;
        agent.ids = ids;
        agent.alive = true;
        agent.dying = None;
        agent.process = None;
        agent.health = Health::Degraded { reason: StatusReason::Restarting, detail: String::new() };
        self.touch_agent(id);
        self.reckon(id, now);
        effects.push(Effect::Event(Event::AgentRestarted { agent: id, incarnation }));
    }

    /// A fact: the supervisor does not restart the agent for now.
    pub fn give_up_agent(
        &mut self,
        id: AgentId,
        reason: StatusReason,
        detail: String,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(agent) = self.agents.get_mut(&id).filter(|agent| !agent.alive) else { return };
        agent.health = Health::Degraded { reason, detail };
        self.reckon(id, now);
        self.status_changed(id, effects);
        self.dispatch(now, effects);
    }

    /// A fact: the agent's process is ready for work.
    pub fn agent_ready(
        &mut self,
        id: AgentId,
        incarnation: Incarnation,
        process: ProcessFacts,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(agent) = self.living(id, incarnation).filter(|agent| agent.dying.is_none()) else {
            return;
        };
        agent.process = Some(process);
        agent.health = Health::Fit;
        self.touch_agent(id);
        self.reckon(id, now);
        effects.push(Effect::AgentSettled { agent: id });
        self.offer(id, now);
        self.status_changed(id, effects);
        self.dispatch(now, effects);
    }

    /// A fact: the agent is no good any more, because of `failure`; its process tree must end. The
    /// agent's actor says so when it ends itself (`actor_gone`), whoever watches the agent when it
    /// is silent.
    pub fn agent_failed(
        &mut self,
        id: AgentId,
        incarnation: Incarnation,
        failure: Failure,
        actor_gone: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(agent) = self.living(id, incarnation) else { return };
        let first = agent.dying.is_none();
        let must_go = actor_gone || failure.cause != PIPE_CLOSED;
        let dying = agent.begin_dying();
        // One that is gone by itself was not killed.
        let kill = must_go && !dying.is_at_end();
        let judged = kill && failure.cause != PIPE_CLOSED;
        dying.killed |= must_go;
        dying.actor_gone |= actor_gone;
        // "The pipe closed" says less than whatever comes after it.
        if dying.cause.as_ref().is_none_or(|cause| cause.cause == PIPE_CLOSED) {
            dying.cause = Some(failure);
        }
        if first {
            agent.degrade_if_fit(StatusReason::Failed);
            self.idle.remove(id);
            self.reckon(id, now);
        }
        // A worker that closed its pipe is about to end by itself: a kill would hide how. When its
        // actor has ended, too, it had its time.
        if judged {
            self.note_kill(id, now);
        }
        if kill {
            effects.push(Effect::KillTree { agent: id, incarnation });
        }
        self.end_life_if_over(id, now, effects);
    }

    /// A fact: nothing is left of the agent's process tree; this was verified.
    pub fn tree_gone(
        &mut self,
        id: AgentId,
        incarnation: Incarnation,
        exit: Exit,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(agent) = self.living(id, incarnation) else { return };
        agent.begin_dying().tree_gone = Some(exit);
        agent.degrade_if_fit(StatusReason::Failed);
        self.idle.remove(id);
        self.reckon(id, now);
        self.end_life_if_over(id, now, effects);
    }

    /// A fact: the agent's process tree was killed long ago and is not gone. The task moves.
    pub fn tree_stuck(
        &mut self,
        id: AgentId,
        incarnation: Incarnation,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(agent) = self.living(id, incarnation) else { return };
        let detail = "its processes were killed and are still there".to_owned();
        let failure = Failure::new("unkillable", &*detail);
        agent.health = Health::Degraded { reason: StatusReason::Unkillable, detail };
        agent.begin_dying().cause.get_or_insert_with(|| failure.clone());
        self.idle.remove(id);
        self.reckon(id, now);
        self.close_lost_run(id, failure, true, now, effects);
        effects.push(Effect::AgentSettled { agent: id });
        self.status_changed(id, effects);
        if self.agents.get(&id).is_some_and(|agent| agent.leaving.is_some()) {
            self.leave_without_run(id, effects);
        }
        self.dispatch(now, effects);
    }

    /// Whether the end of this life was ordered before anybody could carry that out.
    #[must_use]
    pub fn is_doomed(&self, id: AgentId, incarnation: Incarnation) -> bool {
        let agent = self.agents.get(&id).filter(|agent| agent.incarnation == incarnation);
        agent.is_none_or(|agent| agent.dying.is_some() || agent.leaving.is_some() || self.stopping)
    }

    /// The agent, if this is its present life and that has not ended.
    fn living(&mut self, id: AgentId, incarnation: Incarnation) -> Option<&mut Agent> {
        self.agents.get_mut(&id).filter(|agent| agent.alive && agent.incarnation == incarnation)
    }

    /// A life is over when both its actor and its process tree are gone.
    fn end_life_if_over(&mut self, id: AgentId, now: Now, effects: &mut Vec<Effect>) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        let Some(Dying { cause, actor_gone: true, tree_gone: Some(exit), pardoned, .. }) =
            &agent.dying
        else {
            return;
        };
        let (exit, pardoned) = (exit.clone(), *pardoned);
        let exited = || Failure::new("process_ended", format!("the worker ended: {exit}"));
        let cause = match cause {
            // "The pipe closed" says less than how the process ended.
            Some(cause) if cause.cause != PIPE_CLOSED => cause.clone(),
            Some(_) | None => exited(),
        };
        let leaving = agent.leaving.is_some();
        let incarnation = agent.incarnation;
        // One that was ready got these codes from its work.
        let hopeless = exit.is_misconfigured() && agent.process.is_none();
        agent.alive = false;
        agent.dying = None;
        agent.process = None;
        if !matches!(&agent.health, Health::Degraded { reason: StatusReason::Failed, detail } if !detail.is_empty())
        {
            let reason = StatusReason::Failed;
            agent.health = Health::Degraded { reason, detail: cause.detail.clone() };
        }
        self.reckon(id, now);
        if !(leaving || self.stopping) {
            let failure = cause.clone();
            let failed = Event::AgentFailed { agent: id, incarnation, failure };
            effects.push(Effect::Event(failed));
        }
        self.close_lost_run(id, cause.clone(), false, now, effects);
        if leaving {
            self.forget_agent(id, effects);
        } else if !self.stopping {
            let ended = LifeEnded { incarnation, exit, cause, counts: !pardoned, hopeless };
            self.status_changed(id, effects);
            effects.push(Effect::AgentSettled { agent: id });
            effects.push(Effect::AgentLost { agent: id, ended });
        }
        self.say_when_stopped(effects);
        self.dispatch(now, effects);
    }

    /// Closes the run of a process agent whose process is gone or given up.
    fn close_lost_run(
        &mut self,
        id: AgentId,
        failure: Failure,
        overlap_possible: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(agent) = self.agents.get(&id) else { return };
        let Some(run) = &agent.run else { return };
        let seq = run.task;
        let end = match &run.ending {
            Some(Ending::Cancelled) => None,
            Some(Ending::TimedOut) => Some(AttemptEnd::TimedOut(None)),
            Some(Ending::Stopped) => Some(stopped(None)),
            Some(Ending::Deadlocked) => Some(deadlocked(None)),
            Some(Ending::FailedByClient) | None => Some(AttemptEnd::AgentFailed(failure)),
        };
        if overlap_possible
            && let Some(record) = self.tasks.get_mut(&seq).and_then(|task| task.attempts.last_mut())
        {
            record.overlap_possible = true;
            self.unsaved.touch(seq);
        }
        if let Some(end) = end {
            self.close_attempt(seq, id, end, now, Jitter::FULL, effects);
        }
        self.run_over(id, now, effects);
    }
}

/// The cause that a `WorkerAgent` gives when all it knows is that its process wrote no more.
pub const PIPE_CLOSED: &str = "pipe_closed";
