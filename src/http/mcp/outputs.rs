//! What the tools answer, as JSON Schemas: the bodies of the HTTP answers. Clients check answers
//! against them, so that what can be null says so the way JSON Schema does.

use rmcp::model::JsonObject;
use serde_json::{Map, Value, json};

use super::tools::Name;
use crate::domain::{TaskStatus, TaskType};

/// The answer of a tool.
pub(super) fn of(name: Name) -> JsonObject {
    let properties = match name {
        Name::InitializePool => json!({
            "status": { "const": "initialized" },
            "pool_size": count("Agents of the pool."),
            "spawned_agents": count("Agents that this call made."),
            "agent_ids": { "type": "array", "items": id() },
        }),
        Name::ShutdownPool => json!({
            "status": { "const": "shutdown_completed" },
            "agents_stopped": count("Agents that were ended."),
            "tasks_requeued": count("Running tasks that wait again."),
            "tasks_pending": count("Tasks that wait for the next pool."),
        }),
        Name::SpawnCoordinationAgent => json!({
            "agent_id": id(),
            "context_window_id": id(),
            "status": agent_status(),
            "incarnation": count("Which life of the agent this is."),
        }),
        Name::SubmitCoordinationTask => json!({
            "task_id": id(),
            "status": task_status(),
            "assigned_agent_id": or_null(&id()),
            "queue_position": or_null(&count("Its place in the queue, 1 is next.")),
        }),
        Name::GetCoordinationTask => task(),
        Name::CompleteCoordinationTask | Name::CancelCoordinationTask => {
            json!({ "task_id": id(), "status": task_status() })
        }
        Name::FailCoordinationAgent => json!({
            "agent_id": id(),
            "status": { "const": "degraded" },
            "task_reassigned": { "type": "boolean" },
            "reassigned_task_id": or_null(&id()),
            "task_failed_permanently": { "type": "boolean" },
        }),
        Name::CoordinationMetrics => metrics(),
        Name::IsolationReport => json!({
            "timestamp": { "type": "number", "description": "Unix seconds." },
            "total_agents": count("Agents of the pool."),
            "breaches_detected": count("Everything that an agent shares or has and must not, one by one."),
            "not_enforced": {
                "type": "array",
                "items": { "type": "object" },
                "description": "Guards that some agent is without: guard, why.",
            },
            "details": { "type": "array", "items": object(json!({
                "agent_id": id(),
                "incarnation": count("Which life of the agent."),
                "context_window_id": id(),
                "tool_session_id": id(),
                "memory_handle_id": id(),
                "isolated": { "type": "boolean" },
                "issues": { "type": "array", "items": { "type": "string" } },
                "measured": { "type": ["object", "null"] },
            })) },
        }),
    };
    object(properties)
}

/// An object that has all of these members.
fn object(properties: Value) -> JsonObject {
    let Value::Object(properties) = properties else { return Map::new() };
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("required".to_owned(), properties.keys().map(String::as_str).collect());
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema
}

