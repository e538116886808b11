//! What there is only so much of.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::daemon::{Answer, Daemon, EXTERNAL, text, wait_until};

/// Calls get a short time; with everything in memory, so that none of them waits for a disk.
fn impatient(call_timeout_s: u32) -> String {
    format!("[store]\npath = \":memory:\"\n[http]\ncall_timeout_s = {call_timeout_s}\n")
}

#[test]
fn a_full_queue_refuses_and_takes_again_when_there_is_room() {
    let daemon = Daemon::start(&format!("{EXTERNAL}[queue]\nmax_depth = 2\n"));
    let first = daemon.submit(&json!({ "payload": {} }));
    daemon.submit(&json!({ "payload": {} }));
    let before = daemon.state();
    let answer = daemon.post("/tasks", &json!({ "payload": {} }));
    let wait: u32 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(answer.refused(429, "queue_full")["max_depth"], 2);
    assert_eq!(daemon.state(), before);
    assert_eq!(daemon.metrics()["tasks_rejected"], 1);
    daemon.order(&format!("/tasks/{first}/cancel")).ok();
    daemon.submit(&json!({ "payload": {} }));
}

#[test]
fn a_body_may_be_as_large_as_the_limit_and_no_larger() {
    let daemon = Daemon::start(&format!("{EXTERNAL}[http]\nmax_body_bytes = 2000\n"));
    let body = |bytes: usize| {
        let around = r#"{"payload":{"a":""}}"#.len();
        json!({ "payload": { "a": "x".repeat(bytes - around) } }).to_string()
    };
    daemon.post_text("/tasks", &body(2_000)).ok();
    let before = daemon.state();
    for bytes in [2_001, 100_000, 5_000_000] {
        let problem = daemon.post_text("/tasks", &body(bytes)).refused(413, "body_too_large");
        assert_eq!(problem["max_body_bytes"], 2_000);
    }
    let json = [("content-type", "application/json"), ("transfer-encoding", "chunked")];
    let answer = daemon.call("POST", "/tasks", &json, Some(body(2_001).as_bytes()));
    answer.refused(413, "body_too_large");
    assert_eq!(daemon.state(), before);
}

#[test]
fn a_large_body_comes_through_as_it_is() {
    let (daemon, agents) = Daemon::with_external(1);
    let text = "0123456789\n\"\\ü".repeat(40_000);
    let task = daemon.submit(&json!({ "payload": { "text": text } }));
    let assignment = daemon.get(&format!("/agents/{}/assignment", agents[0])).ok();
    assert_eq!(assignment["payload"]["text"], text.as_str());
    daemon.post(&format!("/tasks/{task}/complete"), &json!({ "result": text })).ok();
    assert_eq!(daemon.task(&task)["result"], text.as_str());
}

#[test]
fn calls_past_the_bound_are_refused_but_not_long_polls_and_healthz() {
    let config = "[pool]\nautostart = false\n[worker]\ncommand = [\"sleep\", \"60\"]\n\
                  start_timeout_s = 60\n[http]\nmax_in_flight = 1\n";
    let daemon = Daemon::start(config);
    thread::scope(|scope| {
        // It answers when the agent has settled, which this one does not; until then it is in flight.
        let spawning = scope.spawn(|| {
            wait_until("the call is taken", || {
                Some(daemon.order("/agents")).filter(|answer| answer.status != 503)
            })
        });
        let refused = wait_until("a call is refused", || {
            Some(daemon.get("/metrics")).filter(|answer| answer.status != 200)
        });
        refused.refused(503, "overloaded");
        daemon.get("/healthz").ok();
        let nothing = "/tasks/00000000-0000-4000-8000-000000000000?wait_s=1";
        daemon.get(nothing).refused(404, "task_not_found");
        daemon.get("/nope").refused(404, "not_found");
        // It waits as well.
        daemon.delete("/pool?drain_s=1").ok();
        spawning.join().unwrap().refused(409, "pool_closing");
    });
    daemon.metrics();
}

#[test]
fn a_body_that_does_not_come_in_time_gives_its_place_back() {
    let daemon = Daemon::start(&format!("{}max_in_flight = 1\n{EXTERNAL}", impatient(3)));
    let before = daemon.state();
    let slow = daemon.raw(
        "POST /tasks HTTP/1.1\r\nHost: daemon\r\nContent-Type: application/json\r\n\
         Content-Length: 15\r\n\r\n{\"payload\":",
    );
    let (status, problem) = Answer::last_on(slow);
    assert_eq!((status, &problem["code"]), (400, &json!("body_unreadable")), "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("within 3 s, which is http.call_timeout_s"), "{detail}");
    assert_eq!(daemon.state(), before);
}

#[test]
fn a_call_without_an_answer_in_time_is_504_and_may_have_taken_effect() {
    // It does not end when it is asked to, and is killed two seconds later: calls get half of that.
    let script = r#"
        echo '{"type":"hello","proto":[1,1],"pid":1}'; read -r init; echo '{"type":"ready"}'
        while :; do sleep 1000; done
    "#;
    let command = json!(["sh", "-c", script]);
    let worker = format!("[worker]\ncommand = {command}\ncancel_grace_s = 0\n");
    let config = format!("{}[pool]\nsize = 1\n{worker}", impatient(1));
    let daemon = Daemon::start(&config);
    let agent = wait_until("the pool has its agent", || {
        // Any call may be late.
        let agent = daemon.get("/agents").body[0]["agent"].clone();
        (agent["status"] == "idle").then(|| text(&agent["agent_id"]))
    });
    let problem = daemon.delete(&format!("/agents/{agent}")).refused(504, "no_answer");
    assert!(text(&problem["detail"]).contains("within 1 s"), "{problem}");
    wait_until("the agent is gone all the same", || {
        (daemon.get("/agents").body == json!([])).then_some(())
    });
}

#[test]
fn a_second_shutdown_of_the_pool_waits_as_long_as_the_first() {
    let (daemon, agents) = Daemon::with_agents(&format!("{}{EXTERNAL}", impatient(3)), 1);
    let task = daemon.submit(&json!({ "payload": {} }));
    daemon.get(&format!("/agents/{}/assignment", agents[0])).ok();
    thread::scope(|scope| {
        let closing = scope.spawn(|| daemon.delete("/pool?drain_s=30").ok());
        wait_until("the pool closes", || {
            let answer = daemon.post("/pool/initialize", &json!({ "size": 1 }));
            (answer.status == 409).then_some(())
        });
        let begun = Instant::now();
        let joining = scope.spawn(|| daemon.delete("/pool?drain_s=0").ok());
        // Both wait, and the second for longer than its own call would.
        wait_until("the time-out has passed", || {
            (begun.elapsed() > Duration::from_secs(4)).then_some(())
        });
        assert!(!joining.is_finished());
        daemon.order(&format!("/tasks/{task}/complete")).ok();
        assert_eq!(closing.join().unwrap()["agents_stopped"], 1);
        assert_eq!(joining.join().unwrap()["status"], "shutdown_completed");
    });
}
