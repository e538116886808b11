//! Rule 18: the daemon stops.

use std::thread;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::daemon::{Daemon, text, wait_until};

#[test]
fn a_daemon_that_stops_takes_nothing_new_and_lets_work_end() {
    let config = "[pool]\nautostart = false\ndrain_s = 60\n[http]\nmax_in_flight = 1\n";
    let mut daemon = Daemon::start(config);
    let process = text(&daemon.post("/agents", &json!({ "kind": "process" })).ok()["agent_id"]);
    let outside = text(&daemon.post("/agents", &json!({ "kind": "external" })).ok()["agent_id"]);
    let sleeps = json!({ "action": "sleep", "seconds": 60 });
    let runs = daemon.submit(&json!({ "payload": sleeps, "preferred_agent_id": process }));
    daemon.agent_becomes(&process, "executing");
    let by_hand = daemon.submit(&json!({ "payload": {}, "preferred_agent_id": outside }));

    daemon.signal(Signal::SIGTERM);
    wait_until("the daemon drains", || (daemon.get("/readyz").status == 503).then_some(()));
    let before = daemon.state();
    daemon.post("/tasks", &json!({ "payload": {} })).refused(503, "draining");
    daemon.order("/agents").refused(503, "draining");
    daemon.order("/pool/initialize").refused(503, "draining");
    assert_eq!(daemon.state(), before);

    assert_eq!(daemon.get("/healthz").ok(), json!({ "status": "ok" }));
    daemon.order(&format!("/agents/{outside}/heartbeat")).ok();
    daemon.get(&format!("/agents/{outside}/assignment")).ok();
    assert_eq!(daemon.order(&format!("/tasks/{by_hand}/complete")).ok()["status"], "completed");
    thread::scope(|scope| {
        let waits = daemon.waiting(scope, &format!("/tasks/{runs}?wait_s=30"));
        daemon.order(&format!("/tasks/{runs}/cancel")).ok();
        assert_eq!(waits.join().unwrap().0.ok()["status"], "cancelled");
    });
    assert!(daemon.ended().success(), "its last run has ended, so it does");
}

#[test]
fn whoever_waits_is_answered_before_the_daemon_ends() {
    let config = "[pool]\nautostart = false\n[http]\nmax_in_flight = 1\n\
                  [worker]\nkind = \"external\"\n";
    for (wait, answered) in [("task", 200), ("assignment", 204)] {
        let mut daemon = Daemon::start(config);
        let task = daemon.submit(&json!({ "payload": {}, "task_type": "research" }));
        let ingests = json!({ "task_types": ["ingest"] });
        let agent = text(&daemon.post("/agents", &ingests).ok()["agent_id"]);
        let path = match wait {
            "task" => format!("/tasks/{task}?wait_s=60"),
            _ => format!("/agents/{agent}/assignment?wait_s=60"),
        };
        thread::scope(|scope| {
            let waits = daemon.waiting(scope, &path);
            daemon.signal(Signal::SIGTERM);
            let answer = waits.join().unwrap().0;
            assert_eq!(answer.status, answered, "{wait}: {}", answer.text);
        });
        assert!(daemon.ended().success());
    }
}

#[test]
fn a_second_signal_ends_the_drain() {
    let mut daemon = Daemon::start("[pool]\nautostart = false\ndrain_s = 600\n");
    let agent = text(&daemon.order("/agents").ok()["agent_id"]);
    let sleeps = json!({ "action": "sleep", "seconds": 600 });
    daemon.submit(&json!({ "payload": sleeps }));
    daemon.agent_becomes(&agent, "executing");
    daemon.signal(Signal::SIGTERM);
    wait_until("the daemon drains", || (daemon.get("/readyz").status == 503).then_some(()));
    daemon.signal(Signal::SIGINT);
    assert!(daemon.ended().success());
}

#[test]
fn one_daemon_owns_a_state_directory() {
    let daemon = Daemon::start("[pool]\nsize = 1\n");
    let mut second = std::process::Command::new(env!("CARGO_BIN_EXE_daedalus"));
    second.args(["serve", "--bind", "127.0.0.1:0", "--state-dir"]).arg(daemon.state_dir());
    let second = second.output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("another daedalus uses the state directory"), "{said}");
    let agent = wait_until("the pool has its agent", || {
        daemon.get("/agents").ok()[0]["agent"]["agent_id"].as_str().map(str::to_owned)
    });
    daemon.agent_becomes(&agent, "idle");
    assert_eq!(std::fs::read_dir(daemon.state_dir().join("agents")).unwrap().count(), 1);
}
