//! Why a task was given to whom (rule 6).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ids::AgentId;

/// Which part of rule 5 or 8 chose the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The client asked for this agent.
    Preferred,
    /// It has the lowest mean latency for this type.
    Affinity,
    /// It was idle longest.
    LongestIdle,
    /// All others that are idle are excluded too, and of them its failure is the oldest.
    OldestFailure,
}

impl Rule {
    /// The name on every wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Preferred => "preferred",
            Self::Affinity => "affinity",
            Self::LongestIdle => "longest_idle",
            Self::OldestFailure => "oldest_failure",
        }
    }
}

/// What became of the client's preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preference {
    /// The preferred agent got the task.
    Used,
    /// There is no such agent.
    Unknown,
    /// The agent does not take this type.
    TypeNotTaken,
    /// The task failed there before.
    Excluded,
    /// The agent is busy or degraded; a preference never waits.
    NotIdle,
}

/// One agent that could have been chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Candidate {
    /// The agent.
    pub agent_id: AgentId,
    /// Its mean latency for this type in milliseconds; `None` without a success.
    pub score_ms: Option<f64>,
}

/// Why a task was given to whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    /// What chose.
    pub rule: Rule,
    /// The chosen agent and up to four that would have been next.
    pub candidates: Vec<Candidate>,
    /// How many idle agents could have been chosen.
    pub candidates_total: usize,
    /// The agents on which this task failed before.
    pub excluded: Vec<AgentId>,
    /// Whether the exclusion was lifted because it held too long (rule 8).
    pub relaxed: bool,
    /// From when the task last became pending to now, in milliseconds.
    pub waited_ms: f64,
    /// What became of the client's preference; `None` when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preference: Option<Preference>,
}
