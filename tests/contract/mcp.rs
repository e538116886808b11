//! `POST /mcp`: every tool and resource, and that they are the HTTP API by another door.

use serde_json::{Value, json};

use crate::daemon::{Answer, Daemon, EXTERNAL, text};

pub(super) const HEADERS: [(&str, &str); 2] =
    [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];

/// The id of nothing.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

impl Daemon {
    /// Sends one message to the tools.
    pub(super) fn mcp(&self, message: &Value) -> Answer {
        self.call("POST", "/mcp", &HEADERS, Some(message.to_string().as_bytes()))
    }

    /// Asks for something and gives the result.
    #[track_caller]
    pub(super) fn mcp_result(&self, method: &str, params: &Value) -> Value {
        let answer = self.mcp(&request(method, params)).ok();
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(7)), "{answer}");
        assert!(answer["error"].is_null(), "{answer}");
        answer["result"].clone()
    }

    /// Asks for something and gives the error, with which the HTTP status is still 200.
    #[track_caller]
    pub(super) fn mcp_error(&self, method: &str, params: &Value) -> Value {
        let answer = self.mcp(&request(method, params)).ok();
        assert_eq!(answer["id"], 7, "{answer}");
        assert!(answer.get("result").is_none(), "{answer}");
        answer["error"].clone()
    }

    /// Calls a tool and gives what it answers.
    #[track_caller]
    pub(super) fn tool(&self, name: &str, arguments: &Value) -> Value {
        let result =
            self.mcp_result("tools/call", &json!({ "name": name, "arguments": arguments }));
        assert_eq!(result["isError"], false, "{result}");
        let content = result["content"].as_array().unwrap();
        assert_eq!((content.len(), &content[0]["type"]), (1, &json!("text")), "{result}");
        let said: Value = serde_json::from_str(&text(&content[0]["text"])).unwrap();
        assert_eq!(said, result["structuredContent"], "the text and the value are the same");
        said
    }

    /// Calls a tool that refuses and gives the error.
    #[track_caller]
    pub(super) fn tool_refuses(&self, name: &str, arguments: &Value, code: &str) -> Value {
        let error = self.mcp_error("tools/call", &json!({ "name": name, "arguments": arguments }));
        let data = &error["data"];
        assert_eq!(data["code"], code, "{error}");
        assert_eq!(error["message"], format!("{code}: {}", text(&data["message"])), "{error}");
        assert!(data["retryable"].is_boolean(), "{error}");
        assert!(data["trace_id"].is_string(), "{error}");
        error
    }
}

pub(super) fn request(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params })
}

#[test]
fn a_whole_life_of_a_pool_goes_through_the_tools() {
    let daemon = Daemon::start(EXTERNAL);
    let pool = daemon.tool("initialize_pool", &json!({ "size": 2 }));
    assert_eq!((&pool["status"], &pool["pool_size"]), (&json!("initialized"), &json!(2)));
    assert_eq!(daemon.tool("initialize_pool", &json!({ "size": null }))["spawned_agents"], 2);
    let spawned = daemon.tool(
        "spawn_coordination_agent",
        &json!({ "kind": "external", "lease_s": 60, "task_types": ["research"] }),
    );
    assert_eq!((&spawned["status"], &spawned["incarnation"]), (&json!("idle"), &json!(1)));

    let agent = &pool["agent_ids"][0];
    let submitted = daemon.tool(
        "submit_coordination_task",
        &json!({
            "payload": { "n": 1 }, "task_type": "ingest", "preferred_agent_id": agent,
            "priority": 5, "timeout_s": 60, "idempotency_key": "one",
        }),
    );
    assert_eq!(submitted["status"], "in_progress");
    assert_eq!(&submitted["assigned_agent_id"], agent);
    let task = &submitted["task_id"];
    let shown = daemon.tool("get_coordination_task", &json!({ "task_id": task, "wait_s": 0.01 }));
    assert_eq!((&shown["task_id"], &shown["payload"]), (task, &json!({ "n": 1 })));
    assert_eq!((&shown["priority"], &shown["task_type"]), (&json!(5), &json!("ingest")));

    let failed =
        daemon.tool("fail_coordination_agent", &json!({ "agent_id": agent, "reason": "slow" }));
    assert_eq!((&failed["status"], &failed["reassigned_task_id"]), (&json!("degraded"), task));
    assert_eq!(failed["task_reassigned"], true);
    let done = daemon.tool(
        "complete_coordination_task",
        &json!({ "task_id": task, "attempt": 2, "result": { "ok": true } }),
    );
    assert_eq!(done, json!({ "task_id": task, "status": "completed" }));
    let shown = daemon.tool("get_coordination_task", &json!({ "task_id": task }));
    assert_eq!(shown["result"], json!({ "ok": true }));

    let second =
        daemon.tool("submit_coordination_task", &json!({ "payload": {} }))["task_id"].clone();
    let cancelled = daemon.tool("cancel_coordination_task", &json!({ "task_id": second }));
    assert_eq!(cancelled, json!({ "task_id": second, "status": "cancelled" }));

    let metrics = daemon.tool("coordination_metrics", &json!({}));
    assert_eq!((&metrics["tasks_total"], &metrics["tasks_completed"]), (&json!(2), &json!(1)));
    assert_eq!(daemon.tool("isolation_report", &json!({}))["breaches_detected"], 0);
    let closed = daemon.tool("shutdown_pool", &json!({ "drain_s": 0, "discard": true }));
    assert_eq!(
        (&closed["status"], &closed["agents_stopped"]),
        (&json!("shutdown_completed"), &json!(5))
    );
}

