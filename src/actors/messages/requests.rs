//! Requests, from the handle: they are answered, or refused and then changed nothing.

use actix::{Addr, Message};
use tokio::sync::oneshot;

use crate::actors::handle::{CallError, Retried};
use crate::actors::worker_agent::WorkerAgent;
use crate::domain::{
    Accepted, AgentId, AgentKind, AgentView, Assignment, Attempt, ChildOf, Failing, Heartbeat,
    Incarnation, Metrics, PoolClosed, Refusal, Report, ScheduleView, TaskId, TaskSpec, TaskStatus,
    TaskSummary, TaskType, TaskTypes, TaskView, TraceId,
};

// ---- To the Router -----------------------------------------------------------------------------

/// Asks for one task to be run.
#[derive(Debug, Message)]
#[rtype(result = "Result<Accepted, Refusal>")]
pub struct SubmitTask {
    /// The id that it gets.
    pub id: TaskId,
    /// What is asked for.
    pub spec: TaskSpec,
    /// Whose child it is to be, if anybody's.
    pub of: Option<ChildOf>,
}

/// Asks for one task to be run, unless its idempotency key was used before.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SubmitKeyed {
    /// The id that it gets if it is new.
    pub id: TaskId,
    /// What is asked for, with its key.
    pub spec: TaskSpec,
    /// Whose child it is to be, if anybody's.
    pub of: Option<ChildOf>,
    /// Is told what came of it.
    pub answer: oneshot::Sender<Result<Accepted, CallError>>,
}

/// Asks for a task that failed or was cancelled to be tried again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RetryTask {
    /// Which.
    pub id: TaskId,
    /// Is told what came of it.
    pub answer: oneshot::Sender<Result<TaskStatus, CallError>>,
}

/// Asks for the oldest tasks that ended badly to be tried again, as many as may wait.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RetryAll {
    /// Failed or cancelled.
    pub status: TaskStatus,
    /// Of which type; `None`: of any.
    pub kind: Option<TaskType>,
    /// Is told how many.
    pub answer: oneshot::Sender<Result<Retried, CallError>>,
}

/// Asks for a task, whole, if it is in memory.
#[derive(Debug, Message)]
#[rtype(result = "Result<TaskView, Refusal>")]
pub struct GetTask(pub TaskId);

/// Asks to be told when a task has ended: at once when it has, or when nobody knows it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct AwaitTaskEnd {
    /// Which.
    pub id: TaskId,
    /// Is dropped or answered when the task has ended.
    pub ended: oneshot::Sender<()>,
}

/// Asks for nothing: the answer comes when everything that happened before is durable.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Settle;

/// Asks for those of these tasks that are in memory, in short.
#[derive(Debug, Message)]
#[rtype(result = "Vec<TaskSummary>")]
pub struct GetSummaries(pub Vec<TaskId>);

/// An external agent's answer to an attempt.
#[derive(Debug, Message)]
#[rtype(result = "Result<TaskStatus, Refusal>")]
pub struct CompleteTask {
    /// Which task.
    pub id: TaskId,
    /// Which attempt, when the client says so.
    pub attempt: Option<Attempt>,
    /// How it went.
    pub report: Report,
}

/// Calls a task off.
#[derive(Debug, Message)]
#[rtype(result = "Result<TaskStatus, Refusal>")]
pub struct CancelTask(pub TaskId);

/// Asks for every agent.
#[derive(Debug, Message)]
#[rtype(result = "Vec<AgentView>")]
pub struct ListAgents;

/// Asks for every process agent, with the actor of its present life if there is one.
#[derive(Debug, Message)]
#[rtype(result = "Vec<(AgentView, Option<Addr<WorkerAgent>>)>")]
pub struct ListWorkers;

/// Asks for one agent.
#[derive(Debug, Message)]
#[rtype(result = "Result<AgentView, Refusal>")]
pub struct GetAgent(pub AgentId);

/// Says that an agent is no good. When its process must die first, `failed_over` is answered with
/// the task that was taken away as soon as that was moved.
#[derive(Debug, Message)]
#[rtype(result = "Result<Failing, Refusal>")]
pub struct FailAgent {
    /// Which agent.
    pub id: AgentId,
    /// Why, for people.
    pub reason: String,
    /// For [`Failing::Underway`].
    pub failed_over: oneshot::Sender<Option<TaskId>>,
}

/// Asks for the status of a task, if it is in memory.
#[derive(Debug, Message)]
#[rtype(result = "Option<TaskStatus>")]
pub struct GetStatus(pub TaskId);

/// Asks for a degraded agent to be tried again.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Refusal>")]
pub struct RecoverAgent(pub AgentId);

/// Asks to be told when these agents are idle or have failed to become so.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct AwaitSettled {
    /// Which agents.
    pub ids: Vec<AgentId>,
    /// Is answered when all of them are.
    pub settled: oneshot::Sender<()>,
}

