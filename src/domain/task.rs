//! A task and its states.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::attempt::AttemptRecord;
use super::decision::Preference;
use super::follow_up::FollowUps;
use super::idempotency::IdempotencyKey;
use super::ids::{AgentId, Attempt, TaskId, TraceId};
use super::json::Json;
use super::parent::Parent;
use super::priority::{Place, Priority, Seq};
use super::report::TaskError;
use super::task_type::TaskType;
use super::time::Now;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSpec {
    /// What sort of work it is.
    pub kind: TaskType,
    /// The work itself: a JSON object, for the agent alone.
    pub payload: Json,
    /// How urgent it is.
    pub priority: Priority,
    /// The agent that the client would like best; an id that cannot be one is
    /// `Err(Preference::Unknown)`.
    pub preferred: Option<Result<AgentId, Preference>>,
    /// How long one attempt may take, in microseconds; `None`: as configured for the type.
    pub timeout_us: Option<u64>,
    /// What tells a repetition of the same submit from a new one.
    pub key: Option<IdempotencyKey>,
    /// The trace of the request that submitted it.
    pub trace: TraceId,
}

/// What a client sees of a task's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Waits in the queue.
    Pending,
    /// Is with an agent.
    InProgress,
    /// Done.
    Completed,
    /// Given up.
    Failed,
    /// Called off.
    Cancelled,
}

impl TaskStatus {
    /// Every status.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::InProgress, Self::Completed, Self::Failed, Self::Cancelled];

    /// The name on every wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status of this name; `None` when there is none.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether it will not change again.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// Where a task is. Each state carries what only it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Waits in its place of the queue.
    Pending(Wait),
    /// Was given to `agent` as its newest attempt and has not ended there.
    InProgress {
        /// The agent that has it.
        agent: AgentId,
    },
    /// Will not change again.
    Ended {
        /// Completed, failed or cancelled.
        status: TaskStatus,
        /// When.
        at: Now,
    },
}

/// How a pending task waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// When it last became pending, in monotonic microseconds.
    pub since_us: u64,
    /// Whether it counts against the depth of the queue: only what was submitted and never placed.
    pub counted: bool,
    /// What keeps it back, or nothing.
    pub hold: Hold,
}

/// What keeps a pending task from being offered to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// Nothing, or only its exclusions until this moment (monotonic microseconds).
    Excluding {
        /// When the exclusions are lifted; `None`: there are none.
        until_us: Option<u64>,
    },
    /// Its exclusions were lifted (rule 8).
    Relaxed,
    /// A retry that waits until this moment (monotonic microseconds).
    Backoff {
        /// When it is offered again.
        until_us: u64,
    },
}

/// A unit of work that was accepted, whole: what the scheduler works with and the store keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The number of its submission.
    pub seq: Seq,
    /// What was asked for.
    pub spec: TaskSpec,
    /// Whose child it is; `None`: nobody's.
    pub parent: Option<Parent>,
    /// When it was accepted.
    pub created: Now,
    /// When it was last asked for: accepted, or tried again by order.
    pub asked: Now,
    /// Where it is.
    pub state: TaskState,
    /// The number of its newest attempt.
    pub attempt: Attempt,
    /// Its attempts, the oldest first.
    pub attempts: Vec<AttemptRecord>,
    /// How many attempts counted against it.
    pub failures: u32,
    /// The agents on which it failed, the oldest failure first: the exclusion.
    pub failed_on: Vec<AgentId>,
    /// How many of its newest attempts in a row were interrupted otherwise than by order.
    pub interruptions: u32,
    /// When its first attempt started since it was last asked for.
    pub first_started: Option<Now>,
    /// Until its first start: how long the gates of its type had been closed in all when it was last
    /// asked for. From then on: how long they were closed between the two, which is no part of its
    /// latency. In microseconds.
    pub gated_us: u64,
    /// What became of the items of its result, when a rule looked at them.
    pub follow_ups: Option<FollowUps>,
    /// What the agent found.
    pub result: Option<Json>,
    /// Why it failed.
    pub error: Option<TaskError>,
}

impl Task {
    /// A task that was just accepted and waits, counted with the queue.
    #[must_use]
    pub const fn new(id: TaskId, seq: Seq, spec: TaskSpec, created: Now) -> Self {
        let hold = Hold::Excluding { until_us: None };
        Self {
            id,
            seq,
            spec,
            parent: None,
            created,
            asked: created,
            state: TaskState::Pending(Wait { since_us: created.mono_us, counted: true, hold }),
            attempt: Attempt::NONE,
            attempts: Vec::new(),
            failures: 0,
            failed_on: Vec::new(),
            interruptions: 0,
            first_started: None,
            gated_us: 0,
            follow_ups: None,
            result: None,
            error: None,
        }
    }

    /// The time from when it was last asked for to its first start, but for what it waited for gates,
    /// in microseconds. Of the times that are stored, so that it is the same after a start.
    #[must_use]
    pub(super) fn assignment_latency_us(&self) -> Option<u64> {
        let started = self.first_started?;
        let latency_us = started.wall_us.saturating_sub(self.asked.wall_us);
        Some(latency_us.saturating_sub(self.gated_us))
    }

    /// Its place in the queue, now and whenever it comes back.
    #[must_use]
    pub(super) const fn place(&self) -> Place {
        Place::new(self.spec.priority, self.seq)
    }

    /// How far it stands below a task without a parent, which stands at 0.
    #[must_use]
    pub fn depth(&self) -> u8 {
        self.parent.map_or(0, |parent| parent.depth)
    }

    /// What a client sees of its state.
    #[must_use]
    pub const fn status(&self) -> TaskStatus {
        match self.state {
            TaskState::Pending(_) => TaskStatus::Pending,
            TaskState::InProgress { .. } => TaskStatus::InProgress,
            TaskState::Ended { status, .. } => status,
        }
    }

    /// Its exclusions in the order of the agents' ids, as the queue's lanes want them; none while
    /// they are lifted.
    #[must_use]
    pub(super) fn exclusions(&self) -> Vec<AgentId> {
        let relaxed = matches!(self.state, TaskState::Pending(Wait { hold: Hold::Relaxed, .. }));
        if relaxed {
            return Vec::new();
        }
        let mut agents = self.failed_on.clone();
        agents.sort_unstable();
        agents
    }

    /// The attempt that is open, if one is.
    pub(super) fn open_attempt(&mut self) -> Option<&mut AttemptRecord> {
        self.attempts.last_mut().filter(|record| record.end.is_none())
    }
}