#[test]
fn a_tool_answers_what_the_http_api_answers() {
    let (daemon, agents) = Daemon::with_external(2);
    let submit = json!({ "payload": { "b": 1, "a": [1.5, "ü", null] }, "idempotency_key": "k" });
    let over_http = daemon.post("/tasks", &submit).ok();
    assert_eq!(daemon.tool("submit_coordination_task", &submit), over_http);
    let task = text(&over_http["task_id"]);
    let shown = daemon.tool("get_coordination_task", &json!({ "task_id": task }));
    assert_eq!(shown, daemon.task(&task));

    let closed = daemon.tool("complete_coordination_task", &json!({ "task_id": task }));
    let next = daemon.submit(&json!({ "payload": {} }));
    let mut same = daemon.order(&format!("/tasks/{next}/complete")).ok();
    same["task_id"] = json!(task);
    assert_eq!(closed, same);

    let stays = |mut metrics: Value| {
        for grows_by_itself in ["store", "isolation"] {
            metrics.as_object_mut().unwrap().remove(grows_by_itself);
        }
        metrics
    };
    let metrics = daemon.tool("coordination_metrics", &json!({}));
    assert_eq!(stays(metrics), stays(daemon.metrics()));
    let report = daemon.tool("isolation_report", &json!({}));
    assert_eq!(report["details"], daemon.get("/isolation-report").ok()["details"]);
    let again = daemon.tool("initialize_pool", &json!({ "size": 1 }));
    assert_eq!(again, daemon.post("/pool/initialize", &json!({ "size": 1 })).ok());
    let failed = daemon.tool("fail_coordination_agent", &json!({ "agent_id": agents[0] }));
    let mut same = daemon.order(&format!("/agents/{}/fail", agents[1])).ok();
    same["agent_id"] = json!(agents[0]);
    assert_eq!(failed, same);
}

#[test]
fn a_payload_comes_through_digit_by_digit() {
    let (daemon, agents) = Daemon::with_external(1);
    let payload = r#"{"z":1.0,"a":12345678901234567890123,"b":1e2}"#;
    let message = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":
           "submit_coordination_task","arguments":{{"payload":{payload}}}}}}}"#
    );
    daemon.call("POST", "/mcp", &HEADERS, Some(message.as_bytes())).ok();
    let assignment = daemon.get(&format!("/agents/{}/assignment", agents[0]));
    assert!(assignment.text.contains(payload), "{}", assignment.text);
}

#[test]
fn a_failure_is_told_with_its_reason() {
    let (daemon, _) = Daemon::with_external(1);
    for (said, code, message) in [
        (json!({}), "failed", "the agent reported failure"),
        (json!({ "retryable": false }), "failed", "the agent reported failure"),
        (json!({ "error_code": "busy", "error_message": "later" }), "busy", "later"),
    ] {
        let task = daemon.submit(&json!({ "payload": {} }));
        let mut arguments = said;
        arguments["task_id"] = json!(task);
        arguments["success"] = json!(false);
        let ended = daemon.tool("complete_coordination_task", &arguments);
        assert_eq!(ended["status"], "failed");
        let error = daemon.task(&task)["error"].clone();
        assert_eq!((&error["code"], &error["message"]), (&json!(code), &json!(message)));
    }
    let task = daemon.submit(&json!({ "payload": {} }));
    let retryable = json!({ "task_id": task, "success": false, "retryable": true });
    assert_eq!(daemon.tool("complete_coordination_task", &retryable)["status"], "pending");
}

#[test]
fn a_refusal_is_an_error_with_everything_a_program_needs() {
    let (daemon, _) = Daemon::with_external(1);
    let task = daemon.submit(&json!({ "payload": {} }));
    let id = json!({ "task_id": task });
    daemon.tool("complete_coordination_task", &id);
    let before = daemon.state();
    let error = daemon.tool_refuses("complete_coordination_task", &id, "already_finished");
    assert_eq!(error["code"], -32000);
    assert_eq!(error["data"]["task_status"], "completed");
    assert_eq!(error["data"]["finished_by_attempt"], 1);
    assert_eq!(error["data"]["retryable"], false);
    daemon.tool_refuses("cancel_coordination_task", &id, "already_finished");
    for (name, id) in [
        ("get_coordination_task", json!({ "task_id": "no-id" })),
        ("cancel_coordination_task", json!({ "task_id": NOBODY })),
    ] {
        daemon.tool_refuses(name, &id, "task_not_found");
    }
    let nobody = json!({ "agent_id": "nobody" });
    daemon.tool_refuses("fail_coordination_agent", &nobody, "agent_not_found");
    assert_eq!(daemon.state(), before);
}

