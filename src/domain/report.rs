//! What an agent reports of an attempt, whichever way it came.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Json;

/// The longest `code` of an error.
pub const MAX_CODE_BYTES: usize = 128;
/// The longest sentence of an agent about what went wrong.
pub const MAX_MESSAGE_BYTES: usize = 4096;

/// What an attempt used, as the worker counted it. What is no count is 0, and a fraction is rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Tokens sent to models.
    #[serde(default, deserialize_with = "count")]
    pub input_tokens: u64,
    /// Tokens that models answered.
    #[serde(default, deserialize_with = "count")]
    pub output_tokens: u64,
    /// Calls of models.
    #[serde(default, deserialize_with = "count")]
    pub model_calls: u64,
    /// Steps of the agent.
    #[serde(default, deserialize_with = "count")]
    pub steps: u64,
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    let rounded = || raw.get().parse().ok().filter(|float: &f64| float.is_finite());
    let whole = raw.get().parse().ok();
    // A number below 0 becomes 0, one above the range its end.
    Ok(whole.or_else(|| rounded().map(|float| float.round() as u64)).unwrap_or(0))
}

/// Why a task failed by its own doing, in the words of its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_count_is_0() {
        for (text, counted) in [
            ("5", 5),
            ("18446744073709551615", u64::MAX),
            ("-5", 0),
            ("2.6", 3),
            ("-2.6", 0),
            ("1e3", 1_000),
            ("1e30", u64::MAX),
            ("1e999", 0),
            ("null", 0),
            ("true", 0),
            ("\"5\"", 0),
            ("[5]", 0),
        ] {
            let text = format!("{{\"input_tokens\": {text}, \"steps\": 2}}");
            let usage = Usage { input_tokens: counted, steps: 2, ..Usage::default() };
            assert_eq!(serde_json::from_str::<Usage>(&text).unwrap(), usage, "{text}");
        }
    }
}
