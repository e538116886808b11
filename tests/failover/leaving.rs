//! Agents that are removed or failed by a client, one by one or all at once.

use std::collections::BTreeSet;
use std::thread;

use daedalus::worker::proc;
use serde_json::{Value, json};

use super::daemon::Daemon;
use super::os::until;

fn sleep_then_echo() -> Value {
    json!({"action": "sleep", "seconds": 1000, "then": {"action": "echo", "value": 1}})
}

fn hang_then_echo() -> Value {
    json!({"action": "hang", "then": {"action": "echo", "value": 1}})
}

fn assert_interrupted_by_order(task: &Value) {
    let first = &task["attempts"][0];
    assert_eq!((&first["outcome"], &task["failures"]), (&json!("interrupted"), &json!(0)));
    assert_eq!(task["failed_agent_ids"], json!([]), "{task}");
}

#[test]
fn what_a_closed_pool_leaves_is_done_by_the_next() {
    let daemon = Daemon::start("");
    let (first, _) = daemon.begin(sleep_then_echo());
    let (second, _) = daemon.begin(hang_then_echo());
    let echo = || daemon.submit(json!({"action": "echo", "value": 1}));
    let mut tasks = vec![first.clone(), second.clone(), echo(), echo(), echo()];
    let closed = daemon.ok("DELETE", "/pool", None);
    let expected = json!({"status": "shutdown_completed", "agents_stopped": 2,
        "tasks_requeued": 2, "tasks_pending": 5});
    assert_eq!(closed, expected);
    assert_eq!(daemon.processes(), BTreeSet::new());
    assert!(daemon.agents().is_empty());
    assert!(daemon.logged("agent_failed").is_empty(), "an order is no failure");
    tasks.push(echo());
    for task in &tasks {
        let task = daemon.task(task);
        assert_eq!(
            (&task["status"], &task["pending_reason"]),
            (&json!("pending"), &json!("pool_empty"))
        );
    }
    daemon.ok("POST", "/pool/initialize", Some(&json!({"size": 2})));
    for task in &tasks {
        assert_eq!(daemon.ended(task)["status"], "completed");
    }
    for task in [first, second] {
        let task = daemon.task(&task);
        assert_interrupted_by_order(&task);
        assert_eq!(task["attempt_count"], 2);
    }
    daemon.assert_no_orphans(2);
}

#[test]
fn a_pool_that_is_closed_with_discard_cancels_everything() {
    let daemon = Daemon::start("");
    let (first, _) = daemon.begin(sleep_then_echo());
    let (second, _) = daemon.begin(hang_then_echo());
    let pending = daemon.submit(json!({"action": "echo", "value": 1}));
    let closed = daemon.ok("DELETE", "/pool?discard=true", None);
    assert_eq!(closed["tasks_pending"], 0, "{closed}");
    for task in [first, second, pending] {
        assert_eq!(daemon.task(&task)["status"], "cancelled");
    }
    assert_eq!(daemon.processes(), BTreeSet::new());
}

#[test]
fn while_a_pool_closes_it_takes_tasks_but_no_agents() {
    let daemon = Daemon::start("");
    let (running, _) = daemon.begin(json!({"action": "sleep", "seconds": 2.0}));
    thread::scope(|scope| {
        let close = || scope.spawn(|| daemon.ok("DELETE", "/pool?drain_s=30", None));
        let first = close();
        until("the pool is closing", || {
            let (status, answer) = daemon.call("POST", "/pool/initialize", None);
            (status == 409 && answer["code"] == "pool_closing").then_some(())
        });
        let (status, answer) = daemon.call("POST", "/agents", None);
        assert_eq!((status, &answer["code"]), (409, &json!("pool_closing")));
        let second = close();
        let waiting = daemon.submit(json!({"action": "echo", "value": 1}));
        let first = first.join().expect("the first call is answered");
        assert_eq!(first, second.join().expect("the second call is answered"));
        assert_eq!((&first["tasks_requeued"], &first["tasks_pending"]), (&json!(0), &json!(1)));
        let running = daemon.task(&running);
        assert_eq!(
            (&running["status"], &running["attempt_count"]),
            (&json!("completed"), &json!(1))
        );
        daemon.ok("POST", "/pool/initialize", None);
        assert_eq!(daemon.ended(&waiting)["status"], "completed");
    });
    daemon.assert_no_orphans(2);
}

