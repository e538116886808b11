//! Trees in a `/proc` that hides what made itself unreadable, as the shipped unit has it
//! (`ProtectProc=invisible`): a process that gives up being dumped is not there for its launcher.
//!
//! The test runs itself again in such a place, where this user may make one.

#![expect(clippy::unwrap_used, reason = "this is test code, also outside of any test function")]

#[expect(dead_code, reason = "shared with the tests of the spawner")]
mod support;

use std::process::{Command, Stdio};

use daedalus::domain::Exit;
use daedalus::worker::leftovers::{self, LeftBehind};
use daedalus::worker::{environment, proc};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use support::{Agent, PATIENCE, Pool, run, until};
use uuid::Uuid;

/// Set for the run inside.
const INSIDE: &str = "DAEDALUS_TEST_INSIDE";

/// Gives up what would show everything: capabilities, and the group 0.
const AS_ROOT: &str = "mount -t proc -o hidepid=invisible proc /proc || exit 99
setpriv --regid 65534 --clear-groups --bounding-set=-all --no-new-privs \"$@\"";

/// The same where the group is another one outside.
const AS_USER: &str = "mount -t proc -o hidepid=invisible proc /proc || exit 99
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
    if std::env::var_os(INSIDE).is_some() {
        println!("inside");
        run(async {
            end_by_the_launcher().await;
            end_by_the_daemon().await;
        });
        end_by_the_next_start();
        return;
    }
    let (namespaces, wrap) = if nix::unistd::geteuid().is_root() {
        (&["--mount", "--pid", "--fork"][..], AS_ROOT)
    } else {
        (&["--user", "--map-root-user", "--mount", "--pid", "--fork"][..], AS_USER)
    };
    let output = Command::new("unshare")
        .args(namespaces)
        .args(["sh", "-c", wrap, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "what_hides_ends_with_its_tree", "--nocapture"])
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
