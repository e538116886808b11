//! The verbs of tasks. What is not in memory has ended and is read from the store.

use std::time::Duration;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{CallError, PoolHandle, Retried};
use crate::actors::messages::*;
use crate::domain::{
    Accepted, Attempt, ChildOf, ListQuery, Refusal, Report, Task, TaskId, TaskPage, TaskSpec,
    TaskStatus, TaskSummary, TaskType, TaskView,
};

/// How often a task is looked for when it moves between memory and store meanwhile: it ends, and
/// an operator tries it again.
const LOOKS: usize = 8;

/// A task as it was found.
enum Found<T> {
    /// In memory: what the Router says of it.
    Here(T),
    /// In the store, ended.
    Ended(Box<Task>),
}

impl PoolHandle {
    /// Submits a task under a new id, or answers with the one that was submitted under the same
    /// idempotency key.
    ///
    /// # Errors
    /// See [`CallError`]; `QueueFull`, `StoreFull`, `Draining`, `IdempotencyConflict`.
    pub async fn submit(&self, spec: TaskSpec) -> Result<Accepted, CallError> {
        self.submit_of(spec, None).await
    }

    /// The same for a task that another one hands out, which must be with an agent.
    ///
    /// # Errors
    /// As for [`submit`](Self::submit), and `Scheduler::submit_child`.
    pub async fn submit_child(&self, spec: TaskSpec, of: ChildOf) -> Result<Accepted, CallError> {
        for _ in 0..LOOKS {
            match self.submit_of(spec.clone(), Some(of)).await {
                Err(CallError::Refused(Refusal::ParentNotFound)) => {}
                answer => return answer,
            }
            match self.ask(&self.history, ReadTask(of.parent)).await?? {
                Some(task) if task.status().is_terminal() => {
                    return Err(task.parent_ended().into());
                }
                Some(_tried_again) => {}
                None => break,
            }
        }
        Err(Refusal::ParentNotFound.into())
    }

    async fn submit_of(&self, spec: TaskSpec, of: Option<ChildOf>) -> Result<Accepted, CallError> {
        let id = TaskId::from_uuid(Uuid::now_v7());
        if spec.key.is_none() {
            return Ok(self.ask(&self.router, SubmitTask { id, spec, of }).await??);
        }
        let (answer, accepted) = oneshot::channel();
        self.ask(&self.router, SubmitKeyed { id, spec, of, answer }).await?;
        self.wait(accepted, Duration::ZERO).await?
    }

    /// Reads a task, after waiting up to `wait` for its end.
    ///
    /// # Errors
    /// See [`CallError`]; `TaskNotFound`.
    pub async fn task(&self, id: TaskId, wait: Duration) -> Result<TaskView, CallError> {
        if !wait.is_zero() {
            let (ended, end) = oneshot::channel();
            self.ask(&self.router, AwaitTaskEnd { id, ended }).await?;
            // When the wait runs out, or the Router is gone, the read below says how things are.
            let _ended_or_not = tokio::time::timeout(wait, end).await;
        }
        Ok(match self.find(id, || GetTask(id)).await? {
            Found::Here(view) => view,
            Found::Ended(task) => task.view(None),
        })
    }

