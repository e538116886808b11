//! Numbers and reports.

use serde_json::{Value, json};

use crate::daemon::{Daemon, EXTERNAL};

#[test]
fn metrics_count_what_happens() {
    let (daemon, agents) = Daemon::with_external(1);
    let tasks: Vec<_> = (0..3).map(|_| daemon.submit(&json!({ "payload": {} }))).collect();
    daemon.get(&format!("/agents/{}/assignment", agents[0])).ok();
    daemon.order(&format!("/tasks/{}/complete", tasks[0])).ok();
    daemon.order(&format!("/tasks/{}/cancel", tasks[2])).ok();
    let metrics = daemon.metrics();
    let expected = [
        ("agents", json!({ "total": 1, "idle": 0, "analyzing": 1, "executing": 0, "degraded": 0 })),
        ("tasks_total", json!(3)),
        ("tasks_pending", json!(0)),
        ("tasks_in_progress", json!(1)),
        ("tasks_completed", json!(1)),
        ("tasks_failed", json!(0)),
        ("tasks_cancelled", json!(1)),
        ("active_coordinations", json!(1)),
        ("queue_length", json!(0)),
        ("utilization", json!(1.0)),
    ];
    for (name, value) in expected {
        assert_eq!(metrics[name], value, "{name}");
    }
    assert!(metrics["avg_task_duration"].is_f64());
    assert!(metrics["avg_assignment_latency_ms"].is_f64());
}

#[test]
fn the_isolation_report_tells_every_agent_from_the_others() {
    let daemon = Daemon::start("[pool]\nautostart = false\n");
    daemon.post("/pool/initialize", &json!({ "size": 2 })).ok();
    daemon.post("/agents", &json!({ "kind": "external" })).ok();
    let report = daemon.get("/isolation-report").ok();
    assert_eq!(report["total_agents"], 3);
    assert_eq!(report["breaches_detected"], 0);
    assert!(report["timestamp"].as_f64().unwrap() > 1.6e9);
    let details = report["details"].as_array().unwrap();
    assert_eq!(details.len(), 3);
    let agents = daemon.get("/agents").ok();
    let mut ids = std::collections::BTreeSet::new();
    for (detail, agent) in details.iter().zip(agents.as_array().unwrap()) {
        assert_eq!(detail["isolated"], true);
        assert_eq!(detail["issues"], json!([]));
        assert_eq!(detail["agent_id"], agent["agent"]["agent_id"]);
        assert_eq!(detail["context_window_id"], agent["agent"]["context_window_id"]);
        for id in ["context_window_id", "tool_session_id", "memory_handle_id"] {
            assert!(ids.insert(detail[id].to_string()), "{id} is shared");
        }
        match agent["agent"]["kind"].as_str() {
            Some("process") => assert_eq!(detail["measured"]["pid"], agent["agent"]["pid"]),
            _ => assert_eq!(detail["measured"], Value::Null),
        }
    }
}

#[test]
fn a_daemon_lives_before_its_pool_can_work() {
    let daemon = Daemon::start(EXTERNAL);
    assert_eq!(daemon.get("/healthz").ok(), json!({ "status": "ok" }));
    let problem = daemon.get("/readyz").refused(503, "not_ready");
    assert_eq!(problem["reasons"].as_array().unwrap().len(), 1);
    daemon.order("/agents").ok();
    assert_eq!(daemon.get("/readyz").ok(), json!({ "status": "ready", "reasons": [] }));
    for path in ["/healthz", "/readyz", "/metrics", "/tasks", "/agents"] {
        let head = daemon.call("HEAD", path, &[], None);
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
    }
}

#[test]
fn every_path_stands_at_the_base_path() {
    let daemon = Daemon::start(&format!("{EXTERNAL}[http]\nbase_path = \"/pool-a\"\n"));
    daemon.get("/pool-a/healthz").ok();
    daemon.post("/pool-a/tasks", &json!({ "payload": {} })).ok();
    daemon.get("/healthz").refused(404, "not_found");
    daemon.get("/tasks").refused(404, "not_found");
}
