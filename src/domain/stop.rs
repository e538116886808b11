//! How a run was brought to its end before its agent ended it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::Now;

/// Why a run was stopped: the first reason that anybody had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Its task was cancelled.
    Cancelled,
    /// It took too long.
    TimedOut,
    /// A client failed its agent.
    AgentFailed,
    /// Its agent was removed, the pool or the daemon stopped, or it had to make room.
    Interrupted,
    /// The daemon found its agent unfit: it was silent, stuck or broke the protocol. The attempt's
    /// failure says which.
    AgentUnfit,
}

impl StopReason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::Cancelled, Self::TimedOut, Self::AgentFailed, Self::Interrupted, Self::AgentUnfit];

    /// The name on every wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::AgentFailed => "agent_failed",
            Self::Interrupted => "interrupted",
            Self::AgentUnfit => "agent_unfit",
        }
    }
}

/// The ladder that a run was taken down, with the time of each step that it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Why.
    pub reason: StopReason,
    /// When its agent was asked to end it; `None`: it was killed at once, or is gone.
    pub asked: Option<Now>,
    /// When the process group of the worker was sent SIGTERM.
    pub signalled: Option<Now>,
    /// When the kill of the whole process tree was ordered.
    pub killed: Option<Now>,
    /// When nothing of the run could act any more (rule 9); `None` while it goes on, and for ever
    /// when that was not seen.
    pub over: Option<Now>,
}

impl Stop {
    /// The beginning of a stop.
    #[must_use]
    pub const fn new(reason: StopReason) -> Self {
        Self { reason, asked: None, signalled: None, killed: None, over: None }
    }
}
