//! Submitting a task.

use std::sync::Arc;

use super::Scheduler;
use crate::domain::effect::{Effect, Event};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::{AgentId, TaskId, TraceId};
use crate::domain::parent::Parent;
use crate::domain::priority::Place;
use crate::domain::refusal::Refusal;
use crate::domain::task::{Task, TaskSpec, TaskState, TaskStatus};
use crate::domain::task_type::TaskType;
use crate::domain::time::Now;

/// When to try again because as many tasks wait for a gate as may, in seconds: nobody knows when it
/// opens.
const GATE_RETRY_AFTER_S: u32 = 5;

/// What became of a submitted task in its first moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The task.
    pub task_id: TaskId,
    /// `pending` or `in_progress`.
    pub status: TaskStatus,
    /// Who got it, if somebody did.
    pub assigned_agent_id: Option<AgentId>,
    /// Its place in the queue if it waits, 1 for the next; `None` past the counted ones.
    pub queue_position: Option<usize>,
}

impl Task {
    /// The answer to a submit that repeats `key`, which this task has.
    ///
    /// # Errors
    /// `IdempotencyConflict` when the task was submitted with other content.
    pub fn answer_to(
        &self,
        key: &IdempotencyKey,
        queue_position: Option<usize>,
    ) -> Result<Accepted, Refusal> {
        if self.spec.key.as_ref().is_none_or(|own| own.content != key.content) {
            return Err(Refusal::IdempotencyConflict { task_id: self.id });
        }
        let status = self.status();
        let last = self.attempts.last().filter(|_| status != TaskStatus::Pending);
        let assigned_agent_id = last.map(|record| record.agent);
        Ok(Accepted { task_id: self.id, status, assigned_agent_id, queue_position })
    }
}

impl Scheduler {
    /// Accepts `spec` as `id`, or refuses it and changes nothing. The task goes behind older ones
    /// that can be placed, even when an agent is idle.
    ///
    /// # Errors
    /// `Draining` when the daemon stops, `QueueFull` when as many tasks wait as may,
    /// `GateBacklogFull` when as many wait for a closed gate.
    pub fn submit(
        &mut self,
        id: TaskId,
        spec: TaskSpec,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Accepted, Refusal> {
        self.admit_or_reject(spec.kind, &spec.trace, now, effects)?;
        Ok(self.accept(id, spec, None, now, effects))
    }

    /// Takes in what may be submitted, and places it if somebody can run it.
    pub(super) fn accept(
        &mut self,
        id: TaskId,
        spec: TaskSpec,
        parent: Option<Parent>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Accepted {
        let trace = spec.trace.clone();
        let place = self.let_wait(id, spec, parent, true, now, effects);
        self.dispatch(now, effects);
        let task = self.tasks.get(&place.seq());
        if let Some(Task { state: TaskState::InProgress { agent }, .. }) = task {
            return Accepted {
                task_id: id,
                status: TaskStatus::InProgress,
                assigned_agent_id: Some(*agent),
                queue_position: None,
            };
        }
        let queue_length = self.queue.len();
        effects.push(Effect::Event(Event::TaskQueued { task_id: id, trace, queue_length }));
        Accepted {
            task_id: id,
            status: TaskStatus::Pending,
            assigned_agent_id: None,
            queue_position: self.queue.position(place),
        }
    }

    /// Takes in a new task, which waits from now on; `counted` says whether it counts against the
    /// depth of the queue.
    pub(super) fn let_wait(
        &mut self,
        id: TaskId,
        spec: TaskSpec,
        parent: Option<Parent>,
        counted: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Place {
        let seq = self.next_seq;
        self.next_seq = seq.next();
        let (kind, trace) = (spec.kind, spec.trace.clone());
        let gated_us = self.gates.closed_us(kind, now);
        let mut task = Task { parent, gated_us, ..Task::new(id, seq, spec, now) };
        if let TaskState::Pending(wait) = &mut task.state {
            wait.counted = counted;
        }
        let place = task.place();
        self.take_in(task);
        self.join_parent(seq, now);
        self.put_in_queue(seq);
        self.queue.make_ready(place, kind, &[]);
        self.counters.submitted += 1;
        let parent = parent.map(|parent| parent.task_id);
        let submitted = Event::TaskSubmitted { task_id: id, trace, kind, parent };
        effects.push(Effect::Event(submitted));
        place
    }

    /// The answer to a submit whose key is known: the task that has it, as it is now; `None` when
    /// no task here has it.
    ///
    /// # Errors
    /// `IdempotencyConflict` when the key was used for other content.
    pub fn repeated(&self, key: &IdempotencyKey) -> Option<Result<Accepted, Refusal>> {
        let task = self.keys.get(&key.name).and_then(|seq| self.tasks.get(seq))?;
        let position = match task.state {
            TaskState::Pending(_) => self.queue.position(task.place()),
            TaskState::InProgress { .. } | TaskState::Ended { .. } => None,
        };
        Some(task.answer_to(key, position))
    }

    /// A fact: the store has no room for new tasks, because less than so many megabytes are free.
    pub const fn set_store_full(&mut self, min_free_mb: Option<u64>) {
        self.store_full = min_free_mb;
    }

    /// Takes a task in under its id and key.
    pub(super) fn take_in(&mut self, task: Task) {
        self.touch(task.seq);
        self.take_in_unchanged(task);
    }

    /// The same for a task that the store has as it is.
    pub(super) fn take_in_unchanged(&mut self, task: Task) {
        self.ids.insert(task.id, task.seq);
        if let Some(key) = &task.spec.key {
            self.keys.insert(Arc::clone(&key.name), task.seq);
        }
        self.tasks.insert(task.seq, task);
    }

    /// Whether a task more of this type may wait; if not, that is counted and told.
    pub(super) fn admit_or_reject(
        &mut self,
        kind: TaskType,
        trace: &TraceId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        self.admit(kind, now).map_err(|(refusal, reason)| {
            self.counters.rejected += 1;
            effects.push(Effect::Event(Event::TaskRejected { trace: trace.clone(), reason }));
            refusal
        })
    }

    /// Whether a task more of this type may wait; why not, and in a word for the log.
    pub(super) fn admit(&self, kind: TaskType, now: Now) -> Result<(), (Refusal, &'static str)> {
        if self.draining {
            return Err((Refusal::Draining, "draining"));
        }
        if let Some(min_free_mb) = self.store_full {
            return Err((Refusal::StoreFull { min_free_mb }, "store_full"));
        }
        let max_depth = self.limits.max_depth;
        match self.gates.backlog_of(kind, max_depth, now) {
            Ok(Some(_)) => Ok(()),
            Ok(None) if self.gates.queued() < max_depth => Ok(()),
            Ok(None) => {
                let retry_after_s = self.rate.retry_after_s(now);
                Err((Refusal::QueueFull { max_depth, retry_after_s }, "queue_full"))
            }
            Err(gate) => {
                let retry_after_s = GATE_RETRY_AFTER_S;
                let refusal =
                    Refusal::GateBacklogFull { gate: gate.clone(), max_depth, retry_after_s };
                Err((refusal, "gate_backlog_full"))
            }
        }
    }
}
