//! The sorts of work, and what the attempt of each must say of its stop.

use serde_json::{Value, json};

use super::super::daemon::Daemon;
use super::super::os::until;
use super::late::Lateness;

/// What a run has to end, in seconds: half of it is enough to answer for who wants to, on a machine
/// that has other things to do, too.
pub(crate) const GRACE_S: f64 = 2.0;
/// What a stop may take beyond that, in seconds.
pub(crate) const BEYOND_S: f64 = 1.0;

/// A worker that does this, and which steps of the ladder it takes to stop it.
pub(crate) struct Work {
    pub(crate) name: &'static str,
    signalled: bool,
    killed: bool,
    /// Whether it answers, so that its process lives on.
    pub(crate) lives: bool,
}

const fn work(name: &'static str, signalled: bool, killed: bool, lives: bool) -> Work {
    Work { name, signalled, killed, lives }
}

/// All of them; the last kills its launcher, which nobody can in a sandbox.
const ALL: [Work; 11] = [
    work("loop", false, false, true),
    work("sleep", false, false, true),
    work("blocked", false, false, true),
    work("backtrack", true, false, true),
    work("holds_the_gil", true, true, false),
    work("stubborn_child", true, true, false),
    work("double_fork", true, false, false),
    work("many_children", true, false, false),
    // They answer in time, and what they leave behind is killed.
    work("polite_children", false, true, false),
    work("polite_double_fork", false, true, false),
    work("kills_launcher", false, false, false),
];

/// Where the workers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Sandbox,
    Open,
}

impl Place {
    /// The sorts of work that there can be.
    pub(crate) fn works(self) -> &'static [Work] {
        match self {
            Self::Sandbox => &ALL[..ALL.len() - 1],
            Self::Open => &ALL,
        }
    }

    /// A daemon with an agent for each sort of work and two for what comes back.
    pub(crate) fn daemon(self) -> (Daemon, usize) {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stopping/worker.py");
        let size = self.works().len() + 2;
        let confined = self == Self::Sandbox;
        let daemon = Daemon::start(&format!(
            "[pool]\nsize = {size}\n[worker]\ncommand = ['python3', '-u', {program:?}]\n\
             cancel_grace_s = {GRACE_S:?}\nheartbeat_s = 60\n\
             [worker.sandbox]\nenabled = {confined}\n"
        ));
        daemon.all_idle(size);
        (daemon, size)
    }
}

/// Begins the work, and waits until it resists; its task.
pub(crate) fn begin(daemon: &Daemon, work: &str, timeout_s: f64) -> String {
    let body = json!({"payload": {"work": work}, "timeout_s": timeout_s});
    daemon.submit_whole(&body)
}

pub(crate) fn started(daemon: &Daemon, task: &str) -> Value {
    until("the work has begun", || {
        let task = daemon.task(task);
        task["attempts"][0]["started_at"].is_f64().then_some(task)
    })
}

/// The task once its first run is over.
pub(crate) fn over(daemon: &Daemon, task: &str) -> Value {
    until("the stop is over", || {
        let task = daemon.task(task);
        task["attempts"][0]["stop"]["over_at"].is_f64().then_some(task)
    })
}

/// The stop of the first attempt has the steps that this work makes necessary, in their order, and
/// took no longer than it may: by the clock of the daemon, which is `late` when the machine is.
pub(crate) fn assert_stopped(task: &Value, work: &Work, reason: &str, late: &Lateness) {
    let stop = &task["attempts"][0]["stop"];
    let name = work.name;
    assert_eq!(stop["reason"], reason, "{name}: {task}");
    let at_once = reason == "agent_failed";
    let steps = ["asked_at", "signalled_at", "killed_at", "over_at"].map(|at| stop[at].as_f64());
    let came = steps.map(|at| at.is_some());
    let expected = if at_once {
        [false, false, true, true]
    } else {
        [true, work.signalled, work.killed, true]
    };
    assert_eq!(came, expected, "{name} was stopped by other steps: {stop}");
    let times: Vec<f64> = steps.into_iter().flatten().collect();
    assert!(times.is_sorted(), "{name}: {stop}");
    let (begun, ended) = (times[0], times[times.len() - 1]);
    let took = ended - begun;
    let most = GRACE_S + BEYOND_S + late.seconds(begun, ended);
    assert!(took <= most, "{name} took {took} s to stop, of {most}: {stop}");
    if work.signalled && !at_once {
        assert!(times[1] - times[0] >= GRACE_S / 2.0 - 0.01, "{name}: signalled early: {stop}");
    }
    if work.killed && work.signalled && !at_once {
        assert!(times[2] - times[0] >= GRACE_S - 0.01, "{name}: killed early: {stop}");
    }
}
