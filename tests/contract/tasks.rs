//! Tasks from submit to end, as clients see them.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::daemon::{Daemon, EXTERNAL, ONE_AT_A_TIME, text, wait_until};

#[test]
fn a_submitted_task_goes_to_an_idle_agent_at_once() {
    let (daemon, agents) = Daemon::with_external(1);
    let first = daemon.post("/tasks", &json!({ "payload": { "n": 1 } })).ok();
    assert_eq!(first["status"], "in_progress");
    assert_eq!(first["assigned_agent_id"], agents[0].as_str());
    assert_eq!(first["queue_position"], Value::Null);
    for position in 1..=2 {
        let next = daemon.post("/tasks", &json!({ "payload": {} })).ok();
        assert_eq!(next["status"], "pending");
        assert_eq!(next["assigned_agent_id"], Value::Null);
        assert_eq!(next["queue_position"], position);
    }
}

#[test]
fn a_task_shows_everything_about_itself() {
    let (daemon, agents) = Daemon::with_external(1);
    let payload = json!({ "prompt": "grüße \u{1F600}", "n": 12345678901234567890_u64 });
    let task = daemon.submit(&json!({
        "payload": payload, "task_type": "research", "priority": -5, "timeout_s": 30,
        "preferred_agent_id": agents[0],
    }));
    daemon.get(&format!("/agents/{}/assignment", agents[0])).ok();
    let result = json!({ "found": [1, 2.5, null, "x"] });
    let path = format!("/tasks/{task}/complete");
    let done = daemon.post(&path, &json!({ "result": result })).ok();
    assert_eq!(done, json!({ "task_id": task, "status": "completed" }));

    let shown = daemon.task(&task);
    let expected = [
        ("task_id", json!(task)),
        ("task_type", json!("research")),
        ("payload", payload),
        ("status", json!("completed")),
        ("priority", json!(-5)),
        ("assigned_agent_id", json!(agents[0])),
        ("attempt_count", json!(1)),
        ("failures", json!(0)),
        ("failed_agent_ids", json!([])),
        ("result", result),
        ("error", Value::Null),
        ("usage", Value::Null),
        ("pending_reason", Value::Null),
        ("queue_position", Value::Null),
        ("eta_s", Value::Null),
    ];
    for (name, value) in expected {
        assert_eq!(shown[name], value, "{name}");
    }
    let at = |name: &str| shown[name].as_f64().unwrap_or_else(|| panic!("no {name}"));
    assert!(at("created_at") > 1.6e9, "Unix seconds");
    assert!(at("created_at") <= at("started_at") && at("started_at") <= at("completed_at"));
    assert!(at("assignment_latency_ms") >= 0.0);
    assert!(shown["trace_id"].is_string());

    let attempt = &shown["attempts"][0];
    let expected = [
        ("attempt", json!(1)),
        ("agent_id", json!(agents[0])),
        ("incarnation", json!(1)),
        ("outcome", json!("completed")),
        ("failure", Value::Null),
        ("usage", Value::Null),
        ("overlap_possible", json!(false)),
        ("stop", Value::Null),
    ];
    for (name, value) in expected {
        assert_eq!(attempt[name], value, "{name}");
    }
    for name in ["assigned_at", "started_at", "ended_at"] {
        assert!(attempt[name].is_f64(), "{name}");
    }
    let decision = &attempt["decision"];
    assert_eq!(decision["rule"], "preferred");
    assert_eq!(decision["candidates"], json!([{ "agent_id": agents[0], "score_ms": null }]));
    assert_eq!(decision["candidates_total"], 1);
    assert_eq!(decision["excluded"], json!([]));
    assert_eq!(decision["relaxed"], false);
    assert!(decision["waited_ms"].is_number());
}

