//! Cancelling a task (rule 11).

use super::Scheduler;
use crate::domain::attempt::{AttemptRecord, Outcome};
use crate::domain::effect::Effect;
use crate::domain::ids::{Attempt, TaskId};
use crate::domain::priority::Seq;
use crate::domain::refusal::Refusal;
use crate::domain::task::{Task, TaskState, TaskStatus};
use crate::domain::time::Now;

impl Scheduler {
    /// Cancels the task at once. If it runs, its agent takes no task until that run is over.
    ///
    /// # Errors
    /// `TaskNotFound`; `AlreadyFinished` when the task has ended.
    pub fn cancel(
        &mut self,
        id: TaskId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<TaskStatus, Refusal> {
        let task = self.task_by_id(id)?;
        let seq = task.seq;
        if matches!(task.state, TaskState::Ended { .. }) {
            return Err(task.already_finished());
        }
        self.cancel_task(seq, now, effects);
        Ok(TaskStatus::Cancelled)
    }

    /// Cancels a task that waits.
    pub(super) fn cancel_pending(&mut self, seq: Seq, now: Now, effects: &mut Vec<Effect>) {
        self.take_from_queue(seq);
        self.end_task(seq, TaskStatus::Cancelled, now, effects);
        self.retire_if_ended(seq);
    }
}

impl Task {
    /// The refusal for this task, which has ended.
    #[must_use]
    pub fn already_finished(&self) -> Refusal {
        let (status, finished_by) = (self.status(), self.finished_by());
        Refusal::AlreadyFinished { status, finished_by }
    }

    /// The refusal for a child of this task, which has ended.
    #[must_use]
    pub fn parent_ended(&self) -> Refusal {
        let (status, finished_by) = (self.status(), self.finished_by());
        Refusal::ParentEnded { status, finished_by }
    }

    /// The attempt that ended it; `None` when none did: it was cancelled, or waited too long, while
    /// it was pending.
    fn finished_by(&self) -> Option<Attempt> {
        let TaskState::Ended { status, at } = self.state else { return None };
        let by_attempt = |record: &&AttemptRecord| {
            let Some(end) = &record.end else { return false };
            match status {
                TaskStatus::Cancelled => end.outcome == Outcome::Cancelled,
                TaskStatus::Failed => end.at.wall_us == at.wall_us,
                TaskStatus::Completed | TaskStatus::Pending | TaskStatus::InProgress => true,
            }
        };
        self.attempts.last().filter(by_attempt).map(|record| record.attempt)
    }
}
