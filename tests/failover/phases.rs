//! Progress, and not the pulse alone: a worker that gives signs of life and stays in one phase.

use std::time::Duration;

use serde_json::{Value, json};

use super::daemon::Daemon;
use super::os::until;

/// No death may count: whoever is asked to stop, and does, goes on.
const LIMITED: &str = "
    [pool]
    restarts_max = 0
    size = 2
    [worker]
    heartbeat_s = 0.1
    [worker.phase_limit_s]
    model = 1.5
    tool = 1000
    'tool:slow' = 1.5
";

fn phases(phases: &[(&str, f64)]) -> Value {
    json!({"action": "phases", "phases": phases})
}

/// A task that is taken away from its first agent for its phase, and ends on another one.
fn moves(daemon: &Daemon, mut payload: Value, phase: &str) -> Value {
    payload["then"] = json!({"action": "echo", "value": "elsewhere"});
    let task = daemon.ended(&daemon.submit(payload));
    let [first, second] = &task["attempts"].as_array().expect("a list")[..] else {
        panic!("not two attempts: {task}");
    };
    assert_eq!((&task["status"], &task["failures"]), (&json!("completed"), &json!(1)), "{task}");
    assert_eq!((&first["outcome"], &second["outcome"]), (&json!("timed_out"), &json!("completed")));
    assert_eq!(first["failure"]["cause"], "phase_timed_out", "{task}");
    let detail = first["failure"]["detail"].as_str().expect("a sentence");
    assert!(detail.starts_with(&format!("it was in phase {phase} for ")), "{detail}");
    assert!(detail.ends_with(" s, and worker.phase_limit_s allows 1.5 s for it"), "{detail}");
    assert_eq!(task["failed_agent_ids"], json!([first["agent_id"]]), "{task}");
    assert_ne!(first["agent_id"], second["agent_id"], "{task}");
    let lasted = first["ended_at"].as_f64().zip(first["started_at"].as_f64());
    assert!(lasted.is_some_and(|(end, start)| end - start >= 1.5), "{task}");
    task
}

#[test]
fn a_worker_that_lives_and_does_not_get_on_is_stopped_and_its_task_moves() {
    let daemon = Daemon::start(LIMITED);
    let task = moves(&daemon, phases(&[("agent", 0.3), ("tool:slow", 1000.0)]), "tool:slow");
    let id = task["attempts"][0]["agent_id"].as_str().expect("an id");
    assert_eq!(daemon.agent(id).incarnation, 1, "it did what it was asked");
    daemon.assert_no_orphans(2);
}

#[test]
fn a_worker_that_does_not_say_for_how_long_is_timed_by_the_daemon() {
    let daemon = Daemon::start(LIMITED);
    let mut payload = phases(&[("model", 1000.0)]);
    payload["timeless"] = json!(true);
    moves(&daemon, payload, "model");
}

#[test]
fn a_worker_that_does_not_stop_for_its_phase_is_killed() {
    let daemon = Daemon::start(
        "[worker]\nheartbeat_s = 0.1\nphase_limit_s = { agent = 1.5 }\n[pool]\nsize = 2\nrestarts_max = 0",
    );
    let task = moves(&daemon, json!({"action": "hang"}), "agent");
    let id = task["attempts"][0]["agent_id"].as_str().expect("an id");
    let agent = daemon.agent_when(id, "it lives again", |agent| agent.status == "idle");
    assert_eq!(agent.incarnation, 2);
    daemon.assert_no_orphans(2);
}

#[test]
fn a_worker_that_gets_on_is_left_alone_and_so_is_one_in_a_phase_without_a_limit() {
    // Each phase is far from its limit, on a busy machine, too; all of them together are beyond it.
    let daemon = Daemon::start(
        "[pool]\nrestarts_max = 0\nsize = 3\n[worker]\nheartbeat_s = 0.1\n\
         [worker.phase_limit_s]\nmodel = 5\ntool = 1000\n'tool:slow' = 5\n",
    );
    let in_time = [0.3; 10].map(|seconds| [("model", seconds), ("tool:slow", seconds)]);
    let payloads = [
        phases(in_time.as_flattened()),
        phases(&[("agent", 5.5), ("scan", 0.3)]),
        phases(&[("tool:other", 5.5), ("tool", 0.3)]),
    ];
    for task in payloads.map(|payload| daemon.submit(payload)) {
        let task = daemon.ended(&task);
        let ended = (&task["status"], &task["attempt_count"]);
        assert_eq!(ended, (&json!("completed"), &json!(1)), "{task}");
    }
}

#[test]
fn a_phase_is_not_too_long_for_the_time_in_which_the_daemon_stood_still() {
    let daemon = Daemon::start("[worker]\nheartbeat_s = 0.2\nphase_limit_s = { 'tool:wait' = 4 }");
    let task = daemon.submit(phases(&[("tool:wait", 6.0)]));
    daemon.executor(&task);
    daemon.stand_still(Duration::from_millis(4_500));
    until("it noticed", || (!daemon.log.of("daemon_stood_still").is_empty()).then_some(()));
    let task = daemon.ended(&task);
    let ended = (&task["status"], &task["attempt_count"]);
    assert_eq!(ended, (&json!("completed"), &json!(1)), "{task}");
}
