//! What the rest of the daemon does when the scheduler wants something.

use super::world::{Deaths, World, agent, name};
use crate::domain::agent::Ending;
use crate::domain::{
    AgentId, Attempt, Effect, Event, Exit, Failure, Incarnation, ProcessFacts, TaskId, TaskStatus,
};

impl World {
    pub(super) fn remember(&mut self, effect: &Effect) {
        self.ladders.remember(effect);
        match effect {
            Effect::Event(Event::TaskEnded { task_id, status, .. }) => {
                let before = self.ended.insert(*task_id, *status);
                assert_eq!(before, None, "{} ended twice", name(task_id));
                if *status == TaskStatus::Completed && !self.unchecked {
                    let task = self.disk.ended(*task_id).expect("a task that just ended");
                    let record = task.attempts.last().expect("a completed task had an attempt");
                    let start = record.started.unwrap_or(record.assigned).mono_us;
                    let limits = self.inside().limits;
                    let longest_us = limits.timeout_of(task) + limits.cancel_grace_us;
                    let key = (record.agent, task.spec.kind);
                    if let Some(latency_us) = self.now.mono_us.checked_sub(start) {
                        let learned = self.learned.entry(key).or_default();
                        learned.push(latency_us.min(longest_us));
                    }
                }
            }
            Effect::Event(Event::TaskSubmitted { task_id, .. }) => {
                self.accepted.insert(*task_id);
            }
            Effect::AgentLost { agent, ended } => {
                self.lost.insert(*agent, ended.incarnation);
            }
            Effect::FailedOver { agent, .. } => {
                assert!(self.underway.remove(agent), "nobody waits for {}", name(agent));
            }
            Effect::TaskLeft { task_id } => {
                assert!(self.ended.contains_key(task_id), "{} left before its end", name(task_id));
            }
            Effect::Drained => self.drained += 1,
            Effect::AgentRemoved { agent } => {
                assert!(!self.underway.contains(agent), "a client waits for {}", name(agent));
                self.lost.remove(agent);
                self.dying.retain(|(dying, _)| dying != agent);
                self.learned.retain(|(of, _), _| of != agent);
            }
            _ => {}
        }
    }

    pub(super) fn play(&mut self, effect: Effect) {
        match effect {
            Effect::KillTree { agent, incarnation } | Effect::StopAgent { agent, incarnation } => {
                self.kill(agent, incarnation);
            }
            Effect::CancelRun { agent, incarnation, .. } => {
                self.out_of_patience(agent, incarnation)
            }
            Effect::TaskLeft { task_id } if self.waiting_retries.remove(&task_id) => {
                let _refused_or_not = self.retry_of(task_id);
            }
            Effect::AgentLost { agent, .. } if self.restarts => self.restart_of(agent),
            _ => {}
        }
    }

    /// A worker that was told to stop by order and does not is killed after its grace, which is not
    /// waited for here unless the test kills by hand.
    fn out_of_patience(&mut self, id: AgentId, life: Incarnation) {
        let run = self.inside().agents.get(&id).and_then(|agent| agent.run.as_ref());
        let stopped = run.is_some_and(|run| run.ending == Some(Ending::Stopped));
        if stopped && self.deaths != Deaths::ByHand {
            self.killed_after_grace(id, life);
            self.tree_gone_of(id, life);
        }
    }

    /// The actor gives up on a run that was asked to end.
    pub(super) fn killed_after_grace(&mut self, id: AgentId, life: Incarnation) {
        let failure = Failure::new("killed_after_grace", "it did not end in time");
        self.step(|s, now, fx| s.agent_failed(id, life, failure, true, now, fx));
    }

    pub(super) fn kill(&mut self, id: AgentId, life: Incarnation) {
        match self.deaths {
            Deaths::ByHand => {
                self.dying.insert((id, life));
            }
            Deaths::ActorFirst => {
                self.actor_gone_of(id, life);
                self.tree_gone_of(id, life);
            }
            Deaths::TreeFirst => {
                self.tree_gone_of(id, life);
                self.actor_gone_of(id, life);
            }
        }
    }

    /// Whoever reads its heartbeats says that what the agent runs is in one phase for too long.
    pub(super) fn overdue(&mut self, who: &str) {
        let Some((task_id, attempt)) = self.run_of(who) else { return };
        self.overdue_in(who, self.life(who), task_id, attempt);
    }

    pub(super) fn overdue_in(&mut self, who: &str, life: Incarnation, what: TaskId, n: Attempt) {
        let detail = "it was in phase tool:x for too long".to_owned();
        self.call(|s, now, fx| s.phase_overdue(agent(who), life, what, n, detail, now, fx));
    }

    pub(super) fn actor_gone_of(&mut self, id: AgentId, life: Incarnation) {
        let failure = Failure::new("pipe_closed", "its process wrote no more");
        self.step(|s, now, fx| s.agent_failed(id, life, failure, true, now, fx));
    }

    pub(super) fn tree_gone_of(&mut self, id: AgentId, life: Incarnation) {
        self.dying.remove(&(id, life));
        self.step(|s, now, fx| s.tree_gone(id, life, Exit::Signal(9), now, fx));
    }

    pub(super) fn restart_of(&mut self, id: AgentId) {
        let Some(life) = self.lost.remove(&id) else { return };
        let fresh = self.fresh();
        self.step(|s, now, fx| s.begin_life(id, life.next(), fresh, now, fx));
        self.ready_of(id, life.next());
    }

    pub(super) fn ready_of(&mut self, id: AgentId, life: Incarnation) {
        let (pid, launcher_pid, launcher_start_ticks) = (2, 1, u64::from(life.get()));
        let workdir = String::new();
        let facts =
            ProcessFacts { pid, launcher_pid, launcher_start_ticks, workdir, confinement: None };
        self.step(|s, now, fx| s.agent_ready(id, life, facts, now, fx));
    }
}
