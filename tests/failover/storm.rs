//! Many agents are killed at any moment while many tasks run.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use serde_json::json;

use super::daemon::Daemon;
use super::os::{alive_below, try_to_send, until};
use super::pool::Agent;

const STORMY: &str = "[pool]\nsize = 8\nrestarts_max = 1000\n\
                      [queue]\nmax_depth = 1000\nmax_attempts = 100\nexclusion_relax_s = 0.1";

/// Kills something of the daemon, each time something else.
fn strike(daemon: &Daemon, round: usize) {
    let below: Vec<u32> = alive_below(daemon.pid).into_iter().collect();
    if let Some(&pid) = below.get(round * 7 % below.len().max(1)) {
        try_to_send(pid, Signal::SIGKILL);
    }
}

#[test]
fn every_task_is_completed_once_through_a_storm_of_deaths() {
    let daemon = Daemon::start(STORMY);
    let tasks: Vec<_> =
        (0..150).map(|_| daemon.submit(json!({"action": "sleep", "seconds": 0.05}))).collect();
    let mut round = 0;
    until("every task has ended", || {
        // Less than a death per agent and restart, so that there is an end.
        if round < 40 {
            strike(&daemon, round);
        }
        round += 1;
        let metrics = daemon.ok("GET", "/metrics", None);
        (metrics["tasks_pending"] == 0 && metrics["tasks_in_progress"] == 0).then_some(())
    });
    let agents = daemon.all_idle(8);
    let deaths: u64 = agents.iter().map(|agent: &Agent| agent.incarnation - 1).sum();
    assert!(deaths >= 8, "it was no storm: {deaths}");
    let completed = daemon.logged("task_completed");
    let ids: BTreeSet<_> = completed.iter().filter_map(|line| line["task_id"].as_str()).collect();
    assert_eq!(completed.len(), tasks.len(), "each completed exactly once");
    assert_eq!(ids, tasks.iter().map(String::as_str).collect());
    for task in &tasks {
        let task = daemon.task(task);
        let attempts = task["attempts"].as_array().expect("a list");
        let (last, before) = attempts.split_last().expect("it ran");
        assert_eq!(last["outcome"], "completed", "{task}");
        assert!(before.iter().all(|one| one["outcome"] == "agent_failed"), "{task}");
    }
    daemon.assert_no_orphans(8);
}

#[test]
fn a_stop_in_a_storm_leaves_nothing() {
    let daemon = Daemon::start(STORMY);
    let agents = daemon.all_idle(8);
    let mark = super::os::mark_of(agents[0].worker()).expect("a worker carries the mark");
    for _ in 0..50 {
        daemon.submit(json!({"action": "sleep", "seconds": 0.05}));
    }
    for round in 0..10 {
        strike(&daemon, round);
    }
    super::os::send(daemon.pid, Signal::SIGTERM);
    assert_eq!(daemon.exit().code(), Some(0), "{}", daemon.log.tail());
    assert_eq!(super::os::marked(&mark), BTreeSet::new());
}
