//! Clients that submit everything that can go well or badly, one task after another.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use daedalus::worker::proc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::super::daemon::Daemon;
use super::super::os::let_pass;

/// What became of the tasks, and what happened on the way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) submitted: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    /// Attempts that took too long.
    pub(crate) timed_out: u64,
    /// Attempts whose agent was lost.
    pub(crate) lost: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.submitted += other.submitted;
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.timed_out += other.timed_out;
        self.lost += other.lost;
    }

    fn count(&mut self, task: &Value) {
        self.submitted += 1;
        match task["status"].as_str() {
            Some("completed") => self.completed += 1,
            Some("failed") => self.failed += 1,
            Some("cancelled") => self.cancelled += 1,
            _ => panic!("not terminal: {task}"),
        }
        for attempt in task["attempts"].as_array().expect("a list") {
            self.timed_out += u64::from(attempt["outcome"] == "timed_out");
            self.lost += u64::from(attempt["outcome"] == "agent_failed");
        }
    }
}

/// Numbers that look random (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// Some task: mostly good ones, because bad ones take an agent away for a while.
fn some_task(dice: &mut Dice) -> Value {
    let then = json!({"action": "echo", "value": "elsewhere"});
    let payload = match dice.below(40) {
        0..16 => json!({"action": "echo", "value": "x".repeat(dice.below(20_000) as usize)}),
        16..24 => json!({"action": "sleep", "seconds": dice.below(50) as f64 / 1e3}),
        24..28 => json!({"action": "spin", "seconds": 0.01}),
        28..32 => json!({"action": "fail", "retryable": dice.below(2) == 0, "then": then}),
        32 => json!({"action": "crash", "then": then}),
        33 => json!({"action": "garbage", "then": then}),
        34 => json!({"action": "double_fork"}),
        35 => json!({"action": "children", "count": 2}),
        36 => json!({"action": "hang", "then": then}),
        _ => json!({"action": "sleep", "seconds": 100, "then": then}),
    };
    json!({"payload": payload, "timeout_s": 1.0})
}

/// Submits tasks and waits for their ends until it is over.
pub(crate) fn work(daemon: &Daemon, seed: u64, over: &AtomicBool) -> Tally {
    let (mut dice, mut tally) = (Dice(seed), Tally::default());
    while !over.load(Ordering::Acquire) {
        let accepted = asked(daemon, "POST", "/tasks", Some(&some_task(&mut dice)));
        let task = accepted["task_id"].as_str().expect("an id").to_owned();
        if dice.below(8) == 0 {
            let_pass(Duration::from_millis(dice.below(40)));
            let (status, answer) = daemon.call("POST", &format!("/tasks/{task}/cancel"), None);
            assert!(status == 200 || status == 409, "{answer}");
        } else if dice.below(200) == 0
            && let Some(agent) = daemon.task(&task)["assigned_agent_id"].as_str()
        {
            daemon.ok("POST", &format!("/agents/{agent}/fail"), None);
        }
        if dice.below(100) == 0 {
            kill_a_launcher(daemon, &task);
        }
        tally.count(&asked(daemon, "GET", &format!("/tasks/{task}?wait_s=30"), None));
    }
    tally
}

/// A call, made again while the daemon says that it never read the request (408): in an hour the
/// machine itself may stand still for longer than that may take, and then nothing was done.
fn asked(daemon: &Daemon, method: &str, path: &str, body: Option<&Value>) -> Value {
    loop {
        let (status, answer) = daemon.call(method, path, body);
        if status != 408 {
            assert_eq!(status, 200, "{method} {path}: {answer}");
            return answer;
        }
    }
}

/// Kills the launcher above whoever has the task, as the operating system could. In its sandbox no
/// worker can do that.
fn kill_a_launcher(daemon: &Daemon, task: &str) {
    let Some(agent) = daemon.task(task)["assigned_agent_id"].as_str().map(str::to_owned) else {
        return;
    };
    let launcher = daemon.agent(&agent).pid.and_then(proc::parent);
    // What is left of an ended launcher belongs to the daemon, which has no part in this.
    if let Some(launcher) = launcher.filter(|launcher| proc::parent(*launcher) == Some(daemon.pid))
    {
        // It may just have ended.
        let _gone = kill(Pid::from_raw(launcher.cast_signed()), Signal::SIGKILL);
    }
}
