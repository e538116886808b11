//! Why a request was refused. A refused request changed nothing.

use std::sync::Arc;

use super::ids::{Attempt, Incarnation, TaskId};
use super::parent::{MAX_CHILDREN, MAX_DEPTH};
use super::task::TaskStatus;

/// Why a request was refused. A fact is never refused, only dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No task of this id.
    #[error("there is no task with this id (it may have ended long ago)")]
    TaskNotFound,
    /// No agent of this id.
    #[error("there is no agent with this id in the pool")]
    AgentNotFound,
    /// As many tasks wait as may.
    #[error(
        "{max_depth} tasks wait already, which is queue.max_depth; try again in {retry_after_s} s"
    )]
    QueueFull {
        /// How many may wait.
        max_depth: usize,
        /// When a place is likely to be free, in seconds.
        retry_after_s: u32,
    },
    /// As many tasks wait for a gate as may.
    #[error(
        "{max_depth} tasks wait already for {gate}, which is down; that is queue.max_depth; try again \
         in {retry_after_s} s"
    )]
    GateBacklogFull {
        /// The gate.
        gate: Arc<str>,
        /// How many may wait.
        max_depth: usize,
        /// When to try again, in seconds.
        retry_after_s: u32,
    },
    /// No gate of this name.
    #[error("there is no gate with this name; GET /gates lists them")]
    GateNotFound,
    /// No schedule of this name.
    #[error("there is no schedule with this name; GET /schedules lists them")]
    ScheduleNotFound,
    /// As many agents exist as may.
    #[error("the pool has {max_size} agents already, which is pool.max_size; remove one first")]
    PoolFull {
        /// How many may exist.
        max_size: usize,
    },
    /// The pool is being shut down.
    #[error("the pool is being shut down; try again when that has ended")]
    PoolClosing,
    /// The file system of the store is nearly full.
    #[error(
        "less than {min_free_mb} MiB are free where the store is, which is store.min_free_mb; make \
         room and try again"
    )]
    StoreFull {
        /// How much must be free.
        min_free_mb: u64,
    },
    /// The idempotency key was used for something else.
    #[error(
        "this idempotency_key was used for task {task_id} with other content; take another key, or \
         send the same content again"
    )]
    IdempotencyConflict {
        /// The task that has the key.
        task_id: TaskId,
    },
    /// No task has the id of the parent.
    #[error(
        "there is no task with the id in parent_task_id (it may have ended long ago); children are \
         for a task that is in progress"
    )]
    ParentNotFound,
    /// The parent has ended.
    #[error(
        "the task in parent_task_id has ended already: it is {}; children are for a task that is in \
         progress", .status.name()
    )]
    ParentEnded {
        /// How.
        status: TaskStatus,
        /// By which attempt; `None`: by none.
        finished_by: Option<Attempt>,
    },
    /// No agent has the parent.
    #[error(
        "the task in parent_task_id is pending: no agent has it; children are for a task that is in \
         progress"
    )]
    ParentNotRunning,
    /// The child would stand too far below a task without a parent.
    #[error(
        "a child of this task would stand more than {MAX_DEPTH} below a task without a parent; do \
         this part of the work in the task itself"
    )]
    TooDeep,
    /// The attempt of the parent has handed out as many children as it may.
    #[error(
        "this attempt of the task has submitted {MAX_CHILDREN} children already, which is the most; \
         do the rest in the task itself"
    )]
    TooManyChildren,
    /// No agent would be left to run what the others wait for.
    #[error(
        "{waiting} of {live} live agents wait for children of their tasks, and one must stay free to \
         run these; do this part of the work in the task itself, try again when children have ended, \
         or submit with detach: true and do not wait"
    )]
    WouldDeadlock {
        /// How many tasks wait.
        waiting: usize,
        /// How many agents are live.
        live: usize,
    },
    /// Only what failed or was cancelled can be tried again.
    #[error(
        "the task is {}; only a failed or cancelled one can be tried again", .status.name()
    )]
    NotRetryable {
        /// What it is.
        status: TaskStatus,
    },
    /// The daemon stops.
    #[error("the daemon is stopping and takes nothing new; try again when it is back")]
    Draining,
    /// The task has ended.
    #[error("the task has ended already: it is {}", .status.name())]
    AlreadyFinished {
        /// How.
        status: TaskStatus,
        /// By which attempt; `None`: by none (it was cancelled while it waited).
        finished_by: Option<Attempt>,
    },
    /// An attempt that is not the newest.
    #[error("attempt {given} is not the one that runs; the newest is {newest}")]
    StaleAttempt {
        /// What the client said.
        given: Attempt,
        /// What is true.
        newest: Attempt,
    },
    /// The task had several attempts, so the client must say which it means.
    #[error("the task has had {newest} attempts; say which one this is with ?attempt=")]
    AttemptRequired {
        /// The newest.
        newest: Attempt,
    },
    /// The task is with no agent.
    #[error("the task is pending: no agent has it")]
    NotRunning,
    /// Only for external agents.
    #[error("this is for external agents; this one is a process, which reports for itself")]
    NotExternal,
    /// An incarnation that is not the present one.
    #[error(
        "incarnation {given} is not the present one, which is {current}; fetch again without one"
    )]
    StaleIncarnation {
        /// What the client said.
        given: Incarnation,
        /// What is true.
        current: Incarnation,
    },
    /// Only a degraded agent can be recovered.
    #[error("the agent is {status}; only a degraded agent can be recovered")]
    NotDegraded {
        /// What it is.
        status: &'static str,
    },
    /// A failed external agent gets nothing until it is recovered.
    #[error("the agent was failed; recover it, and it takes work again")]
    AgentFailed,
}
