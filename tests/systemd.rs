//! What a service manager hears of the daemon, and that it gets no further than the daemon.

#![expect(clippy::unwrap_used, reason = "this is test code, also outside of any test function")]

#[path = "support/daemon.rs"]
mod support;

use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use daedalus::config::Config;
use daedalus::domain::{
    AgentId, Change, Now, Priority, Seq, Task, TaskId, TaskSpec, TaskState, TaskType, TraceId,
};
use daedalus::store::{SqliteStore, Store};
use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use support::{Daemon, wait_until};
use uuid::Uuid;

/// The socket of a service manager, with what came on it.
struct Manager {
    folder: PathBuf,
    socket: UnixDatagram,
    heard: String,
}

impl Manager {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("daedalus-manager-{}", Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        let socket = UnixDatagram::bind(folder.join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { folder, socket, heard: String::new() }
    }

    fn address(&self) -> String {
        self.folder.join("notify").to_str().unwrap().to_owned()
    }

    /// Starts a daemon under this manager.
    fn start(&self, config: &str, env: &[(&str, &str)]) -> Daemon {
        let address = self.address();
        let env = [&[("NOTIFY_SOCKET", &*address)], env].concat();
        Daemon::start_with(config, &env)
    }

    fn listen(&mut self) {
        let mut message = [0; 4096];
        loop {
            match self.socket.recv(&mut message) {
                Ok(length) => {
                    self.heard += std::str::from_utf8(&message[..length]).unwrap();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// How often this line has come.
    fn count(&mut self, line: &str) -> usize {
        self.listen();
        self.heard.lines().filter(|heard| *heard == line).count()
    }

    fn hears(&mut self, line: &str) {
        wait_until(line, || (self.count(line) > 0).then_some(()));
    }

    /// Waits until this line has come so many times more.
    fn hears_more(&mut self, line: &str, times: usize) {
        let wanted = self.count(line) + times;
        wait_until(line, || (self.count(line) >= wanted).then_some(()));
    }

    /// Whether a message would have to wait.
    fn is_full(&self) -> bool {
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect(self.folder.join("notify")).unwrap();
        let mut senders = [PollFd::new(&sender, PollFlags::OUT)];
        poll(&mut senders, Some(&Timespec::default())).unwrap() == 0
    }

    /// What stands behind this name in what was heard last.
    fn last(&mut self, name: &str) -> String {
        self.listen();
        let mut values = self.heard.lines().filter_map(|line| line.strip_prefix(name));
        values.next_back().unwrap_or_else(|| panic!("no {name} in {}", self.heard)).to_owned()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _it_is_a_temporary_directory = fs::remove_dir_all(&self.folder);
    }
}

/// A pool whose workers come up when the file is there.
fn waiting_for(file: &Path) -> String {
    let wait = "until [ -e \"$1\" ]; do sleep 0.02; done; exec \"$0\" worker";
    let command = ["sh", "-c", wait, env!("CARGO_BIN_EXE_daedalus"), file.to_str().unwrap()];
    format!("[pool]\nsize = 2\ndrain_s = 7\n[worker]\ncommand = {command:?}\n")
}

/// How often the main thread has waited for something. It is the one that says the signs of life.
fn waits_of_main_thread(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}

fn statuses(daemon: &Daemon) -> Vec<Value> {
    let agents = daemon.get("/agents").ok();
    agents.as_array().unwrap().iter().map(|agent| agent["agent"]["status"].clone()).collect()
}

#[test]
fn the_manager_hears_when_the_pool_can_work_and_when_the_daemon_stops() {
    let mut manager = Manager::new();
    let go = manager.folder.join("go");
    let mut daemon = manager.start(&waiting_for(&go), &[("WATCHDOG_USEC", "200000")]);
    wait_until("the pool is there", || (statuses(&daemon) == ["degraded"; 2]).then_some(()));
    // The agents' own time to start, and a minute.
    manager.hears("EXTEND_TIMEOUT_USEC=90000000");
    // The thread that says signs of life says READY, too, and each sign is said after a whole round
    // through the pool. So it would have said by now what it wants to say of a pool like this.
    manager.hears_more("WATCHDOG=1", 3);
    assert_eq!(manager.count("READY=1"), 0, "it serves, but nobody can work");

    fs::write(&go, "").unwrap();
    manager.hears("READY=1");
    assert_eq!(statuses(&daemon), ["idle"; 2]);
    assert_eq!(manager.last("STATUS="), format!("serving at {}", daemon.addr));

    assert_eq!(manager.count("STOPPING=1"), 0);
    daemon.signal(Signal::SIGTERM);
    manager.hears("STOPPING=1");
    assert_eq!(manager.last("EXTEND_TIMEOUT_USEC="), "102000000", "drain, grace and the rest");
    assert_eq!(daemon.ended().code(), Some(0));
    assert_eq!((manager.count("READY=1"), manager.count("STOPPING=1")), (1, 1));
}

#[test]
fn agents_that_cannot_start_do_not_hold_up_the_start() {
    let mut manager = Manager::new();
    let daemon = manager.start("[pool]\nsize = 2\n[worker]\ncommand = [\"false-or-none\"]\n", &[]);
    manager.hears("READY=1");
    assert_eq!(statuses(&daemon), ["degraded"; 2]);
}

#[test]
fn a_daemon_without_a_pool_is_ready_at_once() {
    let mut manager = Manager::new();
    let _daemon = manager.start(support::EXTERNAL, &[]);
    manager.hears("READY=1");
}

#[test]
fn a_stop_during_the_start_is_no_late_start() {
    let mut manager = Manager::new();
    let mut daemon = manager.start(&waiting_for(Path::new("/nowhere/at/all")), &[]);
    wait_until("the pool is there", || (statuses(&daemon) == ["degraded"; 2]).then_some(()));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ended().code(), Some(0));
    assert_eq!((manager.count("READY=1"), manager.count("STOPPING=1")), (0, 1));
    assert_eq!(manager.count("WATCHDOG=1"), 0, "nobody asked");
}

#[test]
fn the_watchdog_hears_that_the_daemon_lives_also_after_it_stood_still() {
    let mut manager = Manager::new();
    let daemon = manager.start(support::EXTERNAL, &[("WATCHDOG_USEC", "100000")]);
    manager.hears_more("WATCHDOG=1", 5);
    daemon.signal(Signal::SIGSTOP);
    wait_until("nothing of it runs", || daemon.is_stopped().then_some(()));
    // More than what may have been on its way.
    manager.listen();
    daemon.signal(Signal::SIGCONT);
    manager.hears_more("WATCHDOG=1", 5);
}

/// A task that the start must requeue, which it commits before it answers anybody.
fn requeued_at_the_start() -> Change {
    let spec = TaskSpec {
        kind: TaskType::General,
        payload: serde_json::from_str("{}").unwrap(),
        priority: Priority::default(),
        preferred: None,
        timeout_us: None,
        key: None,
        trace: TraceId::parse("trace").unwrap(),
    };
    let mut task = Task::new(TaskId::from_uuid(Uuid::now_v7()), Seq::new(1), spec, Now::default());
    task.state = TaskState::InProgress { agent: AgentId::from_uuid(Uuid::now_v7()) };
    Change::Task { task: Box::new(task), new: true }
}

/// The manager would wait ten minutes for the next sign, and the daemon asks itself every five.
#[test]
fn after_a_disk_that_hung_for_a_moment_the_manager_hears_of_it_soon() {
    let mut manager = Manager::new();
    let file = manager.folder.join("daedalus.db");
    SqliteStore::open(&file).unwrap().commit(vec![requeued_at_the_start()]).unwrap();
    let disk = rusqlite::Connection::open(&file).unwrap();
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    let config =
        format!("[http]\ncall_timeout_s = 0.05\n[store]\npath = {file:?}\n{}", support::EXTERNAL);
    let daemon = manager.start(&config, &[("WATCHDOG_USEC", "600000000")]);
    // It asks itself first.
    for _ in 0..2 {
        assert_eq!(daemon.get("/readyz").status, 504);
    }
    assert_eq!(manager.count("WATCHDOG=1"), 0);
    disk.execute_batch("ROLLBACK").unwrap();
    manager.hears("WATCHDOG=1");
}

#[test]
fn a_manager_that_is_gone_or_does_not_read_holds_up_nothing() {
    let gone = [("NOTIFY_SOCKET", "/nowhere/at/all"), ("WATCHDOG_USEC", "2000")];
    let mut daemon = Daemon::start_with(support::EXTERNAL, &gone);
    daemon.get("/healthz").ok();
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ended().code(), Some(0));

    let mut deaf = Manager::new();
    let mut daemon = deaf.start(support::EXTERNAL, &[("WATCHDOG_USEC", "2000")]);
    wait_until("the queue of the manager is full", || deaf.is_full().then_some(()));
    // The daemon's own queue has 64 places. A round from one sign of life to the next has a few
    // waits, and a main thread that waits for room has one and no more.
    let enough = waits_of_main_thread(&daemon) + 64 * 20;
    wait_until("the daemon's queue is full, too, and it goes on", || {
        (waits_of_main_thread(&daemon) > enough).then_some(())
    });
    daemon.get("/tasks").ok();
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ended().code(), Some(0));
    assert_eq!(deaf.count("STOPPING=1"), 0, "there was room for it");
}

#[test]
fn workers_do_not_hear_of_the_manager() {
    let manager = Manager::new();
    let env = [("WATCHDOG_USEC", "60000000"), ("LISTEN_FDS", "1"), ("INVOCATION_ID", "x")];
    let daemon = manager.start("[pool]\nsize = 1\n", &env);
    wait_until("it is ready", || (statuses(&daemon) == ["idle"]).then_some(()));
    let report = daemon.get("/isolation-report").ok();
    let names = report["details"][0]["measured"]["environment"].as_array().unwrap().clone();
    assert!(names.iter().any(|name| name == "DAEDALUS_STORE_ID"), "{names:?}");
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "INVOCATION_ID"] {
        assert!(!names.iter().any(|found| found == name), "{names:?}");
    }
}

/// The unit that is installed.
const UNIT: &str = include_str!("../config/daedalus.service");

/// What the unit says of this, exactly once.
fn unit(key: &str) -> &'static str {
    let said = |line: &'static str| line.strip_prefix(key)?.strip_prefix('=');
    let mut values = UNIT.lines().filter_map(said);
    let value = values.next().unwrap_or_else(|| panic!("the unit does not say {key}="));
    assert_eq!(values.next(), None, "the unit says {key}= twice");
    value
}

