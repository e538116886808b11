//! Workers that do not come up, or not at once.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::daemon::Daemon;
use super::os::{alive_below, let_pass, try_to_send, until};

const BINARY: &str = env!("CARGO_BIN_EXE_daedalus");

#[test]
fn sixteen_start_at_once_while_some_are_killed() {
    let daemon = Daemon::start_unready("[pool]\nsize = 16");
    let mut killed = BTreeSet::new();
    until("launchers and workers were killed in their start", || {
        let below = alive_below(daemon.pid);
        for &pid in below.iter().step_by(3) {
            if killed.len() < 12 && killed.insert(pid) {
                try_to_send(pid, Signal::SIGKILL);
            }
        }
        (killed.len() == 12).then_some(())
    });
    let agents = daemon.all_idle(16);
    let pids: BTreeSet<_> = agents.iter().map(|agent| agent.worker()).collect();
    assert_eq!(pids.len(), 16);
    assert!(agents.iter().any(|agent| agent.incarnation > 1));
    daemon.assert_no_orphans(16);
    let tasks: Vec<_> =
        (0..32).map(|n| daemon.submit(json!({"action": "echo", "value": n}))).collect();
    for task in tasks {
        assert_eq!(daemon.ended(&task)["status"], "completed");
    }
}

/// How often processes of workers were started: each has one end.
fn launches(daemon: &Daemon) -> usize {
    daemon.logged("process_tree_gone").len()
}

/// The pool cannot work and says why; the daemon lives.
fn assert_not_ready(daemon: &Daemon, reason: &str, detail: &str) {
    let (status, answer) = daemon.call("GET", "/readyz", None);
    let said = answer["detail"].as_str().unwrap_or_default();
    assert_eq!(status, 503, "{answer}");
    assert!(said.contains(reason) && said.contains(detail), "{said}");
    assert_eq!(daemon.call("GET", "/healthz", None).0, 200);
    let task = daemon.submit(json!({"action": "echo", "value": 1}));
    assert_eq!(daemon.task(&task)["status"], "pending", "it waits for better times");
}

fn dies_too_often(worker: &str, detail: &str) {
    let daemon = Daemon::start_unready(&format!("[pool]\nrestarts_max = 2\n[worker]\n{worker}"));
    until("both agents are given up", || {
        let agents = daemon.agents();
        let given_up = agents.iter().filter(|agent| agent.reason == "restarts_exhausted");
        (given_up.count() == 2).then_some(())
    });
    for agent in daemon.agents() {
        assert_eq!(agent.incarnation, 3, "{agent:?}");
        assert!(agent.detail.contains(detail), "{agent:?}");
        assert!(agent.detail.contains("more than 2 times within 60 s"), "{agent:?}");
        assert!(agent.detail.contains("in 600 s, or when it is recovered"), "{agent:?}");
    }
    assert_eq!(launches(&daemon), 6, "one start and two restarts each");
    assert_not_ready(&daemon, "restarts_exhausted", detail);
    let_pass(Duration::from_millis(1_500));
    assert_eq!(launches(&daemon), 6, "it does not spin");
    assert_eq!(daemon.processes(), BTreeSet::new());
    assert!(daemon.runs());
}

#[test]
fn workers_that_crash_in_their_start_are_given_up() {
    dies_too_often(&format!("command = [{BINARY:?}, 'worker', '--crash-at-start']"), "signal 9");
}

#[test]
fn workers_that_end_in_their_start_are_given_up() {
    dies_too_often("command = ['true']", "exit code 0");
}

#[test]
fn workers_that_never_say_hello_are_given_up() {
    let command = format!("command = [{BINARY:?}, 'worker', '--silent']");
    dies_too_often(&format!("start_timeout_s = 0.6\n{command}"), "start_timeout_s");
}

#[test]
fn workers_that_say_something_else_are_given_up() {
    dies_too_often("command = ['sh', '-c', 'echo hello; cat']", "not a JSON object");
}

#[test]
fn a_command_that_does_not_exist_is_tried_again_when_somebody_says_so() {
    let daemon = Daemon::start_unready("[worker]\ncommand = ['./late', 'worker']");
    until("both agents are given up", || {
        let agents = daemon.agents();
        let given_up = agents.iter().filter(|agent| agent.reason == "command_failed");
        (given_up.count() == 2).then_some(agents)
    });
    assert_eq!(launches(&daemon), 2, "trying again at once is of no use");
    let agent = daemon.agents()[0].clone();
    assert!(agent.detail.contains("exit code 127"), "{agent:?}");
    assert_not_ready(&daemon, "command_failed", "127");
    let recover = format!("/agents/{}/recover", agent.id);
    let answer = daemon.ok("POST", &recover, None);
    assert_eq!((&answer["status"], &answer["incarnation"]), (&json!("degraded"), &json!(2)));
    daemon.agent_when(&agent.id, "it is given up again", |agent| agent.reason == "command_failed");
    assert_eq!(launches(&daemon), 3);
    symlink(BINARY, daemon.place.join("late")).expect("now there is one");
    let answer = daemon.ok("POST", &recover, None);
    assert_eq!(answer["incarnation"], 3);
    assert_ne!(answer["status"], "degraded", "it has work at once");
    assert_eq!(daemon.call("GET", "/readyz", None).0, 200);
    let waiting = daemon.ok("GET", "/tasks", None)["tasks"][0]["task_id"].clone();
    let task = daemon.ended(waiting.as_str().expect("an id"));
    assert_eq!(task["status"], "completed");
}

#[test]
fn a_worker_that_refuses_its_configuration_is_not_tried_again_at_once() {
    for code in [64, 65] {
        let command = format!("[{BINARY:?}, 'worker', '--exit-at-start', '{code}']");
        let daemon = Daemon::start(&format!("[worker]\ncommand = {command}"));
        until("both agents are given up", || {
            let agents = daemon.agents();
            agents.iter().all(|agent| agent.reason == "command_failed").then_some(())
        });
        assert!(daemon.agents()[0].detail.contains(&format!("exit code {code}")));
        assert_eq!(launches(&daemon), 2);
    }
}