#[test]
fn a_removed_agent_gives_its_task_back() {
    for payload in [sleep_then_echo(), hang_then_echo()] {
        let daemon = Daemon::start("");
        let (task, agent) = daemon.begin(payload);
        let answer = daemon.ok("DELETE", &format!("/agents/{}", agent.id), None);
        assert_eq!((&answer["status"], &answer["task_id"]), (&json!("removed"), &json!(task)));
        assert!(!proc::is_alive(agent.worker()), "nothing of it is left");
        let task = daemon.ended(&task);
        assert_interrupted_by_order(&task);
        assert_eq!((&task["status"], &task["attempt_count"]), (&json!("completed"), &json!(2)));
        assert_eq!(daemon.call("GET", &format!("/agents/{}", agent.id), None).0, 404);
        daemon.assert_no_orphans(1);
    }
}

#[test]
fn a_removed_agent_may_finish_first() {
    let daemon = Daemon::start("");
    let (task, agent) = daemon.begin(json!({"action": "sleep", "seconds": 1.0}));
    daemon.ok("DELETE", &format!("/agents/{}?drain_s=30", agent.id), None);
    let task = daemon.task(&task);
    assert_eq!((&task["status"], &task["attempt_count"]), (&json!("completed"), &json!(1)));
    daemon.assert_no_orphans(1);
}

#[test]
fn a_failed_agent_is_answered_for_when_its_task_has_moved() {
    for payload in [sleep_then_echo(), hang_then_echo()] {
        let daemon = Daemon::start("[pool]\nrestarts_max = 0");
        let (task, agent) = daemon.begin(payload);
        let body = json!({"reason": "it talks nonsense"});
        let answer = daemon.ok("POST", &format!("/agents/{}/fail", agent.id), Some(&body));
        let expected = json!({"agent_id": agent.id, "status": "degraded", "task_reassigned": true,
            "reassigned_task_id": task, "task_failed_permanently": false});
        // The other agent may be done before the answer is made.
        assert!(answer == expected || daemon.task(&task)["status"] == "completed", "{answer}");
        assert_eq!(answer["reassigned_task_id"], json!(task));
        assert!(!proc::is_alive(agent.worker()), "its run is over");
        assert_eq!(daemon.task(&task)["attempt_count"], 2, "it has another agent");
        daemon.assert_moved(&task, "failed_by_client", "it talks nonsense");
        daemon.agent_when(&agent.id, "it is started again", |agent| {
            agent.incarnation == 2 && agent.status == "idle"
        });
        daemon.assert_no_orphans(2);
    }
}

#[test]
fn a_failed_agent_without_a_task_is_started_again() {
    let daemon = Daemon::start("[pool]\nrestarts_max = 0");
    let agent = &daemon.all_idle(2)[0];
    let answer = daemon.ok("POST", &format!("/agents/{}/fail", agent.id), None);
    assert_eq!(
        (&answer["status"], &answer["reassigned_task_id"]),
        (&json!("degraded"), &Value::Null)
    );
    daemon.agent_when(&agent.id, "it is started again", |agent| {
        agent.incarnation == 2 && agent.status == "idle"
    });
    daemon.assert_no_orphans(2);
}

#[test]
fn an_agent_that_is_failed_at_any_moment_of_its_start_is_started_again() {
    let binary = env!("CARGO_BIN_EXE_daedalus");
    // Nothing but the kill ends these in the time of the test.
    let silent = format!("[worker]\ncommand = [{binary:?}, 'worker', '--silent']");
    let daemon = Daemon::start_unready(&format!("[pool]\nrestarts_max = 0\n{silent}"));
    let agents =
        until("the agents are there", || Some(daemon.agents()).filter(|agents| agents.len() == 2));
    for agent in agents {
        let fail = format!("/agents/{}/fail", agent.id);
        let mut lives = 1;
        until("it was failed in many lives", || {
            daemon.ok("POST", &fail, None);
            lives = daemon.agent(&agent.id).incarnation;
            (lives > 6).then_some(())
        });
    }
    daemon.ok("DELETE", "/pool", None);
    assert_eq!(daemon.processes(), BTreeSet::new());
}
