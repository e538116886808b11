//! A worker dies or breaks the protocol while it works.

use daedalus::worker::proc;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::daemon::Daemon;
use super::os::{send, until};
use super::pool::Agent;

/// Runs a task whose first attempt does `payload`, disturbs it, and wants to see it completed by
/// the other agent.
fn moves(mut payload: Value, disturb: impl Fn(&Agent), cause: &str, detail: &str) {
    let daemon = Daemon::start("");
    payload["then"] = json!({"action": "echo", "value": "elsewhere"});
    let seen = daemon.all_idle(2);
    let (task, agent) = match payload["action"].as_str() {
        Some("sleep") => daemon.begin(payload),
        // The others do not last long enough to be met.
        _ => (daemon.submit(payload), seen[0].clone()),
    };
    disturb(&agent);
    daemon.assert_moved(&task, cause, detail);
    assert_eq!(daemon.task(&task)["result"], json!({"value": "elsewhere"}));
    assert_eq!(daemon.starts(&task), 2);
    daemon.assert_no_orphans(2);
    let failed = daemon.logged("agent_failed");
    assert_eq!(failed.len(), 1, "only one agent failed: {failed:?}");
    let restarted = daemon.agents().into_iter().filter(|agent| agent.incarnation == 2).count();
    assert_eq!(restarted, 1, "and it lives again");
}

fn undisturbed(_: &Agent) {}

fn sleep() -> Value {
    json!({"action": "sleep", "seconds": 1000})
}

#[test]
fn a_worker_is_killed() {
    let kill = |agent: &Agent| send(agent.worker(), Signal::SIGKILL);
    moves(sleep(), kill, "process_ended", "signal 9");
}

#[test]
fn a_launcher_is_killed() {
    let kill = |agent: &Agent| send(agent.launcher(), Signal::SIGKILL);
    moves(sleep(), kill, "process_ended", "its launcher was killed");
}

#[test]
fn a_launcher_and_its_worker_are_killed_together() {
    let kill = |agent: &Agent| {
        let (launcher, worker) = (agent.launcher(), agent.worker());
        send(launcher, Signal::SIGKILL);
        super::os::try_to_send(worker, Signal::SIGKILL);
    };
    moves(sleep(), kill, "process_ended", "its launcher was killed");
}

#[test]
fn a_worker_dies_while_its_launcher_stands_still() {
    let kill = |agent: &Agent| {
        send(agent.launcher(), Signal::SIGSTOP);
        send(agent.worker(), Signal::SIGKILL);
    };
    moves(sleep(), kill, "process_ended", "signal 9");
}

#[test]
fn a_worker_crashes() {
    let payload = json!({"action": "crash", "signal": Signal::SIGSEGV as i32});
    moves(payload, undisturbed, "process_ended", "signal 11");
}

#[test]
fn a_worker_ends_by_itself() {
    for code in [0, 3, 71, 255] {
        let said = if code == 255 { 79 } else { code };
        let payload = json!({"action": "exit", "code": code});
        moves(payload, undisturbed, "process_ended", &format!("exit code {said}"));
    }
}

/// These codes mean that a command cannot run, but this one did run: the task is to blame.
#[test]
fn a_worker_that_worked_is_not_called_misconfigured() {
    for code in [64, 65, 126, 127] {
        let payload = json!({"action": "exit", "code": code});
        moves(payload, undisturbed, "process_ended", &format!("exit code {code}"));
    }
}

#[test]
fn a_worker_writes_garbage() {
    moves(json!({"action": "garbage"}), undisturbed, "protocol", "not a JSON object");
}

#[test]
fn a_worker_writes_a_huge_frame() {
    moves(json!({"action": "huge"}), undisturbed, "protocol", "a frame is longer than");
}

#[test]
fn a_worker_answers_for_a_task_that_is_not_its_own() {
    moves(json!({"action": "wrong_task"}), undisturbed, "protocol", "which it does not run");
}

#[test]
fn a_worker_kills_its_launcher() {
    let payload = json!({"action": "kill_launcher"});
    moves(payload, undisturbed, "process_ended", "its launcher was killed");
}

#[test]
fn a_second_terminal_frame_is_dropped_in_silence() {
    let daemon = Daemon::start("[pool]\nsize = 1");
    let agent = &daemon.all_idle(1)[0];
    for _ in 0..20 {
        let task = daemon.ended(&daemon.submit(json!({"action": "twice"})));
        assert_eq!((&task["status"], &task["attempt_count"]), (&json!("completed"), &json!(1)));
        let next = daemon.ended(&daemon.submit(json!({"action": "echo", "value": 7})));
        assert_eq!(next["result"], json!({"value": 7}));
    }
    until("a late frame was dropped", || {
        (daemon.logged("late_frame_dropped").len() == 20).then_some(())
    });
    assert_eq!(daemon.agent(&agent.id).incarnation, 1);
    daemon.assert_no_orphans(1);
}

fn with_a_detached_process(daemon: &Daemon) -> (Agent, u32) {
    let agent = daemon.all_idle(2)[0].clone();
    let payload = json!({"action": "double_fork"});
    let body = json!({"payload": payload, "preferred_agent_id": agent.id});
    let task = daemon.ended(&daemon.submit_whole(&body));
    let pid = task["result"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    let pid = pid.expect("a pid");
    assert!(proc::is_alive(pid) && daemon.processes().contains(&pid));
    (agent, pid)
}

#[test]
fn a_detached_process_is_gone_when_the_task_moves() {
    let kills: [fn(&Agent) -> u32; 2] = [Agent::worker, Agent::launcher];
    for victim in kills {
        let daemon = Daemon::start("");
        let (agent, detached) = with_a_detached_process(&daemon);
        let mut payload = sleep();
        payload["then"] = json!({"action": "echo", "value": 1});
        let body = json!({"payload": payload, "preferred_agent_id": agent.id});
        let task = daemon.submit_whole(&body);
        assert_eq!(daemon.executor(&task).id, agent.id);
        send(victim(&agent), Signal::SIGKILL);
        daemon.assert_moved(&task, "process_ended", "");
        assert!(!proc::is_alive(detached));
        daemon.assert_no_orphans(2);
    }
}

#[test]
fn a_detached_process_is_gone_when_its_agent_is_removed() {
    let daemon = Daemon::start("");
    let (agent, detached) = with_a_detached_process(&daemon);
    daemon.ok("DELETE", &format!("/agents/{}", agent.id), None);
    assert!(!proc::is_alive(detached));
    daemon.assert_no_orphans(1);
}
