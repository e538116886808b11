//! Facts: what happened. They are never refused.

use actix::{Addr, Message};

use crate::actors::supervisor::PoolSupervisor;
use crate::actors::worker_agent::WorkerAgent;
use crate::domain::{
    AgentId, AgentKind, Attempt, ContextIds, Exit, Failure, Incarnation, LifeEnded, ProcessFacts,
    Report, StatusReason, TaskId, TaskTypes,
};

// ---- To the Router, from the PoolSupervisor ----------------------------------------------------

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
    /// How many agents should live from here on.
    pub target: usize,
}

/// The pool was asked to have so many agents.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct PoolInitialized {
    /// How many should live.
    pub target: usize,
    /// How many there are.
    pub pool_size: usize,
    /// How many of them are new.
    pub spawned: usize,
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
    /// How many agents should live from here on.
    pub target: usize,
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

// ---- To the Router, from WorkerAgents, the watcher and the spawner -----------------------------

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

/// From a `WorkerAgent`: its process was asked to end the attempt, did not, and was sent a signal.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct RunSignalled {
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

/// From a `WorkerAgent`: its process has been in one phase of the attempt for too long.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct PhaseOverdue {
    /// Which agent.
    pub id: AgentId,
    /// Which life.
    pub incarnation: Incarnation,
    /// Which task.
    pub task_id: TaskId,
    /// Which attempt.
    pub attempt: Attempt,
    /// Which phase, for how long and how long it may be, as a sentence.
    pub detail: String,
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

/// From the writer of the store: every turn up to this one is durable.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Committed(pub u64);

/// From the watcher: the daemon itself stood still for so many microseconds.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Resumed {
    /// How late the watcher's own tick came.
    pub late_us: u64,
}

// ---- To the PoolSupervisor, from the Router ----------------------------------------------------

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
