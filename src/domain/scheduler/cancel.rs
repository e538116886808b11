//! Cancelling a task (rule 11).

use super::Scheduler;
use crate::domain::agent::Ending;
use crate::domain::attempt::{AttemptRecord, Outcome};
use crate::domain::effect::Effect;
use crate::domain::ids::{AgentId, Attempt, TaskId};
use crate::domain::priority::Seq;
use crate::domain::refusal::Refusal;
use crate::domain::task::{Task, TaskState, TaskStatus};
use crate::domain::time::Now;
use crate::domain::timers::Timer;

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

    /// Asks for the end of the agent's run because of a cancel, a time-out or a deadlock: a process is asked,
    /// signalled and killed by its `WorkerAgent`; an external agent learns of it at its next
    /// heartbeat and has `cancel_grace_us` to answer.
    pub(super) fn end_run_early(
        &mut self,
        agent_id: AgentId,
        ending: Ending,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(agent) = self.agents.get_mut(&agent_id) else { return };
        let (is_process, incarnation) = (agent.is_process(), agent.incarnation);
        let Some(run) = agent.run.as_mut() else { return };
        let first = run.ending.is_none();
        let reason = ending.name();
        match (&run.ending, &ending) {
            (None, _)
            | (Some(Ending::TimedOut | Ending::Stopped | Ending::Deadlocked), Ending::Cancelled) => {
                run.ending = Some(ending);
            }
            (Some(_), _) => {}
        }
        if run.is_remembered(agent.kind) {
            self.unsaved.touch_agent(agent_id);
        }
        if !first {
            return;
        }
        if is_process {
            let (task_id, attempt) = (run.task_id, run.attempt);
            let cancel =
                Effect::CancelRun { agent: agent_id, incarnation, task_id, attempt, reason };
            effects.push(cancel);
        } else {
            let grace_us = now.mono_us.saturating_add(self.limits.cancel_grace_us);
            run.grace_us = Some(grace_us);
            self.timers.set(grace_us, Timer::Grace(agent_id));
        }
        self.reckon(agent_id, now);
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
