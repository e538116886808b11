//! What the built-in worker does with the daemon's tools.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::builtin::Worker;
use super::builtin_frames::ToolResult;

/// How often it looks at what it has handed out.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// One call, whose answer is the result.
#[derive(Deserialize)]
pub(super) struct Call {
    name: String,
    args: Box<RawValue>,
}

/// Tasks to hand out and to wait for.
#[derive(Deserialize)]
pub(super) struct Delegate {
    /// The arguments of each submit.
    children: Vec<Value>,
}

/// Calls that nobody waits for.
#[derive(Deserialize)]
pub(super) struct Flood {
    name: String,
    count: u32,
}

/// What became of a child: its id and status, or the code of the refusal.
#[derive(Serialize)]
#[serde(untagged)]
enum Child {
    Accepted { task_id: String, status: String, detached: bool },
    Refused { code: String },
}

/// The answer to one call; `None` when the task is cancelled meanwhile.
pub(super) fn call(worker: &Worker, call: &Call) -> Option<Value> {
    Some(match worker.call_tool(&call.name, &call.args)? {
        ToolResult { value: Some(value), .. } => json!({ "value": value }),
        ToolResult { code, message, .. } => json!({ "code": code, "message": message }),
    })
}

/// Calls a tool again and again before there is an answer.
pub(super) fn flood(worker: &Worker, Flood { name, count }: &Flood) {
    for _ in 0..*count {
        worker.begin_call(name, &json!({}));
    }
}

/// Hands the tasks out, waits until those have ended that it has to wait for, and answers what
/// became of each; `None` when the task is cancelled meanwhile.
pub(super) fn delegate(worker: &Worker, Delegate { children }: &Delegate) -> Option<Value> {
    let mut made = Vec::new();
    for args in children {
        let answer = worker.call_tool("submit_coordination_task", args)?;
        made.push(match answer.value {
            Some(value) => Child::Accepted {
                task_id: text(&value["task_id"]),
                status: text(&value["status"]),
                detached: args["detach"] == true,
            },
            None => Child::Refused { code: answer.code },
        });
    }
    for child in &mut made {
        let Child::Accepted { task_id, status, detached: false } = child else { continue };
        while matches!(&**status, "pending" | "in_progress") {
            if worker.wait_for_cancel(Some(LOOK_AGAIN)) {
                return None;
            }
            let args = json!({ "task_id": task_id });
            let answer = worker.call_tool("get_coordination_task", &args)?;
            *status = answer.value.map_or(answer.code, |task| text(&task["status"]));
        }
    }
    Some(json!({ "children": made }))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