/// Asks to be told when an agent is gone from the pool; the answer is the task that it ran.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<TaskId>, Refusal>")]
pub struct AwaitRemoved {
    /// Which agent.
    pub id: AgentId,
    /// Is answered when it is gone.
    pub removed: oneshot::Sender<()>,
}

/// Asks to be told when the pool that is being shut down has no agent any more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct AwaitPoolClosed(pub oneshot::Sender<PoolClosed>);

/// An external agent shows that it is there.
#[derive(Debug, Message)]
#[rtype(result = "Result<Heartbeat, Refusal>")]
pub struct BeatHeart {
    /// Which agent.
    pub id: AgentId,
    /// Which life it believes to be.
    pub incarnation: Option<Incarnation>,
}

/// An external agent asks for its work.
#[derive(Debug, Message)]
#[rtype(result = "Result<Fetched, Refusal>")]
pub struct FetchAssignment {
    /// Which agent.
    pub id: AgentId,
    /// Which life it believes to be.
    pub incarnation: Option<Incarnation>,
    /// Whether the caller will wait when there is nothing yet; the wait holds the lease.
    pub wait: bool,
}

/// The answer to [`FetchAssignment`].
#[derive(Debug)]
pub struct Fetched {
    /// The agent's present life.
    pub incarnation: Incarnation,
    /// Its work, if there is any.
    pub assignment: Option<Assignment>,
    /// Is answered when it is worth while to ask again. Dropping it ends the wait.
    pub news: Option<PollTicket>,
}

/// An open `assignment` call: told when to ask again, and known to the Router until it is dropped.
#[derive(Debug)]
pub struct PollTicket {
    /// Whose call.
    pub agent: AgentId,
    /// Is answered when there may be work.
    pub woken: oneshot::Receiver<()>,
    /// Where the end of the call is told.
    pub router: actix::Recipient<PollClosed>,
}

impl Drop for PollTicket {
    fn drop(&mut self) {
        self.router.do_send(PollClosed(self.agent));
    }
}

/// A fact, from a dropped [`PollTicket`]: an `assignment` call waits no more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PollClosed(pub AgentId);

/// Asks for every recurring job.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<ScheduleView>")]
pub struct ListSchedules;

/// Asks for a recurring job to be run now.
#[derive(Debug, Message)]
#[rtype(result = "Result<Accepted, Refusal>")]
pub struct RunSchedule {
    /// Which job.
    pub name: String,
    /// The id that its task gets.
    pub id: TaskId,
    /// The trace of the request.
    pub trace: TraceId,
}

/// Asks that nothing of a recurring job be due.
#[derive(Debug, Message)]
#[rtype(result = "Result<ScheduleView, Refusal>")]
pub struct PauseSchedule(pub String);

/// Asks for a paused recurring job to go on.
#[derive(Debug, Message)]
#[rtype(result = "Result<ScheduleView, Refusal>")]
pub struct ResumeSchedule(pub String);

/// Asks for the numbers.
#[derive(Debug, Message)]
#[rtype(result = "Metrics")]
pub struct GetMetrics;

/// Asks whether the daemon drains.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct IsDraining;

/// Asks for the address of an agent's actor; only tests need it, to make it fail.
#[derive(Debug, Message)]
#[rtype(result = "Option<Addr<WorkerAgent>>")]
pub struct GetWorker(pub AgentId);

// ---- To the PoolSupervisor ---------------------------------------------------------------------

/// Asks for a pool of at least `size` agents.
#[derive(Debug, Message)]
#[rtype(result = "Result<Initialized, Refusal>")]
pub struct InitializePool {
    /// How many; `None`: as configured.
    pub size: Option<usize>,
}

/// The answer to [`InitializePool`].
#[derive(Clone, Debug)]
pub struct Initialized {
    /// Every agent of the pool.
    pub agent_ids: Vec<AgentId>,
    /// Those that this call made.
    pub spawned: Vec<AgentId>,
}

/// Asks for one more agent.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<AgentId, Refusal>")]
pub struct SpawnAgent {
    /// What stands behind it; `None`: as configured.
    pub kind: Option<AgentKind>,
    /// What it takes.
    pub types: TaskTypes,
}

/// Asks for an agent to be taken out of the pool for good.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), Refusal>")]
pub struct RemoveAgent {
    /// Which.
    pub id: AgentId,
    /// How long its run may go on, in microseconds.
    pub drain_us: u64,
}

/// Asks for the end of every agent; the answer is how long runs may still go on, in microseconds:
/// a second call joins the first.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "u64")]
pub struct ClosePool {
    /// How long runs may go on, in microseconds.
    pub drain_us: u64,
    /// Whether pending tasks are cancelled.
    pub discard: bool,
}

/// Asks whether the pool is being shut down, or no agent of it is left.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "bool")]
pub struct IsClosing;