#[test]
fn a_pending_task_says_why_and_where_it_waits() {
    let daemon = Daemon::start(EXTERNAL);
    let task = daemon.submit(&json!({ "payload": {} }));
    assert_eq!(daemon.task(&task)["pending_reason"], "pool_empty");
    daemon.post("/agents", &json!({ "task_types": ["ingest"] })).ok();
    assert_eq!(daemon.task(&task)["pending_reason"], "no_agent_for_type");
    assert_eq!(daemon.task(&task)["queue_position"], 1);
    let agent = text(&daemon.post("/agents", &json!({})).ok()["agent_id"]);
    wait_until("it is placed", || {
        (daemon.task(&task)["assigned_agent_id"] == *agent).then_some(())
    });
    let second = daemon.submit(&json!({ "payload": {} }));
    assert_eq!(daemon.task(&second)["pending_reason"], "no_idle_agent");
}

#[test]
fn a_pending_task_says_when_it_is_likely_to_start() {
    let (daemon, agents) = Daemon::with_external(2);
    let submit = |kind: &str| daemon.submit(&json!({ "payload": {}, "task_type": kind }));
    let first = submit("ingest");
    let agent = text(&daemon.task(&first)["assigned_agent_id"]);
    daemon.get(&format!("/agents/{agent}/assignment")).ok();
    assert_eq!(daemon.get(&format!("/tasks/{first}?wait_s=0.2")).ok()["eta_s"], Value::Null);
    daemon.order(&format!("/tasks/{first}/complete")).ok();
    assert_eq!(daemon.task(&first)["eta_s"], Value::Null);
    let by_type = daemon.get(&format!("/agents/{agent}")).ok()["performance"]["by_type"].clone();
    let mean = by_type["ingest"]["average_task_time"].as_f64().unwrap();
    assert!(mean >= 0.2, "{by_type}");
    agents.iter().for_each(|_| drop(submit("ingest")));
    for position in 1..=3 {
        let task = daemon.task(&submit("ingest"));
        assert_eq!(task["queue_position"], position);
        let (eta, expected) = (task["eta_s"].as_f64().unwrap(), mean * f64::from(position) / 2.0);
        assert!((eta - expected).abs() < 1e-4, "{eta} is not {expected}");
    }
    let unknown = daemon.task(&submit("research"));
    assert_eq!((&unknown["queue_position"], &unknown["eta_s"]), (&json!(4), &Value::Null));
}

#[test]
fn an_unknown_preferred_agent_is_skipped_and_the_decision_says_so() {
    let (daemon, agents) = Daemon::with_external(1);
    let task = daemon.submit(&json!({ "payload": {}, "preferred_agent_id": "no id at all" }));
    let shown = daemon.task(&task);
    assert_eq!(shown["assigned_agent_id"], agents[0].as_str());
    assert_eq!(shown["attempts"][0]["decision"]["preference"], "unknown");
}

#[test]
fn a_read_that_waits_ends_when_the_task_does() {
    let (daemon, _) = Daemon::with_agents(ONE_AT_A_TIME, 1);
    let task = daemon.submit(&json!({ "payload": {} }));
    let begun = Instant::now();
    let still = daemon.get(&format!("/tasks/{task}?wait_s=0.3")).ok();
    assert_eq!(still["status"], "in_progress");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let path = format!("/tasks/{task}?wait_s=30");
    thread::scope(|scope| {
        let waits = daemon.waiting(scope, &path);
        let begun = Instant::now();
        daemon.order(&format!("/tasks/{task}/complete")).ok();
        let (answer, ended) = waits.join().unwrap();
        assert_eq!(answer.ok()["status"], "completed");
        assert!(ended.saturating_duration_since(begun) < Duration::from_secs(10));
    });
    assert_eq!(daemon.get(&path).ok()["status"], "completed", "at once when it has ended");
}

