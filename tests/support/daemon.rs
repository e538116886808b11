//! The real daemon for tests: each [`Daemon`] is a process with a port and directories of its own,
//! so that tests run beside each other. It is killed when it is dropped.
//!
//! Tests wait for conditions ([`wait_until`]), never for luck.

#![allow(dead_code, reason = "each file of tests uses a part of it")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "this is test code, shared by several files, outside of any test function"
)]

#[path = "place.rs"]
mod place;
#[path = "uids.rs"]
mod uids;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
pub(crate) use place::fresh_directory;
use serde_json::{Value, json};
use ureq::http::{HeaderMap, Request};

/// How long anything may take before a test gives up. Far above what it takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A configuration without agents at first, and with external ones when there are some.
pub const EXTERNAL: &str = "[pool]\nautostart = false\n[worker]\nkind = \"external\"\n";

/// The same, with room for one call that waits and one that does not: see [`Daemon::waiting`].
pub const ONE_AT_A_TIME: &str =
    "[pool]\nautostart = false\n[worker]\nkind = \"external\"\n[http]\nmax_in_flight = 1\n";

/// Polls until `condition` gives something.
pub fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The lines that a daemon wrote, as far as they have come.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<Value>>,
    more: Condvar,
}

impl Log {
    fn push(&self, line: &str) {
        let line = serde_json::from_str(line).unwrap_or_else(|_| json!({ "no_json": line }));
        self.lines.lock().unwrap().push(line);
        self.more.notify_all();
    }

    fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        let mut lines = self.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| wanted(line)) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no log line in time: {what}; there are {lines:#?}");
            lines = self.more.wait_timeout(lines, left).unwrap().0;
        }
    }
}

/// A running daemon.
pub struct Daemon {
    child: Child,
    place: PathBuf,
    /// The first of the user ids of its agents.
    first_uid: u32,
    pub addr: String,
    client: ureq::Agent,
    log: Arc<Log>,
}

impl Daemon {
    /// Starts a daemon with this configuration file and waits until it listens.
    pub fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    /// The same with these variables in the daemon's environment.
    pub fn start_with(config: &str, env: &[(&str, &str)]) -> Self {
        let place = fresh_directory("daemon");
        fs::write(place.join("daedalus.toml"), config).unwrap();
        let first_uid = uids::first_uid();
        let (child, log) = launch(&place, first_uid, env);
        let client = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(2 * PATIENCE))
            .build()
            .new_agent();
        // It ends with the test from here on, also when it does not listen in time.
        let mut daemon = Self { child, place, first_uid, addr: String::new(), client, log };
        daemon.addr = daemon.listening();
        daemon
    }

    /// Ends it as a lost plug would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The same, if it lives, and lets another begin with what it left.
    pub fn start_again(&mut self) {
        self.kill();
        (self.child, self.log) = launch(&self.place, self.first_uid, &[]);
        self.addr = self.listening();
    }

    /// Waits until it listens; where.
    fn listening(&self) -> String {
        let listening = self.log.wait_for("listening", |line| {
            assert!(line.get("no_json").is_none(), "the daemon did not start: {line}");
            line["msg"] == "listening"
        });
        text(&listening["addr"])
    }

    /// A daemon with a pool of so many external agents; the ids are sorted.
    pub fn with_external(agents: usize) -> (Self, Vec<String>) {
        Self::with_agents(EXTERNAL, agents)
    }

    /// A daemon with this configuration and a pool of so many agents; the ids are sorted.
    pub fn with_agents(config: &str, agents: usize) -> (Self, Vec<String>) {
        let daemon = Self::start(config);
        let pool = daemon.post("/pool/initialize", &json!({ "size": agents })).ok();
        let mut ids: Vec<_> = pool["agent_ids"].as_array().unwrap().iter().map(text).collect();
        ids.sort();
        (daemon, ids)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], None)
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, &[], None)
    }

    /// POST without a body.
    pub fn order(&self, path: &str) -> Answer {
        self.call("POST", path, &[], None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, &body.to_string())
    }

    pub fn post_text(&self, path: &str, body: &str) -> Answer {
        let json = [("content-type", "application/json")];
        self.call("POST", path, &json, Some(body.as_bytes()))
    }

    pub fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Answer {
        let uri = format!("http://{}{path}", self.addr);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = match body {
            Some(body) => self.client.run(request.body(body).unwrap()),
            None => self.client.run(request.body(()).unwrap()),
        };
        let mut answer = sent.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let text = answer.body_mut().read_to_string().unwrap();
        Answer {
            call: format!("{method} {path}"),
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        }
    }

    /// A connection of its own on which just this was sent, for calls that no client would make.
    pub fn raw(&self, sent: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        stream
    }

    /// Makes a call that waits, on a thread of its own, and returns when the daemon has it: while
    /// it is open, a daemon with `max_in_flight = 1` refuses a second one. The thread gives the
    /// answer and when it came.
    pub fn waiting<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        path: &str,
    ) -> ScopedJoinHandle<'scope, (Answer, Instant)> {
        let path = path.to_owned();
        let waits = scope.spawn(move || {
            wait_until("the call is taken", || {
                let answer = self.get(&path);
                (!answer.is_overloaded()).then(|| (answer, Instant::now()))
            })
        });
        wait_until("the call waits", || {
            assert!(!waits.is_finished(), "the call did not wait");
            self.a_call_waits().then_some(())
        });
        waits
    }

    /// Whether a call waits, of a daemon with `max_in_flight = 1`.
    pub fn a_call_waits(&self) -> bool {
        self.get("/tasks/none?wait_s=1").is_overloaded()
    }

    /// Submits a task and answers its id.
    pub fn submit(&self, body: &Value) -> String {
        text(&self.post("/tasks", body).ok()["task_id"])
    }

    /// The task as it is now.
    pub fn task(&self, id: &str) -> Value {
        self.get(&format!("/tasks/{id}")).ok()
    }

    /// The agent as it is now.
    pub fn agent(&self, id: &str) -> Value {
        self.get(&format!("/agents/{id}")).ok()["agent"].clone()
    }

    /// Waits until the agent has this status.
    pub fn agent_becomes(&self, id: &str, status: &str) -> Value {
        wait_until(&format!("{id} becomes {status}"), || {
            Some(self.agent(id)).filter(|agent| agent["status"] == status)
        })
    }

    pub fn metrics(&self) -> Value {
        self.get("/metrics").ok()
    }

    /// Everything that a refused call must leave as it is.
    pub fn state(&self) -> Value {
        let mut metrics = self.metrics();
        for grows_by_itself in ["tasks_rejected", "oldest_wait", "store", "isolation"] {
            metrics.as_object_mut().unwrap().remove(grows_by_itself);
        }
        let agents = self.get("/agents").ok();
        let agents: Vec<_> =
            agents.as_array().unwrap().iter().map(|agent| agent["agent"].clone()).collect();
        json!({ "metrics": metrics, "agents": agents, "tasks": self.get("/tasks").ok() })
    }

    /// Waits for a line of the log.
    pub fn log_line(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.log.wait_for(what, wanted)
    }

    /// The lines of the log with all that was written before this call, which may be made once:
    /// lines come in their order, and the last one is about the call itself.
    pub fn log_so_far(&self) -> Vec<Value> {
        self.get("/end-of-the-log").refused(404, "not_found");
        self.log_line("the end of the log", |line| line["path"] == "/end-of-the-log");
        self.log_lines()
    }

    /// The lines of the log as far as they have come.
    pub fn log_lines(&self) -> Vec<Value> {
        self.log.lines.lock().unwrap().clone()
    }

    /// Where the daemon keeps its state.
    pub fn state_dir(&self) -> PathBuf {
        self.place.join("state")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Whether every thread has been stopped by a signal.
    pub fn is_stopped(&self) -> bool {
        let mut threads = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        threads.all(|thread| {
            // One that has just ended is no thread that runs.
            let stat = fs::read_to_string(thread.unwrap().path().join("stat"));
            stat.map_or(true, |stat| stat.rsplit_once(") ").unwrap().1.starts_with('T'))
        })
    }

    /// Waits for the end of the daemon.
    pub fn ended(&mut self) -> ExitStatus {
        wait_until("the daemon ends", || self.child.try_wait().unwrap())
    }
}

