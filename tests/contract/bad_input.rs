//! What cannot be understood is refused with the status that says why, and changes nothing.

use serde_json::{Value, json};

use crate::daemon::{Answer, Daemon};

const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

/// A daemon with something in it that a wrong call could change: an agent with a task, an idle
/// one, and one that was failed.
fn busy() -> (Daemon, String, String) {
    let (daemon, agents) = Daemon::with_external(2);
    let failed = daemon.post("/agents", &json!({ "kind": "external" })).ok()["agent_id"].clone();
    daemon.order(&format!("/agents/{}/fail", failed.as_str().unwrap())).ok();
    let task = daemon.submit(&json!({ "payload": {}, "preferred_agent_id": agents[0] }));
    (daemon, agents[0].clone(), task)
}

fn refuse_all(daemon: &Daemon, path: &str, bodies: &[(&str, &str)], status: u16, code: &str) {
    for (body, named) in bodies {
        let before = daemon.state();
        let problem = daemon.post_text(path, body).refused(status, code);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(named), "{body}: {detail:?} does not say {named:?}");
        assert_eq!(daemon.state(), before, "{body} was refused and changed something");
    }
}

#[test]
fn broken_json_is_400() {
    let (daemon, agent, task) = busy();
    let broken =
        ["{", " ", "nope", "{\"payload\": {}", "{'payload': {}}", "{\"payload\": {},}", "{}{}"];
    let broken = broken.map(|body| (body, "not JSON"));
    for path in [
        "/tasks",
        "/agents",
        "/pool/initialize",
        &format!("/tasks/{task}/complete"),
        &format!("/tasks/{task}/cancel"),
        &format!("/tasks/{task}/retry"),
        "/tasks/retry",
        &format!("/agents/{agent}/fail"),
        &format!("/agents/{agent}/recover"),
        &format!("/agents/{agent}/heartbeat"),
    ] {
        refuse_all(&daemon, path, &broken, 400, "invalid_json");
    }
    let before = daemon.state();
    let not_utf8 = b"{\"payload\": {\"a\": \"\xff\"}}";
    let json = [("content-type", "application/json")];
    daemon.call("POST", "/tasks", &json, Some(not_utf8)).refused(400, "invalid_json");
    assert_eq!(daemon.state(), before);
}

#[test]
fn a_body_that_cannot_be_read_is_400() {
    let (daemon, _, _) = busy();
    let before = daemon.state();
    let broken = daemon.raw(
        "POST /tasks HTTP/1.1\r\nHost: daemon\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\nb\r\n{\"payload\":\r\nno number\r\n",
    );
    let (status, problem) = Answer::last_on(broken);
    assert_eq!((status, &problem["code"]), (400, &json!("body_unreadable")), "{problem}");
    assert_eq!(daemon.state(), before);
}

#[test]
fn a_task_without_a_body_is_refused() {
    let (daemon, _, _) = busy();
    let before = daemon.state();
    daemon.order("/tasks").refused(422, "missing_body");
    daemon
        .call("POST", "/tasks", &[("content-type", "application/json")], Some(b""))
        .refused(422, "missing_body");
    assert_eq!(daemon.state(), before);
}

