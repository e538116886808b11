//! One assignment of a task, and how it ended.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::decision::Decision;
use super::ids::{AgentId, Attempt, Incarnation};
use super::report::Usage;
use super::stop::Stop;
use super::time::Now;

/// How an attempt ended (rule 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The task is done.
    Completed,
    /// The task failed by its own doing.
    Failed,
    /// The agent was lost.
    AgentFailed,
    /// It took too long.
    TimedOut,
    /// It was called off.
    Cancelled,
    /// It was stopped, or could not go on, through no fault of task or agent.
    Interrupted,
}

impl Outcome {
    /// Every outcome, in the order of its [`index`](Self::index).
    pub const ALL: [Self; 6] = [
        Self::Completed,
        Self::Failed,
        Self::AgentFailed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Interrupted,
    ];

    /// The place of this outcome among all.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name on every wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::AgentFailed => "agent_failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Why an attempt did not complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// Stable, for programs.
    pub cause: String,
    /// A sentence for a person.
    pub detail: String,
}

impl Failure {
    /// A failure with this cause and sentence.
    pub fn new(cause: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { cause: cause.into(), detail: detail.into() }
    }
}

/// One assignment of a task to an incarnation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Its number, the fence.
    pub attempt: Attempt,
    /// Who got it.
    pub agent: AgentId,
    /// In which of its lives.
    pub incarnation: Incarnation,
    /// Why that agent.
    pub decision: Decision,
    /// When it was assigned.
    pub assigned: Now,
    /// When the agent said that it started.
    pub started: Option<Now>,
    /// When and how it ended; `None` while it is open.
    pub end: Option<AttemptEnded>,
    /// Whether the run may still act although the attempt has ended (rule 9).
    pub overlap_possible: bool,
    /// How it was brought to its end, if it was; this may go on after the attempt has ended.
    pub stop: Option<Stop>,
    /// How many children it submitted, whatever became of them.
    pub children: u32,
}

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptEnded {
    /// When.
    pub at: Now,
    /// How.
    pub outcome: Outcome,
    /// Whether it counted as a failure of its task.
    pub counted: bool,
    /// Why it did not complete.
    pub failure: Option<Failure>,
    /// What it used, when the agent said so.
    pub usage: Option<Usage>,
}
