//! `tools/list`: schemas that every known client can read, and that are true.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::daemon::{Daemon, EXTERNAL, text};

const TOOLS: [&str; 10] = [
    "initialize_pool",
    "shutdown_pool",
    "spawn_coordination_agent",
    "submit_coordination_task",
    "get_coordination_task",
    "complete_coordination_task",
    "cancel_coordination_task",
    "fail_coordination_agent",
    "coordination_metrics",
    "isolation_report",
];

fn tools(daemon: &Daemon) -> Vec<Value> {
    daemon.mcp_result("tools/list", &json!({}))["tools"].as_array().unwrap().clone()
}

fn members(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap_or_else(|| panic!("no object: {object}")).keys().cloned().collect()
}

/// Every schema within a schema, itself first.
fn schemas(schema: &Value) -> Vec<&Value> {
    let within = schema["properties"].as_object().into_iter().flat_map(|all| all.values());
    let within = within.chain(schema.get("items"));
    std::iter::once(schema).chain(within.flat_map(schemas)).collect()
}

#[test]
fn every_tool_is_listed_with_hints_and_words_for_a_model() {
    let daemon = Daemon::start(EXTERNAL);
    let tools = tools(&daemon);
    let names: Vec<_> = tools.iter().map(|tool| text(&tool["name"])).collect();
    assert_eq!(names, TOOLS);
    for tool in &tools {
        assert!(text(&tool["description"]).len() > 80, "{tool}");
        assert!(!text(&tool["title"]).is_empty(), "{tool}");
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(tool["annotations"][hint].is_boolean(), "{tool}");
        }
    }
    let with = |hint: &str| -> Vec<_> {
        let has = |tool: &&Value| tool["annotations"][hint] == true;
        tools.iter().filter(has).map(|tool| text(&tool["name"])).collect()
    };
    let reads = ["get_coordination_task", "coordination_metrics", "isolation_report"];
    assert_eq!(with("readOnlyHint"), reads);
    let ends = ["shutdown_pool", "cancel_coordination_task", "fail_coordination_agent"];
    assert_eq!(with("destructiveHint"), ends);
    assert_eq!(with("openWorldHint"), ["submit_coordination_task"]);
}

#[test]
fn inputs_keep_to_what_every_client_understands() {
    let daemon = Daemon::start(EXTERNAL);
    for tool in tools(&daemon) {
        let input = &tool["inputSchema"];
        assert_eq!(input["type"], "object", "{tool}");
        let empty = Vec::new();
        let required = input["required"].as_array().unwrap_or(&empty);
        for name in required {
            assert!(input["properties"].get(text(name)).is_some(), "{tool}");
        }
        for (name, property) in input["properties"].as_object().expect("there are properties") {
            let optional = property["nullable"] == true;
            assert_eq!(optional, !required.contains(&json!(name)), "{name}: {property}");
            assert!(text(&property["description"]).len() > 10, "{name}: {property}");
        }
        for schema in schemas(input) {
            let kinds = ["string", "integer", "number", "boolean", "array", "object"];
            assert!(kinds.contains(&text(&schema["type"]).as_str()), "{schema}");
            for word in ["anyOf", "oneOf", "allOf", "not", "$ref", "$defs", "const", "default"] {
                assert!(schema.get(word).is_none(), "{word}: {schema}");
            }
        }
    }
}

#[test]
fn an_answer_has_exactly_the_members_that_its_schema_names() {
    let (daemon, agents) = Daemon::with_external(2);
    let first = json!({ "payload": {}, "preferred_agent_id": agents[0] });
    let task = text(&daemon.tool("submit_coordination_task", &first)["task_id"]);
    daemon.post(&format!("/agents/{}/fail", agents[0]), &json!({})).ok();
    let by_id = json!({ "task_id": task });
    let answers = [
        daemon.tool("initialize_pool", &json!({})),
        daemon.tool("spawn_coordination_agent", &json!({})),
        daemon.tool("submit_coordination_task", &json!({ "payload": {}, "task_type": "ingest" })),
        daemon.tool("get_coordination_task", &by_id),
        daemon.tool("complete_coordination_task", &json!({ "task_id": task, "attempt": 2 })),
        daemon.tool(
            "cancel_coordination_task",
            &json!({ "task_id": daemon.submit(&json!({ "payload": {} })) }),
        ),
        daemon.tool("fail_coordination_agent", &json!({ "agent_id": agents[1] })),
        daemon.tool("coordination_metrics", &json!({})),
        daemon.tool("isolation_report", &json!({})),
        daemon.tool("shutdown_pool", &json!({})),
    ];
    let order = [0, 2, 3, 4, 5, 6, 7, 8, 9, 1].map(|place| TOOLS[place]);
    let tools = tools(&daemon);
    for (name, answer) in order.into_iter().zip(&answers) {
        let tool = tools.iter().find(|tool| tool["name"] == name).unwrap();
        is_shaped(answer, &tool["outputSchema"], name);
    }
}

/// Whether objects have exactly the members, as far as the schema looks into them.
fn is_shaped(value: &Value, schema: &Value, place: &str) {
    if let Some(properties) = schema.get("properties") {
        assert_eq!(members(value), members(properties), "{place}");
        let required = schema["required"].as_array().unwrap().iter().map(text).collect();
        assert_eq!(members(properties), required, "{place}");
        for (name, schema) in properties.as_object().unwrap() {
            is_shaped(&value[name], schema, &format!("{place}.{name}"));
        }
    }
    if let (Some(schema), Some(items)) = (schema.get("items"), value.as_array()) {
        items.iter().for_each(|item| is_shaped(item, schema, &format!("{place}[]")));
    }
}
