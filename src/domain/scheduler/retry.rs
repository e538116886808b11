//! Trying again what has ended badly, because an operator says so.

use std::collections::BTreeSet;

use super::Scheduler;
use crate::domain::effect::{Effect, Event};
use crate::domain::ids::TaskId;
use crate::domain::refusal::Refusal;
use crate::domain::task::{Hold, Task, TaskState, TaskStatus, Wait};
use crate::domain::task_type::TaskTypes;
use crate::domain::time::Now;

impl Scheduler {
    /// The status of a task that is here: one that has not ended, or whose run is not over.
    #[must_use]
    pub fn status_here(&self, id: TaskId) -> Option<TaskStatus> {
        self.task_by_id(id).ok().map(Task::status)
    }

    /// The tasks that have ended and are here because their runs are not over.
    #[must_use]
    pub fn ran_on(&self) -> BTreeSet<TaskId> {
        let runs = self.agents.values().filter_map(|agent| agent.run.as_ref());
        let tasks = runs.filter_map(|run| self.tasks.get(&run.task));
        tasks.filter(|task| task.status().is_terminal()).map(|task| task.id).collect()
    }

    /// Puts a task back that failed or was cancelled and is no more here, as the store has it. It
    /// counts as a submit; its failures are forgotten, its attempts go on counting (rule 7).
    ///
    /// # Errors
    /// `NotRetryable`; `Draining`, `QueueFull` and `GateBacklogFull` as for a submit; `WouldDeadlock` when the attempt
    /// that handed it out goes on and may not wait for it.
    pub fn retry(
        &mut self,
        task: Task,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<TaskStatus, Refusal> {
        let (id, status) = (task.id, self.status_here(task.id).unwrap_or_else(|| task.status()));
        if !matches!(status, TaskStatus::Failed | TaskStatus::Cancelled) {
            return Err(Refusal::NotRetryable { status });
        }
        self.may_come_back(&task)?;
        self.admit_or_reject(task.spec.kind, &task.spec.trace, now, effects)?;
        self.put_back(task, now, effects);
        self.dispatch(now, effects);
        Ok(self.status_here(id).unwrap_or(TaskStatus::Pending))
    }

    /// Puts back as many of these tasks as may wait, in their order, and answers how many those
    /// are. They are as [`retry`](Self::retry) wants them. One that is here already is left out, one
    /// that its parent may not wait for, and one of those that [`ran_on`](Self::ran_on) before they were read: the end of its run may
    /// have changed it since.
    ///
    /// # Errors
    /// `Draining`, and `QueueFull` or `GateBacklogFull` when there is no room at all.
    pub fn retry_all(
        &mut self,
        tasks: Vec<Task>,
        ran_on: &BTreeSet<TaskId>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<u64, Refusal> {
        let (mut retried, mut refused) = (0, None);
        for task in tasks {
            let left_out = self.ids.contains_key(&task.id) || ran_on.contains(&task.id);
            if left_out || self.may_come_back(&task).is_err() {
                continue;
            }
            // Where there is no room for one type, there may be for another.
            if self.admit(task.spec.kind, now).is_err() {
                refused = refused.or(Some((task.spec.kind, task.spec.trace)));
                continue;
            }
            self.put_back(task, now, effects);
            retried += 1;
        }
        if let Some((kind, trace)) = refused.filter(|_| retried == 0) {
            self.admit_or_reject(kind, &trace, now, effects)?;
        }
        self.dispatch(now, effects);
        Ok(retried)
    }

    /// How many more submitted tasks may wait, if they are of the right types.
    #[must_use]
    pub fn room(&self) -> usize {
        let max_depth = self.limits.max_depth;
        max_depth.saturating_sub(self.gates.queued()) + self.gates.room(max_depth)
    }

    /// Of which of these types one more task may wait.
    #[must_use]
    pub fn types_with_room(&self, of: TaskTypes, now: Now) -> TaskTypes {
        of.iter().filter(|&kind| self.admit(kind, now).is_ok()).collect()
    }

    /// How many ended tasks [`retry_all`](Self::retry_all) can use at most: as many as may wait,
    /// and those that it leaves out.
    #[must_use]
    pub fn retry_at_most(&self) -> usize {
        self.room() + self.agents.len()
    }

    fn put_back(&mut self, mut task: Task, now: Now, effects: &mut Vec<Effect>) {
        let hold = Hold::Excluding { until_us: None };
        task.state = TaskState::Pending(Wait { since_us: now.mono_us, counted: true, hold });
        task.asked = now;
        task.first_started = None;
        task.gated_us = self.gates.closed_us(task.spec.kind, now);
        task.failures = 0;
        task.failed_on.clear();
        task.interruptions = 0;
        task.result = None;
        task.error = None;
        // It may have been forgotten meanwhile, and its key be another's.
        task.spec.key.take_if(|key| self.keys.contains_key(&key.name));
        let (place, kind) = (task.place(), task.spec.kind);
        let (seq, task_id, trace) = (task.seq, task.id, task.spec.trace.clone());
        self.take_in(task);
        self.join_parent(seq, now);
        self.put_in_queue(seq);
        self.queue.make_ready(place, kind, &[]);
        self.counters.submitted += 1;
        effects.push(Effect::Event(Event::TaskRetried { task_id, trace }));
    }
}
