//! Stops that something else comes across.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::super::daemon::Daemon;
use super::super::os;
use super::late::Lateness;
use super::work::{BEYOND_S, begin, over, started};

const NEVER_S: f64 = 600.0;

fn daemon_of_one(grace_s: f64, confined: bool) -> Daemon {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stopping/worker.py");
    let daemon = Daemon::start(&format!(
        "[pool]\nsize = 1\n[worker]\ncommand = ['python3', '-u', {program:?}]\n\
         cancel_grace_s = {grace_s:?}\nheartbeat_s = 60\n[worker.sandbox]\nenabled = {confined}\n"
    ));
    daemon.all_idle(1);
    daemon
}

fn steps(task: &Value) -> [bool; 4] {
    let stop = &task["attempts"][0]["stop"];
    ["asked_at", "signalled_at", "killed_at", "over_at"].map(|at| stop[at].is_f64())
}

#[test]
fn a_launcher_that_its_worker_stopped_passes_the_signal_on() {
    let daemon = daemon_of_one(4.0, false);
    let task = begin(&daemon, "stops_launcher", NEVER_S);
    started(&daemon, &task);
    daemon.ok("POST", &format!("/tasks/{task}/cancel"), None);
    let task = over(&daemon, &task);
    assert_eq!(steps(&task), [true, true, false, true], "{task}");
    daemon.all_idle(1);
    daemon.assert_no_orphans(1);
}

/// It answers between its signal and the end of the grace, and the signal is on its way for ever.
#[test]
fn an_answer_gives_a_signal_that_does_not_arrive_no_time_beyond_the_grace() {
    const GRACE_S: f64 = 4.0;
    let daemon = daemon_of_one(GRACE_S, true);
    let payload = json!({"work": "blocks_the_signal", "after_s": 0.4 * GRACE_S});
    let task = daemon.submit_whole(&json!({"payload": payload, "timeout_s": NEVER_S}));
    started(&daemon, &task);
    let late = Lateness::measure();
    daemon.ok("POST", &format!("/tasks/{task}/cancel"), None);
    let task = over(&daemon, &task);
    assert_eq!(steps(&task), [true; 4], "{task}");
    let stop = &task["attempts"][0]["stop"];
    let [asked, killed, over] =
        ["asked_at", "killed_at", "over_at"].map(|at| stop[at].as_f64().expect("a time"));
    assert!(killed - asked >= GRACE_S - 0.01, "it has all of its grace: {stop}");
    let most = GRACE_S + BEYOND_S + late.seconds(asked, over);
    assert!(over - asked <= most, "it took {} s of {most}: {stop}", over - asked);
    daemon.all_idle(1);
    daemon.assert_no_orphans(1);
}

#[test]
fn a_pool_that_is_discarded_takes_a_result_within_the_grace() {
    let daemon = daemon_of_one(60.0, true);
    let task = begin(&daemon, "finishes", NEVER_S);
    started(&daemon, &task);
    let pending = begin(&daemon, "sleep", NEVER_S);
    daemon.ok("DELETE", "/pool?discard=true", None);
    let task = daemon.task(&task);
    assert_eq!((&task["status"], &task["result"]), (&json!("completed"), &json!("done")));
    assert_eq!(steps(&task), [true, false, false, true], "{task}");
    assert_eq!(daemon.task(&pending)["status"], "cancelled");
    assert!(daemon.processes().is_empty());
}

#[test]
fn a_stop_that_the_daemon_does_not_live_to_see_is_never_over() {
    let mut daemon = daemon_of_one(3_600.0, true);
    let task = begin(&daemon, "holds_the_gil", NEVER_S);
    let worker = daemon.executor(&task).worker();
    started(&daemon, &task);
    daemon.ok("POST", &format!("/tasks/{task}/cancel"), None);
    os::until("it is asked", || steps(&daemon.task(&task))[0].then_some(()));
    os::send(daemon.pid, Signal::SIGKILL);
    assert_eq!(daemon.exit().code(), None);
    daemon.start_again();
    daemon.all_idle(1);
    assert!(!daedalus::worker::proc::is_alive(worker), "it went with its daemon");
    let task = daemon.task(&task);
    assert_eq!((&task["status"], &task["attempt_count"]), (&json!("cancelled"), &json!(1)));
    assert_eq!(steps(&task), [true, false, false, false], "{task}");
    daemon.assert_no_orphans(1);
}
