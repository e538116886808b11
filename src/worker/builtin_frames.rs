//! The frames of the built-in worker, as far as it reads and writes them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::{Attempt, TaskId};

/// A task as the daemon gave it.
#[derive(Deserialize)]
pub(super) struct Task {
    pub(super) task_id: TaskId,
    pub(super) attempt: Attempt,
    pub(super) payload: Box<RawValue>,
}

/// The answer to a call of a tool: a value, or why not.
#[derive(Deserialize)]
pub(super) struct ToolResult {
    pub(super) call_id: u64,
    #[serde(default)]
    pub(super) value: Option<Value>,
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Deserialize)]
pub(super) struct Head {
    #[serde(rename = "type")]
    pub(super) kind: String,
}

#[derive(Deserialize)]
pub(super) struct Init {
    pub(super) proto: u32,
    pub(super) heartbeat_s: f64,
    pub(super) max_frame_bytes: usize,
}

#[derive(Deserialize)]
pub(super) struct Cancel {
    pub(super) task_id: TaskId,
    pub(super) attempt: Attempt,
}

#[derive(Deserialize)]
pub(super) struct Ping {
    pub(super) nonce: u64,
}

#[derive(Serialize)]
pub(super) struct Ended<'a> {
    pub(super) task_id: TaskId,
    pub(super) attempt: Attempt,
    pub(super) output: &'a RawValue,
}
