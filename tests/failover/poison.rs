//! A task that kills every agent it meets.

use std::collections::BTreeSet;

use serde_json::json;

use super::daemon::Daemon;

#[test]
fn a_poison_task_kills_three_agents_and_no_more() {
    let daemon = Daemon::start("[pool]\nsize = 5");
    let echo = |n: usize| daemon.submit(json!({"action": "echo", "value": n}));
    let before: Vec<_> = (0..10).map(echo).collect();
    let poison = daemon.submit(json!({"action": "crash"}));
    let after: Vec<_> = (0..30).map(echo).collect();
    let task = daemon.ended(&poison);
    assert_eq!((&task["status"], &task["failures"]), (&json!("failed"), &json!(3)), "{task}");
    let attempts = task["attempts"].as_array().expect("a list");
    let victims: BTreeSet<_> = attempts.iter().map(|one| one["agent_id"].to_string()).collect();
    assert_eq!((attempts.len(), victims.len()), (3, 3), "{task}");
    assert!(attempts.iter().all(|one| one["outcome"] == "agent_failed"), "{task}");
    let message = task["error"]["message"].as_str().unwrap_or_default();
    assert_eq!(message.matches("signal 9").count(), 3, "the reason of each attempt: {message}");
    for other in before.iter().chain(&after) {
        let other = daemon.ended(other);
        assert_eq!((&other["status"], &other["attempt_count"]), (&json!("completed"), &json!(1)));
    }
    daemon.assert_no_orphans(5);
    assert_eq!(daemon.starts(&poison), 3);
    assert_eq!(daemon.logged("agent_failed").len(), 3);
    assert_eq!(daemon.logged("agent_restarted").len(), 3);
}

#[test]
fn a_poison_task_in_a_pool_of_one_leaves_it_alive() {
    let daemon = Daemon::start("[pool]\nsize = 1\n[queue]\nexclusion_relax_s = 0.3");
    let task = daemon.ended(&daemon.submit(json!({"action": "crash"})));
    assert_eq!((&task["status"], &task["failures"]), (&json!("failed"), &json!(3)), "{task}");
    assert_eq!(task["attempts"][1]["decision"]["relaxed"], true, "{task}");
    let next = daemon.ended(&daemon.submit(json!({"action": "echo", "value": 1})));
    assert_eq!(next["status"], "completed");
    daemon.assert_no_orphans(1);
}
