//! What is left of an earlier life of the daemon, and its end, with real processes. This process has
//! no spawner and may start children.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "this is test code, also outside of any test function"
)]

#[path = "support/group.rs"]
mod group;
#[expect(dead_code, reason = "shared with the tests of the spawner")]
mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use daedalus::worker::leftovers::{LeftBehind, Outcome, end};
use daedalus::worker::{environment, proc};
use group::Group;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{PATIENCE, send, survivors};
use uuid::Uuid;

/// A mark that no other test has. What still carries it at the end of a test is killed.
struct Mark(String);

impl Mark {
    fn new() -> Self {
        Self(Uuid::new_v4().to_string())
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env(environment::STORE_ID, &self.0);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    fn shell(&self, script: &str) -> Child {
        self.command("sh", &["-c", script]).spawn().unwrap()
    }

    fn python(&self, script: &str) -> Child {
        self.command("python3", &["-c", script]).spawn().unwrap()
    }

    fn end(&self, launchers: &[(u32, u64)]) -> Outcome {
        let left = LeftBehind {
            launchers: launchers.into(),
            store_id: self.0.clone(),
            cgroup: String::new(),
        };
        let begun = Instant::now();
        let outcome = end(&left, PATIENCE);
        println!("{outcome:?} after {:?}", begun.elapsed());
        outcome
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        for pid in survivors(&self.0) {
            let _gone = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// The numbers of the processes that `child` tells, one per line. A launcher says something first.
fn told(child: &mut Child, count: usize) -> Vec<u32> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let lines = lines.map(|line| line.unwrap()).filter(|line| !line.starts_with('{'));
    lines.take(count).map(|line| line.trim().parse().unwrap()).collect()
}

fn named(pid: u32) -> (u32, u64) {
    (pid, proc::start_ticks(pid).unwrap())
}

fn has_ended(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_some()
}

const ALL_GONE_OF_NONE: Outcome = Outcome { killed: 0, all_gone: true };

/// The machine may have any number of processes, and be busy; but nothing waits for the end of the
/// time that was given.
#[test]
fn nothing_left_is_seen_before_the_time_is_over() {
    let mark = Mark::new();
    let begun = Instant::now();
    assert_eq!(mark.end(&[]), ALL_GONE_OF_NONE);
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}

#[test]
fn a_detached_process_that_ignores_signals_is_found_by_its_mark() {
    let mark = Mark::new();
    let stubborn = "trap '' TERM HUP INT; echo $$; while :; do sleep 300; done";
    let mut parent = mark.command("sh", &["-c", "setsid sh -c \"$0\" & exit 0", stubborn]);
    let mut parent = parent.spawn().unwrap();
    let left = told(&mut parent, 1)[0];
    parent.wait().unwrap();
    until("it has a child", || proc::children(left).len() == 1);
    assert_ne!(proc::parent(left), Some(std::process::id()));
    let outcome = mark.end(&[]);
    assert!(outcome.all_gone && outcome.killed >= 2, "{outcome:?}");
    assert!(!proc::is_alive(left) && survivors(&mark.0).is_empty());
}

#[test]
fn what_hides_its_mark_is_found_under_a_launcher() {
    let mark = Mark::new();
    let hidden =
        "trap '' TERM HUP; (setsid sleep 300 & echo $!); echo $$; while :; do sleep 300; done";
    let mut launcher = mark.command(
        env!("CARGO_BIN_EXE_daedalus"),
        &["launch", "--", "env", "-i", "sh", "-c", hidden],
    );
    let mut launcher = launcher.stdin(Stdio::piped()).spawn().unwrap();
    let hidden = told(&mut launcher, 2);
    // A worker can do this to its launcher, and hold its pipe open.
    send(launcher.id(), Signal::SIGSTOP);
    let outcome = mark.end(&[named(launcher.id())]);
    assert!(outcome.all_gone && outcome.killed >= 1, "{outcome:?}");
    until("the launcher has ended", || has_ended(&mut launcher));
    assert!(hidden.iter().all(|pid| !proc::is_alive(*pid)), "{hidden:?}");
}

#[test]
fn what_hides_its_mark_is_found_under_whatever_carries_it() {
    let mark = Mark::new();
    let script = "env -i sh -c 'sleep 300 & echo $!; wait' & echo $!; \
                  trap '' TERM; while :; do sleep 300; done";
    let mut worker = mark.shell(script);
    let hidden = told(&mut worker, 2);
    // As a launcher that does not obey, and as an unknown process.
    let launchers = [named(worker.id())];
    assert!(mark.end(&launchers).all_gone);
    until("it has ended", || has_ended(&mut worker));
    assert!(hidden.iter().all(|pid| !proc::is_alive(*pid)), "{hidden:?}");

    let mut worker = mark.shell(script);
    let hidden = told(&mut worker, 2);
    assert!(mark.end(&[]).all_gone);
    until("it has ended", || has_ended(&mut worker));
    assert!(hidden.iter().all(|pid| !proc::is_alive(*pid)), "{hidden:?}");
}

#[test]
fn strangers_survive_even_with_the_number_of_a_launcher() {
    let (mark, other) = (Mark::new(), Mark::new());
    let mut unmarked = Command::new("sleep").arg("300").spawn().unwrap();
    let mut marked_otherwise = other.command("sleep", &["300"]).spawn().unwrap();
    let (pid, ticks) = named(unmarked.id());
    let launchers = [
        (pid, ticks + 1),
        (marked_otherwise.id(), 1),
        // The numbers fit, as they may after the machine was started again, but the mark does not.
        (pid, ticks),
        (std::process::id(), proc::start_ticks(std::process::id()).unwrap()),
        (1, proc::start_ticks(1).unwrap()),
        (0, 0),
        (u32::MAX, 0),
    ];
    assert_eq!(mark.end(&launchers), ALL_GONE_OF_NONE);
    assert!(!has_ended(&mut unmarked) && !has_ended(&mut marked_otherwise));
    for child in [&mut unmarked, &mut marked_otherwise] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_zombie_is_gone() {
    let mark = Mark::new();
    let mut zombie = mark.command("true", &[]).spawn().unwrap();
    until("it has ended", || !proc::is_alive(zombie.id()));
    let launchers = [named(zombie.id())];
    assert_eq!(mark.end(&launchers), ALL_GONE_OF_NONE);
    zombie.wait().unwrap();
}

/// It looks like a zombie, and its environment is not to be seen.
#[test]
fn a_process_whose_first_thread_ended_is_not_gone() {
    let mark = Mark::new();
    let mut half = mark.python(
        "import ctypes, threading, time\n\
         threading.Thread(target=time.sleep, args=(300,)).start()\n\
         print(1, flush=True)\n\
         ctypes.CDLL(None).pthread_exit(None)\n",
    );
    told(&mut half, 1);
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", half.id())).unwrap();
    until("its first thread has ended", || stat().contains(") Z "));
    assert!(proc::is_alive(half.id()));
    assert_eq!(mark.end(&[]), Outcome { killed: 1, all_gone: true });
    until("it has ended", || has_ended(&mut half));
}

/// While there are ever more processes, one look at all of them may not come to its end in time.
fn forking_or_in_no_time() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn what_keeps_forking_is_ended() {
    let _alone = forking_or_in_no_time();
    let mark = Mark::new();
    // One that is never the same process for long, and one that has ever more children.
    let mut hopping = mark.python(
        "import os, signal, time\n\
         signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
         signal.signal(signal.SIGHUP, signal.SIG_IGN)\n\
         os.setsid()\n\
         print(1, flush=True)\n\
         last = time.monotonic() + 60\n\
         while time.monotonic() < last:\n    if os.fork(): os._exit(0)\n",
    );
    let mut spreading = mark.python(
        "import os, time\n\
         os.setsid()\n\
         print(1, flush=True)\n\
         last = time.monotonic() + 60\n\
         while time.monotonic() < last:\n    if os.fork() == 0: time.sleep(60); os._exit(0)\n",
    );
    told(&mut hopping, 1);
    told(&mut spreading, 1);
    let outcome = mark.end(&[]);
    assert!(outcome.all_gone && outcome.killed > 1, "{outcome:?}");
    hopping.wait().unwrap();
    spreading.wait().unwrap();
    assert!(survivors(&mark.0).is_empty());
}

#[test]
fn what_does_not_end_in_time_is_said() {
    let _alone = forking_or_in_no_time();
    let mark = Mark::new();
    let mut sleeping = mark.command("sleep", &["300"]).spawn().unwrap();
    let left =
        LeftBehind { launchers: Vec::new(), store_id: mark.0.clone(), cgroup: String::new() };
    // No time at all is one look, which kills but does not see the end.
    assert_eq!(end(&left, Duration::ZERO), Outcome { killed: 1, all_gone: false });
    sleeping.wait().unwrap();
    assert_eq!(end(&left, Duration::ZERO), ALL_GONE_OF_NONE);
}

/// It may have lost its mark and its launcher; the group has it all the same.
#[test]
fn what_is_in_a_control_group_of_the_store_ends() {
    let Some(group) = Group::make() else { return };
    let mark = Mark::new();
    let (own, other) =
        (group.0.join(format!("daedalus.{}.a-1", mark.0)), group.0.join("daedalus.another.a-1"));
    let enter = "mkdir -p $0/below; echo $$ >$0/below/cgroup.procs; echo $$; exec sleep 300";
    let start = |folder: &std::path::Path| {
        let mut child = Command::new("sh")
            .args(["-c", enter, folder.to_str().unwrap()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        told(&mut child, 1);
        child
    };
    let (mut ours, mut theirs) = (start(&own), start(&other));
    let cgroup = group.0.display().to_string();
    let left = LeftBehind { launchers: Vec::new(), store_id: mark.0.clone(), cgroup };
    assert_eq!(end(&left, PATIENCE), Outcome { killed: 1, all_gone: true });
    // It was seen to be empty when it was removed.
    assert_eq!(group.members(), std::slice::from_ref(&other));
    assert!(!ours.wait().unwrap().success());
    assert!(!has_ended(&mut theirs));
    theirs.kill().unwrap();
    theirs.wait().unwrap();
    for folder in [other.join("below"), other] {
        until("its group is empty", || std::fs::remove_dir(&folder).is_ok());
    }
}

/// In the environment of a helper: look for what is left, and live.
const SURVIVE: &str = "DAEDALUS_TEST_SURVIVE";

#[test]
fn a_daemon_that_was_started_by_a_worker_kills_neither_itself_nor_the_worker() {
    if let Ok(store_id) = std::env::var(SURVIVE) {
        let left = LeftBehind {
            launchers: vec![named(std::process::id())],
            store_id,
            cgroup: String::new(),
        };
        println!("told: {:?}", end(&left, PATIENCE));
        return;
    }
    let mark = Mark::new();
    let mut sibling = mark.command("sleep", &["300"]).spawn().unwrap();
    let name = "a_daemon_that_was_started_by_a_worker_kills_neither_itself_nor_the_worker";
    let helper = std::env::current_exe().unwrap();
    let mut worker = mark
        .command("sh", &["-c", "\"$@\"; echo worker: lives"])
        .args(["sh", helper.to_str().unwrap(), "--exact", name, "--nocapture"])
        .env(SURVIVE, &mark.0)
        .spawn()
        .unwrap();
    let mut said = String::new();
    worker.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    worker.wait().unwrap();
    assert!(said.contains("told: Outcome { killed: 1, all_gone: true }"), "{said}");
    assert!(said.contains("worker: lives"), "{said}");
    assert!(has_ended(&mut sibling));
}
