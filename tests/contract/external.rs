//! External agents by hand: they fetch their work, show that they are there, and answer.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::daemon::{Daemon, EXTERNAL, ONE_AT_A_TIME, text, wait_until};

fn leased(daemon: &Daemon, lease_s: f64) -> String {
    let body = json!({ "kind": "external", "lease_s": lease_s });
    text(&daemon.post("/agents", &body).ok()["agent_id"])
}

#[test]
fn an_assignment_says_all_that_the_agent_needs_and_stays_the_same() {
    let (daemon, agents) = Daemon::with_external(1);
    let path = format!("/agents/{}/assignment", agents[0]);
    let payload = json!({ "prompt": "do it" });
    let task = daemon.submit(&json!({ "payload": payload, "timeout_s": 12.5 }));
    assert_eq!(daemon.agent(&agents[0])["status"], "analyzing");
    let first = daemon.get(&path).ok();
    let expected = json!({
        "task_id": task, "attempt": 1, "incarnation": 1, "task_type": "general",
        "payload": payload, "trace_id": daemon.task(&task)["trace_id"], "timeout_s": 12.5,
        "previous_failure": null,
    });
    assert_eq!(first, expected);
    assert_eq!(daemon.agent(&agents[0])["status"], "executing", "the fetch is the start");
    assert_eq!(daemon.get(&path).ok(), first, "fetching again answers the same attempt");
    daemon.order(&format!("/tasks/{task}/complete")).ok();
    assert_eq!(daemon.get(&path).status, 204);
}

#[test]
fn the_next_agent_is_told_why_the_one_before_failed() {
    let (daemon, agents) = Daemon::with_external(2);
    daemon.submit(&json!({ "payload": {}, "preferred_agent_id": agents[0] }));
    daemon.post(&format!("/agents/{}/fail", agents[0]), &json!({ "reason": "it smokes" })).ok();
    let assignment = daemon.get(&format!("/agents/{}/assignment", agents[1])).ok();
    assert_eq!(assignment["attempt"], 2);
    assert!(text(&assignment["previous_failure"]).contains("it smokes"));
}

#[test]
fn a_poll_that_waits_wakes_at_once_and_one_without_work_ends_with_204() {
    let (daemon, agents) = Daemon::with_agents(ONE_AT_A_TIME, 1);
    let path = format!("/agents/{}/assignment", agents[0]);
    let begun = Instant::now();
    let nothing = daemon.get(&format!("{path}?wait_s=0.3"));
    assert_eq!((nothing.status, nothing.text.as_str()), (204, ""));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    thread::scope(|scope| {
        let polls = daemon.waiting(scope, &format!("{path}?wait_s=30"));
        let submitted = Instant::now();
        let task = daemon.submit(&json!({ "payload": {} }));
        let (answer, woken) = polls.join().unwrap();
        assert_eq!(answer.ok()["task_id"], task.as_str());
        let took = woken.saturating_duration_since(submitted);
        assert!(took < Duration::from_secs(10), "it woke after {took:?}, not at once");
    });
}

#[test]
fn a_heartbeat_says_how_things_are() {
    let (daemon, agents) = Daemon::with_external(1);
    let path = format!("/agents/{}/heartbeat", agents[0]);
    let idle = json!({
        "status": "idle", "incarnation": 1, "task_id": null, "attempt": null,
        "cancel_requested": false,
    });
    assert_eq!(daemon.order(&path).ok(), idle);
    assert_eq!(daemon.post(&path, &json!({})).ok(), idle);
    let task = daemon.submit(&json!({ "payload": {} }));
    let beat = daemon.order(&format!("{path}?incarnation=1")).ok();
    assert_eq!(beat["status"], "analyzing");
    assert_eq!(beat["task_id"], task.as_str());
    assert_eq!(beat["attempt"], 1);
    daemon.order(&format!("/tasks/{task}/cancel")).ok();
    assert_eq!(daemon.order(&path).ok()["cancel_requested"], true);
}

#[test]
fn an_agent_with_a_lease_is_there_from_its_first_call_and_lost_without_more() {
    let daemon = Daemon::start(EXTERNAL);
    let agent = leased(&daemon, 1.0);
    let task = daemon.submit(&json!({ "payload": {} }));
    assert_eq!(daemon.task(&task)["status"], "pending", "it has not called yet");
    let path = format!("/agents/{agent}/assignment");
    assert_eq!(daemon.get(&path).ok()["task_id"], task.as_str());
    let lost = daemon.agent_becomes(&agent, "degraded");
    assert_eq!(lost["status_reason"], "lease_lost");
    let shown = daemon.task(&task);
    assert_eq!(shown["attempts"][0]["outcome"], "agent_failed", "it had fetched");
    assert_eq!(shown["failures"], 1);

    daemon.get(&format!("{path}?incarnation=1")).refused(409, "stale_incarnation");
    let beat = daemon.order(&format!("/agents/{agent}/heartbeat")).ok();
    assert_eq!(beat["incarnation"], 2, "the next call without one begins a new life");
    daemon
        .order(&format!("/agents/{agent}/heartbeat?incarnation=1"))
        .refused(409, "stale_incarnation");
    let late = daemon.order(&format!("/tasks/{task}/complete?attempt=1")).body;
    assert_eq!(late["code"], "stale_attempt");
}

