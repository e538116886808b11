//! What external agents answer (rules 9 and 10).

use super::report::end_of;
use super::{Jitter, Scheduler};
use crate::domain::effect::Effect;
use crate::domain::follow_up::FollowUpPlan;
use crate::domain::ids::{AgentId, Attempt, TaskId};
use crate::domain::refusal::Refusal;
use crate::domain::report::Report;
use crate::domain::task::{Task, TaskState, TaskStatus};
use crate::domain::time::Now;

impl Scheduler {
    /// An external agent (or a person, for it) says how the task went. `attempt` may be left out
    /// while the task has had only one. An answer that is refused still ends the agent's run of
    /// that attempt.
    ///
    /// # Errors
    /// `TaskNotFound`, `AlreadyFinished`, `NotRunning`, `NotExternal`, `AttemptRequired`,
    /// `StaleAttempt`.
    pub fn complete(
        &mut self,
        id: TaskId,
        attempt: Option<Attempt>,
        report: Report,
        now: Now,
        jitter: Jitter,
        effects: &mut Vec<Effect>,
    ) -> Result<TaskStatus, Refusal> {
        self.complete_with(id, attempt, report, Vec::new(), now, jitter, effects)
    }

    /// The same with a result that rules have looked at: if it completes the task, these tasks come
    /// of it in the same turn.
    ///
    /// # Errors
    /// Those of [`complete`](Self::complete).
    #[expect(clippy::too_many_arguments, reason = "an answer with its time and its dice")]
    pub fn complete_with(
        &mut self,
        id: TaskId,
        attempt: Option<Attempt>,
        report: Report,
        follow_ups: Vec<FollowUpPlan>,
        now: Now,
        jitter: Jitter,
        effects: &mut Vec<Effect>,
    ) -> Result<TaskStatus, Refusal> {
        let task = self.task_by_id(id)?;
        let seq = task.seq;
        match self.completable(task, attempt) {
            Ok(agent) => {
                let run = self.agents.get(&agent).and_then(|agent| agent.run.as_ref());
                let ending = run.and_then(|run| run.ending.as_ref());
                if let Some(end) = end_of(ending, report, follow_ups) {
                    self.close_attempt(seq, agent, end, now, jitter, effects);
                }
                let ended = self.tasks.get(&seq).map_or(TaskStatus::Completed, Task::status);
                self.run_over(agent, now, effects);
                self.dispatch(now, effects);
                // The task may have gone straight to its next agent.
                Ok(self.tasks.get(&seq).map_or(ended, Task::status))
            }
            Err(refusal) => {
                if let Some(agent) = self.answered_late(task, attempt) {
                    self.run_over(agent, now, effects);
                    self.dispatch(now, effects);
                }
                Err(refusal)
            }
        }
    }

    /// The external agent that may finish the task with this attempt.
    fn completable(&self, task: &Task, attempt: Option<Attempt>) -> Result<AgentId, Refusal> {
        let newest = task.attempt;
        let stale = attempt.filter(|&given| given != newest);
        match (task.state, stale) {
            (TaskState::Ended { .. }, _) => Err(task.already_finished()),
            (_, Some(given)) => Err(Refusal::StaleAttempt { given, newest }),
            (TaskState::Pending(_), None) if attempt.is_some() => {
                // The newest attempt has ended and the task waits for its next.
                Err(Refusal::StaleAttempt { given: newest, newest })
            }
            (TaskState::Pending(_), None) => Err(Refusal::NotRunning),
            (TaskState::InProgress { agent }, None) => {
                if self.agents.get(&agent).is_some_and(|agent| agent.is_process()) {
                    Err(Refusal::NotExternal)
                } else if attempt.is_none() && newest > Attempt::NONE.next() {
                    Err(Refusal::AttemptRequired { newest })
                } else {
                    Ok(agent)
                }
            }
        }
    }

    /// The external agent whose run this answer is about although the attempt has ended (its task
    /// was cancelled): with the answer its run is over.
    fn answered_late(&self, task: &Task, attempt: Option<Attempt>) -> Option<AgentId> {
        if attempt.is_none() && task.attempt > Attempt::NONE.next() {
            return None;
        }
        let record = task.attempts.last()?;
        let agent = self.agents.get(&record.agent).filter(|agent| !agent.is_process())?;
        let run = agent.run.as_ref()?;
        let answered = attempt.unwrap_or(record.attempt);
        let is_about_it = run.task_id == task.id && run.attempt == answered;
        (is_about_it && run.ending.is_some() && record.end.is_some()).then_some(agent.id)
    }
}
