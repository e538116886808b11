//! Agents: added, shown, failed, recovered, removed.

use std::thread;

use serde_json::{Value, json};

use crate::daemon::{Daemon, EXTERNAL, text, wait_until};

#[test]
fn an_agent_shows_everything_about_itself() {
    let daemon = Daemon::start(EXTERNAL);
    let body = json!({ "kind": "external", "lease_s": 60, "task_types": ["ingest", "research"] });
    let spawned = daemon.post("/agents", &body).ok();
    assert_eq!(spawned["status"], "idle");
    assert_eq!(spawned["incarnation"], 1);
    let id = text(&spawned["agent_id"]);
    daemon.order(&format!("/agents/{id}/heartbeat")).ok();
    let task = daemon.submit(&json!({ "payload": {}, "task_type": "ingest" }));
    let agent = daemon.agent(&id);
    let expected = [
        ("agent_id", json!(id)),
        ("context_window_id", spawned["context_window_id"].clone()),
        ("status", json!("analyzing")),
        ("status_reason", Value::Null),
        ("status_detail", Value::Null),
        ("current_task_id", json!(task)),
        ("kind", json!("external")),
        ("incarnation", json!(1)),
        ("pid", Value::Null),
        ("task_types", json!(["ingest", "research"])),
        ("lease_s", json!(60.0)),
    ];
    for (name, value) in expected {
        assert_eq!(agent[name], value, "{name}");
    }
    daemon.get(&format!("/agents/{id}/assignment")).ok();
    assert_eq!(daemon.agent(&id)["status"], "executing");
    daemon.order(&format!("/tasks/{task}/complete")).ok();

    let shown = daemon.get(&format!("/agents/{id}")).ok();
    assert_eq!(daemon.get("/agents").ok(), json!([shown]));
    assert_eq!(shown["agent"]["status"], "idle");
    assert_eq!(
        shown["health"],
        json!({ "memory_usage": null, "cpu_usage": null, "rss_bytes": null, "phase": null,
            "phase_s": null })
    );
    let performance = &shown["performance"];
    assert_eq!(performance["tasks_completed"], 1);
    assert_eq!(performance["tasks_failed"], 0);
    assert_eq!(performance["context_switches"], 1);
    assert!(performance["average_task_time"].is_f64());
    assert_eq!(performance["by_type"]["ingest"]["tasks_completed"], 1);
    assert!(performance["by_type"]["ingest"]["average_task_time"].is_f64());
    assert!(performance["by_type"].get("research").is_none());
    assert_eq!(shown["isolation"], json!({ "shared_state_detected": false, "notes": [] }));
}

#[test]
fn a_process_shows_what_it_uses() {
    let daemon = Daemon::start("[pool]\nautostart = false\n");
    let spawned = daemon.order("/agents").ok();
    assert_eq!(spawned["status"], "idle", "spawn answers when the agent is ready");
    let shown = daemon.get(&format!("/agents/{}", text(&spawned["agent_id"]))).ok();
    assert_eq!(shown["agent"]["kind"], "process");
    assert!(shown["agent"]["pid"].as_u64().unwrap() > 0);
    let health = &shown["health"];
    assert!(health["rss_bytes"].as_u64().unwrap() > 0);
    for share in ["memory_usage", "cpu_usage"] {
        let share = health[share].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&share), "{share}");
    }
    assert_eq!((&health["phase"], &health["phase_s"]), (&json!(null), &json!(null)), "it is idle");
}

#[test]
fn a_process_shows_what_it_does_for_its_task() {
    let daemon = Daemon::start("[pool]\nsize = 1\n[worker]\nheartbeat_s = 0.05\n");
    let phases = json!({ "action": "phases", "phases": [["scan", 0.0], ["tool:x", 1000]] });
    let task = daemon.submit(&json!({ "payload": phases }));
    let health = wait_until("it says what it does", || {
        let health = daemon.get("/agents").ok()[0]["health"].clone();
        (health["phase"] == "tool:x").then_some(health)
    });
    let first_s = health["phase_s"].as_f64().unwrap();
    let later_s = wait_until("time passes", || {
        let health = daemon.get("/agents").ok()[0]["health"].clone();
        health["phase_s"].as_f64().filter(|later_s| *later_s > first_s + 0.2)
    });
    assert!(later_s < 30.0, "{later_s}");
    daemon.order(&format!("/tasks/{task}/cancel")).ok();
    wait_until("it is idle", || {
        daemon.get("/agents").ok()[0]["health"]["phase"].is_null().then_some(())
    });
}

