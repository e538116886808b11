//! Cancel, time-out, `fail`, removal, the end of the pool and that of the daemon.

use std::collections::BTreeSet;
use std::thread;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::super::daemon::Daemon;
use super::super::os::{self, mark_of, marked};
use super::late::Lateness;
use super::work::{self, Place, Work, assert_stopped, over, started};

const NEVER_S: f64 = 600.0;

/// A daemon whose agents are at every sort of work, and two more.
struct Stage {
    daemon: Daemon,
    agents: usize,
    tasks: Vec<(&'static Work, String)>,
}

fn at_work(place: Place, timeout_s: f64, name: impl Fn(&Work) -> &str) -> Stage {
    let (daemon, agents) = place.daemon();
    let tasks: Vec<_> = place
        .works()
        .iter()
        .map(|work| (work, work::begin(&daemon, name(work), timeout_s)))
        .collect();
    for (_, task) in &tasks {
        started(&daemon, task);
    }
    Stage { daemon, agents, tasks }
}

/// Each order in a sandbox, and without one, where a worker can kill its launcher.
macro_rules! in_both_places {
    ($($order:ident, $open:ident, $run:ident;)*) => {$(
        #[test]
        fn $order() {
            $run(Place::Sandbox);
        }

        #[test]
        fn $open() {
            $run(Place::Open);
        }
    )*};
}

in_both_places! {
    cancel, cancel_without_a_sandbox, cancels;
    time_out, time_out_without_a_sandbox, times_out;
    fail, fail_without_a_sandbox, fails;
    removal, removal_without_a_sandbox, removes;
    end_of_the_pool, end_of_the_pool_without_a_sandbox, ends_pool;
    end_of_the_daemon, end_of_the_daemon_without_a_sandbox, ends_daemon;
}

/// Does something to each task at the same time.
fn each(daemon: &Daemon, tasks: &[(&Work, String)], order: impl Fn(&Daemon, &str) + Sync) {
    thread::scope(|scope| {
        for (_, task) in tasks {
            scope.spawn(|| order(daemon, task));
        }
    });
}

/// The agent of the first attempt.
fn agent_of(task: &Value) -> String {
    task["attempts"][0]["agent_id"].as_str().expect("an agent").to_owned()
}

fn first_outcome(task: &Value) -> &Value {
    &task["attempts"][0]["outcome"]
}

/// The agent of the first attempt takes work again: in the same life when its worker answered.
fn assert_back(daemon: &Daemon, task: &Value, work: &Work) {
    let agent = daemon.agent_when(&agent_of(task), "the agent is back", |it| it.status == "idle");
    assert_eq!(agent.incarnation == 1, work.lives, "{}: {agent:?}", work.name);
}

/// The task went on elsewhere, and that was a success.
fn assert_done_elsewhere(daemon: &Daemon, task: &str, outcome: &str) {
    let task = daemon.ended(task);
    assert_eq!((&task["status"], first_outcome(&task)), (&json!("completed"), &json!(outcome)));
    assert_eq!((&task["attempt_count"], &task["result"]), (&json!(2), &json!("elsewhere")));
}

fn cancels(place: Place) {
    let Stage { daemon, agents, tasks } = at_work(place, NEVER_S, |work| work.name);
    let late = Lateness::measure();
    each(&daemon, &tasks, |daemon, task| {
        let answer = daemon.ok("POST", &format!("/tasks/{task}/cancel"), None);
        assert_eq!(answer["status"], "cancelled", "at once");
    });
    for (work, task) in &tasks {
        let task = over(&daemon, task);
        assert_stopped(&task, work, "cancelled", &late);
        assert_eq!((&task["status"], &task["attempt_count"]), (&json!("cancelled"), &json!(1)));
        assert_back(&daemon, &task, work);
    }
    daemon.assert_no_orphans(agents);
}

fn times_out(place: Place) {
    // Long enough to begin everything before.
    let Stage { daemon, agents, tasks } = at_work(place, 8.0, |work| work.name);
    let late = Lateness::measure();
    for (work, task) in &tasks {
        let stopped = over(&daemon, task);
        assert_stopped(&stopped, work, "timed_out", &late);
        assert_done_elsewhere(&daemon, task, "timed_out");
        assert_back(&daemon, &stopped, work);
    }
    daemon.assert_no_orphans(agents);
}

fn fails(place: Place) {
    // Nobody is asked, so the launcher cannot be killed at that moment: it stands still instead.
    let Stage { daemon, agents, tasks } = at_work(place, NEVER_S, |work| match work.name {
        "kills_launcher" => "stops_launcher",
        name => name,
    });
    let late = Lateness::measure();
    each(&daemon, &tasks, |daemon, task| {
        let agent = agent_of(&daemon.task(task));
        let answer = daemon.ok("POST", &format!("/agents/{agent}/fail"), None);
        assert_eq!(answer["reassigned_task_id"], task, "{answer}");
    });
    for (work, task) in &tasks {
        assert_stopped(&daemon.task(task), work, "agent_failed", &late);
        assert_done_elsewhere(&daemon, task, "agent_failed");
    }
    daemon.assert_no_orphans(agents);
}

fn removes(place: Place) {
    let Stage { daemon, tasks, .. } = at_work(place, NEVER_S, |work| work.name);
    let late = Lateness::measure();
    each(&daemon, &tasks, |daemon, task| {
        let agent = agent_of(&daemon.task(task));
        let answer = daemon.ok("DELETE", &format!("/agents/{agent}"), None);
        assert_eq!(answer["task_id"], task, "{answer}");
        assert_eq!(daemon.call("GET", &format!("/agents/{agent}"), None).0, 404);
    });
    for (work, task) in &tasks {
        assert_stopped(&daemon.task(task), work, "interrupted", &late);
        assert_done_elsewhere(&daemon, task, "interrupted");
    }
    daemon.assert_no_orphans(2);
}

fn ends_pool(place: Place) {
    let Stage { daemon, agents, tasks } = at_work(place, NEVER_S, |work| work.name);
    let late = Lateness::measure();
    let closed = daemon.ok("DELETE", "/pool", None);
    assert_eq!(closed["agents_stopped"], agents, "{closed}");
    assert_eq!(closed["tasks_requeued"], tasks.len(), "{closed}");
    assert_eq!(daemon.processes(), BTreeSet::new());
    for (work, task) in &tasks {
        let task = daemon.task(task);
        assert_stopped(&task, work, "interrupted", &late);
        assert_eq!((&task["status"], &task["failures"]), (&json!("pending"), &json!(0)));
    }
    daemon.ok("POST", "/pool/initialize", Some(&json!({"size": 2})));
    for (_, task) in &tasks {
        assert_done_elsewhere(&daemon, task, "interrupted");
    }
    daemon.assert_no_orphans(2);
}

fn ends_daemon(place: Place) {
    let Stage { mut daemon, tasks, .. } = at_work(place, NEVER_S, |work| work.name);
    let mark = daemon.agents().iter().find_map(|agent| mark_of(agent.worker())).expect("a mark");
    let late = Lateness::measure();
    os::send(daemon.pid, Signal::SIGTERM);
    assert_eq!(daemon.exit().code(), Some(0));
    assert_eq!(marked(&mark), BTreeSet::new(), "nothing is left alive");
    daemon.start_again();
    for (work, task) in &tasks {
        assert_done_elsewhere(&daemon, task, "interrupted");
        assert_stopped(&daemon.task(task), work, "interrupted", &late);
    }
}

#[test]
fn a_second_signal_ends_the_daemon_at_once() {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stopping/worker.py");
    let mut daemon = Daemon::start(&format!(
        "[pool]\nsize = 1\n[worker]\ncommand = ['python3', '-u', {program:?}]\n\
         cancel_grace_s = 3600\n"
    ));
    let task = work::begin(&daemon, "holds_the_gil", NEVER_S);
    let worker = daemon.executor(&task).worker();
    started(&daemon, &task);
    os::send(daemon.pid, Signal::SIGTERM);
    // The run is asked when the listener is closed, which is when nobody is answered any more.
    os::until("the listener is closed", || daemon.try_call("GET", "/healthz", None).err());
    os::let_pass(std::time::Duration::from_millis(300));
    assert!(daemon.runs(), "it gives the run its time");
    os::send(daemon.pid, Signal::SIGTERM);
    assert_eq!(daemon.exit().code(), Some(0));
    assert!(!daedalus::worker::proc::is_alive(worker));
    daemon.start_again();
    assert_done_elsewhere(&daemon, &task, "interrupted");
    let stop = daemon.task(&task)["attempts"][0]["stop"].clone();
    let came = ["asked_at", "signalled_at", "killed_at", "over_at"].map(|at| stop[at].is_f64());
    assert_eq!(came, [true, false, true, true], "{stop}");
}

#[test]
fn without_a_grace_everything_is_killed_at_once() {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stopping/worker.py");
    let daemon = Daemon::start(&format!(
        "[pool]\nsize = 2\n[worker]\ncommand = ['python3', '-u', {program:?}]\ncancel_grace_s = 0\n"
    ));
    for name in ["sleep", "holds_the_gil"] {
        let task = work::begin(&daemon, name, NEVER_S);
        started(&daemon, &task);
        daemon.ok("POST", &format!("/tasks/{task}/cancel"), None);
        let stop = over(&daemon, &task)["attempts"][0]["stop"].clone();
        let came = ["asked_at", "signalled_at", "killed_at"].map(|at| stop[at].is_f64());
        assert_eq!(came, [false, false, true], "{name}: {stop}");
    }
    daemon.assert_no_orphans(2);
}
