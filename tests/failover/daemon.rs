//! A daemon of its own for each test.

#[path = "../support/uids.rs"]
mod uids;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use toml::Table;

use super::log::Log;
use super::os::{self, PATIENCE, until};
use crate::place::fresh_directory;

/// What every test wants; a test says what it wants besides. The signs of life are far apart, so
/// that a busy machine is no silent agent. The workers write a record that they have in common, and
/// some kill their launchers: a sandbox, of which `tests/sandbox.rs` is about, would not let them.
const COMMON: &str = r#"
    [pool]
    size = 2
    restarts_max = 20
    [worker]
    cancel_grace_s = 0.5
    [worker.sandbox]
    enabled = false
    [log]
    level = "debug"
"#;

/// The file with its configuration.
const CONFIG: &str = "daedalus.toml";

/// A running daemon, which is killed at the end of the test.
pub(crate) struct Daemon {
    process: Mutex<Child>,
    pub(crate) pid: u32,
    pub(crate) log: Log,
    /// A directory of this test alone.
    pub(crate) place: PathBuf,
    address: String,
    http: ureq::Agent,
}

impl Daemon {
    /// Starts a daemon with this configuration and waits until its pool has settled.
    pub(crate) fn start(config: &str) -> Self {
        let daemon = Self::start_unready(config);
        until("the first agents have settled", || {
            let agents = daemon.agents();
            (!agents.is_empty() && agents.iter().all(|agent| agent.reason != "starting"))
                .then_some(())
        });
        daemon
    }

    /// Starts a daemon and waits until it listens.
    pub(crate) fn start_unready(config: &str) -> Self {
        let place = fresh_directory("failover");
        std::fs::create_dir(place.join("record")).expect("a directory for the test");
        std::fs::write(place.join(CONFIG), merged(config, &place))
            .expect("the configuration can be written");
        let (process, log) = launch(&place);
        let http = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE * 2))
            .build()
            .new_agent();
        let pid = process.id();
        let address = String::new();
        // It ends with the test from here on, also when it does not listen in time.
        let mut daemon = Self { process: Mutex::new(process), pid, log, place, address, http };
        daemon.address = daemon.listening();
        daemon
    }

    /// Begins another daemon with what this one, which has ended, left, and waits until it listens.
    #[allow(dead_code, reason = "not every file of tests does it")]
    pub(crate) fn start_again(&mut self) {
        let (process, log) = launch(&self.place);
        self.pid = process.id();
        (self.process, self.log) = (Mutex::new(process), log);
        self.address = self.listening();
    }

    /// Waits until it listens; where.
    fn listening(&self) -> String {
        until("the daemon listens", || {
            assert!(!self.log.is_over(), "the daemon did not start: {}", self.log.tail());
            let listening = self.log.of("listening");
            Some(listening.first()?["addr"].as_str()?.to_owned())
        })
    }

    /// One call: its status and its body (null when it has none).
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.try_call(method, path, body).unwrap_or_else(|error| {
            panic!("{method} {path}: {error}; the log ends with\n{}", self.log.tail())
        })
    }

    /// One call to a daemon that may be gone.
    pub(crate) fn try_call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), ureq::Error> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        let mut answer = match body {
            Some(body) => self
                .http
                .run(request.header("Content-Type", "application/json").body(body.to_string())?)?,
            None => self.http.run(request.body(())?)?,
        };
        let text = answer.body_mut().read_to_string()?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok((answer.status().as_u16(), body))
    }

    /// A call that must be answered with 200.
    pub(crate) fn ok(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.call(method, path, body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    /// The lines of the log with this message, none missing of what happened before this call.
    pub(crate) fn logged(&self, msg: &str) -> Vec<Value> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let trace = format!("log-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let url = format!("http://{}/agents", self.address);
        let answer = self.http.get(url).header("X-Trace-Id", &trace).call();
        answer.expect("the daemon answers");
        until("the log comes to this moment", || {
            self.log.position(|line| line["msg"] == "request" && line["trace_id"] == *trace)
        });
        self.log.of(msg)
    }

    /// Waits for the end of the daemon.
    pub(crate) fn exit(&self) -> ExitStatus {
        let status = until("the daemon ends", || {
            self.process.lock().expect("no panic").try_wait().expect("it is our child")
        });
        until("the log ends", || self.log.is_over().then_some(()));
        status
    }

    /// Whether the daemon has not ended yet.
    pub(crate) fn runs(&self) -> bool {
        self.process.lock().expect("no panic").try_wait().expect("it is our child").is_none()
    }

    /// Lets the daemon stand still for a while.
    pub(crate) fn stand_still(&self, time: Duration) {
        os::send(self.pid, Signal::SIGSTOP);
        os::let_pass(time);
        os::send(self.pid, Signal::SIGCONT);
    }
}

impl Drop for Daemon {
    #[expect(clippy::print_stdout, reason = "it is shown for a test that failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let ended = self.process.get_mut().ok().and_then(|it| it.try_wait().ok().flatten());
            println!("the end of the daemon: {ended:?}; its log ends with\n{}", self.log.tail());
        }
        if let Ok(process) = self.process.get_mut() {
            os::try_to_send(self.pid, Signal::SIGCONT);
            let _ended = process.kill();
            let _status = process.wait();
        }
        let _left = std::fs::remove_dir_all(&self.place);
    }
}

/// Starts a daemon in this place: the process and its log.
fn launch(place: &Path) -> (Child, Log) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_daedalus"))
        .args(["serve", "--bind", "127.0.0.1:0", "--config"])
        .arg(place.join(CONFIG))
        .arg("--state-dir")
        .arg(place.join("state"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the daemon starts");
    let log = Log::follow(process.stderr.take().expect("it has a stderr"));
    (process, log)
}

/// The common configuration with that of the test laid over it.
fn merged(config: &str, place: &Path) -> String {
    let mut whole: Table = COMMON.parse().expect("the common configuration is TOML");
    let own: Table = config.parse().expect("the configuration of the test is TOML");
    for (section, keys) in own {
        match (whole.get_mut(&section), keys) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => old.extend(new),
            (_, keys) => {
                whole.insert(section, keys);
            }
        }
    }
    let worker = whole["worker"].as_table_mut().expect("a table");
    let mut env = Table::new();
    let record = place.join("record").to_str().expect("plain text").to_owned();
    env.insert("DAEDALUS_RECORD".to_owned(), record.into());
    worker.insert("env".to_owned(), env.into());
    if let Some(sandbox) = worker["sandbox"].as_table_mut() {
        sandbox.entry("first_uid").or_insert(i64::from(uids::first_uid()).into());
    }
    whole.to_string()
}
