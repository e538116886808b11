//! Trying again what failed or was cancelled.

use std::thread;

use serde_json::{Value, json};

use crate::daemon::{Answer, Daemon, EXTERNAL, text, wait_until};

const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

fn retry(daemon: &Daemon, task: &str) -> Answer {
    daemon.order(&format!("/tasks/{task}/retry"))
}

fn retry_all(daemon: &Daemon, query: &str) -> Value {
    daemon.order(&format!("/tasks/retry{query}")).ok()
}

fn fail(daemon: &Daemon, task: &str, error: &Value) -> Value {
    let attempt = daemon.task(task)["attempt_count"].clone();
    let path = format!("/tasks/{task}/complete?success=false&attempt={attempt}");
    daemon.post(&path, &json!({ "error": error })).ok()["status"].clone()
}

/// A task that was cancelled while it waited: the daemon has no agents.
fn cancelled(daemon: &Daemon, body: &Value) -> String {
    let task = daemon.submit(body);
    daemon.order(&format!("/tasks/{task}/cancel")).ok();
    task
}

fn statuses(daemon: &Daemon, tasks: &[String]) -> Vec<String> {
    tasks.iter().map(|task| text(&daemon.task(task)["status"])).collect()
}

#[test]
fn a_failed_task_runs_again_and_its_attempts_go_on_counting() {
    let (daemon, agents) = Daemon::with_external(1);
    let task = daemon.submit(&json!({ "payload": { "n": 1 }, "priority": 3 }));
    assert_eq!(fail(&daemon, &task, &json!({ "code": "bad", "message": "no" })), "failed");
    let answer = retry(&daemon, &task).ok();
    assert_eq!(answer, json!({ "task_id": task, "status": "in_progress" }));
    let shown = daemon.task(&task);
    for (name, value) in [
        ("status", json!("in_progress")),
        ("attempt_count", json!(2)),
        ("failures", json!(0)),
        ("failed_agent_ids", json!([])),
        ("error", Value::Null),
        ("result", Value::Null),
        ("completed_at", Value::Null),
        ("payload", json!({ "n": 1 })),
        ("priority", json!(3)),
        ("assigned_agent_id", json!(agents[0])),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
    let attempts = shown["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "what it did before stays with it");
    assert_eq!(attempts[0]["outcome"], "failed");
    assert_eq!((&attempts[1]["attempt"], &attempts[1]["outcome"]), (&json!(2), &Value::Null));

    let complete = format!("/tasks/{task}/complete");
    daemon.post(&format!("{complete}?attempt=1"), &json!({})).refused(409, "stale_attempt");
    daemon.post(&complete, &json!({})).refused(409, "attempt_required");
    daemon.post(&format!("{complete}?attempt=2"), &json!({ "result": 7 })).ok();
    let shown = daemon.task(&task);
    assert_eq!((&shown["status"], &shown["result"]), (&json!("completed"), &json!(7)));
    retry(&daemon, &task).refused(409, "not_retryable");
}

#[test]
fn a_retried_task_has_all_its_tries_again() {
    let queue = "[queue]\nmax_attempts = 2\nbackoff_first_s = 0\nbackoff_max_s = 0\n";
    let (daemon, _) = Daemon::with_agents(&format!("{EXTERNAL}{queue}"), 1);
    let task = daemon.submit(&json!({ "payload": {} }));
    let runs = || {
        wait_until("the task runs", || {
            (daemon.task(&task)["status"] == "in_progress").then_some(())
        });
    };
    let busy = json!({ "code": "busy", "retryable": true });
    for round in 0..2 {
        for failures in 1..=2 {
            runs();
            let status = if failures < 2 { "pending" } else { "failed" };
            let now = fail(&daemon, &task, &busy);
            assert!(now == status || (status == "pending" && now == "in_progress"), "{now}");
            let shown = daemon.task(&task);
            assert_eq!(shown["failures"], failures, "round {round}");
        }
        assert_eq!(daemon.task(&task)["attempt_count"], 2 * round + 2);
        retry(&daemon, &task).ok();
        assert_eq!(daemon.task(&task)["failures"], 0);
    }
}

#[test]
fn an_agent_that_failed_it_may_have_it_again() {
    let (daemon, agents) =
        Daemon::with_agents(&format!("{EXTERNAL}[queue]\nmax_attempts = 1\n"), 1);
    let task = daemon.submit(&json!({ "payload": {} }));
    daemon.order(&format!("/agents/{}/fail", agents[0])).ok();
    let shown = daemon.task(&task);
    assert_eq!((&shown["status"], &shown["failures"]), (&json!("failed"), &json!(1)));
    assert_eq!(shown["failed_agent_ids"], json!([agents[0]]));
    daemon.order(&format!("/agents/{}/recover", agents[0])).ok();
    assert_eq!(retry(&daemon, &task).ok()["status"], "in_progress");
    let shown = daemon.task(&task);
    assert_eq!(shown["failed_agent_ids"], json!([]));
    assert_eq!(shown["attempts"][1]["decision"]["excluded"], json!([]));
}

#[test]
fn a_cancelled_task_is_tried_again() {
    let daemon = Daemon::start(EXTERNAL);
    let task = cancelled(&daemon, &json!({ "payload": {} }));
    assert_eq!(retry(&daemon, &task).ok()["status"], "pending");
    let shown = daemon.task(&task);
    assert_eq!((&shown["queue_position"], &shown["attempt_count"]), (&json!(1), &json!(0)));
    assert_eq!(shown["pending_reason"], "pool_empty");
    assert_eq!(shown["completed_at"], Value::Null);
    daemon.order(&format!("/tasks/{task}/cancel")).ok();
    retry(&daemon, &task).ok();
    daemon.post("/agents", &json!({})).ok();
    wait_until("it runs", || (daemon.task(&task)["status"] == "in_progress").then_some(()));
    assert_eq!(daemon.task(&task)["attempt_count"], 1);
}

#[test]
fn a_task_that_was_cancelled_while_it_ran_is_tried_again_when_that_run_is_over() {
    let bound = "cancel_grace_s = 3600\n[http]\nmax_in_flight = 5\ncall_timeout_s = 60\n";
    let (daemon, agents) = Daemon::with_agents(&format!("{EXTERNAL}{bound}"), 1);
    let task = daemon.submit(&json!({ "payload": {} }));
    daemon.get(&format!("/agents/{}/assignment", agents[0])).ok();
    daemon.order(&format!("/tasks/{task}/cancel")).ok();
    thread::scope(|scope| {
        // With one whose body does not come, the four are all that may be under way.
        let open = daemon.raw(
            "POST /tasks HTTP/1.1\r\nHost: daemon\r\nContent-Type: application/json\r\n\
             Content-Length: 15\r\n\r\n{",
        );
        let retried = || {
            wait_until("the retry is taken", || {
                Some(retry(&daemon, &task)).filter(|answer| !answer.is_overloaded())
            })
        };
        let retries: Vec<_> = (0..4).map(|_| scope.spawn(retried)).collect();
        let is_full = || daemon.get("/metrics").is_overloaded();
        wait_until("they are there", || is_full().then_some(()));
        drop(open);
        wait_until("there is room for one more", || (!is_full()).then_some(()));
        let beat = daemon.order(&format!("/agents/{}/heartbeat", agents[0])).ok();
        assert_eq!((&beat["attempt"], &beat["cancel_requested"]), (&json!(1), &json!(true)));
        let again = daemon.submit(&json!({ "payload": {} }));
        assert_eq!(daemon.task(&again)["status"], "pending", "the agent is not free yet");
        assert!(retries.iter().all(|retry| !retry.is_finished()), "they wait for the run's end");
        let complete = format!("/tasks/{task}/complete?attempt=1");
        daemon.post(&complete, &json!({ "result": 1 })).refused(409, "already_finished");
        let answers = retries.into_iter().map(|retry| retry.join().unwrap());
        let (done, refused): (Vec<_>, Vec<_>) = answers.partition(|answer| answer.status == 200);
        assert_eq!((done.len(), refused.len()), (1, 3));
        for answer in refused {
            answer.refused(409, "not_retryable");
        }
        daemon.order(&format!("/tasks/{again}/cancel")).ok();
    });
    wait_until("it runs again", || {
        let other = daemon.order(&format!("/agents/{}/heartbeat", agents[0])).ok();
        if other["cancel_requested"] == true {
            daemon.order(&format!("/tasks/{}/complete", text(&other["task_id"])));
        }
        (daemon.task(&task)["status"] == "in_progress").then_some(())
    });
    let shown = daemon.task(&task);
    assert_eq!((&shown["attempt_count"], &shown["result"]), (&json!(2), &Value::Null));
    daemon.post(&format!("/tasks/{task}/complete?attempt=2"), &json!({ "result": 2 })).ok();
    assert_eq!(daemon.task(&task)["result"], 2);
}

#[test]
fn what_did_not_fail_is_not_tried_again() {
    let (daemon, _) = Daemon::with_external(1);
    let completed = daemon.submit(&json!({ "payload": {} }));
    daemon.order(&format!("/tasks/{completed}/complete")).ok();
    let runs = daemon.submit(&json!({ "payload": {} }));
    let waits = daemon.submit(&json!({ "payload": {} }));
    let before = daemon.state();
    for (task, status) in [(&completed, "completed"), (&runs, "in_progress"), (&waits, "pending")] {
        let problem = retry(&daemon, task).refused(409, "not_retryable");
        assert_eq!(problem["task_status"], status);
    }
    for id in [UNKNOWN, "nope", "1", "%20"] {
        retry(&daemon, id).refused(404, "task_not_found");
    }
    assert_eq!(daemon.state(), before);
}

#[test]
fn of_many_retries_at_once_one_is_done() {
    let daemon = Daemon::start(EXTERNAL);
    for _ in 0..5 {
        let task = cancelled(&daemon, &json!({ "payload": {} }));
        let answers: Vec<_> = thread::scope(|scope| {
            let calls: Vec<_> = (0..16).map(|_| scope.spawn(|| retry(&daemon, &task))).collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        let (done, refused): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| answer.status == 200);
        assert_eq!(done.len(), 1);
        for answer in refused {
            assert_eq!(answer.refused(409, "not_retryable")["task_status"], "pending");
        }
        assert_eq!(daemon.task(&task)["status"], "pending");
    }
    let metrics = daemon.metrics();
    assert_eq!((&metrics["tasks_pending"], &metrics["queue_length"]), (&json!(5), &json!(5)));
}

#[test]
fn a_retry_needs_room_in_the_queue() {
    let daemon = Daemon::start(&format!("{EXTERNAL}[queue]\nmax_depth = 1\n"));
    let task = cancelled(&daemon, &json!({ "payload": {} }));
    let waits = daemon.submit(&json!({ "payload": {} }));
    let before = daemon.state();
    assert_eq!(retry(&daemon, &task).refused(429, "queue_full")["max_depth"], 1);
    assert_eq!(daemon.state(), before);
    retry(&daemon, &waits).refused(409, "not_retryable");
    daemon.order(&format!("/tasks/{waits}/cancel")).ok();
    retry(&daemon, &task).ok();
    retry(&daemon, &waits).refused(429, "queue_full");
    daemon.post("/tasks", &json!({ "payload": {} })).refused(429, "queue_full");
}

#[test]
fn a_retried_task_takes_its_old_place() {
    let daemon = Daemon::start(EXTERNAL);
    let first = cancelled(&daemon, &json!({ "payload": {} }));
    let second = daemon.submit(&json!({ "payload": {} }));
    retry(&daemon, &first).ok();
    assert_eq!(daemon.task(&first)["queue_position"], 1);
    assert_eq!(daemon.task(&second)["queue_position"], 2);
    let page = daemon.get("/tasks").ok();
    assert_eq!(page["tasks"][0]["task_id"], second.as_str());
    assert_eq!(page["tasks"][1]["task_id"], first.as_str());
}

#[test]
fn a_retried_task_keeps_its_key() {
    let daemon = Daemon::start(EXTERNAL);
    let body = json!({ "payload": {}, "idempotency_key": "k" });
    let task = cancelled(&daemon, &body);
    retry(&daemon, &task).ok();
    let again = daemon.post("/tasks", &body).ok();
    assert_eq!((&again["task_id"], &again["status"]), (&json!(task), &json!("pending")));
}

#[test]
fn many_are_tried_again_as_far_as_there_is_room_the_oldest_first() {
    let daemon = Daemon::start(&format!("{EXTERNAL}[queue]\nmax_depth = 3\n"));
    let many: Vec<_> = (0..5).map(|_| cancelled(&daemon, &json!({ "payload": {} }))).collect();
    let waits = daemon.submit(&json!({ "payload": {} }));
    let done = retry_all(&daemon, "?status=cancelled");
    assert_eq!(done, json!({ "retried": 2, "remaining": 3 }));
    let expected = ["pending", "pending", "cancelled", "cancelled", "cancelled"];
    assert_eq!(statuses(&daemon, &many), expected);

    let before = daemon.state();
    let none = daemon.order("/tasks/retry?status=cancelled");
    assert_eq!(none.refused(429, "queue_full")["max_depth"], 3);
    assert_eq!(daemon.state(), before);
    assert_eq!(retry_all(&daemon, ""), json!({ "retried": 0, "remaining": 0 }), "nothing failed");

    daemon.post("/agents", &json!({})).ok();
    wait_until("one is placed", || {
        (daemon.task(&many[0])["status"] == "in_progress").then_some(())
    });
    let done = retry_all(&daemon, "?status=cancelled");
    assert_eq!(done, json!({ "retried": 1, "remaining": 2 }));
    daemon.order(&format!("/tasks/{waits}/cancel")).ok();
    daemon.order(&format!("/tasks/{}/cancel", many[1])).ok();
    let done = retry_all(&daemon, "?status=cancelled");
    assert_eq!(done["retried"], 2);
    assert_eq!(done["remaining"], 2);
}

#[test]
fn many_of_one_status_and_type_are_tried_again() {
    let (daemon, _) = Daemon::with_external(1);
    let mut failed = Vec::new();
    for kind in ["ingest", "research", "ingest"] {
        let task = daemon.submit(&json!({ "payload": {}, "task_type": kind }));
        fail(&daemon, &task, &json!({}));
        failed.push(task);
    }
    let completed = daemon.submit(&json!({ "payload": {} }));
    daemon.order(&format!("/tasks/{completed}/complete")).ok();
    let runs = daemon.submit(&json!({ "payload": {} }));
    let called_off = cancelled(&daemon, &json!({ "payload": {}, "task_type": "ingest" }));

    let done = retry_all(&daemon, "?status=failed&task_type=discovery");
    assert_eq!(done, json!({ "retried": 0, "remaining": 0 }));
    let done = retry_all(&daemon, "?task_type=ingest");
    assert_eq!(done, json!({ "retried": 2, "remaining": 0 }));
    assert_eq!(statuses(&daemon, &failed), ["pending", "failed", "pending"]);
    assert_eq!(daemon.task(&failed[0])["queue_position"], 1, "the oldest is next");
    assert_eq!(retry_all(&daemon, ""), json!({ "retried": 1, "remaining": 0 }));
    assert_eq!(statuses(&daemon, &failed), ["pending"; 3]);
    assert_eq!(daemon.task(&called_off)["status"], "cancelled");
    assert_eq!(daemon.task(&runs)["status"], "in_progress");
    assert_eq!(daemon.task(&completed)["status"], "completed");
    let done = daemon.post("/tasks/retry?status=cancelled", &json!({})).ok();
    assert_eq!(done, json!({ "retried": 1, "remaining": 0 }));
}

#[test]
fn many_at_once_are_each_tried_once() {
    let config = format!("{EXTERNAL}[queue]\nmax_depth = 10000\n");
    let daemon = Daemon::start(&config);
    let many: Vec<_> = (0..300).map(|_| daemon.submit(&json!({ "payload": {} }))).collect();
    daemon.delete("/pool?discard=true").ok();
    assert!(statuses(&daemon, &many).iter().all(|status| status == "cancelled"));
    let retried: u64 = thread::scope(|scope| {
        let call = || retry_all(&daemon, "?status=cancelled")["retried"].as_u64().unwrap();
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(call)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).sum()
    });
    assert_eq!(retried, 300);
    assert_eq!(daemon.metrics()["tasks_pending"], 300);
    assert!(statuses(&daemon, &many).iter().all(|status| status == "pending"));
}
