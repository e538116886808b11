//! Clients that give orders against each other.

use std::thread;

use serde_json::json;

use super::daemon::Daemon;
use super::os::until;

const CONFIG: &str = "[pool]\nsize = 6\nmax_size = 6\nrestarts_max = 1000\n\
                      [queue]\nmax_depth = 1000\nmax_attempts = 100\nexclusion_relax_s = 0.1";

/// One call, which must be answered with one of these.
fn answered(daemon: &Daemon, method: &str, path: &str, allowed: &[u16]) {
    let (status, answer) = daemon.call(method, path, None);
    assert!(allowed.contains(&status), "{method} {path}: {status} {answer}");
}

/// Some agent, each time another one.
fn some_agent(daemon: &Daemon, round: usize) -> Option<String> {
    let agents = daemon.agents();
    Some(agents.get(round * 5 % agents.len().max(1))?.id.clone())
}

fn submit(daemon: &Daemon) -> Vec<String> {
    let payload = |n: usize| match n % 4 {
        0 => json!({"action": "echo", "value": n}),
        1 => json!({"action": "sleep", "seconds": 0.03}),
        2 => json!({"action": "spin", "seconds": 0.03}),
        _ => json!({"action": "hang", "then": {"action": "echo", "value": n}}),
    };
    // A hang ends because somebody fails or removes its agent, or with its time.
    let body = |n| json!({"payload": payload(n), "timeout_s": 1.0, "priority": n % 3});
    (0..80).map(|n| daemon.submit_whole(&body(n))).collect()
}

fn fail_agents(daemon: &Daemon) {
    for round in 0..25 {
        let Some(agent) = some_agent(daemon, round) else { continue };
        answered(daemon, "POST", &format!("/agents/{agent}/fail"), &[200, 404]);
        answered(daemon, "POST", &format!("/agents/{agent}/recover"), &[200, 404, 409]);
    }
}

fn cancel_tasks(daemon: &Daemon) {
    for round in 0..25 {
        let tasks = daemon.ok("GET", "/tasks?limit=1000", None);
        let tasks = tasks["tasks"].as_array().expect("a list");
        let Some(task) = tasks.get(round * 11 % tasks.len().max(1)) else { continue };
        let task = task["task_id"].as_str().expect("an id");
        answered(daemon, "POST", &format!("/tasks/{task}/cancel"), &[200, 409]);
    }
}

fn replace_agents(daemon: &Daemon) {
    for round in 0..12 {
        let Some(agent) = some_agent(daemon, round) else { continue };
        answered(daemon, "DELETE", &format!("/agents/{agent}"), &[200, 404]);
        answered(daemon, "POST", "/agents", &[200, 503]);
    }
}

#[test]
fn orders_against_each_other_lose_nothing() {
    let daemon = Daemon::start(CONFIG);
    let tasks = thread::scope(|scope| {
        let tasks = scope.spawn(|| submit(&daemon));
        let clients: [fn(&Daemon); 4] = [fail_agents, cancel_tasks, replace_agents, fail_agents];
        let others = clients.map(|client| {
            let daemon = &daemon;
            scope.spawn(move || client(daemon))
        });
        for other in others {
            other.join().expect("every call is answered well");
        }
        tasks.join().expect("every task is accepted")
    });
    until("every task has ended", || {
        let metrics = daemon.ok("GET", "/metrics", None);
        (metrics["tasks_pending"] == 0 && metrics["tasks_in_progress"] == 0).then_some(())
    });
    for task in &tasks {
        let task = daemon.task(task);
        assert!(task["status"] == "completed" || task["status"] == "cancelled", "{task}");
        let attempts = task["attempts"].as_array().expect("a list");
        assert!(attempts.iter().all(|attempt| attempt["overlap_possible"] == false), "{task}");
        assert!(attempts.iter().all(|attempt| attempt["outcome"].is_string()), "{task}");
    }
    let size = daemon.agents().len();
    assert!(size >= 1);
    daemon.assert_no_orphans(size);
}

#[test]
fn pools_that_come_and_go_lose_nothing() {
    let daemon = Daemon::start(CONFIG);
    let payload = |n: usize| json!({"action": "sleep", "seconds": 0.02 * (n % 3) as f64});
    let tasks: Vec<_> = (0..80).map(|n| daemon.submit(payload(n))).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..8 {
                answered(&daemon, "DELETE", "/pool", &[200]);
            }
        });
        for _ in 0..16 {
            answered(&daemon, "POST", "/pool/initialize", &[200, 409]);
            answered(&daemon, "POST", "/agents", &[200, 409, 503]);
        }
    });
    answered(&daemon, "POST", "/pool/initialize", &[200]);
    for task in &tasks {
        let task = daemon.ended(task);
        assert_eq!((&task["status"], &task["failures"]), (&json!("completed"), &json!(0)));
    }
    daemon.assert_no_orphans(6);
}
