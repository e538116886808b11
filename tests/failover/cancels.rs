//! Tasks that are called off, or take too long, while a process works on them.

use daedalus::worker::proc;
use serde_json::{Value, json};

use super::daemon::Daemon;

/// No death may count: the first that does is the end of the agent.
const STRICT: &str = "[pool]\nrestarts_max = 0\nsize = ";

fn cancel(daemon: &Daemon, task: &str) {
    let answer = daemon.ok("POST", &format!("/tasks/{task}/cancel"), None);
    assert_eq!(answer["status"], "cancelled");
    assert_eq!(daemon.task(task)["status"], "cancelled", "at once");
}

/// Cancels a run, and gives the next task to the same agent; how long that had to wait.
fn next_after_cancel(payload: Value, incarnation: u64) -> f64 {
    let daemon = Daemon::start(&format!("{STRICT}1"));
    let (task, agent) = daemon.begin(payload);
    cancel(&daemon, &task);
    let next = daemon.submit(json!({"action": "echo", "value": 1}));
    let next = daemon.ended(&next);
    assert_eq!((&next["status"], &next["attempt_count"]), (&json!("completed"), &json!(1)));
    let cancelled = daemon.task(&task);
    assert_eq!(cancelled["attempts"][0]["outcome"], "cancelled", "{cancelled}");
    assert_eq!((&cancelled["status"], &cancelled["failures"]), (&json!("cancelled"), &json!(0)));
    assert_eq!(daemon.agent(&agent.id).incarnation, incarnation);
    if incarnation > 1 {
        assert!(!proc::is_alive(agent.worker()));
    }
    daemon.assert_no_orphans(1);
    let again = daemon.call("POST", &format!("/tasks/{task}/cancel"), None);
    assert_eq!((again.0, &again.1["code"]), (409, &json!("already_finished")));
    let at = |task: &Value, key: &str| task[key].as_f64().expect("a time");
    at(&next["attempts"][0], "assigned_at") - at(&cancelled, "completed_at")
}

#[test]
fn a_cancelled_sleep_ends_by_itself() {
    next_after_cancel(json!({"action": "sleep", "seconds": 1000}), 1);
}

#[test]
fn a_cancelled_spin_ends_by_itself() {
    next_after_cancel(json!({"action": "spin"}), 1);
}

#[test]
fn a_cancelled_hang_is_killed_after_the_grace_and_that_death_does_not_count() {
    let waited = next_after_cancel(json!({"action": "hang"}), 2);
    assert!(waited >= 0.5, "the agent took a task before the run was over: {waited}");
}

#[test]
fn a_cancelled_run_that_dies_by_itself_does_not_count() {
    let daemon = Daemon::start(&format!("{STRICT}1"));
    let (task, agent) = daemon.begin(json!({"action": "hang"}));
    cancel(&daemon, &task);
    super::os::send(agent.worker(), nix::sys::signal::Signal::SIGKILL);
    daemon.agent_when(&agent.id, "it lives again", |agent| {
        agent.incarnation == 2 && agent.status == "idle"
    });
    daemon.assert_no_orphans(1);
}

/// A task whose first attempt takes too long. The incarnation of its first agent afterwards.
fn times_out(mut payload: Value, incarnation: u64) {
    let daemon = Daemon::start(&format!("{STRICT}2"));
    payload["then"] = json!({"action": "echo", "value": "elsewhere"});
    let task = daemon.submit_whole(&json!({"payload": payload, "timeout_s": 0.4}));
    let task = daemon.ended(&task);
    let [first, second] = &task["attempts"].as_array().expect("a list")[..] else {
        panic!("not two attempts: {task}");
    };
    assert_eq!((&task["status"], &task["failures"]), (&json!("completed"), &json!(1)), "{task}");
    assert_eq!((&first["outcome"], &second["outcome"]), (&json!("timed_out"), &json!("completed")));
    assert_eq!(task["failed_agent_ids"], json!([first["agent_id"]]), "{task}");
    assert_ne!(first["agent_id"], second["agent_id"], "{task}");
    let lasted = first["ended_at"].as_f64().zip(first["assigned_at"].as_f64());
    assert!(lasted.is_some_and(|(end, start)| end - start >= 0.4), "{task}");
    daemon.assert_no_orphans(2);
    let id = first["agent_id"].as_str().expect("an id");
    assert_eq!(daemon.agent(id).incarnation, incarnation);
}

#[test]
fn a_sleep_that_takes_too_long_goes_elsewhere() {
    times_out(json!({"action": "sleep", "seconds": 1000}), 1);
}

#[test]
fn a_spin_that_takes_too_long_goes_elsewhere() {
    times_out(json!({"action": "spin"}), 1);
}

#[test]
fn a_hang_that_takes_too_long_goes_elsewhere() {
    times_out(json!({"action": "hang"}), 2);
}

#[test]
fn a_task_that_always_takes_too_long_is_given_up() {
    let daemon = Daemon::start(&format!("{STRICT}3"));
    let body = json!({"payload": {"action": "spin"}, "timeout_s": 0.3});
    let task = daemon.ended(&daemon.submit_whole(&body));
    assert_eq!((&task["status"], &task["failures"]), (&json!("failed"), &json!(3)), "{task}");
    assert_eq!(task["error"]["code"], "timed_out", "{task}");
    daemon.assert_no_orphans(3);
}
