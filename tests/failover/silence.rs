//! A worker goes silent: it is dead when its exit is seen, never because of a clock alone.

use std::time::Duration;

use daedalus::worker::proc;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::daemon::Daemon;
use super::os::{let_pass, send, until};

const WATCHFUL: &str = "[worker]\nheartbeat_s = 0.2";

fn then_echo(mut payload: Value) -> Value {
    payload["then"] = json!({"action": "echo", "value": 1});
    payload
}

#[test]
fn a_stopped_worker_is_killed_and_its_task_moves() {
    let daemon = Daemon::start(WATCHFUL);
    let (task, agent) = daemon.begin(then_echo(json!({"action": "sleep", "seconds": 1000})));
    send(agent.worker(), Signal::SIGSTOP);
    daemon.assert_moved(&task, "silent", "used no CPU");
    assert!(!proc::is_alive(agent.worker()));
    daemon.assert_no_orphans(2);
}

#[test]
fn a_worker_that_stops_itself_is_killed_and_its_task_moves() {
    let daemon = Daemon::start(WATCHFUL);
    let task = daemon.submit(then_echo(json!({"action": "stop"})));
    daemon.assert_moved(&task, "silent", "used no CPU");
    daemon.assert_no_orphans(2);
}

#[test]
fn a_stopped_worker_that_does_nothing_is_started_again() {
    let daemon = Daemon::start(WATCHFUL);
    let agent = &daemon.all_idle(2)[0];
    send(agent.worker(), Signal::SIGSTOP);
    daemon.agent_when(&agent.id, "it lives again", |agent| {
        agent.incarnation == 2 && agent.status == "idle"
    });
    daemon.assert_no_orphans(2);
}

#[test]
fn a_busy_worker_is_left_alone_silent_or_not() {
    let daemon = Daemon::start(WATCHFUL);
    for silent in [false, true] {
        let payload = json!({"action": "spin", "seconds": 2.5, "silent": silent});
        let task = daemon.ended(&daemon.submit(payload));
        assert_eq!((&task["status"], &task["attempt_count"]), (&json!("completed"), &json!(1)));
    }
    assert!(daemon.logged("agent_failed").is_empty());
    daemon.assert_no_orphans(2);
}

#[test]
fn a_worker_that_does_nothing_but_gives_signs_of_life_is_left_alone() {
    let daemon = Daemon::start(WATCHFUL);
    let (task, agent) = daemon.begin(json!({"action": "hang"}));
    let_pass(Duration::from_millis(2500));
    let now = daemon.agent(&agent.id);
    assert_eq!((&now.status[..], now.task.as_deref()), ("executing", Some(&*task)));
    assert!(daemon.logged("agent_failed").is_empty());
}

#[test]
fn a_busy_worker_that_is_silent_for_too_long_is_killed() {
    let daemon = Daemon::start("[worker]\nheartbeat_s = 0.2\nstuck_s = 1.5");
    let task = daemon.submit(then_echo(json!({"action": "spin", "silent": true})));
    daemon.assert_moved(&task, "silent", "over worker.stuck_s");
    let first = &daemon.task(&task)["attempts"][0];
    let lasted = first["ended_at"].as_f64().zip(first["started_at"].as_f64());
    assert!(lasted.is_some_and(|(end, start)| end - start >= 1.5), "{first}");
    daemon.assert_no_orphans(2);
}

#[test]
fn nobody_is_judged_by_the_time_in_which_the_daemon_stood_still() {
    let daemon = Daemon::start("[worker]\nheartbeat_s = 0.2");
    let body = json!({"kind": "external", "lease_s": 2});
    let spawned = daemon.ok("POST", "/agents", Some(&body));
    let external = spawned["agent_id"].as_str().expect("an id");
    let heartbeat = format!("/agents/{external}/heartbeat?incarnation=1");
    for round in 1..=3 {
        let (task, agent) = daemon.begin(json!({"action": "sleep", "seconds": 3.0}));
        daemon.ok("POST", &heartbeat, None);
        daemon.stand_still(Duration::from_millis(2_800));
        let stood_still = || daemon.log.of("daemon_stood_still").len();
        until("it noticed", || (stood_still() >= round).then_some(()));
        assert_eq!(daemon.agent(external).reason, "", "the lease has its full length");
        let task = daemon.ended(&task);
        assert_eq!((&task["status"], &task["attempt_count"]), (&json!("completed"), &json!(1)));
        assert_eq!(daemon.agent(&agent.id).incarnation, 1);
        daemon.ok("POST", &heartbeat, None);
    }
    assert!(daemon.logged("agent_failed").is_empty());
}

#[test]
fn a_run_does_not_time_out_by_the_time_in_which_the_daemon_stood_still() {
    let daemon = Daemon::start("[worker]\nheartbeat_s = 0.2");
    let body = json!({"payload": {"action": "sleep", "seconds": 2.0}, "timeout_s": 2.5});
    let task = daemon.submit_whole(&body);
    daemon.executor(&task);
    daemon.stand_still(Duration::from_secs(3));
    let task = daemon.ended(&task);
    assert_eq!((&task["status"], &task["attempt_count"]), (&json!("completed"), &json!(1)));
}

#[test]
fn a_start_does_not_fail_by_the_time_in_which_the_daemon_stood_still() {
    let slow = format!("sleep 1; exec {} worker", env!("CARGO_BIN_EXE_daedalus"));
    let daemon = Daemon::start_unready(&format!(
        "[worker]\nheartbeat_s = 0.2\nstart_timeout_s = 2\ncommand = ['sh', '-c', {slow:?}]"
    ));
    until("both workers are about to start", || {
        (super::os::alive_below(daemon.pid).len() >= 4).then_some(())
    });
    daemon.stand_still(Duration::from_secs(3));
    let agents = daemon.all_idle(2);
    assert!(agents.iter().all(|agent| agent.incarnation == 1), "{agents:?}");
}
