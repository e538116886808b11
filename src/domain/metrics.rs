//! What the pool counts. Counters are kept as things happen, never found by a scan.

use serde::Serialize;
use utoipa::ToSchema;

use super::attempt::Outcome;
use super::follow_up::FollowUps;
use super::gate::GateState;
use super::histogram::Histogram;
use super::view::{GateView, ScheduleCounts};

/// Counted since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Accepted submits.
    pub submitted: u64,
    /// Refused submits, and refused retries by order.
    pub rejected: u64,
    /// Assignments.
    pub assigned: u64,
    /// Tasks that came back to the queue.
    pub requeued: u64,
    /// Tasks that are with an agent now.
    pub in_progress: u64,
    /// Tasks that ended well.
    pub completed: u64,
    /// Tasks that were given up.
    pub failed: u64,
    /// Tasks that were called off.
    pub cancelled: u64,
    /// Sum of start to end of completed tasks, in microseconds.
    pub duration_us: u64,
    /// Sum of submit (or retry by order) to first start, in microseconds.
    pub assignment_latency_us: u64,
    /// First starts.
    pub first_starts: u64,
    /// First starts that came later than the target.
    pub over_latency_target: u64,
    /// Tokens sent to models, as far as agents said so.
    pub input_tokens: u64,
    /// Tokens that models answered.
    pub output_tokens: u64,
    /// What became of the items of results.
    pub follow_ups: FollowUps,
    /// How long things took.
    pub histograms: Histograms,
}

/// How long things took since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histograms {
    /// From when a task became pending to its assignment.
    pub queue_wait: Histogram,
    /// From submit (or retry by order) to the first start.
    pub assignment_latency: Histogram,
    /// From start (or assignment, without one) to the end of an attempt, by [`Outcome::index`].
    pub attempts: [Histogram; Outcome::ALL.len()],
}

/// A moment of the pool, in the names of the API.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Metrics {
    /// Agents by status.
    pub agents: AgentCounts,
    /// Accepted tasks since the start.
    pub tasks_total: u64,
    /// Tasks that wait.
    pub tasks_pending: u64,
    /// Tasks that are with an agent.
    pub tasks_in_progress: u64,
    /// Tasks that ended well.
    pub tasks_completed: u64,
    /// Tasks that were given up.
    pub tasks_failed: u64,
    /// Tasks that were called off.
    pub tasks_cancelled: u64,
    /// Refused submits, and refused retries by order.
    pub tasks_rejected: u64,
    /// Times that a task came back to the queue.
    pub tasks_requeued: u64,
    /// Assignments since the start.
    pub assignments: u64,
    /// Tasks that rules made of results since the start.
    pub follow_ups_created: u64,
    /// Items of results whose task was there already.
    pub follow_ups_skipped: u64,
    /// Items of results that nothing could be made of.
    pub follow_ups_invalid: u64,
    /// Agents that have a run, those included whose task was cancelled and which have not stopped.
    pub active_coordinations: u64,
    /// Tasks in progress that have an unfinished child which is not detached.
    pub waiting_parents: u64,
    /// Tasks that wait; the same as `tasks_pending`.
    pub queue_length: u64,
    /// The longest wait per priority, the most urgent first.
    pub oldest_wait: Vec<OldestWait>,
    /// Mean of start to end of completed tasks, in seconds; `None` before the first.
    pub avg_task_duration: Option<f64>,
    /// Mean of submit (or retry by order) to first start, in milliseconds; `None` before the first.
    pub avg_assignment_latency_ms: Option<f64>,
    /// First starts later than `assignment_latency_target_ms`.
    pub assignment_latency_over_target: u64,
    /// The share of the live agents that have a run, 0 to 1.
    pub utilization: f64,
    /// Tokens sent to models, as far as agents said so.
    pub input_tokens: u64,
    /// Tokens that models answered.
    pub output_tokens: u64,
    /// Every gate, in the order of the configuration.
    pub gates: Vec<GateMetrics>,
    /// The store.
    pub store: StoreMetrics,
    /// How far the agents are kept apart.
    pub isolation: IsolationMetrics,
    /// The recurring jobs, in the order of the configuration.
    pub schedules: Vec<ScheduleCounts>,
    /// How long things took; for what reads buckets.
    #[serde(skip)]
    pub histograms: Histograms,
}

/// A gate in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct GateMetrics {
    /// Its name.
    pub name: String,
    /// Whether its tasks may run.
    pub state: GateState,
    /// Tasks that wait for it.
    pub tasks_waiting: u64,
    /// How often it was closed since the start.
    pub closures: u64,
}

impl From<GateView> for GateMetrics {
    fn from(gate: GateView) -> Self {
        Self {
            name: gate.name.to_string(),
            state: gate.state,
            tasks_waiting: gate.waiting as u64,
            closures: gate.closures,
        }
    }
}

/// What the store takes and does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct StoreMetrics {
    /// The database file.
    pub file_bytes: u64,
    /// What was written and is not in the database file yet; a reader that reads for long keeps it
    /// from shrinking.
    pub wal_bytes: u64,
    /// What is free on the file system; 0 without a file.
    pub free_bytes: u64,
    /// Commits since the start.
    pub commits: u64,
    /// Turns that those commits made durable.
    pub turns: u64,
    /// Ended tasks that were forgotten since the start because they were too old.
    pub expired: u64,
}

/// What the checks found of how far the agents are kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct IsolationMetrics {
    /// Breaches at the last check: every issue of every agent.
    pub breaches: u64,
    /// Breaches that were found since the start, each counted once until it went away.
    pub breaches_found: u64,
    /// Checks since the start.
    pub checks: u64,
}

/// Agents by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct AgentCounts {
    /// All of them.
    pub total: u64,
    /// Those with nothing to do.
    pub idle: u64,
    /// Those that were given a task and have not said yet that they started.
    pub analyzing: u64,
    /// Those at work.
    pub executing: u64,
    /// Those that get no task.
    pub degraded: u64,
}

/// How long the oldest pending task of a priority waits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct OldestWait {
    /// The priority.
    pub priority: i8,
    /// Since its submission, or since it was tried again by order, in seconds.
    pub wait_s: f64,
}