#[test]
fn a_lease_that_ends_before_the_fetch_interrupts_and_counts_nothing() {
    let daemon = Daemon::start(EXTERNAL);
    let agent = leased(&daemon, 1.0);
    let task = daemon.submit(&json!({ "payload": {} }));
    wait_until("the agent has it", || {
        // It may have been lost again before it is looked at.
        daemon.order(&format!("/agents/{agent}/heartbeat")).ok();
        (daemon.task(&task)["attempt_count"] != 0).then_some(())
    });
    daemon.agent_becomes(&agent, "degraded");
    let shown = daemon.task(&task);
    assert_eq!(shown["attempts"][0]["outcome"], "interrupted");
    assert_eq!(shown["failures"], 0);
    assert_eq!(shown["failed_agent_ids"], json!([]));
}

#[test]
fn an_open_poll_holds_the_lease() {
    let daemon = Daemon::start(EXTERNAL);
    let agent = leased(&daemon, 1.0);
    let poll = format!("/agents/{agent}/assignment?wait_s=2.5");
    let begun = Instant::now();
    thread::scope(|scope| {
        let polls = scope.spawn(|| daemon.get(&poll));
        daemon.agent_becomes(&agent, "degraded");
        // The lease begins when the poll is over.
        let held = begun.elapsed();
        assert!(held >= Duration::from_millis(3_400), "it was lost after {held:?}");
        assert_eq!(polls.join().unwrap().status, 204);
    });
}

#[test]
fn a_poll_whose_client_hung_up_holds_no_lease_and_takes_no_task() {
    let daemon = Daemon::start(ONE_AT_A_TIME);
    let agent = leased(&daemon, 1.0);
    // The lease has begun, even when the poll is hung up before anybody but its thread knows of it.
    daemon.order(&format!("/agents/{agent}/heartbeat")).ok();
    let poll = format!("GET /agents/{agent}/assignment?wait_s=60 HTTP/1.1\r\nHost: daemon\r\n\r\n");
    // Asking whether it waits takes its place for a moment, so that it may be refused.
    let connection = wait_until("the poll waits", || {
        let connection = daemon.raw(&poll);
        daemon.a_call_waits().then_some(connection)
    });
    drop(connection);
    wait_until("the poll is over", || (!daemon.a_call_waits()).then_some(()));
    // Until the lease ends, the agent may be given it; but nobody fetches it.
    let task = daemon.submit(&json!({ "payload": {} }));
    let lost = daemon.agent_becomes(&agent, "degraded");
    assert_eq!(lost["status_reason"], "lease_lost");
    let shown = daemon.task(&task);
    assert_eq!((&shown["status"], &shown["failures"]), (&json!("pending"), &json!(0)));
    for attempt in shown["attempts"].as_array().unwrap() {
        assert_eq!(attempt["outcome"], "interrupted", "{shown}");
    }
}

#[test]
fn an_agent_that_goes_ends_its_open_poll() {
    for (verb, status, code) in [("DELETE", 404, "agent_not_found"), ("POST", 409, "agent_failed")]
    {
        let (daemon, agents) = Daemon::with_agents(ONE_AT_A_TIME, 1);
        let agent = format!("/agents/{}", agents[0]);
        thread::scope(|scope| {
            let polls = daemon.waiting(scope, &format!("{agent}/assignment?wait_s=30"));
            let begun = Instant::now();
            let path = if verb == "POST" { format!("{agent}/fail") } else { agent };
            daemon.call(verb, &path, &[], None).ok();
            let (answer, ended) = polls.join().unwrap();
            answer.refused(status, code);
            assert!(ended.saturating_duration_since(begun) < Duration::from_secs(10));
        });
    }
}

#[test]
fn a_task_that_takes_too_long_tells_its_agent_to_stop() {
    let daemon = Daemon::start(&format!("{EXTERNAL}cancel_grace_s = 30\n"));
    let agent = text(&daemon.order("/agents").ok()["agent_id"]);
    let task = daemon.submit(&json!({ "payload": {}, "timeout_s": 0.05 }));
    wait_until("the agent is told", || {
        let beat = daemon.order(&format!("/agents/{agent}/heartbeat")).ok();
        (beat["cancel_requested"] == true).then_some(())
    });
    assert_eq!(daemon.task(&task)["attempts"][0]["outcome"], Value::Null, "the run is not over");
    let answer = daemon.order(&format!("/tasks/{task}/complete")).ok();
    assert_eq!(answer["status"], "completed", "a result within the grace still counts");
}