#[test]
fn a_failed_agent_gives_its_task_to_another_and_takes_none_until_it_is_recovered() {
    let (daemon, agents) = Daemon::with_external(2);
    let (first, second) = (&agents[0], &agents[1]);
    let task = daemon.submit(&json!({ "payload": {}, "preferred_agent_id": first }));
    let failed = daemon.post(&format!("/agents/{first}/fail"), &json!({ "reason": "it smokes" }));
    let expected = json!({
        "agent_id": first, "status": "degraded", "task_reassigned": true,
        "reassigned_task_id": task, "task_failed_permanently": false,
    });
    assert_eq!(failed.ok(), expected);
    let shown = daemon.task(&task);
    assert_eq!(shown["assigned_agent_id"], second.as_str());
    assert_eq!(shown["failed_agent_ids"], json!([first]));
    assert_eq!(shown["attempts"][0]["outcome"], "agent_failed");
    assert_eq!(shown["attempts"][1]["decision"]["excluded"], json!([first]));
    let agent = daemon.agent(first);
    assert_eq!(agent["status"], "degraded");
    assert_eq!(agent["status_reason"], "failed");
    assert_eq!(agent["status_detail"], "it smokes");
    daemon.get(&format!("/agents/{first}/assignment?wait_s=5")).refused(409, "agent_failed");

    let recovered = daemon.order(&format!("/agents/{first}/recover")).ok();
    assert_eq!(recovered["status"], "idle");
    assert_eq!(recovered["incarnation"], 2);
    assert_ne!(recovered["context_window_id"], agent["context_window_id"]);
    let next = daemon.submit(&json!({ "payload": {} }));
    assert_eq!(daemon.task(&next)["assigned_agent_id"], first.as_str());
}

#[test]
fn failing_an_agent_that_has_nothing_to_do_takes_nothing_away() {
    let (daemon, agents) = Daemon::with_external(1);
    let before = daemon.metrics();
    let failed = daemon.order(&format!("/agents/{}/fail", agents[0])).ok();
    assert_eq!(failed["task_reassigned"], false);
    assert_eq!(failed["reassigned_task_id"], Value::Null);
    assert_eq!(failed["task_failed_permanently"], false);
    let after = daemon.metrics();
    assert_eq!(after["agents"]["degraded"], 1);
    for name in ["tasks_total", "tasks_requeued", "tasks_failed"] {
        assert_eq!(before[name], after[name], "{name}");
    }
}

#[test]
fn the_last_attempt_of_a_task_fails_it_for_good() {
    let config = format!("{EXTERNAL}[queue]\nmax_attempts = 1\n");
    let daemon = Daemon::start(&config);
    let agent = text(&daemon.order("/agents").ok()["agent_id"]);
    let task = daemon.submit(&json!({ "payload": {} }));
    let failed = daemon.order(&format!("/agents/{agent}/fail")).ok();
    assert_eq!(failed["reassigned_task_id"], task.as_str());
    assert_eq!(failed["task_reassigned"], false);
    assert_eq!(failed["task_failed_permanently"], true);
    let shown = daemon.task(&task);
    assert_eq!(shown["status"], "failed");
    assert!(shown["error"]["code"].is_string());
}

#[test]
fn a_removed_agent_is_gone_and_its_task_is_with_another() {
    let (daemon, agents) = Daemon::with_external(2);
    let task = daemon.submit(&json!({ "payload": {}, "preferred_agent_id": agents[0] }));
    let removed = daemon.delete(&format!("/agents/{}", agents[0])).ok();
    assert_eq!(removed["agent_id"], agents[0].as_str());
    assert_eq!(removed["status"], "removed");
    assert_eq!(removed["task_id"], task.as_str());
    daemon.get(&format!("/agents/{}", agents[0])).refused(404, "agent_not_found");
    let shown = daemon.task(&task);
    assert_eq!(shown["assigned_agent_id"], agents[1].as_str());
    assert_eq!(shown["attempts"][0]["outcome"], "interrupted");
    assert_eq!(shown["failures"], 0);
    let pool = daemon.post("/pool/initialize", &json!({ "size": 1 })).ok();
    assert_eq!(pool["agent_ids"], json!([agents[1]]), "it is not replaced");
}

#[test]
fn a_removed_agent_may_finish_within_its_drain() {
    let (daemon, agents) = Daemon::with_external(1);
    let mut runs = daemon.submit(&json!({ "payload": {} }));
    let path = format!("/agents/{}?drain_s=30", agents[0]);
    thread::scope(|scope| {
        let removing = scope.spawn(|| daemon.delete(&path).ok());
        let waits = wait_until("the agent takes nothing more", || {
            let next = daemon.submit(&json!({ "payload": {} }));
            let done = daemon.order(&format!("/tasks/{runs}/complete")).ok();
            assert_eq!(done["status"], "completed");
            let is_taken = daemon.task(&next)["status"] == "in_progress";
            if is_taken {
                runs.clone_from(&next);
            }
            (!is_taken).then_some(next)
        });
        assert_eq!(removing.join().unwrap()["status"], "removed");
        assert_eq!(daemon.task(&waits)["attempt_count"], 0);
        assert_eq!(daemon.task(&waits)["pending_reason"], "pool_empty");
    });
}
