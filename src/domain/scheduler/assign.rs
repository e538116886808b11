//! Giving pending tasks to idle agents.

use super::Scheduler;
use crate::domain::agent::{AgentStatus, Run};
use crate::domain::attempt::AttemptRecord;
use crate::domain::decision::{Decision, Preference};
use crate::domain::effect::{Assignment, Effect, Event};
use crate::domain::gates::Share;
use crate::domain::ids::AgentId;
use crate::domain::placement::{Wish, choose};
use crate::domain::priority::{Place, Seq};
use crate::domain::task::{Hold, Task, TaskState};
use crate::domain::task_type::TaskTypes;
use crate::domain::time::Now;
use crate::domain::timers::Timer;

impl Scheduler {
    /// Gives tasks to agents, in the order of the queue, until no idle agent may run any task
    /// that waits. The last step of every verb that may have changed that, or who is there to work.
    pub(super) fn dispatch(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.draining {
            return;
        }
        self.break_deadlock(now, effects);
        let share = self.backlog_share();
        while let Some(place) = self.first_placeable(share.as_ref()) {
            let Some((agent, decision)) = self.decide(place.seq(), now) else {
                debug_assert!(false, "the queue offered a task that nobody may run");
                break;
            };
            self.assign(place.seq(), agent, decision, now, effects);
        }
    }

    /// What the backlogs may have while others wait; `None` when that limits nobody.
    fn backlog_share(&self) -> Option<Share> {
        if self.idle.is_empty() || !self.gates.is_catching_up() {
            return None;
        }
        let mut share = Share::default();
        for agent in self.agents.values() {
            if agent.status() != AgentStatus::Degraded {
                share.add_agent(agent.types);
            }
            let waits = |run: &&Run| run.gates != 0 && self.family.is_waiting(run.task);
            if let Some(run) = agent.run.as_ref().filter(waits) {
                share.add_waiting(run.gates);
            }
        }
        Some(share)
    }

    /// The first task of the queue that some idle agent may run. Those of a backlog that has its
    /// share come after all others (rule 12).
    fn first_placeable(&self, share: Option<&Share>) -> Option<Place> {
        if self.idle.is_empty() || self.queue.is_empty() {
            return None;
        }
        let open = TaskTypes::ALL.without(self.gates.closed());
        let over = share.map_or_else(TaskTypes::default, |share| self.gates.over_share(share));
        let first = self.first_of(open.without(over));
        if first.is_none() && !over.is_empty() { self.first_of(open) } else { first }
    }

    /// The first task of these types that some idle agent may run.
    fn first_of(&self, kinds: TaskTypes) -> Option<Place> {
        let waiting = kinds.iter().filter(|&kind| self.queue.offers(kind));
        let first = |kind| {
            let idle = self.idle.count(kind);
            let excluded = |agents: &[AgentId]| {
                agents.iter().filter(|&&agent| self.idle.takes(agent, kind)).count()
            };
            self.queue.first(kind, idle > 0, |agents| idle > excluded(agents))
        };
        waiting.filter_map(first).min()
    }

    fn decide(&self, seq: Seq, now: Now) -> Option<(AgentId, Decision)> {
        let task = self.tasks.get(&seq)?;
        let TaskState::Pending(wait) = task.state else { return None };
        let known = |preferred: Result<AgentId, Preference>| {
            preferred.and_then(|agent| {
                self.agents.contains_key(&agent).then_some(agent).ok_or(Preference::Unknown)
            })
        };
        let wish = Wish {
            kind: task.spec.kind,
            preferred: task.spec.preferred.map(known),
            failed_on: &task.failed_on,
            relaxed: wait.hold == Hold::Relaxed,
            waited_us: now.since(wait.since_us),
        };
        choose(&wish, &self.idle)
    }

