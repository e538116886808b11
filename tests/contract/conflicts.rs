//! Calls that come too late, or are about something else than the caller thinks: 409, and nothing
//! changes.

use serde_json::{Value, json};

use crate::daemon::{Answer, Daemon, EXTERNAL, text};

fn complete(daemon: &Daemon, task: &str, query: &str) -> Answer {
    daemon.post(&format!("/tasks/{task}/complete{query}"), &json!({ "result": "late" }))
}

#[test]
fn a_second_completion_is_refused_and_says_how_the_first_ended() {
    let (daemon, _) = Daemon::with_external(1);
    let task = daemon.submit(&json!({ "payload": {} }));
    let path = format!("/tasks/{task}/complete");
    daemon.post(&path, &json!({ "result": "first" })).ok();
    let next = daemon.submit(&json!({ "payload": {} }));
    let before = daemon.state();
    for query in ["", "?attempt=1", "?success=false"] {
        let body = if query == "?success=false" { json!({}) } else { json!({ "result": 2 }) };
        let problem =
            daemon.post(&format!("{path}{query}"), &body).refused(409, "already_finished");
        assert_eq!(problem["task_status"], "completed");
        assert_eq!(problem["finished_by_attempt"], 1);
    }
    assert_eq!(daemon.state(), before);
    assert_eq!(daemon.task(&task)["result"], "first");
    assert_eq!(daemon.task(&next)["status"], "in_progress", "the agent runs its next task on");
}

#[test]
fn a_late_completion_by_an_older_attempt_is_refused() {
    let (daemon, agents) = Daemon::with_external(2);
    let task = daemon.submit(&json!({ "payload": {}, "preferred_agent_id": agents[0] }));
    let failed = daemon.post(&format!("/agents/{}/fail", agents[0]), &json!({ "reason": "gone" }));
    assert_eq!(failed.ok()["task_reassigned"], true);
    let before = daemon.state();
    let problem = complete(&daemon, &task, "?attempt=1").refused(409, "stale_attempt");
    assert_eq!(problem["newest_attempt"], 2);
    let problem = complete(&daemon, &task, "").refused(409, "attempt_required");
    assert_eq!(problem["newest_attempt"], 2);
    complete(&daemon, &task, "?attempt=3").refused(409, "stale_attempt");
    assert_eq!(daemon.state(), before);
    assert_eq!(complete(&daemon, &task, "?attempt=2").ok()["status"], "completed");
    let problem = complete(&daemon, &task, "?attempt=1").refused(409, "already_finished");
    assert_eq!(problem["finished_by_attempt"], 2);
}

#[test]
fn calls_of_an_older_incarnation_are_refused() {
    let (daemon, agents) = Daemon::with_external(1);
    let agent = &agents[0];
    daemon.order(&format!("/agents/{agent}/fail")).ok();
    assert_eq!(daemon.order(&format!("/agents/{agent}/recover")).ok()["incarnation"], 2);
    let before = daemon.state();
    for (method, path) in [
        ("POST", format!("/agents/{agent}/heartbeat?incarnation=1")),
        ("GET", format!("/agents/{agent}/assignment?incarnation=1&wait_s=10")),
        ("GET", format!("/agents/{agent}/assignment?incarnation=3")),
    ] {
        let answer = daemon.call(method, &path, &[], None);
        assert_eq!(answer.refused(409, "stale_incarnation")["current_incarnation"], 2);
    }
    assert_eq!(daemon.state(), before);
    daemon.order(&format!("/agents/{agent}/heartbeat?incarnation=2")).ok();
}

#[test]
fn a_task_that_nobody_has_cannot_be_completed() {
    let daemon = Daemon::start(EXTERNAL);
    let task = daemon.submit(&json!({ "payload": {} }));
    let before = daemon.state();
    complete(&daemon, &task, "").refused(409, "not_running");
    assert_eq!(daemon.state(), before);
}

#[test]
fn a_task_that_has_ended_cannot_be_cancelled() {
    let (daemon, _) = Daemon::with_external(1);
    let completed = daemon.submit(&json!({ "payload": {} }));
    complete(&daemon, &completed, "").ok();
    let cancelled = daemon.submit(&json!({ "payload": {} }));
    let waited = daemon.submit(&json!({ "payload": {} }));
    for task in [&waited, &cancelled] {
        daemon.order(&format!("/tasks/{task}/cancel")).ok();
    }
    let before = daemon.state();
    for (task, status, by) in [
        (&completed, "completed", json!(1)),
        (&cancelled, "cancelled", json!(1)),
        (&waited, "cancelled", Value::Null),
    ] {
        let answer = daemon.order(&format!("/tasks/{task}/cancel"));
        let problem = answer.refused(409, "already_finished");
        assert_eq!(problem["task_status"], status);
        assert_eq!(problem["finished_by_attempt"], by);
    }
    assert_eq!(daemon.state(), before);
}

#[test]
fn what_is_for_external_agents_is_refused_for_processes() {
    let daemon = Daemon::start("[pool]\nsize = 1\n");
    let agents = daemon.order("/pool/initialize").ok();
    let agent = text(&agents["agent_ids"][0]);
    daemon.agent_becomes(&agent, "idle");
    let payload = json!({ "action": "sleep", "seconds": 60 });
    let task = daemon.submit(&json!({ "payload": payload }));
    daemon.agent_becomes(&agent, "executing");
    let before = daemon.state();
    complete(&daemon, &task, "").refused(409, "not_external");
    daemon.get(&format!("/agents/{agent}/assignment?wait_s=5")).refused(409, "not_external");
    daemon.order(&format!("/agents/{agent}/heartbeat")).refused(409, "not_external");
    assert_eq!(daemon.state(), before);
}

#[test]
fn an_agent_that_is_well_cannot_be_recovered() {
    let (daemon, agents) = Daemon::with_external(1);
    let before = daemon.state();
    let answer = daemon.order(&format!("/agents/{}/recover", agents[0]));
    assert_eq!(answer.refused(409, "not_degraded")["agent_status"], "idle");
    assert_eq!(daemon.state(), before);
}
