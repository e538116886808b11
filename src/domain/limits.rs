//! The numbers that the rules stand on.

use super::task::Task;
use super::task_type::PerType;
use super::time::SECOND_US;

/// How many agents a pool has when nobody says otherwise.
pub const DEFAULT_POOL_SIZE: usize = 4;
/// How many agents a pool has at most when nobody says otherwise.
pub const MAX_POOL_SIZE: usize = 16;
/// How many submitted tasks wait at most when nobody says otherwise.
pub const MAX_QUEUE_DEPTH: usize = 100;
/// How many failures a task survives, less one, when nobody says otherwise.
pub const MAX_ATTEMPTS: u32 = 3;
/// From submit to start; past it a counter grows.
pub const ASSIGNMENT_LATENCY_TARGET_MS: u64 = 500;
/// How many ended tasks a pool without a store on disk remembers.
pub const ENDED_TASKS_KEPT: usize = 10_000;
/// How far a queue position is counted; behind it a task only knows that it is far behind.
pub const EXACT_POSITIONS: usize = 1_000;

/// The scheduler's share of the configuration. Durations are microseconds.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Submitted tasks that may wait (rule 4).
    pub max_depth: usize,
    /// The budget: at this many failures a task is `failed` (rule 7).
    pub max_attempts: u32,
    /// The first wait after a retryable failure; it doubles with each.
    pub backoff_first_us: u64,
    /// The longest wait after a retryable failure.
    pub backoff_max_us: u64,
    /// How many successes the mean latency is taken over (rule 5).
    pub affinity_window: usize,
    /// How long an exclusion holds (rule 8).
    pub exclusion_relax_us: u64,
    /// From submit to start; past it a counter grows.
    pub assignment_latency_target_us: u64,
    /// How long a run may go on after its cancel or time-out (rule 9).
    pub cancel_grace_us: u64,
    /// How long an agent that is being started counts as live.
    pub start_timeout_us: u64,
    /// The time-out of a task that brings none, per type.
    pub timeout_us: PerType<u64>,
}

impl Limits {
    /// How long one attempt of this task may take, in microseconds.
    pub(super) fn timeout_of(&self, task: &Task) -> u64 {
        let of_type = self.timeout_us[task.spec.kind.index()];
        task.spec.timeout_us.unwrap_or(of_type)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_depth: MAX_QUEUE_DEPTH,
            max_attempts: MAX_ATTEMPTS,
            backoff_first_us: SECOND_US,
            backoff_max_us: 60 * SECOND_US,
            affinity_window: 20,
            exclusion_relax_us: 10 * SECOND_US,
            assignment_latency_target_us: ASSIGNMENT_LATENCY_TARGET_MS * 1_000,
            cancel_grace_us: 5 * SECOND_US,
            start_timeout_us: 30 * SECOND_US,
            timeout_us: [3_600 * SECOND_US; _],
        }
    }
}
