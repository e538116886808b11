//! Gates that follow a real dependency: whatever it does, its tasks wait or run accordingly, and
//! everything else runs on.

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::daemon::{Daemon, EXTERNAL, text, wait_until};
use crate::dependency::{Dependency, Manner};

/// A daemon whose discovery and migration tasks need this dependency, with two external agents.
fn gated(dependency: &Dependency, keys: &str) -> (Daemon, Vec<String>) {
    let url = dependency.url();
    let gate = "name = \"discovery\"\ntask_types = [\"discovery\", \"migration\"]";
    let config = format!("{EXTERNAL}[[gate]]\n{gate}\nhealth_url = \"{url}\"\n{keys}\n");
    Daemon::with_agents(&config, 2)
}

fn gate(daemon: &Daemon) -> Value {
    daemon.get("/gates").ok()[0].clone()
}

fn gate_becomes(daemon: &Daemon, state: &str) -> Value {
    wait_until(&format!("the gate becomes {state}"), || {
        Some(gate(daemon)).filter(|gate| gate["state"] == state)
    })
}

fn submit(daemon: &Daemon, task_type: &str) -> String {
    daemon.submit(&json!({ "payload": {}, "task_type": task_type }))
}

/// The task runs, by itself, and ends.
fn runs(daemon: &Daemon, task: &str) {
    wait_until("the task has an agent", || {
        (daemon.task(task)["status"] == "in_progress").then_some(())
    });
    daemon.order(&format!("/tasks/{task}/complete")).ok();
}

/// The causes of the lines that told that the gate closed, and how many told that it opened.
fn told(daemon: &Daemon) -> (Vec<String>, usize) {
    let lines = daemon.log_so_far();
    let closed = lines.iter().filter(|line| line["msg"] == "gate_closed");
    let opened = lines.iter().filter(|line| line["msg"] == "gate_opened").count();
    (closed.map(|line| text(&line["cause"])).collect(), opened)
}

#[test]
fn whatever_ails_a_dependency_its_tasks_wait_and_all_others_run_until_it_is_back() {
    let dependency = Dependency::start(Manner::Up);
    let (daemon, _) =
        gated(&dependency, "interval_s = 0.05\ntimeout_s = 1.5\nfailures_to_close = 2");
    gate_becomes(&daemon, "open");
    let ways = [
        (Manner::Away, "connection refused"),
        (Manner::Slow(Duration::from_secs(9)), "timed out after 1.5 s"),
        (Manner::Hangs, "timed out after 1.5 s"),
        (Manner::Status(500), "HTTP 500"),
        (Manner::Status(404), "HTTP 404"),
        (Manner::Garbage, "the answer is not HTTP"),
        (Manner::EndlessHead, "the answer is not HTTP"),
        (Manner::Redirects, "HTTP 302"),
        (Manner::Closes, "the connection was closed without an answer"),
    ];
    for (manner, cause) in ways {
        dependency.becomes(manner);
        let closed = gate_becomes(&daemon, "closed");
        assert_eq!(closed["last_error"], cause, "{manner:?}");
        let (waits, other) = (submit(&daemon, "discovery"), submit(&daemon, "heartbeat"));
        let waiting = daemon.task(&waits);
        assert_eq!(waiting["status"], "pending", "{manner:?}");
        assert_eq!(waiting["pending_reason"], "gate_closed:discovery", "{manner:?}");
        assert_eq!(gate(&daemon)["tasks_waiting"], 1, "{manner:?}");
        runs(&daemon, &other);
        dependency.becomes(Manner::Up);
        gate_becomes(&daemon, "open");
        runs(&daemon, &waits);
    }
    let (causes, opened) = told(&daemon);
    assert_eq!(causes, ways.map(|(_, cause)| cause), "each change is told once, with its cause");
    assert_eq!(opened, ways.len() + 1, "and each opening, the first one included");
    assert_eq!(gate(&daemon)["closures"], ways.len());
}

