//! `POST /mcp`: what stands around every other route stands around the tools too.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use super::mcp::{HEADERS, request};
use crate::daemon::{Answer, Daemon, EXTERNAL, ONE_AT_A_TIME, text, wait_until};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_trace_goes_from_the_call_of_a_tool_to_task_log_and_answer() {
    let (daemon, _) = Daemon::with_external(1);
    let call = json!({ "name": "submit_coordination_task", "arguments": { "payload": {} } });
    let body = request("tools/call", &call).to_string();
    for (header, value, trace) in [("traceparent", PARENT, TRACE), ("x-trace-id", "mine", "mine")] {
        let headers = [HEADERS[0], HEADERS[1], (header, value)];
        let answer = daemon.call("POST", "/mcp", &headers, Some(body.as_bytes()));
        assert_eq!(answer.header("x-trace-id"), trace);
        let task = text(&answer.ok()["result"]["structuredContent"]["task_id"]);
        assert_eq!(daemon.task(&task)["trace_id"], trace);
        daemon.log_line("the task", |line| {
            line["msg"] == "task_submitted" && line["trace_id"] == trace && line["task_id"] == *task
        });
        let line = daemon
            .log_line("request", |line| line["msg"] == "request" && line["trace_id"] == trace);
        assert_eq!((&line["path"], &line["response_code"]), (&json!("/mcp"), &json!(200)));
    }
    let unknown = json!({ "task_id": "none" });
    let error = daemon.tool_refuses("get_coordination_task", &unknown, "task_not_found");
    let trace = error["data"]["trace_id"].clone();
    daemon.log_line("its request", |line| line["msg"] == "request" && line["trace_id"] == trace);
}

#[test]
fn a_full_queue_refuses_a_tool_and_says_when_to_try_again() {
    let daemon = Daemon::start(&format!("{EXTERNAL}[queue]\nmax_depth = 1\n"));
    daemon.submit(&json!({ "payload": {} }));
    let before = daemon.state();
    let submit = json!({ "payload": {} });
    let error = daemon.tool_refuses("submit_coordination_task", &submit, "queue_full");
    assert_eq!(
        (&error["data"]["retryable"], &error["data"]["max_depth"]),
        (&json!(true), &json!(1))
    );
    assert!(error["data"]["retry_after_s"].as_u64().is_some_and(|seconds| seconds >= 1));
    assert_eq!(daemon.state(), before);
}

#[test]
fn a_tool_waits_for_the_end_of_a_task_and_is_counted_as_a_call_that_waits() {
    let (daemon, _) = Daemon::with_agents(ONE_AT_A_TIME, 1);
    let task = daemon.submit(&json!({ "payload": {} }));
    let arguments = json!({ "task_id": task, "wait_s": 60 });
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            wait_until("the call is taken", || {
                let call = json!({ "name": "get_coordination_task", "arguments": arguments });
                let answer = daemon.mcp(&request("tools/call", &call)).ok();
                answer["error"].is_null().then(|| answer["result"]["structuredContent"].clone())
            })
        });
        wait_until("the call waits", || daemon.a_call_waits().then_some(()));
        // A second one is one too many, and is told so inside of a 200.
        let error = daemon.tool_refuses("get_coordination_task", &arguments, "overloaded");
        assert_eq!(error["data"]["retryable"], true);
        let begun = Instant::now();
        daemon.tool("complete_coordination_task", &json!({ "task_id": task }));
        assert_eq!(waits.join().unwrap()["status"], "completed");
        assert!(begun.elapsed() < Duration::from_secs(20));
    });
}

#[test]
fn a_call_that_waits_ends_when_its_client_hangs_up() {
    let (daemon, _) = Daemon::with_agents(ONE_AT_A_TIME, 1);
    let task = daemon.submit(&json!({ "payload": {} }));
    let arguments = json!({ "task_id": task, "wait_s": 60 });
    let call = json!({ "name": "get_coordination_task", "arguments": arguments });
    let body = request("tools/call", &call).to_string();
    let sent = format!(
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let connection = wait_until("the call waits", || {
        let connection = daemon.raw(&sent);
        daemon.a_call_waits().then_some(connection)
    });
    drop(connection);
    wait_until("the call is over", || (!daemon.a_call_waits()).then_some(()));
}

#[test]
fn a_body_that_is_too_large_or_too_slow_is_refused_like_any_other() {
    let http = "[http]\nmax_body_bytes = 2000\ncall_timeout_s = 1\n";
    let daemon = Daemon::start(&format!("{EXTERNAL}{http}"));
    let call = |bytes: usize| {
        let payload = json!({ "a": "x".repeat(bytes) });
        let call =
            json!({ "name": "submit_coordination_task", "arguments": { "payload": payload } });
        daemon.mcp(&request("tools/call", &call))
    };
    call(1_500).ok();
    assert_eq!(call(2_000).refused(413, "body_too_large")["max_body_bytes"], 2_000);
    let slow = daemon.raw(
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: 15\r\n\r\n{\"jsonrpc\":",
    );
    let (status, problem) = Answer::last_on(slow);
    assert_eq!((status, &problem["code"]), (400, &json!("body_unreadable")), "{problem}");
}

#[test]
fn a_daemon_that_stops_refuses_new_work_through_tools_and_answers_who_waits() {
    let config = "[pool]\nautostart = false\ndrain_s = 60\n[http]\nmax_in_flight = 1\n";
    let mut daemon = Daemon::start(config);
    let agent = text(&daemon.tool("spawn_coordination_agent", &json!({}))["agent_id"]);
    let sleeps = json!({ "payload": { "action": "sleep", "seconds": 60 } });
    let task = text(&daemon.tool("submit_coordination_task", &sleeps)["task_id"]);
    daemon.agent_becomes(&agent, "executing");
    daemon.signal(Signal::SIGTERM);
    wait_until("the daemon drains", || (daemon.get("/readyz").status == 503).then_some(()));
    let error =
        daemon.tool_refuses("submit_coordination_task", &json!({ "payload": {} }), "draining");
    assert_eq!(error["data"]["retryable"], true);
    daemon.tool_refuses("initialize_pool", &json!({}), "draining");
    daemon.tool("cancel_coordination_task", &json!({ "task_id": task }));
    assert!(daemon.ended().success());
}
