//! What an agent reports of an attempt, whichever way it came.

use serde::{Deserialize, Serialize};

use super::Json;

/// What an attempt used, as the worker counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens sent to models.
    #[serde(default)]
    pub input_tokens: u64,
    /// Tokens that models answered.
    #[serde(default)]
    pub output_tokens: u64,
    /// Calls of models.
    #[serde(default)]
    pub model_calls: u64,
    /// Steps of the agent.
    #[serde(default)]
    pub steps: u64,
}

/// Why a task failed by its own doing, in the words of its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskError {
    /// Stable, for programs.
    pub code: String,
    /// A sentence for a person.
    pub message: String,
    /// Whether trying again may help.
    pub retryable: bool,
}

/// How an agent says that an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// Done; the result may be absent.
    Completed {
        /// What the agent found, as JSON.
        result: Option<Json>,
        /// What it used.
        usage: Option<Usage>,
    },
    /// The task itself cannot be done, or not now.
    Failed {
        /// Why.
        error: TaskError,
        /// What it used.
        usage: Option<Usage>,
    },
    /// The agent stopped because it was asked to.
    Cancelled {
        /// What it used.
        usage: Option<Usage>,
    },
}
