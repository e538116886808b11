//! What callers hold: the verbs of the pool as functions. Nobody outside of `actors` sees an
//! actor or its address.

mod canary;
mod gates;
mod readiness;
mod schedules;
mod tasks;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message};
use tokio::sync::{Mutex, oneshot};

use super::clock::Clock;
use super::gate_probe::GateProbeSettings;
use super::history::HistoryReader;
use super::isolation::{Auditor, IsolationReport};
use super::measure::{AgentReport, LoadMeter};
use super::messages::*;
use super::router::Router;
use super::supervisor::PoolSupervisor;
use super::watcher::{ListPhases, Watcher};
use super::worker_agent::WorkerAgent;
use crate::domain::{
    AgentId, AgentView, Assignment, Failing, Heartbeat, Incarnation, Metrics, PoolClosed, Refusal,
    TaskId, TaskStatus,
};
use crate::store::Gauges;

pub use gates::GateReport;
pub use readiness::Readiness;

/// How a call can fail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The pool refused it; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No answer came in time; the call may have taken effect.
    #[error("no answer came within {} s; the call may have taken effect", .0.as_secs_f64())]
    NoAnswer(Duration),
    /// The store cannot be read.
    #[error("the store cannot be read; the log of the daemon says why, and nothing was changed")]
    StoreUnreadable,
    /// The agent was failed, and the store cannot be read.
    #[error(
        "the agent was failed, but the store cannot be read, so it is not known whether its task \
         failed with it; the log of the daemon says why"
    )]
    FailedUnreadable,
    /// Another call does the same, and it is done by one at a time.
    #[error("another call has the agents look for secrets already; try again when it has ended")]
    CanaryRunning,
    /// The daemon is ending; the call may have taken effect.
    #[error("the daemon is ending; the call may have taken effect")]
    Down,
}

/// What failing an agent did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedOver {
    /// The task that was taken away.
    pub task_id: Option<TaskId>,
    /// Whether it already has another agent.
    pub reassigned: bool,
    /// Whether it failed for good.
    pub failed_permanently: bool,
}

/// The verbs of the pool. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PoolHandle {
    pub(super) router: Addr<Router>,
    pub(super) supervisor: Addr<PoolSupervisor>,
    pub(super) watcher: Addr<Watcher>,
    pub(super) history: Addr<HistoryReader>,
    pub(super) gauges: Arc<Gauges>,
    pub(super) auditor: Arc<Auditor>,
    pub(super) loads: Arc<LoadMeter>,
    pub(super) clock: Clock,
    pub(super) probes: Arc<[GateProbeSettings]>,
    pub(super) max_depth: usize,
    pub(super) call_timeout: Duration,
    pub(super) start_timeout: Duration,
    pub(super) cancel_grace: Duration,
    pub(super) drain: Duration,
    /// Held by the canary while it runs.
    pub(super) canary: Arc<Mutex<()>>,
}

impl From<Unreadable> for CallError {
    fn from(_: Unreadable) -> Self {
        Self::StoreUnreadable
    }
}

/// What retrying many did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retried {
    /// Tasks that wait again.
    pub retried: u64,
    /// Tasks of the same sort that do not: there was no room for them.
    pub remaining: u64,
}

impl PoolHandle {
    /// Makes the pool at least `size` agents large (`None`: as configured) and answers when each
    /// new one is idle or failed, at latest after the start time-out.
    ///
    /// # Errors
    /// See [`CallError`]; `PoolClosing`, `PoolFull`, `Draining`.
    pub async fn initialize(&self, size: Option<usize>) -> Result<Initialized, CallError> {
        let initialized = self.ask_supervisor(InitializePool { size }).await??;
        self.settled(initialized.spawned.clone()).await?;
        Ok(initialized)
    }

    /// Adds one agent and answers when it is idle or failed.
    ///
    /// # Errors
    /// See [`CallError`]; `PoolFull`, `PoolClosing`, `Draining`.
    pub async fn spawn(&self, request: SpawnAgent) -> Result<AgentView, CallError> {
        let id = self.ask_supervisor(request).await??;
        self.settled(vec![id]).await?;
        match self.agent(id).await {
            // It went again before it was ready: somebody closed the pool, or removed just this one.
            Err(CallError::Refused(Refusal::AgentNotFound))
                if self.ask(&self.supervisor, IsClosing).await? =>
            {
                Err(Refusal::PoolClosing.into())
            }
            answer => answer,
        }
    }

    /// Takes an agent out of the pool for good and answers when it is gone, with the task that it
    /// ran.
    ///
    /// # Errors
    /// See [`CallError`]; `AgentNotFound`.
    pub async fn remove(
        &self,
        id: AgentId,
        drain: Option<Duration>,
    ) -> Result<Option<TaskId>, CallError> {
        let drain = drain.unwrap_or_default();
        let (removed, gone) = oneshot::channel();
        let ran = self.ask(&self.router, AwaitRemoved { id, removed }).await??;
        self.ask_supervisor(RemoveAgent { id, drain_us: micros(drain) }).await??;
        self.wait(gone, drain + self.cancel_grace).await?;
        Ok(ran)
    }

