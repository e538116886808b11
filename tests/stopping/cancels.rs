//! A thousand cancels at random moments around the completion of their tasks.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::daemon::Daemon;
use super::super::os::let_pass;

const CANCELS: u64 = 1_000;
const CLIENTS: u64 = 10;
const AGENTS: usize = 12;
/// How long each task takes, in milliseconds.
const TASK_MS: u64 = 25;
/// Names a seed, to see a run again as far as that is possible.
const SEED: &str = "DAEDALUS_CANCEL_SEED";

/// Numbers that look random (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Less than `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// The seed of this run, which it prints.
#[expect(clippy::print_stdout, reason = "a run that failed can be seen again")]
pub(crate) fn seed() -> u64 {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("{SEED}={seed}");
    seed
}

/// Agents of both sorts, which do as they are asked: with a grace that nobody needs.
fn daemon() -> Daemon {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stopping/worker.py");
    let builtin = env!("CARGO_BIN_EXE_daedalus");
    let choose = format!(
        "case $DAEDALUS_AGENT_ID in *[0-7]) exec python3 -u {python};; *) exec {builtin} worker;; esac"
    );
    let daemon = Daemon::start(&format!(
        "[pool]\nsize = {AGENTS}\nrestarts_max = 0\n[queue]\nmax_depth = 1000\n\
         [worker]\ncommand = ['sh', '-c', '{choose}']\ncancel_grace_s = 60\nheartbeat_s = 60\n"
    ));
    daemon.all_idle(AGENTS);
    daemon
}

/// Submits a task, cancels it after so long, and answers whether that came in time. What the answer
/// says is how the task ends.
fn cancel_one(daemon: &Daemon, after_ms: u64) -> (String, bool) {
    let seconds = TASK_MS as f64 / 1e3;
    let task = daemon.submit(json!({"action": "sleep", "seconds": seconds}));
    let_pass(Duration::from_millis(after_ms));
    let (status, answer) = daemon.call("POST", &format!("/tasks/{task}/cancel"), None);
    let ended = daemon.task(&task);
    if status == 200 {
        assert_eq!(
            (&answer["status"], &ended["status"]),
            (&json!("cancelled"), &json!("cancelled"))
        );
    } else {
        assert_eq!((status, &answer["code"]), (409, &json!("already_finished")), "{answer}");
        assert_eq!(answer["task_status"], "completed", "{answer}");
        assert_eq!((&ended["status"], &ended["attempt_count"]), (&json!("completed"), &json!(1)));
    }
    (task, status == 200)
}

#[test]
fn a_thousand_cancels_around_completion_lose_nothing() {
    let seed = seed();
    let daemon = daemon();
    let before: Vec<_> = daemon.agents().into_iter().map(|it| (it.id, it.incarnation)).collect();
    let told = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (daemon, told) = (&daemon, &told);
            let mut dice = Dice(seed ^ client << 32);
            scope.spawn(move || {
                // Half of the cancels come in time, however slow the machine is.
                let mut middle_ms = TASK_MS;
                for _ in 0..CANCELS / CLIENTS {
                    let (task, cancelled) = cancel_one(daemon, dice.below(2 * middle_ms));
                    middle_ms = if cancelled { middle_ms + 2 } else { middle_ms.max(4) - 2 };
                    told.lock().expect("no client panics").insert(task, cancelled);
                }
            });
        }
    });
    let agents = daemon.all_idle(AGENTS);
    let after: Vec<_> = agents.into_iter().map(|it| (it.id, it.incarnation)).collect();
    assert_eq!(after, before, "the same agents, each in its first life");
    let told = told.into_inner().expect("no client panicked");
    let cancelled = told.values().filter(|&&cancelled| cancelled).count();
    println!("{cancelled} of {} came in time", told.len());
    assert!((50..told.len() - 50).contains(&cancelled), "they were not around the completion");
    assert_each_ended_once(&daemon, &told);
    daemon.assert_no_orphans(AGENTS);
    let workdirs = std::fs::read_dir(daemon.place.join("state/agents")).expect("a directory");
    assert_eq!(workdirs.count(), AGENTS, "a working directory for each agent");
}

/// By the log, by the counters, and by what the tasks say now.
fn assert_each_ended_once(daemon: &Daemon, told: &BTreeMap<String, bool>) {
    let mut ends: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for msg in ["task_completed", "task_cancelled", "task_failed"] {
        for line in daemon.logged(msg) {
            let task = line["task_id"].as_str().expect("an id").to_owned();
            ends.entry(task).or_default().push(msg);
        }
    }
    for (task, &cancelled) in told {
        let expected = if cancelled { "task_cancelled" } else { "task_completed" };
        assert_eq!(ends[task], [expected], "{task}");
        let status = &daemon.task(task)["status"];
        assert_eq!(*status, expected["task_".len()..], "{task}");
    }
    let metrics: Value = daemon.ok("GET", "/metrics", None);
    let count = |key: &str| metrics[key].as_u64().unwrap_or_default() as usize;
    let cancelled = told.values().filter(|&&cancelled| cancelled).count();
    assert_eq!(count("tasks_cancelled"), cancelled, "{metrics}");
    assert_eq!(count("tasks_completed"), told.len() - cancelled, "{metrics}");
}
