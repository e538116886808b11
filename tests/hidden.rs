//! Trees in a `/proc` that hides what made itself unreadable, as the shipped unit has it
//! (`ProtectProc=invisible`): a process that gives up being dumped is not there for its launcher.
//!
//! Each test runs itself again in such a place, where this user may make one.

#![expect(clippy::unwrap_used, reason = "this is test code, also outside of any test function")]
#![expect(clippy::duplicate_mod, reason = "both kinds of daemons have user ids for their agents")]

#[path = "support/daemon.rs"]
mod daemon;
#[expect(dead_code, reason = "shared with the tests of the spawner")]
mod support;

use std::process::{Command, Stdio};

use daedalus::domain::Exit;
use daedalus::worker::leftovers::{self, LeftBehind};
use daedalus::worker::{environment, proc};
use daemon::{Daemon, wait_until};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::{Agent, PATIENCE, Pool, run, until};
use uuid::Uuid;

/// Set for the run inside.
const INSIDE: &str = "DAEDALUS_TEST_INSIDE";

/// Gives up what would show everything: capabilities, and the group 0. There is a process that has
/// them still.
const AS_ROOT: &str = "mount -t proc -o hidepid=$0 proc /proc || exit 99
sleep 600 >/dev/null 2>&1 &
setpriv --regid 65534 --clear-groups --bounding-set=-all --no-new-privs \"$@\"";

/// The same where the group is another one outside.
const AS_USER: &str = "mount -t proc -o hidepid=$0 proc /proc || exit 99
sleep 600 >/dev/null 2>&1 &
setpriv --bounding-set=-all --no-new-privs \"$@\"";

/// A process that leaves its group and hides, with a child that does so too; both are told.
const HIDE: &str = "
import ctypes, os, sys, time
def hide():
    os.setsid()
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
ours, theirs = os.pipe()
if os.fork() == 0:
    hide()
    if os.fork() == 0:
        hide()
        os.write(theirs, b'.')
        time.sleep(600)
    os.write(theirs, b'%d' % os.getpid())
    time.sleep(600)
told = b''
while b'.' not in told or len(told) < 2:
    told += os.read(ours, 99)
print('hidden', told.replace(b'.', b'').decode(), file=sys.stderr, flush=True)
time.sleep(600)
";

#[test]
fn what_hides_ends_with_its_tree() {
    where_proc_is("invisible", "what_hides_ends_with_its_tree", || {
        run(async {
            end_by_the_launcher().await;
            end_by_the_daemon().await;
        });
        end_by_the_next_start();
    });
}

#[test]
fn what_hides_makes_the_memory_of_its_tree_no_exact_one() {
    where_proc_is("invisible", "what_hides_makes_the_memory_of_its_tree_no_exact_one", || {
        run(async {
            let pool = Pool::new();
            let mut agent = pool.process(&["python3", "-c", HIDE]).await;
            let hidden = hidden(&agent).await;
            let memory = proc::tree_own_bytes(agent.launcher);
            assert!(memory.bytes > 0 && !memory.is_exact, "{memory:?}");
            assert!(proc::is_alive(hidden));
            pool.spawner.kill(agent.spec.agent, agent.spec.incarnation);
            agent.news.gone().await;
            assert!(!proc::is_alive(hidden));
        });
    });
}

#[test]
fn a_run_is_not_over_before_what_hides() {
    where_proc_is("invisible", "a_run_is_not_over_before_what_hides", || {
        let daemon = daemon(&[]);
        assert_eq!(steps(&stopped(&daemon, "sleep")), ANSWERED);
        assert_eq!(steps(&stopped_with_hidden_child(&daemon)), KILLED);
        // Nobody can tell what is below it now.
        assert_eq!(steps(&stopped(&daemon, "hides")), KILLED);
    });
}

#[test]
fn a_worker_that_always_hid_is_there() {
    where_proc_is("invisible", "a_worker_that_always_hid_is_there", || {
        let daemon = daemon(&["hidden"]);
        assert_eq!(proc::parent(worker_of(&daemon)), None, "it hides");
        assert_eq!(steps(&stopped(&daemon, "sleep")), ANSWERED);
        assert_eq!(steps(&stopped(&daemon, "sleep")), ANSWERED);
    });
}

#[test]
fn strangers_that_cannot_be_read_belong_to_no_run() {
    where_proc_is("noaccess", "strangers_that_cannot_be_read_belong_to_no_run", || {
        assert!(std::fs::read("/proc/1/stat").is_err() || std::fs::read("/proc/2/stat").is_err());
        let daemon = daemon(&[]);
        assert_eq!(steps(&stopped(&daemon, "sleep")), ANSWERED);
        assert_eq!(steps(&stopped_with_hidden_child(&daemon)), KILLED);
    });
}