    /// Ends every agent and answers when that is done. A second call joins the first.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn close(
        &self,
        drain: Option<Duration>,
        discard: bool,
    ) -> Result<PoolClosed, CallError> {
        let drain = drain.unwrap_or(self.drain);
        let (closed, done) = oneshot::channel();
        self.ask(&self.router, AwaitPoolClosed(closed)).await?;
        let close = ClosePool { drain_us: micros(drain), discard };
        let left_us = self.ask_supervisor(close).await?;
        self.wait(done, Duration::from_micros(left_us) + self.cancel_grace).await
    }

    /// Says that an agent is no good; answers when its task was moved.
    ///
    /// # Errors
    /// See [`CallError`]; `AgentNotFound`.
    pub async fn fail(&self, id: AgentId, reason: String) -> Result<FailedOver, CallError> {
        let (failed_over, moved) = oneshot::channel();
        let failing = self.ask(&self.router, FailAgent { id, reason, failed_over }).await??;
        let task_id = match failing {
            Failing::Done(task_id) => task_id,
            Failing::Underway => self.wait(moved, Duration::ZERO).await?,
        };
        let status = match task_id {
            Some(task_id) => self.status(task_id).await.map_err(|error| {
                let is_unread = error == CallError::StoreUnreadable;
                if is_unread { CallError::FailedUnreadable } else { error }
            })?,
            None => None,
        };
        let reassigned = status == Some(TaskStatus::InProgress);
        let failed_permanently = status == Some(TaskStatus::Failed);
        Ok(FailedOver { task_id, reassigned, failed_permanently })
    }

    /// Tries a degraded agent again and answers when it is idle or failed.
    ///
    /// # Errors
    /// See [`CallError`]; `AgentNotFound`, `NotDegraded`.
    pub async fn recover(&self, id: AgentId) -> Result<AgentView, CallError> {
        self.ask(&self.router, RecoverAgent(id)).await??;
        self.settled(vec![id]).await?;
        self.agent(id).await
    }

    /// A sign of life of an external agent.
    ///
    /// # Errors
    /// See [`CallError`]; `AgentNotFound`, `NotExternal`, `StaleIncarnation`.
    pub async fn heartbeat(
        &self,
        id: AgentId,
        incarnation: Option<Incarnation>,
    ) -> Result<Heartbeat, CallError> {
        Ok(self.ask(&self.router, BeatHeart { id, incarnation }).await??)
    }

    /// The work of an external agent, after waiting up to `wait` for some.
    ///
    /// # Errors
    /// See [`CallError`]; `AgentNotFound`, `NotExternal`, `StaleIncarnation`, `AgentFailed`.
    pub async fn assignment(
        &self,
        id: AgentId,
        mut incarnation: Option<Incarnation>,
        wait: Duration,
    ) -> Result<Option<(Incarnation, Assignment)>, CallError> {
        let until = tokio::time::Instant::now() + wait;
        loop {
            let wait = until > tokio::time::Instant::now();
            let fetched =
                self.ask(&self.router, FetchAssignment { id, incarnation, wait }).await??;
            if let Some(assignment) = fetched.assignment {
                return Ok(Some((fetched.incarnation, assignment)));
            }
            let Some(mut ticket) = fetched.news else { return Ok(None) };
            incarnation = incarnation.or(Some(fetched.incarnation));
            if tokio::time::timeout_at(until, &mut ticket.woken).await.is_err() {
                return Ok(None);
            }
        }
    }

    /// One agent, without measurements.
    ///
    /// # Errors
    /// See [`CallError`]; `AgentNotFound`.
    pub async fn agent(&self, id: AgentId) -> Result<AgentView, CallError> {
        Ok(self.ask(&self.router, GetAgent(id)).await??)
    }

    /// One agent, with what the operating system says of its process.
    ///
    /// # Errors
    /// See [`CallError`]; `AgentNotFound`.
    pub async fn agent_report(&self, id: AgentId) -> Result<AgentReport, CallError> {
        let all = self.ask(&self.router, ListAgents).await?;
        let asked_for: Vec<_> = all.iter().filter(|view| view.id == id).cloned().collect();
        let report = self.reports(asked_for, &all).await?.pop();
        report.ok_or(CallError::Refused(Refusal::AgentNotFound))
    }

    /// Every agent, with what the operating system says of its process.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn agent_reports(&self) -> Result<Vec<AgentReport>, CallError> {
        let all = self.ask(&self.router, ListAgents).await?;
        self.loads.keep(&all);
        self.reports(all.clone(), &all).await
    }

    /// The reports of `views`, which are among `all`: whether an agent is kept apart can only be
    /// said of all.
    async fn reports(
        &self,
        views: Vec<AgentView>,
        all: &[AgentView],
    ) -> Result<Vec<AgentReport>, CallError> {
        let mut issues = self.auditor.issues(all).await?;
        let (loads, now_us) = (Arc::clone(&self.loads), self.clock.mono_us());
        let (views, loads) = blocking(move || {
            let loads = loads.loads(&views, now_us);
            (views, loads)
        })
        .await?;
        let mut phases = self.ask(&self.watcher, ListPhases).await?;
        let mut report = |view: AgentView| AgentReport {
            process: loads.get(&view.id).copied(),
            phase: phases.remove(&view.id).filter(|phase| phase.incarnation == view.incarnation),
            issues: issues.remove(&view.id).unwrap_or_default(),
            view,
        };
        Ok(views.into_iter().map(&mut report).collect())
    }

    /// What the operating system says of how far the agents are kept apart.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn isolation_report(&self) -> Result<IsolationReport, CallError> {
        self.auditor.report().await
    }

    /// The numbers.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn metrics(&self) -> Result<Metrics, CallError> {
        let metrics = self.ask(&self.router, GetMetrics).await?;
        let (store, isolation) = (self.gauges.read(), self.auditor.metrics());
        Ok(Metrics { store, isolation, ..metrics })
    }

    /// Answers when every agent that there is now is idle or failed, at latest after the start
    /// time-out.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn all_settled(&self) -> Result<(), CallError> {
        let views = self.ask(&self.router, ListAgents).await?;
        self.settled(views.iter().map(|view| view.id).collect()).await
    }

    /// Takes nothing new from here on, and answers when no process agent works any more or
    /// `within` has passed.
    pub async fn drain(&self, within: Duration) {
        self.supervisor.do_send(StopSpawning);
        let (drained, done) = oneshot::channel();
        self.router.do_send(DrainDaemon { drained });
        let _drained_or_late = tokio::time::timeout(within, done).await;
    }

    /// Answers everybody who waits for a task to end or for work with what there is.
    pub fn end_waits(&self) {
        self.router.do_send(EndWaits);
    }

    /// Ends every process, the busy ones as a cancel would (their attempts are `interrupted`), and
    /// answers when none is left or `within` has passed beyond the grace.
    pub async fn stop_processes(&self, within: Duration) {
        self.end_processes(false, self.cancel_grace + within).await;
    }

    /// Kills every process, and answers when none is left or `within` has passed.
    pub async fn kill_processes(&self, within: Duration) {
        self.end_processes(true, within).await;
    }

    async fn end_processes(&self, at_once: bool, within: Duration) {
        let (stopped, done) = oneshot::channel();
        self.router.do_send(StopProcesses { at_once, stopped });
        let _stopped_or_late = tokio::time::timeout(within, done).await;
    }

    /// The actor of a process agent; only for tests that make it fail.
    #[doc(hidden)]
    pub async fn worker(&self, id: AgentId) -> Option<Addr<WorkerAgent>> {
        self.ask(&self.router, GetWorker(id)).await.ok().flatten()
    }

    async fn settled(&self, ids: Vec<AgentId>) -> Result<(), CallError> {
        if ids.is_empty() {
            return Ok(());
        }
        let (settled, done) = oneshot::channel();
        self.ask(&self.router, AwaitSettled { ids, settled }).await?;
        // An agent that is not settled by then goes on starting; the answer shows how it is.
        let _settled_or_late = tokio::time::timeout(self.start_timeout, done).await;
        Ok(())
    }

    async fn wait<T>(
        &self,
        answer: oneshot::Receiver<T>,
        beyond: Duration,
    ) -> Result<T, CallError> {
        let within = self.call_timeout + beyond;
        match tokio::time::timeout(within, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_dropped)) => Err(CallError::Down),
            Err(_elapsed) => Err(CallError::NoAnswer(within)),
        }
    }

    /// Asks the supervisor, whose answer stands on what it told the Router before: that is durable
    /// when this answers.
    async fn ask_supervisor<M>(&self, message: M) -> Result<M::Result, CallError>
    where
        PoolSupervisor: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let answer = self.ask(&self.supervisor, message).await?;
        self.ask(&self.router, Settle).await?;
        Ok(answer)
    }

    /// Sends a message and waits for its answer. The timer wraps the whole call: the one of actix
    /// starts only once the mailbox has accepted the message.
    async fn ask<A, M>(&self, actor: &Addr<A>, message: M) -> Result<M::Result, CallError>
    where
        A: Actor + Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        ask(actor, self.call_timeout, message).await
    }
}

/// Sends a message and waits for its answer, for so long in all.
pub(super) async fn ask<A, M>(
    actor: &Addr<A>,
    within: Duration,
    message: M,
) -> Result<M::Result, CallError>
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    match tokio::time::timeout(within, actor.send(message)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_closed)) => Err(CallError::Down),
        Err(_elapsed) => Err(CallError::NoAnswer(within)),
    }
}

/// Runs what may block (reading `/proc`) on a thread that may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CallError> {
    tokio::task::spawn_blocking(work).await.map_err(|_panicked| CallError::Down)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