    fn assign(
        &mut self,
        seq: Seq,
        agent_id: AgentId,
        decision: Decision,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let kind = self.tasks.get(&seq).map(|task| task.spec.kind);
        let gates = kind.map_or(0, |kind| self.gates.begin_run(kind));
        self.take_from_queue(seq);
        self.touch(seq);
        let (Some(task), Some(agent)) = (self.tasks.get_mut(&seq), self.agents.get_mut(&agent_id))
        else {
            return;
        };
        let timeout_us = self.limits.timeout_of(task);
        let previous_failure = previous_failure(task);
        if let TaskState::Pending(wait) = task.state {
            self.counters.histograms.queue_wait.add(now.since(wait.since_us));
        }
        task.attempt = task.attempt.next();
        task.state = TaskState::InProgress { agent: agent_id };
        let deadline_us = now.mono_us.saturating_add(timeout_us);
        agent.run = Some(Run {
            task: seq,
            task_id: task.id,
            attempt: task.attempt,
            started: false,
            deadline_us,
            ending: None,
            overdue: None,
            failed_by_client: false,
            gates,
            closed_us: self.gates.closed_us(task.spec.kind, now),
            grace_us: None,
        });
        agent.stats.contexts += 1;
        self.idle.remove(agent_id);
        self.timers.set(deadline_us, Timer::RunTimeout(agent_id));
        self.rate.placed(now);
        self.counters.assigned += 1;
        self.counters.in_progress += 1;

        let (incarnation, attempt) = (agent.incarnation, task.attempt);
        effects.push(Effect::Event(Event::TaskAssigned {
            task_id: task.id,
            trace: task.spec.trace.clone(),
            agent: agent_id,
            incarnation,
            attempt,
            rule: decision.rule,
            waited_ms: decision.waited_ms,
        }));
        task.attempts.push(AttemptRecord {
            attempt,
            agent: agent_id,
            incarnation,
            decision,
            assigned: now,
            started: None,
            end: None,
            overlap_possible: false,
            stop: None,
            children: 0,
        });
        if agent.is_process() {
            self.process_runs += 1;
            let assignment = Assignment {
                task_id: task.id,
                attempt,
                kind: task.spec.kind,
                payload: task.spec.payload.clone(),
                trace: task.spec.trace.clone(),
                timeout_us,
                previous_failure,
            };
            effects.push(Effect::Assign { agent: agent_id, incarnation, assignment });
        } else {
            effects.push(Effect::Wake { agent: agent_id });
        }
    }

    /// Takes a pending task into the queue; it is offered to nobody yet.
    pub(super) fn put_in_queue(&mut self, seq: Seq) {
        let Some(task) = self.tasks.get(&seq) else { return };
        let TaskState::Pending(wait) = task.state else { return };
        self.queue.insert(task.place());
        self.gates.enter(task.spec.kind, seq, wait);
    }

    /// Takes a pending task out of the queue and of all that goes with waiting.
    pub(super) fn take_from_queue(&mut self, seq: Seq) {
        let Some(task) = self.tasks.get(&seq) else { return };
        let TaskState::Pending(wait) = task.state else { return };
        self.queue.remove(task.place(), task.spec.kind, &task.exclusions());
        if self.gates.leave(task.spec.kind, seq, wait) {
            self.unsaved.touch_gates();
        }
        match wait.hold {
            Hold::Excluding { until_us: Some(at_us) } => {
                self.timers.clear(at_us, Timer::Relax(seq));
            }
            Hold::Backoff { until_us } => self.timers.clear(until_us, Timer::Backoff(seq)),
            Hold::Excluding { until_us: None } | Hold::Relaxed => {}
        }
    }
}

/// Why the attempt before did not complete, for the agent that tries next.
pub(super) fn previous_failure(task: &Task) -> Option<String> {
    let end = task.attempts.iter().rev().find_map(|record| record.end.as_ref())?;
    end.failure.as_ref().map(|failure| format!("{}: {}", failure.cause, failure.detail))
}
