//! What the tools take, as JSON Schemas that every client can read. Clients were seen to fail at
//! `anyOf`, lists of types, references and a missing `properties`; an argument counts as optional
//! only where it stands out of `required` and is `nullable`.

use rmcp::model::JsonObject;
use serde_json::{Map, Value, json};

use super::tools::Name;
use crate::domain::{IdempotencyKey, MAX_CODE_BYTES, MAX_MESSAGE_BYTES, Priority, TaskType};
use crate::http::agents::{LEASE_S, MAX_REASON};
use crate::http::pool::MAX_DRAIN_S;
use crate::http::server::HttpSettings;
use crate::http::tasks::{MAX_TIMEOUT_S, WAIT_S};

/// The arguments of a tool.
pub(super) fn of(name: Name, settings: &HttpSettings) -> JsonObject {
    match name {
        Name::InitializePool => arguments(
            &[],
            json!({ "size": {
                "type": "integer", "minimum": 1, "maximum": settings.max_pool_size,
                "description": "How many agents the pool has at least; as configured when absent.",
            } }),
        ),
        Name::ShutdownPool => arguments(
            &[],
            json!({
                "drain_s": {
                    "type": "number", "minimum": 0, "maximum": MAX_DRAIN_S,
                    "description": "How many seconds running tasks may go on before they are \
                                    interrupted; as configured when absent.",
                },
                "discard": {
                    "type": "boolean",
                    "description": "Whether every task that has not ended is cancelled; false \
                                    when absent.",
                },
            }),
        ),
        Name::SpawnCoordinationAgent => arguments(&[], agent()),
        Name::SubmitCoordinationTask => arguments(&["payload"], task()),
        Name::GetCoordinationTask => arguments(
            &["task_id"],
            json!({
                "task_id": task_id(),
                "wait_s": {
                    "type": "number", "minimum": WAIT_S.start(), "maximum": WAIT_S.end(),
                    "description": "How many seconds to wait for the end of the task; 0 when \
                                    absent.",
                },
            }),
        ),
        Name::CompleteCoordinationTask => arguments(&["task_id"], ending()),
        Name::CancelCoordinationTask => arguments(&["task_id"], json!({ "task_id": task_id() })),
        Name::FailCoordinationAgent => arguments(
            &["agent_id"],
            json!({
                "agent_id": { "type": "string", "description": "The id of the agent." },
                "reason": {
                    "type": "string", "maxLength": MAX_REASON,
                    "description": "Why, in a sentence; it is logged and shown with the task.",
                },
            }),
        ),
        Name::CoordinationMetrics | Name::IsolationReport => arguments(&[], json!({})),
    }
}

/// The schema of these arguments; those that are not required are optional.
fn arguments(required: &[&str], properties: Value) -> JsonObject {
    let Value::Object(mut properties) = properties else { return Map::new() };
    for (name, property) in &mut properties {
        if !required.contains(&name.as_str()) {
            property["nullable"] = json!(true);
        }
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

fn task_id() -> Value {
    json!({
        "type": "string",
        "description": "The id of the task, as submit_coordination_task answered it.",
    })
}

fn task_types() -> [&'static str; TaskType::ALL.len()] {
    TaskType::ALL.map(TaskType::name)
}

fn agent() -> Value {
    json!({
        "kind": {
            "type": "string", "enum": ["process", "external"],
            "description": "`process`: the pool runs it; `external`: a program elsewhere is the \
                            agent. As configured when absent.",
        },
        "lease_s": {
            "type": "number", "minimum": LEASE_S.start(), "maximum": LEASE_S.end(),
            "description": "Only for external agents: it must call at least this often, in \
                            seconds, or counts as lost. Without it, it never does.",
        },
        "task_types": {
            "type": "array", "items": { "type": "string", "enum": task_types() }, "minItems": 1,
            "description": "The only types of tasks that it takes; every type when absent.",
        },
    })
}

fn task() -> Value {
    json!({
        "payload": {
            "type": "object",
            "description": "What the agent gets, any JSON object, such as {\"prompt\": \"...\"}.",
        },
        "task_type": {
            "type": "string", "enum": task_types(),
            "description": "Its type; `general` when absent. Agents are chosen by how well they \
                            did with a type.",
        },
        "preferred_agent_id": {
            "type": "string",
            "description": "The agent that should run it if it is idle; a preference never waits.",
        },
        "priority": {
            "type": "integer", "minimum": Priority::MIN, "maximum": Priority::MAX,
            "description": "Higher ones run first; 0 when absent.",
        },
        "timeout_s": {
            "type": "number", "exclusiveMinimum": 0, "maximum": MAX_TIMEOUT_S,
            "description": "How many seconds one attempt may take; as configured when absent.",
        },
        "idempotency_key": {
            "type": "string", "minLength": 1, "maxLength": IdempotencyKey::MAX_CHARS,
            "description": "A name of your own for this submit, so that repeating the call cannot \
                            make a second task.",
        },
        "parent_task_id": {
            "type": "string",
            "description": "The task in progress that hands this one out. It is cancelled when \
                            that attempt does not complete.",
        },
        "detach": {
            "type": "boolean",
            "description": "Only with parent_task_id: whether it goes on whatever becomes of the \
                            parent; false when absent.",
        },
    })
}

fn ending() -> Value {
    json!({
        "task_id": task_id(),
        "attempt": {
            "type": "integer", "minimum": 1,
            "description": "The number of the attempt that this ends.",
        },
        "success": {
            "type": "boolean", "description": "Whether it went well; true when absent.",
        },
        "result": {
            "type": "object", "description": "The result, only with success.",
        },
        "error_code": {
            "type": "string", "minLength": 1, "maxLength": MAX_CODE_BYTES,
            "description": "A short name for what went wrong, only without success.",
        },
        "error_message": {
            "type": "string", "maxLength": MAX_MESSAGE_BYTES,
            "description": "What went wrong, in a sentence, only without success.",
        },
        "retryable": {
            "type": "boolean",
            "description": "Whether another try may help, only without success; false when absent.",
        },
    })
}
