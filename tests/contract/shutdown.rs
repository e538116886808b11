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