#[test]
fn an_argument_that_is_not_allowed_is_refused_with_its_name() {
    let (daemon, _) = Daemon::with_external(1);
    let before = daemon.state();
    for (tool, arguments, named) in [
        ("initialize_pool", json!({ "sise": 1 }), "`sise`"),
        ("initialize_pool", json!({ "size": 0 }), "`size` must be an integer from 1 to 16"),
        ("initialize_pool", json!({ "size": "4" }), "`size`"),
        ("shutdown_pool", json!({ "drain_s": -1 }), "`drain_s`"),
        ("shutdown_pool", json!({ "discard": "maybe" }), "`discard`"),
        ("spawn_coordination_agent", json!({ "kind": "robot" }), "process or external"),
        ("spawn_coordination_agent", json!({ "task_types": ["x"] }), "`task_types`"),
        ("submit_coordination_task", json!({}), "`payload` is missing"),
        ("submit_coordination_task", json!({ "payload": "text" }), "`payload`"),
        ("submit_coordination_task", json!({ "payload": {}, "wait": 1 }), "`wait`"),
        ("submit_coordination_task", json!({ "payload": {}, "priority": 101 }), "`priority`"),
        ("get_coordination_task", json!({}), "`task_id` is missing"),
        ("get_coordination_task", json!({ "task_id": 7 }), "`task_id` must be a string"),
        ("get_coordination_task", json!({ "task_id": "x", "wait_s": 61 }), "from 0 to 60"),
        ("complete_coordination_task", json!({ "task_id": NOBODY, "attempt": 0 }), "`attempt`"),
        (
            "complete_coordination_task",
            json!({ "task_id": NOBODY, "error_code": "y" }),
            "contradicts",
        ),
        (
            "complete_coordination_task",
            json!({ "task_id": NOBODY, "success": false, "error_code": "" }),
            "`error_code`",
        ),
        ("cancel_coordination_task", json!({ "task_id": "x", "why": "y" }), "`why`"),
        ("fail_coordination_agent", json!({ "reason": "y" }), "`agent_id` is missing"),
        ("coordination_metrics", json!({ "all": true }), "`all`"),
        ("isolation_report", json!({ "agent": 1 }), "`agent`"),
    ] {
        let error = daemon.tool_refuses(tool, &arguments, "validation_failed");
        assert_eq!(error["code"], -32602, "{error}");
        assert!(text(&error["message"]).contains(named), "{tool} {arguments}: {error}");
    }
    assert_eq!(daemon.state(), before);
}

#[test]
fn resources_show_what_the_reads_answer() {
    let (daemon, _) = Daemon::with_external(1);
    let task = daemon.submit(&json!({ "payload": { "n": 1 } }));
    let listed = daemon.mcp_result("resources/list", &json!({}));
    let uris: Vec<_> =
        listed["resources"].as_array().unwrap().iter().map(|one| one["uri"].clone()).collect();
    assert_eq!(uris, ["daedalus://metrics", "daedalus://isolation-report"]);
    let templates = daemon.mcp_result("resources/templates/list", &json!({}));
    let templates = templates["resourceTemplates"].as_array().unwrap();
    assert_eq!(
        (templates.len(), &templates[0]["uriTemplate"]),
        (1, &json!("daedalus://tasks/{id}"))
    );

    let read = |uri: &str| -> Value {
        let read = daemon.mcp_result("resources/read", &json!({ "uri": uri }));
        let contents = read["contents"].as_array().unwrap();
        assert_eq!((contents.len(), &contents[0]["uri"]), (1, &json!(uri)));
        assert_eq!(contents[0]["mimeType"], "application/json");
        serde_json::from_str(&text(&contents[0]["text"])).unwrap()
    };
    assert_eq!(read(&format!("daedalus://tasks/{task}")), daemon.task(&task));
    assert_eq!(read("daedalus://metrics")["tasks_total"], 1);
    assert_eq!(read("daedalus://isolation-report")["total_agents"], 1);

    let nobody = format!("daedalus://tasks/{NOBODY}");
    for uri in [&*nobody, "daedalus://tasks/none", "daedalus://nothing", "file:///etc/passwd"] {
        let error = daemon.mcp_error("resources/read", &json!({ "uri": uri }));
        assert_eq!(error["code"], -32002);
        assert_eq!(error["data"]["code"], "resource_not_found");
        assert_eq!(error["data"]["uri"], uri);
    }
}