fn unit_time(key: &str) -> Duration {
    Duration::from_secs(unit(key).parse().unwrap_or_else(|_| panic!("{key}= is seconds here")))
}

#[test]
fn the_unit_lets_the_daemon_say_when_it_is_ready_and_end_its_agents_itself() {
    assert_eq!(unit("Type"), "notify");
    assert_eq!(unit("Restart"), "on-failure");
    assert_eq!(unit("KillMode"), "mixed", "SIGTERM is for the daemon alone");
    let config = Config::default();
    assert!(unit_time("TimeoutStopSec") > config.pool.drain);
    assert!(unit_time("TimeoutStartSec") > config.worker.start_timeout);
    assert!(unit_time("WatchdogSec") > config.http.call_timeout, "a sign of life is such a call");
    assert!(unit("ExecStart").ends_with("/daedalus serve"));
}

#[test]
fn systemd_understands_the_unit() {
    let manager = Manager::new();
    let file = manager.folder.join("daedalus.service");
    // The program of the unit must be there.
    fs::write(&file, UNIT.replace("/usr/bin/daedalus", env!("CARGO_BIN_EXE_daedalus"))).unwrap();
    let verify = Command::new("systemd-analyze").args(["--man=no", "verify"]).arg(&file).output();
    match verify {
        Ok(verify) => {
            let said = String::from_utf8_lossy(&verify.stderr);
            assert!(verify.status.success() && !said.contains("daedalus.service:"), "{said}");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("systemd-analyze is not here: whether systemd understands it is not known");
        }
        Err(error) => panic!("systemd-analyze: {error}"),
    }
}