/// Starts a daemon in this place: the process and its log.
fn launch(place: &Path, first_uid: u32, env: &[(&str, &str)]) -> (Child, Arc<Log>) {
    let config = place.join("daedalus.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_daedalus"));
    command.args(["serve", "--bind", "127.0.0.1:0"]);
    command.arg("--state-dir").arg(place.join("state"));
    command.arg("--config").arg(&config);
    if !fs::read_to_string(config).unwrap().contains("first_uid") {
        command.env("DAEDALUS_WORKER__SANDBOX__FIRST_UID", first_uid.to_string());
    }
    command.envs(env.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();

    let log = Arc::new(Log::default());
    let (its_log, stderr) = (Arc::clone(&log), child.stderr.take().unwrap());
    thread::spawn(move || {
        BufReader::new(stderr).lines().map_while(Result::ok).for_each(|line| its_log.push(&line));
    });
    (child, log)
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Gently first: the daemon ends its own processes, so that nothing is left of a test.
        let _it_may_have_ended =
            kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(2));
        }
        let _it_may_have_ended = self.child.kill();
        let _it_may_have_ended = self.child.wait();
        let _it_is_a_temporary_directory = fs::remove_dir_all(&self.place);
    }
}

/// What a daemon answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub call: String,
    pub status: u16,
    pub headers: HeaderMap,
    /// Null when it is no JSON.
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// The body of an answer that went well.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}: {}", self.call, self.text);
        assert_eq!(self.header("content-type"), "application/json", "{}", self.call);
        self.body
    }

    /// The body of a refusal, which must be as the contract says.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Value {
        let said = (self.status, self.body["code"].as_str().unwrap_or_default());
        assert_eq!(said, (status, code), "{}: {}", self.call, self.text);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.call);
        assert_eq!(self.body["status"], status, "{}", self.text);
        assert_eq!(self.body["trace_id"], self.header("x-trace-id"), "{}", self.text);
        for name in ["type", "title", "detail"] {
            let is_said = self.body[name].as_str().is_some_and(|said| !said.is_empty());
            assert!(is_said, "{}: no {name} in {}", self.call, self.text);
        }
        if status == 429 || status == 503 {
            let wait = self.header("retry-after").parse::<u32>();
            assert!(wait.is_ok_and(|wait| wait >= 1), "{}: no Retry-After", self.call);
        }
        self.body
    }

    /// Whether it was refused because of `max_in_flight`.
    pub fn is_overloaded(&self) -> bool {
        self.body["code"] == "overloaded"
    }

    /// The answer on a raw connection, which must end with it.
    pub fn last_on(mut stream: TcpStream) -> (u16, Value) {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no answer: {text:?}"));
        (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {text:?}")))
    }

    /// A header; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A JSON string as it is.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no string: {value}")).to_owned()
}
