//! The daemon stops, by order or by force, and leaves nothing alive.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::daemon::Daemon;
use super::os::{mark_of, marked, now, send, until};

/// Far above what a stop takes, far below any drain or wait that could hold it up.
const SOON: Duration = Duration::from_secs(15);

/// One agent hangs, one sleeps, one left a detached process, one does nothing.
fn busy(config: &str) -> (Daemon, Vec<u8>) {
    let daemon = Daemon::start(&format!("[pool]\nsize = 4\n{config}"));
    daemon.all_idle(4);
    let detached = daemon.ended(&daemon.submit(json!({"action": "double_fork"})));
    assert_eq!(detached["status"], "completed");
    daemon.begin(json!({"action": "hang"}));
    let (_, agent) = daemon.begin(json!({"action": "sleep", "seconds": 1000}));
    let mark = mark_of(agent.worker()).expect("a worker carries the mark");
    // Each has a launcher and a worker; the detached one is one more.
    assert_eq!(marked(&mark).len(), 9);
    assert_eq!(daemon.processes(), marked(&mark));
    (daemon, mark)
}

#[test]
fn a_stop_without_a_drain_is_quick_and_leaves_nothing() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (daemon, mark) = busy("");
        let running = &daemon.ok("GET", "/tasks?status=in_progress", None)["tasks"];
        let waits = format!("/tasks/{}?wait_s=60", running[0]["task_id"].as_str().expect("an id"));
        thread::scope(|scope| {
            // A call that waits does not hold up the end.
            let poll = scope.spawn(|| daemon.try_call("GET", &waits, None).is_ok());
            let begun = now();
            send(daemon.pid, signal);
            let status = daemon.exit();
            assert_eq!(status.code(), Some(0), "{}", daemon.log.tail());
            assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
            assert_eq!(marked(&mark), BTreeSet::new());
            let _answered_or_not = poll.join();
        });
        let interrupted = daemon.log.of("task_requeued");
        assert_eq!(interrupted.len(), 2, "{interrupted:?}");
        assert!(interrupted.iter().all(|line| line["outcome"] == "interrupted"));
        assert!(daemon.log.of("agent_failed").is_empty(), "a stop is no failure");
        assert!(daemon.try_call("GET", "/healthz", None).is_err());
    }
}

#[test]
fn a_drain_lets_running_work_end_and_takes_nothing_new() {
    let daemon = Daemon::start("[pool]\ndrain_s = 60");
    let (task, agent) = daemon.begin(json!({"action": "sleep", "seconds": 2.0}));
    let mark = mark_of(agent.worker()).expect("a worker carries the mark");
    let begun = now();
    send(daemon.pid, Signal::SIGTERM);
    until("the daemon drains", || (daemon.call("GET", "/readyz", None).0 == 503).then_some(()));
    let body = json!({"payload": {"action": "echo", "value": 1}});
    for (path, body) in [("/tasks", Some(&body)), ("/agents", None), ("/pool/initialize", None)] {
        let (status, answer) = daemon.call("POST", path, body);
        assert_eq!((status, &answer["code"]), (503, &json!("draining")), "{path}: {answer}");
    }
    assert_eq!(daemon.task(&task)["status"], "in_progress", "reads are answered");
    assert_eq!(daemon.agents().len(), 2);
    assert_eq!(daemon.exit().code(), Some(0), "{}", daemon.log.tail());
    assert!(begun.elapsed() < SOON, "it ends when the work has ended: {:?}", begun.elapsed());
    let completed = daemon.log.of("task_completed");
    assert!(completed.iter().any(|line| line["task_id"] == *task), "{completed:?}");
    assert_eq!(marked(&mark), BTreeSet::new());
}

#[test]
fn a_second_signal_ends_the_drain() {
    let (daemon, mark) = busy("drain_s = 600");
    send(daemon.pid, Signal::SIGTERM);
    until("the daemon drains", || (daemon.call("GET", "/readyz", None).0 == 503).then_some(()));
    let begun = now();
    assert!(daemon.runs());
    send(daemon.pid, Signal::SIGTERM);
    assert_eq!(daemon.exit().code(), Some(0), "{}", daemon.log.tail());
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(marked(&mark), BTreeSet::new());
}

#[test]
fn a_drain_ends_when_its_time_does() {
    let (daemon, mark) = busy("drain_s = 1");
    let begun = now();
    send(daemon.pid, Signal::SIGTERM);
    assert_eq!(daemon.exit().code(), Some(0), "{}", daemon.log.tail());
    assert!(begun.elapsed() >= Duration::from_secs(1) && begun.elapsed() < SOON);
    assert_eq!(marked(&mark), BTreeSet::new());
}

#[test]
fn a_stop_during_the_start_of_sixteen_leaves_nothing() {
    let daemon = Daemon::start_unready("[pool]\nsize = 16");
    let mark = until("the first are there", || {
        super::os::alive_below(daemon.pid).into_iter().find_map(mark_of)
    });
    send(daemon.pid, Signal::SIGTERM);
    assert_eq!(daemon.exit().code(), Some(0), "{}", daemon.log.tail());
    assert_eq!(marked(&mark), BTreeSet::new());
}

#[test]
fn a_killed_daemon_takes_every_process_along() {
    let (daemon, mark) = busy("");
    send(daemon.pid, Signal::SIGKILL);
    until("everything ended", || marked(&mark).is_empty().then_some(()));
}
