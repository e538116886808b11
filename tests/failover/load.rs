//! As many tasks at once as there are agents, and how soon a task starts.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::daemon::Daemon;

/// A barrier opens only when so many tasks are there at once.
fn all_at_once(agents: usize) {
    let daemon = Daemon::start(&format!("[pool]\nsize = {agents}"));
    daemon.all_idle(agents);
    let place = daemon.place.join("barrier");
    fs::create_dir(&place).expect("a directory for the barrier");
    let barrier = json!({"action": "barrier", "path": place, "parties": agents});
    let together: Vec<_> = (0..agents).map(|_| daemon.submit(barrier.clone())).collect();
    let beyond: Vec<_> =
        (0..60).map(|n| daemon.submit(json!({"action": "echo", "value": n}))).collect();
    let ended = |task: &String| {
        let task = daemon.ended(task);
        assert_eq!((&task["status"], &task["attempt_count"]), (&json!("completed"), &json!(1)));
        task
    };
    let together: Vec<Value> = together.iter().map(ended).collect();
    let by: BTreeSet<_> =
        together.iter().map(|task| task["attempts"][0]["agent_id"].to_string()).collect();
    assert_eq!(by.len(), agents, "each by an agent of its own");
    for (n, task) in beyond.iter().enumerate() {
        assert_eq!(ended(task)["result"], json!({"value": n}), "nothing is lost");
    }
    let metrics = daemon.ok("GET", "/metrics", None);
    let count = |key: &str| metrics[key].as_u64();
    assert_eq!(count("tasks_completed"), Some(agents as u64 + 60), "{metrics}");
    assert_eq!((count("tasks_pending"), count("tasks_in_progress")), (Some(0), Some(0)));
    daemon.assert_no_orphans(agents);
}

#[test]
fn four_agents_work_at_once() {
    all_at_once(4);
}

#[test]
fn sixteen_agents_work_at_once() {
    all_at_once(16);
}

/// Most of them: a machine with other things to do, or a disk, may hold up a few.
#[test]
fn a_task_starts_within_500_ms_on_an_idle_pool() {
    let daemon = Daemon::start("[pool]\nsize = 4");
    daemon.all_idle(4);
    let mut latencies: Vec<f64> = (0..200)
        .map(|n| {
            let task = daemon.submit(json!({"action": "echo", "value": n}));
            let task = daemon.ended(&task);
            task["assignment_latency_ms"].as_f64().unwrap_or_else(|| panic!("missing: {task}"))
        })
        .collect();
    latencies.sort_by(f64::total_cmp);
    println!("submit to start: median {} ms, longest {} ms", latencies[100], latencies[199]);
    assert!(latencies[100] < 500.0, "{latencies:?}");
}
