//! Rule 16: every request has a trace.

use serde_json::json;

use crate::daemon::Daemon;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_trace_goes_from_the_request_to_task_agent_log_and_answer() {
    let (daemon, agents) = Daemon::with_external(1);
    let headers = [
        ("content-type", "application/json"),
        ("traceparent", PARENT),
        ("x-trace-id", "not-this-one"),
    ];
    let answer = daemon.call("POST", "/tasks", &headers, Some(b"{\"payload\": {}}"));
    assert_eq!(answer.header("x-trace-id"), TRACE);
    let task = answer.ok()["task_id"].as_str().unwrap().to_owned();
    assert_eq!(daemon.task(&task)["trace_id"], TRACE);
    let assignment = daemon.get(&format!("/agents/{}/assignment", agents[0]));
    assert_ne!(assignment.header("x-trace-id"), TRACE, "this call has a trace of its own");
    assert_eq!(assignment.ok()["trace_id"], TRACE);
    for event in ["task_submitted", "task_assigned", "task_started"] {
        daemon.log_line(event, |line| line["msg"] == event && line["trace_id"] == TRACE);
    }
    let request =
        daemon.log_line("request", |line| line["msg"] == "request" && line["trace_id"] == TRACE);
    assert_eq!(request["method"], "POST");
    assert_eq!(request["path"], "/tasks");
    assert_eq!(request["response_code"], 200);
    assert!(request["latency_us"].is_u64());
    assert_eq!(request["component"], "http");
}

#[test]
fn every_answer_names_its_trace() {
    let (daemon, agents) = Daemon::with_external(1);
    for (method, path, status) in [
        ("GET", "/healthz".to_owned(), 200),
        ("GET", format!("/agents/{}/assignment", agents[0]), 204),
        ("GET", "/nope".to_owned(), 404),
        ("PUT", "/tasks".to_owned(), 405),
        ("POST", "/tasks".to_owned(), 422),
        ("GET", "/tasks/nope".to_owned(), 404),
    ] {
        let answer = daemon.call(method, &path, &[("x-trace-id", "my_trace-1")], None);
        assert_eq!((answer.status, answer.header("x-trace-id")), (status, "my_trace-1"), "{path}");
        for bad in ["", "two words", "a.b", &"x".repeat(65)] {
            let answer = daemon.call(method, &path, &[("x-trace-id", bad)], None);
            let new = answer.header("x-trace-id");
            assert_ne!(new, bad);
            assert_eq!(new.len(), 32, "{path}");
        }
    }
}

#[test]
fn a_request_for_health_is_not_logged_and_every_other_once() {
    let (daemon, _) = Daemon::with_external(1);
    daemon.call("GET", "/healthz", &[("x-trace-id", "healthy")], None).ok();
    daemon.call("GET", "/nope", &[("x-trace-id", "missing")], None);
    let of =
        |line: &serde_json::Value, trace| line["msg"] == "request" && line["trace_id"] == trace;
    let line = daemon.log_line("the second", |line| of(line, "missing"));
    assert_eq!(line["response_code"], 404);
    let lines = daemon.log_lines();
    assert_eq!(lines.iter().filter(|line| of(line, "healthy")).count(), 0);
    assert_eq!(lines.iter().filter(|line| of(line, "missing")).count(), 1);
    assert!(lines.iter().all(|line| line.get("no_json").is_none()), "{lines:#?}");
    assert!(!json!(lines).to_string().contains("payload"), "no payloads in the log");
}

#[test]
fn what_a_worker_writes_during_a_run_names_the_run_and_its_trace() {
    let script = r#"
        echo '{"type":"hello","proto":[1,1],"pid":1}'; read -r init; echo '{"type":"ready"}'
        echo outside >&2; read -r task; echo inside >&2; sleep 1000
    "#;
    let command = json!(["sh", "-c", script]);
    let daemon = Daemon::start(&format!("[pool]\nsize = 1\n[worker]\ncommand = {command}\n"));
    let outside = daemon.log_line("a line of an idle worker", |line| line["line"] == "outside");
    let headers = [("content-type", "application/json"), ("x-trace-id", "its-trace")];
    let answer = daemon.call("POST", "/tasks", &headers, Some(b"{\"payload\": {}}"));
    let task = answer.ok()["task_id"].clone();
    let inside = daemon.log_line("a line of the run", |line| line["line"] == "inside");
    assert_eq!(inside["trace_id"], "its-trace");
    assert_eq!((&inside["task_id"], &inside["attempt"]), (&task, &json!(1)));
    assert_eq!(inside["agent_id"], outside["agent_id"]);
    assert!(outside["task_id"].is_null());
    for line in daemon.log_lines() {
        assert!(line["trace_id"].is_string(), "every line has a trace: {line}");
    }
}