    /// Reads a page of tasks. Pages that follow each other by `next` neither skip nor repeat a task
    /// while others come and go, because the number of a submission never changes.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn tasks(&self, query: ListQuery) -> Result<TaskPage, CallError> {
        // The store is read, and it has all that is durable; what happened before is by then.
        self.ask(&self.router, Settle).await?;
        let mut page = self.ask(&self.history, ReadPage(query)).await??;
        let live = |task: &&TaskSummary| !task.status.is_terminal();
        let live: Vec<_> = page.tasks.iter().filter(live).map(|task| task.id).collect();
        if live.is_empty() {
            return Ok(page);
        }
        // Why and where a task waits is known in memory alone.
        let mut here = self.ask(&self.router, GetSummaries(live)).await?;
        here.sort_unstable_by_key(|task| task.seq);
        for task in page.tasks.iter_mut().filter(|task| !task.status.is_terminal()) {
            if let Ok(index) = here.binary_search_by_key(&task.seq, |task| task.seq) {
                *task = here[index].clone();
            } else if let Some(ended) = self.ask(&self.history, ReadTask(task.id)).await?? {
                *task = ended.summary(None);
            }
        }
        page.tasks.retain(|task| query.status.is_none_or(|status| status == task.status));
        Ok(page)
    }

    /// Says how a task on an external agent went.
    ///
    /// # Errors
    /// See [`CallError`] and `Scheduler::complete`.
    pub async fn complete(
        &self,
        id: TaskId,
        attempt: Option<Attempt>,
        report: Report,
    ) -> Result<TaskStatus, CallError> {
        let complete = || CompleteTask { id, attempt, report: report.clone() };
        match self.find(id, complete).await? {
            Found::Here(status) => Ok(status),
            Found::Ended(task) => Err(task.already_finished().into()),
        }
    }

    /// Calls a task off.
    ///
    /// # Errors
    /// See [`CallError`]; `TaskNotFound`, `AlreadyFinished`.
    pub async fn cancel(&self, id: TaskId) -> Result<TaskStatus, CallError> {
        match self.find(id, || CancelTask(id)).await? {
            Found::Here(status) => Ok(status),
            Found::Ended(task) => Err(task.already_finished().into()),
        }
    }

    /// Tries a task again that failed or was cancelled.
    ///
    /// # Errors
    /// See [`CallError`]; `TaskNotFound`, `NotRetryable`, `QueueFull`, `StoreFull`, `Draining`.
    pub async fn retry(&self, id: TaskId) -> Result<TaskStatus, CallError> {
        let (answer, retried) = oneshot::channel();
        self.ask(&self.router, RetryTask { id, answer }).await?;
        // A run of it that is being ended has so much time.
        self.wait(retried, self.cancel_grace).await?
    }

    /// Tries the oldest tasks again that ended as `status` (failed or cancelled), as many as may
    /// wait.
    ///
    /// # Errors
    /// See [`CallError`]; `StoreFull`, `Draining`, and `QueueFull` when there is no room at all.
    pub async fn retry_all(
        &self,
        status: TaskStatus,
        kind: Option<TaskType>,
    ) -> Result<Retried, CallError> {
        let (answer, retried) = oneshot::channel();
        self.ask(&self.router, RetryAll { status, kind, answer }).await?;
        self.wait(retried, Duration::ZERO).await?
    }

    /// The status of a task, wherever it is.
    pub(super) async fn status(&self, id: TaskId) -> Result<Option<TaskStatus>, CallError> {
        if let Some(status) = self.ask(&self.router, GetStatus(id)).await? {
            return Ok(Some(status));
        }
        let ended = self.ask(&self.history, ReadTask(id)).await??;
        Ok(ended.map(|task| task.status()))
    }

    /// Asks the Router about a task, and the store when the Router does not have it.
    async fn find<M, T>(&self, id: TaskId, message: impl Fn() -> M) -> Result<Found<T>, CallError>
    where
        M: actix::Message<Result = Result<T, Refusal>> + Send + 'static,
        T: Send + 'static,
        super::Router: actix::Handler<M>,
    {
        for _ in 0..LOOKS {
            match self.ask(&self.router, message()).await? {
                Ok(answer) => return Ok(Found::Here(answer)),
                Err(Refusal::TaskNotFound) => {}
                Err(refusal) => return Err(refusal.into()),
            }
            match self.ask(&self.history, ReadTask(id)).await?? {
                Some(task) if task.status().is_terminal() => {
                    return Ok(Found::Ended(Box::new(task)));
                }
                Some(_tried_again) => {}
                None => break,
            }
        }
        Err(Refusal::TaskNotFound.into())
    }
}
