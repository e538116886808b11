//! Agents of the pool hand out tasks and wait for them, while agents and the daemon are killed.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests measure time, and their helpers stand outside of test functions"
)]

#[path = "support/daemon.rs"]
mod daemon;

use std::time::{Duration, Instant};

use daemon::{Daemon, text, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// A daemon with so many process agents, which survive being killed often.
fn pool(agents: usize) -> (Daemon, Vec<String>) {
    let config = format!(
        "[pool]\nsize = {agents}\nrestarts_max = 1000\n\
         [queue]\nmax_depth = 1000\nmax_attempts = 100\nexclusion_relax_s = 0.1\n\
         backoff_first_s = 0.01\n[worker]\ncancel_grace_s = 0.5\n"
    );
    let daemon = Daemon::start(&config);
    let pool = daemon.order("/pool/initialize").ok();
    let ids = pool["agent_ids"].as_array().unwrap().iter().map(text).collect();
    (daemon, ids)
}

fn nap() -> Value {
    json!({ "payload": { "action": "sleep", "seconds": 0.05 } })
}

fn delegate(children: &[Value]) -> Value {
    json!({ "action": "delegate", "children": children })
}

fn ended(daemon: &Daemon, task: &str) -> Value {
    wait_until(&format!("{task} has ended"), || {
        let shown = daemon.task(task);
        let status = shown["status"].as_str().unwrap();
        (!matches!(status, "pending" | "in_progress")).then_some(shown)
    })
}

/// Waits until no task is live, for longer than one wait of a test may take.
fn everything_ends(daemon: &Daemon) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(120) {
        let metrics = daemon.metrics();
        if metrics["tasks_pending"] == 0 && metrics["tasks_in_progress"] == 0 {
            assert_eq!(metrics["waiting_parents"], 0);
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the pool is locked up: {:#?}", daemon.get("/tasks?status=in_progress").ok());
}

#[test]
fn an_agent_hands_out_tasks_and_is_told_how_they_ended() {
    let (daemon, _) = pool(2);
    let fails = json!({ "payload": { "action": "fail" }, "priority": 3 });
    let payload = delegate(&[nap(), fails]);
    let body = json!({ "payload": payload, "priority": 7 });
    let headers = [("content-type", "application/json"), ("x-trace-id", "the-family")];
    let answer = daemon.call("POST", "/tasks", &headers, Some(body.to_string().as_bytes()));
    let parent = text(&answer.ok()["task_id"]);
    let shown = ended(&daemon, &parent);
    assert_eq!(shown["status"], "completed", "{shown}");
    let children = shown["result"]["children"].as_array().unwrap();
    let expected = [("completed", 7), ("failed", 3)];
    for (child, (status, priority)) in children.iter().zip(expected) {
        assert_eq!(child["status"], status);
        let child = daemon.task(child["task_id"].as_str().unwrap());
        assert_eq!(child["parent_task_id"], parent);
        assert_eq!(child["priority"], priority);
        assert_eq!(child["trace_id"], "the-family", "one trace for all that came of a request");
    }
}

#[test]
fn a_tool_answers_inside_what_it_answers_outside() {
    let (daemon, _) = pool(1);
    let call = |name: &str, args: &Value| {
        let payload = json!({ "action": "tool", "name": name, "args": args });
        let task = daemon.submit(&json!({ "payload": payload }));
        let shown = ended(&daemon, &task);
        assert_eq!(shown["status"], "completed", "{shown}");
        shown["result"].clone()
    };
    let old = daemon.submit(&nap());
    let outside = ended(&daemon, &old);
    let inside = call("get_coordination_task", &json!({ "task_id": old }));
    assert_eq!(inside["value"], outside);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let inside = call("coordination_metrics", &json!({}));
    assert_eq!(keys(&inside["value"]), keys(&daemon.metrics()));
    let inside = call("isolation_report", &json!({}));
    assert_eq!(keys(&inside["value"]), keys(&daemon.get("/isolation-report").ok()));

    let nobody = json!({ "task_id": "0198c0de-0000-7000-8000-00000000000a" });
    for (name, args, code) in [
        ("get_coordination_task", nobody, "task_not_found"),
        ("get_coordination_task", json!({}), "validation_failed"),
        ("get_coordination_task", json!({ "task_id": old, "wait_s": 5 }), "validation_failed"),
        ("coordination_metrics", json!({ "verbose": true }), "validation_failed"),
        ("submit_coordination_task", json!({ "payload": 5 }), "validation_failed"),
        (
            "submit_coordination_task",
            json!({ "payload": {}, "parent_task_id": old }),
            "validation_failed",
        ),
        ("submit_coordination_task", json!([]), "validation_failed"),
        ("shutdown_pool", json!({}), "unknown_tool"),
    ] {
        let answer = call(name, &args);
        assert_eq!(answer["code"], code, "{name} {args}: {answer}");
        assert!(!text(&answer["message"]).is_empty());
    }
    call("get_coordination_task", &json!({ "task_id": old, "wait_s": null }));
}

#[test]
fn an_answer_that_fits_into_no_frame_is_a_refusal() {
    let daemon = Daemon::start("[pool]\nsize = 1\n[http]\nmax_body_bytes = 200000\n");
    let large = "x".repeat(190_000);
    let echo = json!({ "payload": { "action": "echo", "value": large } });
    let large = daemon.submit(&echo);
    assert_eq!(ended(&daemon, &large)["status"], "completed");
    let args = json!({ "task_id": large });
    let looks = json!({ "action": "tool", "name": "get_coordination_task", "args": args });
    let task = daemon.submit(&json!({ "payload": looks }));
    let answer = ended(&daemon, &task)["result"].clone();
    assert_eq!(answer["code"], "answer_too_large", "payload and result are in it: {answer}");
}

#[test]
fn a_single_agent_hands_out_only_detached_tasks() {
    let (daemon, _) = pool(1);
    let detached = json!({ "payload": { "action": "sleep", "seconds": 0 }, "detach": true });
    let parent = daemon.submit(&json!({ "payload": delegate(&[nap(), detached]) }));
    let shown = ended(&daemon, &parent);
    let children = &shown["result"]["children"];
    assert_eq!(children[0]["code"], "would_deadlock", "{shown}");
    let free = children[1]["task_id"].as_str().unwrap();
    assert_eq!(ended(&daemon, free)["status"], "completed");
}

#[test]
fn a_cancelled_parent_takes_its_children_along() {
    let (daemon, _) = pool(3);
    let long = json!({ "payload": { "action": "sleep", "seconds": 1000 } });
    let parent =
        daemon.submit(&json!({ "payload": delegate(&[long.clone(), long.clone(), long]) }));
    let children = wait_until("all are there", || {
        let list = daemon.get("/tasks").ok();
        let tasks = list["tasks"].as_array().unwrap().clone();
        (tasks.len() == 4).then_some(tasks)
    });
    daemon.order(&format!("/tasks/{parent}/cancel")).ok();
    for task in children {
        assert_eq!(daemon.task(&text(&task["task_id"]))["status"], "cancelled");
    }
    everything_ends(&daemon);
    wait_until("the agents are free again", || {
        (daemon.metrics()["agents"]["idle"] == 3).then_some(())
    });
}

#[test]
fn a_worker_that_calls_more_than_it_waits_for_is_killed() {
    let (daemon, _) = pool(1);
    let flood = json!({ "action": "flood", "name": "isolation_report", "count": 5000 });
    let then = json!({ "action": "sleep", "seconds": 0 });
    let mut payload = flood;
    payload["then"] = then;
    let task = daemon.submit(&json!({ "payload": payload }));
    let shown = ended(&daemon, &task);
    let first = &shown["attempts"][0];
    assert_eq!(first["outcome"], "agent_failed", "{shown}");
    assert_eq!(first["failure"]["cause"], "protocol");
    assert!(text(&first["failure"]["detail"]).contains("16 of its calls"), "{first}");
    assert_eq!(shown["status"], "completed");
}

/// Kills the worker of an agent, if it has one.
fn strike(daemon: &Daemon, agent: &str) {
    if let Some(pid) = daemon.agent(agent)["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()) {
        let _it_may_be_gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

#[test]
fn four_agents_that_all_hand_out_tasks_and_poll_never_lock_up() {
    let (mut daemon, agents) = pool(4);
    let grandchildren = json!({ "payload": delegate(&[nap(), nap()]) });
    let payload = delegate(&[nap(), grandchildren, nap()]);
    for _ in 0..12 {
        daemon.submit(&json!({ "payload": payload }));
    }
    for round in 0..24_usize {
        strike(&daemon, &agents[round * 7 % 4]);
        if round % 8 == 7 {
            daemon.start_again();
        }
        let before = daemon.metrics()["tasks_completed"].clone();
        // Some work is done between two deaths, if there is any.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(300)
            && daemon.metrics()["tasks_completed"] == before
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    everything_ends(&daemon);
    let list = daemon.get("/tasks?limit=1000").ok();
    let tasks = list["tasks"].as_array().unwrap();
    let roots: Vec<_> = tasks.iter().filter(|task| task["parent_task_id"].is_null()).collect();
    assert_eq!(roots.len(), 12);
    let has = |status: &str| tasks.iter().filter(|task| task["status"] == status).count();
    assert!(roots.iter().all(|root| root["status"] == "completed"), "{roots:#?}");
    assert!(has("cancelled") > 0, "no child was cancelled with its parent's attempt");
    let refused = tasks.iter().any(|task| {
        let shown = daemon.task(&text(&task["task_id"]));
        shown["result"].to_string().contains("would_deadlock")
    });
    assert!(refused, "four agents never came to the bound");
}
