//! What happens when the daemon is gone, seen from outside: this process has no spawner itself and
//! may start children.

#![expect(clippy::duplicate_mod, reason = "both kinds of daemons have user ids for their agents")]

#[path = "support/daemon.rs"]
mod daemon;
#[expect(dead_code, reason = "shared with the tests of the spawner")]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use daedalus::worker::proc;
use daemon::{Daemon, wait_until};
use nix::sys::signal::Signal;
use serde_json::json;
use support::{Pool, run, send, survivors, until};
use tokio::time::Instant;

/// In the helper's environment: be a daemon until you are killed.
const BE_A_DAEMON: &str = "DAEDALUS_TEST_BE_A_DAEMON";

#[test]
fn a_daemon_that_is_killed_takes_every_tree_along() {
    if std::env::var_os(BE_A_DAEMON).is_some() {
        be_a_daemon();
    }
    run(async {
        let name = "a_daemon_that_is_killed_takes_every_tree_along";
        let mut daemon = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(BE_A_DAEMON, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
        let store_id = lines
            .map(Result::unwrap)
            .find_map(|line| line.split_once("store: ").map(|(_, store)| store.to_owned()))
            .expect("the helper says its store");
        // Two launchers, two workers, one detached process and twenty children.
        until("all 25 are there", || survivors(&store_id).len() == 25).await;
        let begun = Instant::now();
        send(daemon.id(), Signal::SIGKILL);
        daemon.wait().unwrap();
        until("everything ended", || survivors(&store_id).is_empty()).await;
        println!("daemon killed, all gone after {:?}", begun.elapsed());
        std::fs::remove_dir_all(std::env::temp_dir().join(format!("daedalus-{store_id}"))).unwrap();
    });
}

fn be_a_daemon() -> ! {
    run(async {
        let pool = Pool::new();
        let mut hanging = pool.worker().await;
        let mut busy = pool.worker().await;
        busy.result(&json!({"action": "double_fork"})).await;
        busy.result(&json!({"action": "children", "count": 20})).await;
        hanging.begin(&json!({"action": "hang"})).await;
        writeln!(std::io::stdout(), "store: {}", pool.store_id).expect("somebody reads");
        // Should the test fail, the end of its process is the end of this one.
        std::io::stdin().read_line(&mut String::new()).expect("stdin can be read");
    });
    panic!("the test that started this helper is gone");
}

/// The pipe of its stdin has a writer as long as the worker, or what it started, wants.
/// Waits until the agent has this status: its launcher and its worker.
fn processes(daemon: &Daemon, status: &str) -> (u32, u32) {
    let worker = wait_until(status, || {
        let agents = daemon.get("/agents").ok();
        let agent = &agents[0]["agent"];
        (agent["status"] == status).then(|| agent["pid"].as_u64())?
    });
    let worker = u32::try_from(worker).expect("a pid");
    (proc::parent(worker).expect("it has a launcher"), worker)
}

#[test]
fn a_worker_that_holds_its_own_pipe_goes_with_its_daemon() {
    // Not for ever, so that a test that fails leaves nothing behind.
    let hold = "exec 9>/proc/self/fd/0; sleep 60 & exec 9>&-; exec python3 -u \"$0\"";
    // It says nothing while it is idle, so it does not learn that nobody hears it either.
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stopping/worker.py");
    let command = ["sh", "-c", hold, program];
    let mut daemon = Daemon::start(&format!(
        "[pool]\nsize = 1\n[worker]\ncommand = {command:?}\n[worker.sandbox]\nenabled = false\n"
    ));
    let (launcher, worker) = processes(&daemon, "idle");
    let holds = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/fd/9")).is_ok();
    wait_until("it holds the pipe", || {
        proc::descendants(launcher).iter().find(|pid| holds(pid)).copied()
    });
    daemon.kill();
    wait_until("they have ended", || {
        let lives = proc::is_alive(launcher) || proc::is_alive(worker);
        (!lives).then_some(())
    });
}

/// Neither the launcher nor the daemon sees the end of the other, and the worker ignores it.
#[test]
fn what_a_killed_daemon_left_is_gone_before_its_task_runs_again() {
    let survive = "trap '' TERM HUP; \"$0\" worker; while :; do sleep 300; done";
    let command = ["sh", "-c", survive, env!("CARGO_BIN_EXE_daedalus")];
    let config = format!("[pool]\nsize = 1\n[worker]\ncommand = {command:?}\n");
    let mut daemon = Daemon::start(&config);
    let work = json!({"action": "hang", "then": {"action": "echo", "value": 1}});
    let task = daemon.submit(&json!({ "payload": work }));
    let (launcher, worker) = processes(&daemon, "executing");
    daemon.signal(Signal::SIGSTOP);
    wait_until("nothing of the daemon runs", || daemon.is_stopped().then_some(()));
    send(launcher, Signal::SIGKILL);
    wait_until("the launcher has ended", || (!proc::is_alive(launcher)).then_some(()));
    daemon.start_again();
    let assigned = daemon.log_line("the next attempt", |line| {
        line["msg"] == "task_assigned" && line["task_id"] == *task
    });
    assert!(!proc::is_alive(worker), "it may still act on it");
    assert_eq!(assigned["attempt"], 2);
    let said = daemon.log_lines();
    let gone = said.iter().find(|line| line["msg"] == "left_over_processes");
    let gone = gone.expect("it says what it found, before");
    assert!(gone["killed"].as_u64() >= Some(1) && gone["all_gone"] == true, "{gone}");
    assert!(gone["ts"].as_str() < assigned["ts"].as_str(), "{gone} {assigned}");
    let ended = daemon.get(&format!("/tasks/{task}?wait_s=20")).ok();
    assert_eq!(ended["status"], "completed", "{ended}");
    let first = &ended["attempts"][0];
    assert_eq!(first["outcome"], "interrupted", "{ended}");
    assert_eq!(first["failure"]["cause"], "daemon_crashed", "{ended}");
    assert_eq!(first["overlap_possible"], false, "{ended}");
}

#[test]
fn the_built_in_worker_is_not_for_hands() {
    let output = Command::new(env!("CARGO_BIN_EXE_daedalus")).arg("worker").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("started by the daemon"));
}

#[test]
fn a_worker_without_its_daemon_ends_with_0_when_idle_and_71_when_not() {
    let task = json!({"type": "task", "task_id": uuid::Uuid::nil(), "attempt": 1,
        "payload": {"action": "hang"}});
    for (frames, code) in [(vec![], 0), (vec![task], 71)] {
        let mut worker = Command::new(env!("CARGO_BIN_EXE_daedalus"))
            .arg("worker")
            .env("DAEDALUS_WORKER", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = worker.stdin.take().unwrap();
        for frame in frames {
            writeln!(stdin, "{frame}").unwrap();
        }
        drop(stdin);
        assert_eq!(worker.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn a_worker_that_does_not_understand_its_daemon_says_so() {
    let init =
        |proto| json!({"type": "init", "proto": proto, "heartbeat_s": 1, "max_frame_bytes": 9});
    for (frame, code, part) in [
        (init(9).to_string(), 64, "version 9"),
        (json!({"type": "dance"}).to_string(), 70, "unknown type dance"),
        ("garbage".to_owned(), 70, "fatal"),
    ] {
        let worker = Command::new(env!("CARGO_BIN_EXE_daedalus"))
            .arg("worker")
            .env("DAEDALUS_WORKER", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(worker.stdin.as_ref().unwrap(), "{frame}").unwrap();
        let output = worker.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(part) && said.contains("\"type\":\"fatal\""), "{said}");
    }
}
