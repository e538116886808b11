//! Tasks that other tasks hand out.

use serde_json::{Value, json};

use crate::daemon::{Answer, Daemon};

fn child(daemon: &Daemon, parent: &str, more: &Value) -> Answer {
    let mut body = json!({ "payload": {}, "parent_task_id": parent });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    daemon.post("/tasks", &body)
}

fn id(answer: Answer) -> String {
    answer.ok()["task_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_child_shows_its_parent_in_its_answer_and_in_lists() {
    let (daemon, _) = Daemon::with_external(2);
    let parent = daemon.submit(&json!({ "payload": {}, "priority": 9 }));
    assert_eq!(daemon.task(&parent)["parent_task_id"], Value::Null);
    let born = id(child(&daemon, &parent, &json!({ "detach": false, "priority": null })));
    let shown = daemon.task(&born);
    assert_eq!((&shown["parent_task_id"], &shown["priority"]), (&json!(parent), &json!(9)));
    let list = daemon.get("/tasks").ok();
    assert_eq!(list["tasks"][0]["parent_task_id"], json!(parent));
    assert_eq!(list["tasks"][1]["parent_task_id"], Value::Null);
    assert_eq!(daemon.get("/metrics").ok()["waiting_parents"], 1);
}

#[test]
fn children_go_with_an_attempt_that_fails_and_detached_ones_do_not() {
    let (daemon, _) = Daemon::with_external(3);
    let parent = daemon.submit(&json!({ "payload": {} }));
    let born = id(child(&daemon, &parent, &json!({})));
    let free = id(child(&daemon, &parent, &json!({ "detach": true })));
    daemon.post(&format!("/tasks/{parent}/complete?success=false"), &json!({})).ok();
    assert_eq!(daemon.task(&born)["status"], "cancelled");
    assert_eq!(daemon.task(&free)["status"], "in_progress");
}

#[test]
fn a_parent_must_be_in_progress() {
    let (daemon, _) = Daemon::with_external(1);
    let running = daemon.submit(&json!({ "payload": {} }));
    let waiting = daemon.submit(&json!({ "payload": {} }));
    let gone = daemon.submit(&json!({ "payload": {} }));
    daemon.order(&format!("/tasks/{gone}/cancel")).ok();
    let before = daemon.state();
    for nobody in ["x", "0198c0de-0000-7000-8000-00000000000a"] {
        child(&daemon, nobody, &json!({})).refused(404, "task_not_found");
    }
    child(&daemon, &waiting, &json!({})).refused(409, "not_running");
    let problem = child(&daemon, &gone, &json!({})).refused(409, "already_finished");
    assert_eq!(problem["task_status"], "cancelled");
    assert!(problem["detail"].as_str().unwrap().contains("parent_task_id"));
    for bad in [json!({ "detach": "yes" }), json!({ "detach": 1 }), json!({ "parent_task_id": 5 })]
    {
        child(&daemon, &running, &bad).refused(422, "validation_failed");
    }
    assert_eq!(daemon.state(), before);
}

#[test]
fn families_have_limits() {
    let (daemon, _) = Daemon::with_external(6);
    let mut parent = daemon.submit(&json!({ "payload": {} }));
    let root = parent.clone();
    for _ in 0..3 {
        parent = id(child(&daemon, &parent, &json!({})));
    }
    assert_eq!(child(&daemon, &parent, &json!({})).refused(409, "too_deep")["max_depth"], 3);
    for _ in 0..15 {
        child(&daemon, &root, &json!({ "detach": true })).ok();
    }
    let problem = child(&daemon, &root, &json!({})).refused(409, "too_many_children");
    assert_eq!(problem["max_children"], 16);
}

#[test]
fn one_live_agent_is_left_to_run_children() {
    let (daemon, _) = Daemon::with_external(1);
    let parent = daemon.submit(&json!({ "payload": {} }));
    let problem = child(&daemon, &parent, &json!({})).refused(409, "would_deadlock");
    assert_eq!((&problem["waiting_parents"], &problem["live_agents"]), (&json!(0), &json!(1)));
    child(&daemon, &parent, &json!({ "detach": true })).ok();
}

#[test]
fn whose_child_a_task_is_belongs_to_what_its_key_stands_for() {
    let (daemon, _) = Daemon::with_external(3);
    let parent = daemon.submit(&json!({ "payload": {} }));
    let other = daemon.submit(&json!({ "payload": {} }));
    let key = json!({ "idempotency_key": "once" });
    let first = id(child(&daemon, &parent, &key));
    assert_eq!(id(child(&daemon, &parent, &key)), first);
    let detached = json!({ "idempotency_key": "once", "detach": true });
    child(&daemon, &parent, &detached).refused(409, "idempotency_conflict");
    child(&daemon, &other, &key).refused(409, "idempotency_conflict");
    daemon
        .post("/tasks", &json!({ "payload": {}, "idempotency_key": "once" }))
        .refused(409, "idempotency_conflict");
    assert_eq!(daemon.get("/metrics").ok()["tasks_total"], 3);
}