#[test]
fn a_dependency_that_answers_in_its_own_way_is_well() {
    let dependency = Dependency::start(Manner::Up);
    let (daemon, _) = gated(&dependency, "interval_s = 0.05\ntimeout_s = 10");
    gate_becomes(&daemon, "open");
    for manner in [Manner::Slow(Duration::from_millis(200)), Manner::Flood, Manner::Status(206)] {
        dependency.becomes(manner);
        dependency.is_asked_again(3);
        assert_eq!(gate(&daemon)["state"], "open", "{manner:?}");
        runs(&daemon, &submit(&daemon, "migration"));
    }
    assert_eq!(told(&daemon), (vec![], 1));
}

#[test]
fn it_takes_the_configured_number_of_failures_in_a_row_to_close() {
    let dependency = Dependency::start(Manner::Up);
    let (daemon, _) = gated(&dependency, "interval_s = 0.2\ntimeout_s = 5\nfailures_to_close = 4");
    gate_becomes(&daemon, "open");
    dependency.is_for(Manner::Status(503), 3);
    // Those, a good answer, and the next question: the good one was taken in.
    dependency.is_asked_again(5);
    assert_eq!(gate(&daemon)["closures"], 0, "three are not enough");
    dependency.is_for(Manner::Status(503), 4);
    wait_until("the gate closes and opens", || {
        (told(&daemon) == (vec!["HTTP 503".to_owned()], 2)).then_some(())
    });
}

#[test]
fn nothing_runs_before_something_is_known_of_the_dependency() {
    let dependency = Dependency::start(Manner::Hangs);
    let (mut daemon, _) = gated(&dependency, "timeout_s = 60\nstart_grace_s = 60");
    let (waits, other) = (submit(&daemon, "migration"), submit(&daemon, "heartbeat"));
    runs(&daemon, &other);
    assert_eq!(gate(&daemon)["state"], "unknown");
    assert_eq!(daemon.task(&waits)["pending_reason"], "gate_closed:discovery");
    assert_eq!(daemon.get("/readyz").ok()["status"], "ready", "nobody is told so soon");
    assert_eq!(told(&daemon), (vec![], 0));
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.ended().success(), "an open question holds nobody up");
}

#[test]
fn a_dependency_of_which_nothing_is_known_is_told_when_its_grace_is_over() {
    let dependency = Dependency::start(Manner::Hangs);
    let (daemon, _) = gated(&dependency, "timeout_s = 60\nstart_grace_s = 0.2");
    let waits = submit(&daemon, "discovery");
    daemon.log_line("the gate is closed", |line| line["msg"] == "gate_closed");
    assert_eq!(daemon.get("/readyz").ok()["status"], "degraded");
    assert_eq!(daemon.task(&waits)["status"], "pending");
}

#[test]
fn a_standstill_of_the_daemon_is_no_failure_of_the_dependency() {
    let dependency = Dependency::start(Manner::Up);
    let (daemon, _) = gated(&dependency, "interval_s = 0.05\ntimeout_s = 5\nfailures_to_close = 1");
    gate_becomes(&daemon, "open");
    // A question is under way that nobody answers, and its time runs out while the daemon stands
    // still.
    dependency.becomes(Manner::Hangs);
    dependency.is_asked_again(1);
    daemon.signal(Signal::SIGSTOP);
    wait_until("the daemon stands still", || daemon.is_stopped().then_some(()));
    dependency.becomes(Manner::Up);
    thread::sleep(Duration::from_millis(5_500));
    daemon.signal(Signal::SIGCONT);
    dependency.is_asked_again(3);
    assert_eq!(gate(&daemon)["state"], "open");
    assert_eq!(told(&daemon), (vec![], 1), "it was never closed");
}

#[test]
fn a_daemon_asks_again_after_a_restart_and_believes_nothing_old() {
    let dependency = Dependency::start(Manner::Up);
    let (mut daemon, _) = gated(&dependency, "interval_s = 0.05\nfailures_to_close = 1");
    gate_becomes(&daemon, "open");
    dependency.becomes(Manner::Away);
    gate_becomes(&daemon, "closed");
    let waits = submit(&daemon, "discovery");
    daemon.start_again();
    assert_eq!(daemon.task(&waits)["pending_reason"], "gate_closed:discovery");
    dependency.becomes(Manner::Up);
    gate_becomes(&daemon, "open");
    runs(&daemon, &waits);
}
