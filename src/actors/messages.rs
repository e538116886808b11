//! Every message between the actors, with its sender, its answer and its refusal. Requests are
//! imperative and may be refused; facts are what happened and may not.

use actix::{Addr, Message};
use tokio::sync::oneshot;

use super::supervisor::PoolSupervisor;
use super::worker_agent::WorkerAgent;
use crate::domain::{
    Accepted, AgentId, AgentKind, AgentView, Assignment, Attempt, ContextIds, Exit, Failing,
    Failure, Heartbeat, Incarnation, LifeEnded, ListQuery, Metrics, PoolClosed, ProcessFacts,
    Refusal, Report, StatusReason, TaskId, TaskPage, TaskSpec, TaskStatus, TaskTypes, TaskView,
};

// ---- requests to the Router, from the handle --------------------------------------------------

/// Asks for one task to be run.
#[derive(Debug, Message)]
#[rtype(result = "Result<Accepted, Refusal>")]
pub struct SubmitTask {
    /// The id that it gets.
    pub id: TaskId,
    /// What is asked for.
    pub spec: TaskSpec,
}

/// Asks for a task, whole.
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

/// Asks for a page of tasks.
#[derive(Debug, Message)]
#[rtype(result = "TaskPage")]
pub struct ListTasks(pub ListQuery);

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

/// Asks what became of a task that was taken away: whether it has another agent already, and
/// whether it failed for good.
#[derive(Debug, Message)]
#[rtype(result = "(bool, bool)")]
pub struct AfterFailure(pub TaskId);

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

// ---- requests to the PoolSupervisor, from the handle ------------------------------------------

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

// ---- facts to the Router, from the PoolSupervisor ---------------------------------------------

/// The supervisor exists; sent once, before the first agent.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SupervisorStarted(pub Addr<PoolSupervisor>);

/// The pool has one more agent.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct AgentAdded {
    /// Which.
    pub id: AgentId,
    /// What stands behind it.
    pub kind: AgentKind,
    /// What it takes.
    pub types: TaskTypes,
    /// What belongs to its first life.
    pub ids: ContextIds,
}

/// An agent begins its next life.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct LifeBegun {
    /// Which agent.
    pub id: AgentId,
    /// Which life.
    pub incarnation: Incarnation,
    /// What belongs to this life.
    pub ids: ContextIds,
}

/// The actor of the agent's present life has this address.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WorkerStarted {
    /// Which agent.
    pub id: AgentId,
    /// Which life.
    pub incarnation: Incarnation,
    /// Its actor.
    pub worker: Addr<WorkerAgent>,
}

/// An agent is not restarted for now.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct AgentGivenUp {
    /// Which.
    pub id: AgentId,
    /// Why, for programs.
    pub reason: StatusReason,
    /// Why, for people.
    pub detail: String,
}

/// An agent must leave the pool; its end is told by `AwaitRemoved`.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct AgentDismissed {
    /// Which.
    pub id: AgentId,
    /// How long its run may go on, in microseconds.
    pub drain_us: u64,
}

/// Every agent must leave the pool; the end is told by `AwaitPoolClosed`.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct PoolDismissed {
    /// How long runs may go on, in microseconds.
    pub drain_us: u64,
    /// Whether pending tasks are cancelled.
    pub discard: bool,
}

// ---- facts to the Router, from WorkerAgents, the watcher and the spawner -----------------------

/// From a `WorkerAgent`: its process is ready for work.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct AgentReady {
    /// Which agent.
    pub id: AgentId,
    /// Which life.
    pub incarnation: Incarnation,
    /// Its process.
    pub process: ProcessFacts,
}

/// From a `WorkerAgent`: its process says that it started the attempt.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct TaskStarted {
    /// Which agent.
    pub id: AgentId,
    /// Which life.
    pub incarnation: Incarnation,
    /// Which task.
    pub task_id: TaskId,
    /// Which attempt.
    pub attempt: Attempt,
}

/// From a `WorkerAgent`: its process says how the attempt ended.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct TaskEnded {
    /// Which agent.
    pub id: AgentId,
    /// Which life.
    pub incarnation: Incarnation,
    /// Which task.
    pub task_id: TaskId,
    /// Which attempt.
    pub attempt: Attempt,
    /// How.
    pub report: Report,
}

/// From a `WorkerAgent`, when it ends for whatever reason (a panic, too), or from the watcher,
/// when an agent is silent: this life is no good any more. Its run is over only with `TreeGone`.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct AgentFailed {
    /// Which agent.
    pub id: AgentId,
    /// Which life.
    pub incarnation: Incarnation,
    /// Why.
    pub failure: Failure,
    /// Whether the actor itself ended.
    pub actor_gone: bool,
}

/// From the spawner: nothing is left of the process tree of this life.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct TreeGone {
    /// Which agent.
    pub id: AgentId,
    /// Which life.
    pub incarnation: Incarnation,
    /// How its worker ended.
    pub exit: Exit,
}

/// From the spawner: the process tree of this life was killed long ago and is not gone.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct TreeStuck {
    /// Which agent.
    pub id: AgentId,
    /// Which life.
    pub incarnation: Incarnation,
}

/// From the watcher: the daemon itself stood still for so many microseconds.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Resumed {
    /// How late the watcher's own tick came.
    pub late_us: u64,
}

// ---- facts to the PoolSupervisor, from the Router -----------------------------------------------

/// A life of a process agent is over.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct AgentLost {
    /// Which agent.
    pub id: AgentId,
    /// What is known of the end.
    pub ended: LifeEnded,
}

/// Somebody wants a degraded process agent to be tried again now.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct RestartAgent(pub AgentId);

/// An agent is gone from the pool.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct AgentRemoved(pub AgentId);

/// The shutdown of the pool is done.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct PoolShutDown;

// ---- orders to WorkerAgents, from the Router and the PoolSupervisor ------------------------------

/// From the supervisor, once the Router knows of this life: start the process.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Launch;

/// From the Router: do this.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct RunTask(pub Assignment);

/// From the Router: stop this attempt; ask, then signal, then kill.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct CancelRun {
    /// Which task.
    pub task_id: TaskId,
    /// Which attempt.
    pub attempt: Attempt,
    /// What the worker is told.
    pub reason: &'static str,
}

/// From the Router: the process is being killed; this is for one that does not exist yet.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct KillWorker;

/// From the Router: end the process politely; it does nothing.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct StopWorker;

// ---- the end of the daemon, from `app` -----------------------------------------------------------

/// To the Router: nothing new from here on; answers when no process agent works any more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DrainDaemon {
    /// Is answered when the work of process agents has ended.
    pub drained: oneshot::Sender<()>,
}

/// To the PoolSupervisor: no new agents and no new lives from here on.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct StopSpawning;

/// To the Router: end every process now, the busy ones by force; answers when none is left.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StopProcesses {
    /// Is answered when no process agent has a process any more.
    pub stopped: oneshot::Sender<()>,
}