fn task() -> Value {
    json!({
        "task_id": id(),
        "parent_task_id": or_null(&id()),
        "task_type": { "type": "string", "enum": TaskType::ALL.map(TaskType::name) },
        "payload": { "type": "object" },
        "status": task_status(),
        "priority": { "type": "integer" },
        "assigned_agent_id": or_null(&id()),
        "attempt_count": count("The number of the newest attempt."),
        "failures": count("Attempts that counted against it."),
        "failed_agent_ids": { "type": "array", "items": id() },
        "created_at": moment(),
        "started_at": or_null(&moment()),
        "completed_at": or_null(&moment()),
        "assignment_latency_ms": { "type": ["number", "null"] },
        "result": { "description": "Any JSON, once it is completed." },
        "error": { "type": ["object", "null"], "description": "Of a failed task: code, message." },
        "usage": { "type": ["object", "null"] },
        "follow_ups": {
            "type": ["object", "null"],
            "description": "What became of the items of its result: created, skipped, invalid.",
        },
        "attempts": { "type": "array", "items": object(json!({
            "attempt": count("Its number."),
            "agent_id": id(),
            "incarnation": count("Which life of the agent."),
            "decision": { "type": "object", "description": "Why this agent." },
            "assigned_at": moment(),
            "started_at": or_null(&moment()),
            "ended_at": or_null(&moment()),
            "outcome": { "type": ["string", "null"] },
            "failure": { "type": ["object", "null"], "description": "cause and detail." },
            "usage": { "type": ["object", "null"] },
            "overlap_possible": { "type": "boolean" },
            "stop": { "type": ["object", "null"], "description": "How it was brought to its end." },
        })) },
        "pending_reason": { "type": ["string", "null"], "description": "Why it waits." },
        "queue_position": or_null(&count("Its place in the queue, 1 is next.")),
        "eta_s": { "type": ["number", "null"], "description": "Seconds until it may start." },
        "trace_id": { "type": "string" },
    })
}

fn metrics() -> Value {
    let counts = |names: &[&str]| -> JsonObject {
        names.iter().map(|name| ((*name).to_owned(), json!({ "type": "integer" }))).collect()
    };
    let mut properties = counts(&[
        "tasks_total",
        "tasks_pending",
        "tasks_in_progress",
        "tasks_completed",
        "tasks_failed",
        "tasks_cancelled",
        "tasks_rejected",
        "tasks_requeued",
        "assignments",
        "follow_ups_created",
        "follow_ups_skipped",
        "follow_ups_invalid",
        "active_coordinations",
        "waiting_parents",
        "queue_length",
        "assignment_latency_over_target",
        "input_tokens",
        "output_tokens",
    ]);
    let agents = counts(&["total", "idle", "analyzing", "executing", "degraded"]);
    let store = counts(&["file_bytes", "wal_bytes", "free_bytes", "commits", "turns", "expired"]);
    let isolation = counts(&["breaches", "breaches_found", "checks"]);
    let wait = json!({ "priority": { "type": "integer" }, "wait_s": { "type": "number" } });
    let gate = json!({
        "name": { "type": "string" },
        "state": { "type": "string", "enum": ["open", "closed", "unknown"] },
        "tasks_waiting": { "type": "integer" },
        "closures": { "type": "integer" },
    });
    let job = json!({
        "name": { "type": "string" },
        "runs": { "type": "integer" },
        "skipped": { "type": "object", "description": "How often it was due and did not run, by reason." },
    });
    for (name, schema) in [
        ("agents", json!(object(Value::Object(agents)))),
        ("store", json!(object(Value::Object(store)))),
        ("isolation", json!(object(Value::Object(isolation)))),
        ("schedules", json!({ "type": "array", "items": object(job) })),
        ("oldest_wait", json!({ "type": "array", "items": object(wait) })),
        ("gates", json!({ "type": "array", "items": object(gate) })),
        ("avg_task_duration", json!({ "type": ["number", "null"], "description": "Seconds." })),
        ("avg_assignment_latency_ms", json!({ "type": ["number", "null"] })),
        ("utilization", json!({ "type": "number", "description": "0 to 1." })),
    ] {
        properties.insert(name.to_owned(), schema);
    }
    Value::Object(properties)
}

fn id() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

fn count(description: &str) -> Value {
    json!({ "type": "integer", "description": description })
}

fn moment() -> Value {
    json!({ "type": "number", "description": "Unix seconds." })
}

fn task_status() -> Value {
    json!({ "type": "string", "enum": TaskStatus::ALL.map(TaskStatus::name) })
}

fn agent_status() -> Value {
    json!({ "type": "string", "enum": ["idle", "analyzing", "executing", "degraded"] })
}

fn or_null(schema: &Value) -> Value {
    let mut schema = schema.clone();
    schema["type"] = json!([schema["type"], "null"]);
    schema
}
