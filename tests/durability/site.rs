//! A state directory and the daemons that live on it, one after the other.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::os::{PATIENCE, now, pause, try_to_send, until};
use crate::place::fresh_directory;

/// Where the daemon is, for those who call it.
#[derive(Debug, Default)]
pub(crate) struct Line {
    state: Mutex<Address>,
    changed: Condvar,
    /// The living daemon, or 0.
    pid: AtomicU32,
}

#[derive(Debug, Default)]
enum Address {
    #[default]
    Down,
    Up(String),
    /// Nobody shall call any more.
    Closed,
}

impl Line {
    fn set(&self, address: Address) {
        let mut state = self.state.lock().expect("nobody panics with it");
        if !matches!(*state, Address::Closed) {
            *state = address;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for a daemon that listens; `None`: there will be none.
    pub(crate) fn address(&self) -> Option<String> {
        let state = self.state.lock().expect("nobody panics with it");
        let is_down = |state: &mut Address| matches!(state, Address::Down);
        let waited = self.changed.wait_timeout_while(state, PATIENCE, is_down);
        let (state, _) = waited.expect("nobody panics with it");
        let address = match &*state {
            Address::Up(address) => Some(address.clone()),
            Address::Closed => None,
            Address::Down => {
                drop(state);
                panic!("waited in vain: a daemon listens");
            }
        };
        drop(state);
        address
    }

    pub(crate) fn close(&self) {
        self.set(Address::Closed);
    }

    /// The living daemon, whether it listens or not.
    pub(crate) fn pid(&self) -> Option<u32> {
        Some(self.pid.load(Ordering::Acquire)).filter(|pid| *pid != 0)
    }
}

/// A place for a daemon and what it leaves to the next one.
#[derive(Debug)]
pub(crate) struct Site {
    /// A folder of this test alone.
    pub(crate) place: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) line: std::sync::Arc<Line>,
    child: Option<Child>,
    lives: u32,
    /// What the lives that are over had said about tasks.
    pub(crate) logged: Vec<Value>,
}

impl Site {
    /// A place with this configuration, where no daemon was yet.
    pub(crate) fn new(config: &str) -> Self {
        let place = fresh_directory("durability");
        fs::create_dir(place.join("runs")).expect("a folder for the test");
        let runs = place.join("runs").display().to_string();
        let config = config.replace("RUNS_HERE", &runs);
        fs::write(place.join("daedalus.toml"), config).expect("the configuration can be written");
        let state = place.join("state");
        Self {
            place,
            state,
            line: std::sync::Arc::default(),
            child: None,
            lives: 0,
            logged: Vec::new(),
        }
    }

    fn log_file(&self, life: u32) -> PathBuf {
        self.place.join(format!("log.{life}"))
    }

    /// What the newest life has written to stderr.
    pub(crate) fn log(&self) -> String {
        let log = fs::read(self.log_file(self.lives)).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Begins a life, without waiting for anything.
    pub(crate) fn launch(&mut self) {
        assert!(self.child.is_none(), "one at a time");
        self.lives += 1;
        if self.lives > 3 {
            let _kept_for_those_who_look = fs::remove_file(self.log_file(self.lives - 3));
        }
        let log = File::create(self.log_file(self.lives)).expect("a file for the log");
        let child = self.command(log.into()).spawn().expect("the daemon starts");
        self.line.pid.store(child.id(), Ordering::Release);
        self.child = Some(child);
    }

    /// How a daemon is started here.
    pub(crate) fn command(&self, stderr: Stdio) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_daedalus"));
        command.args(["serve", "--bind", "127.0.0.1:0"]);
        command.arg("--config").arg(self.place.join("daedalus.toml"));
        command.arg("--state-dir").arg(&self.state);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        command
    }

    /// Where the present life listens, once it does; its callers are told. Fails when it has ended
    /// before.
    pub(crate) fn listening(&mut self) -> Option<String> {
        // Asked first: what it said before its end is in the log by then.
        let ended = self.child().try_wait().expect("it is our child");
        let address = self.said_address();
        assert!(
            address.is_some() || ended.is_none(),
            "the daemon did not start, {ended:?}: {}",
            self.tail()
        );
        address
    }

    /// Where the present life said that it listens; its callers are told.
    fn said_address(&self) -> Option<String> {
        let log = self.log();
        let line = log.lines().find(|line| line.contains("\"listening\""))?;
        // The line may not be whole yet.
        let line: Value = serde_json::from_str(line).ok()?;
        let address = line["addr"].as_str()?.to_owned();
        self.line.set(Address::Up(address.clone()));
        Some(address)
    }

    /// Begins a life and waits until it listens; where.
    pub(crate) fn start(&mut self) -> String {
        self.launch();
        until("the daemon listens", || self.listening())
    }

    /// Begins a life and lets it be for a while, counted from its begin or from when it listens.
    pub(crate) fn live(&mut self, time: Duration, from_listening: bool) {
        self.launch();
        let mut begun = now();
        if from_listening {
            until("the daemon listens", || self.listening());
            begun = now();
        }
        let mut listens = from_listening;
        while begun.elapsed() < time {
            if !listens {
                listens = self.listening().is_some();
            }
            self.must_run();
            pause();
        }
    }

    /// Whether the daemon has ended.
    pub(crate) fn is_over(&mut self) -> bool {
        self.child().try_wait().expect("it is our child").is_some()
    }

    /// Whether it lives and listens. It may end at any moment.
    pub(crate) fn listens(&mut self) -> bool {
        !self.is_over() && self.said_address().is_some()
    }

    /// Fails when the daemon has ended by itself.
    pub(crate) fn must_run(&mut self) {
        let ended = self.child().try_wait().expect("it is our child");
        assert!(ended.is_none(), "the daemon ended, {ended:?}: {}", self.tail());
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("a daemon lives")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("a daemon lives").id()
    }

    /// Ends the life as a lost plug would.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("a daemon lives");
        self.line.pid.store(0, Ordering::Release);
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
        self.is_down();
    }

    /// Tells the callers, and keeps what the life had said about tasks.
    fn is_down(&mut self) {
        self.line.set(Address::Down);
        // The last line may be cut.
        let log = self.log();
        let about_tasks = log.lines().filter(|line| line.contains("\"msg\":\"task_"));
        self.logged.extend(about_tasks.filter_map(|line| serde_json::from_str(line).ok()));
    }

    /// Asks the daemon to end and waits for it.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        try_to_send(self.pid(), Signal::SIGTERM);
        self.ended()
    }

    /// Waits for the end of the daemon.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.line.pid.store(0, Ordering::Release);
        let status = until("the daemon ends", || self.child().try_wait().expect("our child"));
        self.child = None;
        self.is_down();
        status
    }

    /// A start that must fail: how it ended, and what it said.
    pub(crate) fn start_in_vain(&mut self) -> (ExitStatus, String) {
        self.launch();
        let status = self.ended();
        (status, self.log())
    }

    /// The end of the log.
    pub(crate) fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().filter(|line| !line.contains("\"request\"")).collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Site {
    #[expect(clippy::print_stdout, reason = "it is shown for a test that failed")]
    fn drop(&mut self) {
        self.line.close();
        if let Some(mut child) = self.child.take() {
            try_to_send(child.id(), Signal::SIGCONT);
            let _ended = child.kill();
            let _status = child.wait();
        }
        if std::thread::panicking() {
            println!("the log ends with\n{}\neverything is in {:?}", self.tail(), self.place);
        } else {
            let _left = fs::remove_dir_all(&self.place);
        }
    }
}