#[test]
fn a_list_has_filters_and_pages() {
    let daemon = Daemon::start(EXTERNAL);
    let ids: Vec<_> = (0..5)
        .map(|n| {
            let kind = if n % 2 == 0 { "ingest" } else { "research" };
            daemon.submit(&json!({ "payload": { "n": n }, "task_type": kind }))
        })
        .collect();
    daemon.order(&format!("/tasks/{}/cancel", ids[4])).ok();
    let list = |query: &str| {
        let page = daemon.get(&format!("/tasks{query}")).ok();
        let tasks = page["tasks"].as_array().unwrap();
        let ids: Vec<_> = tasks.iter().map(|task| text(&task["task_id"])).collect();
        (ids, page)
    };
    let newest_first: Vec<_> = ids.iter().rev().cloned().collect();
    let (all, page) = list("");
    assert_eq!(all, newest_first);
    assert_eq!(page["next_cursor"], Value::Null);
    for hidden in ["payload", "result", "attempts"] {
        assert!(page["tasks"][0].get(hidden).is_none(), "{hidden}");
    }
    for shown in ["status", "failures", "created_at", "usage", "pending_reason", "trace_id"] {
        assert!(page["tasks"][0].get(shown).is_some(), "{shown}");
    }
    assert_eq!(list("?status=cancelled").0, newest_first[..1]);
    assert_eq!(list("?task_type=research").0, [ids[3].clone(), ids[1].clone()]);
    assert_eq!(list("?task_type=ingest&status=pending").0, [ids[2].clone(), ids[0].clone()]);
    assert_eq!(list("?status=completed").0, Vec::<String>::new());

    let (mut paged, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let (ids, page) = list(&query);
        paged.extend(ids);
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!(paged, newest_first);
}

#[test]
fn a_failure_says_why_and_a_retryable_one_is_tried_again() {
    let (daemon, _) = Daemon::with_external(1);
    let fail = |task: &str, body: &Value| {
        daemon.post(&format!("/tasks/{task}/complete?success=false"), body).ok()["status"].clone()
    };
    let task = daemon.submit(&json!({ "payload": {} }));
    let error = json!({ "code": "no_such_page", "message": "it was not there" });
    assert_eq!(fail(&task, &json!({ "error": error })), "failed");
    let shown = daemon.task(&task);
    assert_eq!(shown["status"], "failed");
    assert_eq!(shown["error"]["code"], "no_such_page");
    assert_eq!(shown["error"]["message"], "it was not there");
    assert_eq!(shown["error"]["retryable"], false);
    assert_eq!(shown["attempts"][0]["outcome"], "failed");

    let task = daemon.submit(&json!({ "payload": {} }));
    assert_eq!(fail(&task, &json!({})), "failed", "a failure needs no words");
    assert_eq!(daemon.task(&task)["error"]["code"], "failed");

    let task = daemon.submit(&json!({ "payload": {} }));
    assert_eq!(fail(&task, &json!({ "error": { "retryable": true } })), "pending");
    let shown = daemon.task(&task);
    assert_eq!(shown["pending_reason"], "retry_backoff");
    assert_eq!(shown["failures"], 1);
}

#[test]
fn cancelling_ends_a_task_wherever_it_is() {
    let (daemon, agents) = Daemon::with_external(1);
    let runs = daemon.submit(&json!({ "payload": {} }));
    let waits = daemon.submit(&json!({ "payload": {} }));
    for task in [&waits, &runs] {
        let answer = daemon.order(&format!("/tasks/{task}/cancel")).ok();
        assert_eq!(answer, json!({ "task_id": task, "status": "cancelled" }));
        assert_eq!(daemon.task(task)["status"], "cancelled");
    }
    let beat = daemon.order(&format!("/agents/{}/heartbeat", agents[0])).ok();
    assert_eq!(beat["cancel_requested"], true);
    assert_eq!(beat["task_id"], runs.as_str());
    let next = daemon.submit(&json!({ "payload": {} }));
    assert_eq!(daemon.task(&next)["status"], "pending", "the run is not over yet");
    let late = daemon.order(&format!("/tasks/{runs}/complete?attempt=1"));
    late.refused(409, "already_finished");
    wait_until("the run is over with its answer", || {
        (daemon.task(&next)["status"] == "in_progress").then_some(())
    });
}