#[test]
fn a_task_that_is_not_as_it_must_be_is_422_and_the_detail_names_what() {
    let (daemon, _, _) = busy();
    let types = "one of discovery, migration, heartbeat, ingest, research, general";
    let bodies = [
        ("[]", "JSON object"),
        ("null", "JSON object"),
        ("\"payload\"", "JSON object"),
        ("[{\"payload\": {}}]", "JSON object"),
        ("{}", "`payload` is missing"),
        (r#"{"payload": null}"#, "`payload` is missing"),
        (r#"{"payload": []}"#, "`payload` must be a JSON object"),
        (r#"{"payload": "text"}"#, "`payload` must be a JSON object"),
        (r#"{"payload": 7}"#, "`payload` must be a JSON object"),
        (r#"{"payload": {"a": 1e999}}"#, "`payload`"),
        (r#"{"payload": {"a": "\ud800"}}"#, "`payload`"),
        (r#"{"payload": {}, "payload": {}}"#, "`payload`"),
        (r#"{"payload": {}, "unknown": 1}"#, "unknown field `unknown`"),
        (r#"{"payload": {}, "idempotency_key": 1}"#, "`idempotency_key` must be a string"),
        (r#"{"payload": {}, "idempotency_key": "\ud800"}"#, "`idempotency_key` must be a string"),
        (r#"{"payload": {}, "idempotency_key": ""}"#, "a string of 1 to 200 characters"),
        (r#"{"payload": {}, "idempotency_key": "a\nb"}"#, "none a control character"),
        (r#"{"payload": {}, "idempotency_key": "\u0085"}"#, "none a control character"),
        (r#"{"payload": {}, "task_type": "nope"}"#, types),
        (r#"{"payload": {}, "task_type": "General"}"#, types),
        (r#"{"payload": {}, "task_type": ""}"#, types),
        (r#"{"payload": {}, "task_type": 1}"#, "`task_type` must be a string"),
        (r#"{"payload": {}, "priority": 101}"#, "`priority` must be an integer from -100 to 100"),
        (r#"{"payload": {}, "priority": -101}"#, "`priority`"),
        (r#"{"payload": {}, "priority": 0.5}"#, "`priority`"),
        (r#"{"payload": {}, "priority": "1"}"#, "`priority`"),
        (r#"{"payload": {}, "priority": 99999999999999999999}"#, "`priority`"),
        (r#"{"payload": {}, "timeout_s": 0}"#, "`timeout_s` must be a number above 0"),
        (r#"{"payload": {}, "timeout_s": -1}"#, "`timeout_s`"),
        (r#"{"payload": {}, "timeout_s": 2592001}"#, "2592000"),
        (r#"{"payload": {}, "timeout_s": "1"}"#, "`timeout_s`"),
        (r#"{"payload": {}, "preferred_agent_id": 1}"#, "`preferred_agent_id` must be a string"),
    ];
    refuse_all(&daemon, "/tasks", &bodies, 422, "validation_failed");
    let deep = format!("{{\"payload\": {{\"a\": {}{}}}}}", "[".repeat(500), "]".repeat(500));
    refuse_all(&daemon, "/tasks", &[(&deep, "`payload`")], 422, "validation_failed");
    let key = |chars: usize| json!({ "payload": {}, "idempotency_key": "é".repeat(chars) });
    let long = key(201).to_string();
    refuse_all(&daemon, "/tasks", &[(&long, "`idempotency_key`")], 422, "validation_failed");
    daemon.post("/tasks", &key(200)).ok();
    daemon.post("/tasks", &json!({ "payload": {}, "idempotency_key": null })).ok();
}

#[test]
fn a_pool_size_that_is_none_is_422_and_names_the_range() {
    let (daemon, _, _) = busy();
    let range = "`size` must be an integer from 1 to 16";
    let sizes = ["0", "-1", "17", "1.5", "\"x\"", "\"4\"", "true", "[]", "1e99"];
    for size in sizes {
        let body = format!("{{\"size\": {size}}}");
        refuse_all(&daemon, "/pool/initialize", &[(&body, range)], 422, "validation_failed");
    }
    let bodies = [("[]", "JSON object"), (r#"{"sise": 4}"#, "unknown field `sise`")];
    refuse_all(&daemon, "/pool/initialize", &bodies, 422, "validation_failed");
}

#[test]
fn an_agent_that_cannot_be_is_422() {
    let (daemon, agent, _) = busy();
    let bodies = [
        (r#"{"kind": "robot"}"#, "`kind` must be process or external"),
        (r#"{"kind": 1}"#, "`kind` must be a string"),
        (r#"{"lease_s": 0.5}"#, "`lease_s` must be a number from 1 to 3600"),
        (r#"{"lease_s": 3601}"#, "`lease_s`"),
        (r#"{"lease_s": "5"}"#, "`lease_s`"),
        (r#"{"kind": "process", "lease_s": 5}"#, "`lease_s`"),
        (r#"{"task_types": []}"#, "`task_types` must be a list of one or more of"),
        (r#"{"task_types": ["nope"]}"#, "`task_types`"),
        (r#"{"task_types": "ingest"}"#, "`task_types`"),
        (r#"{"kinds": "external"}"#, "unknown field `kinds`"),
    ];
    refuse_all(&daemon, "/agents", &bodies, 422, "validation_failed");
    let long = format!("{{\"reason\": \"{}\"}}", "x".repeat(1_001));
    let bodies = [(r#"{"reason": 1}"#, "`reason`"), (long.as_str(), "`reason`")];
    refuse_all(&daemon, &format!("/agents/{agent}/fail"), &bodies, 422, "validation_failed");
    for verb in ["recover", "heartbeat"] {
        let bodies = [(r#"{"a": 1}"#, "unknown field `a`"), ("[]", "JSON object")];
        refuse_all(&daemon, &format!("/agents/{agent}/{verb}"), &bodies, 422, "validation_failed");
    }
}

#[test]
fn a_completion_that_contradicts_itself_is_422() {
    let (daemon, _, task) = busy();
    let complete = format!("/tasks/{task}/complete");
    let bodies = [
        (r#"{"error": {"code": "x"}}"#, "contradicts success=true"),
        (r#"{"results": 1}"#, "unknown field `results`"),
        (r#"{"result": {"a": "\ud800"}}"#, "`result`"),
        (r#"{"result": 1, "result": 2}"#, "`result`"),
    ];
    refuse_all(&daemon, &complete, &bodies, 422, "validation_failed");
    let bodies = [
        (r#"{"result": {}}"#, "contradicts success=false"),
        (r#"{"error": "x"}"#, "`error` must be an object"),
        (r#"{"error": []}"#, "`error` must be an object"),
        (r#"{"error": {"why": "x"}}"#, "unknown field `why`"),
        (r#"{"error": {"code": 1}}"#, "`error.code`"),
        (r#"{"error": {"message": 1}}"#, "`error.message`"),
        (r#"{"error": {"retryable": "yes"}}"#, "`error.retryable`"),
    ];
    let failed = format!("{complete}?success=false");
    refuse_all(&daemon, &failed, &bodies, 422, "validation_failed");
    let error = |code: &str, message: &str| {
        json!({ "error": { "code": code, "message": message } }).to_string()
    };
    let (code_max, message_max) = ("é".repeat(128), "é".repeat(4_096));
    let code = "`error.code` must be a string of 1 to 128 characters";
    let message = "`error.message` must be a string of 0 to 4096 characters";
    let bodies = [
        (error("", "m"), code),
        (error(&format!("{code_max}x"), "m"), code),
        (error("c", &format!("{message_max}x")), message),
    ];
    let bodies = bodies.each_ref().map(|(body, named)| (body.as_str(), *named));
    refuse_all(&daemon, &failed, &bodies, 422, "validation_failed");
    assert_eq!(daemon.task(&task)["status"], "in_progress");
    daemon.post_text(&failed, &error(&code_max, &message_max)).ok();
    let shown = &daemon.task(&task)["error"];
    assert_eq!((&shown["code"], &shown["message"]), (&json!(code_max), &json!(message_max)));
}

#[test]
fn a_query_that_is_not_allowed_is_422_and_the_detail_names_what() {
    let (daemon, agent, task) = busy();
    let queries = [
        ("GET", "/tasks?status=done".to_owned(), "`status` must be one of pending, in_progress"),
        ("GET", "/tasks?task_type=x".to_owned(), "`task_type`"),
        ("GET", "/tasks?limit=0".to_owned(), "`limit` must be an integer from 1 to 1000"),
        ("GET", "/tasks?limit=1001".to_owned(), "`limit`"),
        ("GET", "/tasks?limit=x".to_owned(), "`limit`"),
        ("GET", "/tasks?cursor=x".to_owned(), "`cursor`"),
        ("GET", "/tasks?limits=5".to_owned(), "unknown field `limits`"),
        ("POST", "/tasks?a=1".to_owned(), "`a`"),
        ("GET", format!("/tasks/{task}?wait_s=61"), "`wait_s` must be a number from 0 to 60"),
        ("GET", format!("/tasks/{task}?wait_s=-1"), "`wait_s`"),
        ("GET", format!("/tasks/{task}?wait_s=NaN"), "`wait_s`"),
        ("GET", format!("/tasks/{task}?wait=1"), "`wait`"),
        ("POST", format!("/tasks/{task}/complete?success=maybe"), "`success`"),
        ("POST", format!("/tasks/{task}/complete?attempt=0"), "`attempt`"),
        ("POST", format!("/tasks/{task}/complete?attempt=1.5"), "`attempt`"),
        ("POST", format!("/tasks/{task}/complete?attempts=1"), "`attempts`"),
        ("POST", format!("/tasks/{task}/cancel?force=1"), "`force`"),
        ("POST", format!("/tasks/{task}/retry?force=1"), "`force`"),
        ("POST", "/tasks/retry?status=completed".to_owned(), "must be one of failed, cancelled"),
        ("POST", "/tasks/retry?status=".to_owned(), "`status`"),
        ("POST", "/tasks/retry?task_type=x".to_owned(), "`task_type` must be one of discovery"),
        ("POST", "/tasks/retry?limit=5".to_owned(), "unknown field `limit`"),
        ("GET", format!("/agents/{agent}/assignment?wait_s=61"), "`wait_s`"),
        ("GET", format!("/agents/{agent}/assignment?incarnation=0"), "`incarnation`"),
        ("POST", format!("/agents/{agent}/heartbeat?incarnation=x"), "`incarnation`"),
        ("DELETE", format!("/agents/{agent}?drain_s=-1"), "`drain_s`"),
        ("DELETE", format!("/agents/{agent}?drain=1"), "`drain`"),
        ("DELETE", "/pool?drain_s=x".to_owned(), "`drain_s`"),
        ("DELETE", "/pool?discard=perhaps".to_owned(), "`discard` must be true or false"),
        ("GET", "/agents?a=1".to_owned(), "`a`"),
        ("GET", "/metrics?format=text".to_owned(), "`format`"),
    ];
    for (method, path, named) in queries {
        let before = daemon.state();
        let answer = daemon.call(method, &path, &[], None);
        let problem = answer.refused(422, "validation_failed");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(named), "{path}: {detail:?} does not say {named:?}");
        assert_eq!(daemon.state(), before, "{path}");
    }
}

#[test]
fn an_id_of_nothing_is_404_whether_or_not_it_looks_like_one() {
    let (daemon, _, _) = busy();
    let before = daemon.state();
    for id in [UNKNOWN, "nope", "1", "%20", "00000000-0000-4000-8000-00000000000g"] {
        for (method, path) in [
            ("GET", format!("/tasks/{id}")),
            ("GET", format!("/tasks/{id}?wait_s=10")),
            ("POST", format!("/tasks/{id}/complete")),
            ("POST", format!("/tasks/{id}/cancel")),
        ] {
            daemon.call(method, &path, &[], None).refused(404, "task_not_found");
        }
        for (method, path) in [
            ("GET", format!("/agents/{id}")),
            ("DELETE", format!("/agents/{id}")),
            ("POST", format!("/agents/{id}/fail")),
            ("POST", format!("/agents/{id}/recover")),
            ("POST", format!("/agents/{id}/heartbeat")),
            ("GET", format!("/agents/{id}/assignment?wait_s=10")),
        ] {
            daemon.call(method, &path, &[], None).refused(404, "agent_not_found");
        }
    }
    assert_eq!(daemon.state(), before);
}

#[test]
fn a_path_of_nothing_is_404_and_a_wrong_method_405_with_what_is_allowed() {
    let (daemon, agent, task) = busy();
    let before = daemon.state();
    for path in ["/", "/nope", "/tasks/", "/pool/size", &format!("/tasks/{task}/again"), "/mcp/x"] {
        daemon.get(path).refused(404, "not_found");
    }
    for (method, path, allow) in [
        ("GET", "/pool/initialize", "POST"),
        ("GET", "/pool", "DELETE"),
        ("PUT", "/agents", "GET, HEAD, POST"),
        ("PATCH", &format!("/agents/{agent}"), "DELETE, GET, HEAD"),
        ("GET", &format!("/agents/{agent}/fail"), "POST"),
        ("GET", &format!("/agents/{agent}/recover"), "POST"),
        ("GET", &format!("/agents/{agent}/heartbeat"), "POST"),
        ("POST", &format!("/agents/{agent}/assignment"), "GET"),
        ("DELETE", "/tasks", "GET, HEAD, POST"),
        ("DELETE", &format!("/tasks/{task}"), "GET, HEAD"),
        ("GET", &format!("/tasks/{task}/complete"), "POST"),
        ("GET", &format!("/tasks/{task}/cancel"), "POST"),
        ("GET", &format!("/tasks/{task}/retry"), "POST"),
        ("GET", "/tasks/retry", "POST"),
        ("DELETE", "/tasks/retry", "POST"),
        ("GET", "/mcp", "POST"),
        ("DELETE", "/mcp", "POST"),
        ("POST", "/gates", "GET, HEAD"),
        ("GET", "/gates/discovery/close", "POST"),
        ("GET", "/gates/discovery/open", "POST"),
        ("GET", "/gates/discovery/auto", "POST"),
        ("POST", "/metrics", "GET, HEAD"),
        ("POST", "/isolation-report", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("POST", "/readyz", "GET, HEAD"),
    ] {
        let answer = daemon.call(method, path, &[], None);
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
        answer.refused(405, "method_not_allowed");
    }
    assert_eq!(daemon.state(), before);
}

#[test]
fn a_body_that_is_not_said_to_be_json_is_415() {
    let (daemon, agent, task) = busy();
    let before = daemon.state();
    let body = Some(&b"{}"[..]);
    for path in [
        "/tasks".to_owned(),
        "/agents".to_owned(),
        "/pool/initialize".to_owned(),
        format!("/tasks/{task}/complete"),
        format!("/tasks/{task}/cancel"),
        format!("/tasks/{task}/retry"),
        "/tasks/retry".to_owned(),
        format!("/agents/{agent}/fail"),
        format!("/agents/{agent}/heartbeat"),
        "/gates/discovery/close".to_owned(),
    ] {
        daemon.call("POST", &path, &[], body).refused(415, "unsupported_media_type");
        for wrong in ["text/plain", "application/x-www-form-urlencoded", "text/json", "x"] {
            let answer = daemon.call("POST", &path, &[("content-type", wrong)], body);
            answer.refused(415, "unsupported_media_type");
        }
    }
    assert_eq!(daemon.state(), before);
    let charset = [("content-type", "application/json; charset=utf-8")];
    daemon.call("POST", "/tasks", &charset, Some(b"{\"payload\": {}}")).ok();
}

#[test]
fn an_optional_body_may_be_absent_or_empty() {
    let (daemon, _) = Daemon::with_external(1);
    let initialized = |body: Option<&Value>| match body {
        Some(body) => daemon.post("/pool/initialize", body).ok(),
        None => daemon.order("/pool/initialize").ok(),
    };
    assert_eq!(initialized(None)["pool_size"], 4, "the default");
    assert_eq!(initialized(Some(&json!({})))["pool_size"], 4);
    assert_eq!(initialized(Some(&json!({ "size": null })))["pool_size"], 4);
    for body in ["", "{}", " {\n} "] {
        let task = daemon.submit(&json!({ "payload": {} }));
        let path = format!("/tasks/{task}/complete");
        assert_eq!(daemon.post_text(&path, body).ok()["status"], "completed", "{body:?}");
        daemon.post_text("/agents", body).ok();
    }
}

#[test]
fn a_refusal_does_not_end_the_connection() {
    let (daemon, agent, _) = busy();
    for (path, body) in [
        ("/tasks".to_owned(), r#"{"unknown": 1}"#),
        ("/tasks?a=1".to_owned(), r#"{"payload": {}}"#),
        ("/tasks/nope/complete".to_owned(), "{}"),
        (format!("/agents/{agent}/recover"), "{}"),
    ] {
        let answer = daemon.post_text(&path, body);
        assert!(answer.status >= 400);
        assert_eq!(answer.header("connection"), "", "{path}");
    }
}
