//! Agents that take more memory than they may.

use serde_json::{Value, json};

use super::daemon::Daemon;

const LIMITED: &str = "[worker]\nmemory_limit_mb = 200";

/// A task whose first agent takes too much memory.
fn fails(payload: Value) {
    let daemon = Daemon::start(LIMITED);
    let mut payload = payload;
    payload["then"] = json!({"action": "echo", "value": 1});
    let task = daemon.submit(payload);
    daemon.assert_moved(&task, "memory_limit", "worker.memory_limit_mb allows 200 MB");
    let failed = &daemon.task(&task)["attempts"][0]["agent_id"];
    daemon.agent_when(failed.as_str().expect("an id"), "it lives again", |agent| {
        agent.incarnation == 2 && agent.status == "idle"
    });
    daemon.assert_no_orphans(2);
}

#[test]
fn an_agent_that_takes_too_much_memory_fails_and_its_task_moves() {
    fails(json!({"action": "allocate", "mb": 260, "seconds": 1000}));
}

#[test]
fn the_memory_of_its_children_counts() {
    fails(json!({"action": "allocate", "mb": 260, "seconds": 1000, "child": true}));
}

#[test]
fn an_agent_that_comes_near_the_limit_is_named_once_and_one_far_from_it_is_not() {
    let daemon = Daemon::start(LIMITED);
    for mb in [100, 172] {
        assert!(daemon.logged("agent_memory_high").is_empty());
        let payload = json!({"action": "allocate", "mb": mb, "seconds": 3});
        let task = daemon.ended(&daemon.submit(payload));
        let ended = (&task["status"], &task["attempt_count"]);
        assert_eq!(ended, (&json!("completed"), &json!(1)), "{task}");
    }
    let lines = daemon.logged("agent_memory_high");
    assert_eq!(lines.len(), 1, "{lines:?}");
    let memory_mb = lines[0]["memory_mb"].as_u64();
    assert!(memory_mb.is_some_and(|mb| (172..=200).contains(&mb)), "{lines:?}");
    assert_eq!(lines[0]["limit_mb"], 200, "{lines:?}");
    assert!(daemon.logged("agent_failed").is_empty());
}
