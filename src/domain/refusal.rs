//! Why a request was refused. A refused request changed nothing.

use super::ids::{Attempt, Incarnation, TaskId};
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