/// Does this in a process of its own, where `/proc` is mounted with this `hidepid`.
#[expect(clippy::print_stdout, reason = "the run outside reads it, and a skipped test says why")]
fn where_proc_is(hidepid: &str, name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        println!("inside");
        test();
        return;
    }
    let (namespaces, wrap) = if nix::unistd::geteuid().is_root() {
        (&["--mount", "--pid", "--fork"][..], AS_ROOT)
    } else {
        (&["--user", "--map-root-user", "--mount", "--pid", "--fork"][..], AS_USER)
    };
    let output = Command::new("unshare")
        .args(namespaces)
        .args(["sh", "-c", wrap, hidepid])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output();
    let Ok(output) = output else {
        println!("skipped: there is no unshare");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    if !said.contains("inside") {
        println!("skipped: no /proc that hides can be mounted here: {complained}");
        return;
    }
    assert!(output.status.success(), "{said}\n{complained}");
}

/// The steps of a stop: it was asked, signalled, killed, and is over.
type Steps = [bool; 4];

const ANSWERED: Steps = [true, false, false, true];
const KILLED: Steps = [true, false, true, true];

/// A daemon with one agent, whose grace nobody needs.
fn daemon(arguments: &[&str]) -> Daemon {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stopping/worker.py");
    let command = [&["python3", "-u", program], arguments].concat();
    Daemon::start(&format!(
        "[pool]\nsize = 1\n[worker]\ncommand = {command:?}\ncancel_grace_s = 60\n\
         heartbeat_s = 60\n[worker.sandbox]\nenabled = false\n"
    ))
}

fn worker_of(daemon: &Daemon) -> u32 {
    let pid = wait_until("the agent has a process", || {
        daemon.get("/agents").ok()[0]["agent"]["pid"].as_u64()
    });
    u32::try_from(pid).unwrap()
}

fn begun(daemon: &Daemon, work: &str) -> String {
    let task = daemon.submit(&json!({"payload": {"work": work}, "timeout_s": 600}));
    wait_until("the work has begun", || {
        daemon.task(&task)["attempts"][0]["started_at"].is_f64().then_some(())
    });
    task
}

/// Cancels the task, which answers at once; its stop, when it is over.
fn cancelled(daemon: &Daemon, task: &str) -> Value {
    daemon.order(&format!("/tasks/{task}/cancel")).ok();
    wait_until("the stop is over", || {
        let stop = daemon.task(task)["attempts"][0]["stop"].clone();
        stop["over_at"].is_f64().then_some(stop)
    })
}

fn stopped(daemon: &Daemon, work: &str) -> Value {
    cancelled(daemon, &begun(daemon, work))
}

fn stopped_with_hidden_child(daemon: &Daemon) -> Value {
    let task = begun(daemon, "hidden_child");
    let hidden = *proc::children(worker_of(daemon)).first().unwrap();
    assert!(proc::parent(hidden).is_none() && !is_gone(hidden), "it hides");
    let stop = cancelled(daemon, &task);
    assert!(is_gone(hidden), "{stop}");
    stop
}

fn steps(stop: &Value) -> Steps {
    ["asked_at", "signalled_at", "killed_at", "over_at"].map(|at| stop[at].is_f64())
}

async fn end_by_the_launcher() {
    let pool = Pool::new();
    let mut agent = pool.process(&["python3", "-c", HIDE]).await;
    let hidden = hidden(&agent).await;
    pool.spawner.kill(agent.spec.agent, agent.spec.incarnation);
    assert_eq!(agent.news.gone().await.0, Exit::Signal(9));
    assert!(is_gone(hidden));
}

async fn end_by_the_daemon() {
    let pool = Pool::new();
    let mut agent = pool.process(&["python3", "-c", HIDE]).await;
    let hidden = hidden(&agent).await;
    support::send(agent.launcher, Signal::SIGKILL);
    assert_eq!(agent.news.gone().await.0, Exit::Unknown);
    assert!(is_gone(hidden));
}

/// What is below one that can be read.
fn end_by_the_next_start() {
    let store_id = Uuid::new_v4().to_string();
    let mut parent = Command::new("python3")
        .args(["-c", HIDE])
        .env(environment::STORE_ID, &store_id)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stderr = std::io::BufReader::new(parent.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut stderr, &mut line).unwrap();
    let hidden = pid_in(&line).unwrap();
    assert_eq!(proc::parent(hidden), None, "it hides");
    let left = LeftBehind { launchers: Vec::new(), store_id, cgroup: String::new() };
    let outcome = leftovers::end(&left, PATIENCE);
    assert!(outcome.all_gone && outcome.killed >= 2, "{outcome:?}");
    parent.wait().unwrap();
    run(async move {
        until("it is gone", || {
            // It came to this process, or to another one that reaps it.
            let _elsewhere = waitpid(raw(hidden), Some(WaitPidFlag::WNOHANG));
            is_gone(hidden)
        })
        .await;
    });
}

/// Waits for the process that hides.
async fn hidden(agent: &Agent) -> u32 {
    let pid = || agent.log.lock().unwrap().lines().find_map(pid_in);
    until("it hides", || pid().is_some()).await;
    let pid = pid().unwrap();
    assert!(!is_gone(pid));
    assert_eq!(proc::parent(pid), None, "it hides");
    pid
}

fn pid_in(line: &str) -> Option<u32> {
    line.strip_prefix("hidden ")?.trim().parse().ok()
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed())
}

/// Asked of the kernel, because `/proc` says nothing.
fn is_gone(pid: u32) -> bool {
    kill(raw(pid), None) == Err(Errno::ESRCH)
}
