//! The pool as a whole.

use std::thread;

use serde_json::{Value, json};

use crate::daemon::{Daemon, EXTERNAL, text, wait_until};

fn ids(pool: &Value) -> Vec<String> {
    let mut ids: Vec<_> = pool["agent_ids"].as_array().unwrap().iter().map(text).collect();
    ids.sort();
    ids
}

#[test]
fn initializing_is_idempotent_and_never_shrinks() {
    let daemon = Daemon::start(EXTERNAL);
    let first = daemon.post("/pool/initialize", &json!({ "size": 3 })).ok();
    assert_eq!(first["status"], "initialized");
    assert_eq!((&first["pool_size"], &first["spawned_agents"]), (&json!(3), &json!(3)));
    for size in [3, 2, 1] {
        let again = daemon.post("/pool/initialize", &json!({ "size": size })).ok();
        assert_eq!((&again["pool_size"], &again["spawned_agents"]), (&json!(3), &json!(0)));
        assert_eq!(ids(&again), ids(&first));
    }
    let more = daemon.post("/pool/initialize", &json!({ "size": 5 })).ok();
    assert_eq!((&more["pool_size"], &more["spawned_agents"]), (&json!(5), &json!(2)));
    assert!(ids(&first).iter().all(|id| ids(&more).contains(id)));
}

#[test]
fn the_largest_pool_is_allowed_and_one_agent_more_is_refused() {
    let daemon = Daemon::start(EXTERNAL);
    assert_eq!(daemon.post("/pool/initialize", &json!({ "size": 16 })).ok()["pool_size"], 16);
    let before = daemon.state();
    let problem = daemon.order("/agents").refused(503, "pool_full");
    assert_eq!(problem["max_size"], 16);
    assert_eq!(daemon.state(), before);
    let agent = text(&before["agents"][0]["agent_id"]);
    daemon.delete(&format!("/agents/{agent}")).ok();
    daemon.order("/agents").ok();
}

#[test]
fn a_pool_starts_by_itself() {
    let daemon = Daemon::start("[pool]\nsize = 2\n[worker]\nkind = \"external\"\n");
    wait_until("two agents are idle", || (daemon.metrics()["agents"]["idle"] == 2).then_some(()));
}

#[test]
fn shutting_down_stops_agents_and_keeps_tasks_for_the_next_pool() {
    let (daemon, _) = Daemon::with_external(2);
    let tasks: Vec<_> = (0..5).map(|_| daemon.submit(&json!({ "payload": {} }))).collect();
    let closed = daemon.delete("/pool").ok();
    let expected = json!({
        "status": "shutdown_completed", "agents_stopped": 2, "tasks_requeued": 2,
        "tasks_pending": 5,
    });
    assert_eq!(closed, expected);
    assert_eq!(daemon.get("/agents").ok(), json!([]));
    for task in &tasks {
        assert_eq!(daemon.task(task)["status"], "pending");
    }
    let empty = json!({
        "status": "shutdown_completed", "agents_stopped": 0, "tasks_requeued": 0,
        "tasks_pending": 5,
    });
    assert_eq!(daemon.delete("/pool").ok(), empty, "there is nothing left to stop");
    let next = daemon.post("/pool/initialize", &json!({ "size": 5 })).ok();
    assert_eq!(next["spawned_agents"], 5);
    wait_until("all tasks are placed", || {
        (daemon.metrics()["tasks_in_progress"] == 5).then_some(())
    });
}

#[test]
fn shutting_down_may_discard_what_waits_and_what_comes_back() {
    let (daemon, _) = Daemon::with_external(1);
    for _ in 0..3 {
        daemon.submit(&json!({ "payload": {} }));
    }
    let closed = daemon.delete("/pool?discard=true").ok();
    assert_eq!(closed["agents_stopped"], 1);
    assert_eq!(closed["tasks_pending"], 0);
    let metrics = daemon.metrics();
    assert_eq!(metrics["tasks_cancelled"], 3);
    assert_eq!(metrics["tasks_pending"], 0);
}

#[test]
fn what_removes_takes_no_body() {
    let (daemon, agents) = Daemon::with_external(1);
    daemon.submit(&json!({ "payload": {} }));
    let before = daemon.state();
    let json = [("content-type", "application/json")];
    for (path, body, field) in [
        ("/pool", r#"{"discard": true}"#, "`discard`"),
        (&format!("/agents/{}", agents[0]), r#"{"drain_s": 5}"#, "`drain_s`"),
    ] {
        let answer = daemon.call("DELETE", path, &json, Some(body.as_bytes()));
        let problem = answer.refused(422, "validation_failed");
        assert!(text(&problem["detail"]).contains(field), "{problem}");
        assert_eq!(daemon.state(), before, "{path} was refused and changed something");
    }
    let empty = daemon.call("DELETE", "/pool", &json, Some(b"{}"));
    assert_eq!(empty.ok()["agents_stopped"], 1);
}

#[test]
fn while_the_pool_closes_submits_wait_and_no_agent_is_made() {
    let (daemon, agents) = Daemon::with_external(1);
    let runs = daemon.submit(&json!({ "payload": {} }));
    thread::scope(|scope| {
        let closing = scope.spawn(|| daemon.delete("/pool?drain_s=30").ok());
        wait_until("the pool closes", || {
            let answer = daemon.post("/pool/initialize", &json!({ "size": 1 }));
            (answer.status == 409).then(|| answer.refused(409, "pool_closing"))
        });
        let before = daemon.state();
        daemon.order("/agents").refused(409, "pool_closing");
        daemon.post("/pool/initialize", &json!({ "size": 2 })).refused(409, "pool_closing");
        assert_eq!(daemon.state(), before);
        let waits = daemon.submit(&json!({ "payload": {} }));
        assert_eq!(daemon.task(&waits)["status"], "pending");
        let joins = scope.spawn(|| daemon.delete("/pool").ok());
        // The agent goes on with what it has.
        daemon.get(&format!("/agents/{}/assignment", agents[0])).ok();
        assert_eq!(daemon.order(&format!("/tasks/{runs}/complete")).ok()["status"], "completed");
        let closed = closing.join().unwrap();
        assert_eq!(closed["agents_stopped"], 1);
        assert_eq!(closed["tasks_requeued"], 0);
        assert_eq!(joins.join().unwrap()["status"], "shutdown_completed");
    });
    daemon.order("/pool/initialize").ok();
}
