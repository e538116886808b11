//! The systems that run no-op tasks: Daedalus, and Dramatiq and Celery behind a Redis that syncs
//! every write before it answers. Each with four worker processes of Python, in a folder of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::load::{Folder, Server, until};
use crate::machine::scratch;

pub(crate) const WORKERS: usize = 4;
/// How many processes feed a system, with how many threads each.
const FEEDERS: usize = 2;
const FEEDER_THREADS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Daedalus,
    Dramatiq,
    Celery,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Daedalus => "daedalus",
            Self::Dramatiq => "dramatiq",
            Self::Celery => "celery",
        }
    }

    /// The hash that has what is not acknowledged by a worker yet, and the list of what none has.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Daedalus => &[],
            Self::Dramatiq => &["HLEN dramatiq:default.msgs"],
            Self::Celery => &["LLEN celery", "HLEN unacked"],
        }
    }
}

/// Which Python runs everything, and whether it has the others.
pub(crate) struct Python {
    path: PathBuf,
    pub(crate) has_others: bool,
}

impl Python {
    /// The virtual environment that `make bench` made, else any Python.
    pub(crate) fn find() -> Option<Self> {
        let made = scratch().parent()?.join("bench-python/bin/python");
        let version = Command::new("redis-server").arg("--version").output();
        let has_redis = version.is_ok_and(|answer| answer.status.success());
        if made.exists() {
            return Some(Self { path: made, has_others: has_redis });
        }
        // A shim is of no use to a worker, whose environment is built.
        let ask = ["-c", "import sys; print(sys.executable)"];
        let answer = Command::new("python3").args(ask).output().ok()?;
        let path = String::from_utf8(answer.stdout).ok()?;
        Some(Self { path: path.trim().into(), has_others: false })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(scripts()).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/python")
}

/// A system that runs.
pub(crate) struct System<'a> {
    kind: Kind,
    python: &'a Python,
    workers: Option<Process>,
    broker: Broker,
}

enum Broker {
    Daemon(Server),
    Redis { connection: TcpStream, url: String, _server: Process, _folder: Folder },
}

impl<'a> System<'a> {
    /// Starts it, without workers.
    pub(crate) fn start(kind: Kind, python: &'a Python) -> Self {
        let broker = match kind {
            Kind::Daedalus => daemon(python),
            Kind::Dramatiq | Kind::Celery => redis(kind),
        };
        Self { kind, python, workers: None, broker }
    }

    /// Starts the workers and waits for none of them.
    pub(crate) fn start_workers(&mut self) {
        let mut command = self.python.command();
        match &self.broker {
            Broker::Daemon(server) => {
                let url = server.url("/pool/initialize");
                let size = serde_json::json!({"size": WORKERS});
                // The answer comes when all are ready, and then some have done much already.
                std::thread::spawn(move || ureq::post(url).send_json(&size).unwrap());
                return;
            }
            Broker::Redis { url, .. } => command.env("REDIS_URL", url),
        };
        let workers = WORKERS.to_string();
        match self.kind {
            Kind::Dramatiq => command.args(["-m", "dramatiq", "noop_dramatiq"]).args([
                "--processes",
                &workers,
                "--threads",
                "1",
            ]),
            Kind::Daedalus | Kind::Celery => {
                command.args(["-m", "celery", "--app", "noop_celery", "worker"]).args([
                    "--concurrency",
                    &workers,
                    "--pool",
                    "prefork",
                    "--loglevel",
                    "WARNING",
                    "--without-gossip",
                    "--without-mingle",
                ])
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.workers = Some(Process(command.spawn().unwrap()));
    }

    /// What feeds it so many tasks; it begins when told.
    pub(crate) fn feeders(&self, tasks: usize) -> Vec<Feeder> {
        let share = |number| tasks / FEEDERS + usize::from(number < tasks % FEEDERS);
        (0..FEEDERS).map(|number| self.feeder(share(number))).collect()
    }

    fn feeder(&self, tasks: usize) -> Feeder {
        let mut command = self.python.command();
        command.args(["feed.py", self.kind.name()]);
        command.args([tasks, FEEDER_THREADS].map(|number| number.to_string()));
        match &self.broker {
            Broker::Daemon(server) => command.env("DAEDALUS_ADDR", &server.addr),
            Broker::Redis { url, .. } => command.env("REDIS_URL", url),
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "a feeder of {} does not start", self.kind.name());
        Feeder(Process(child))
    }

    /// How many of the tasks that were accepted so far have not ended.
    pub(crate) fn left(&mut self) -> u64 {
        match &mut self.broker {
            Broker::Daemon(server) => {
                let metrics = server.get("/metrics");
                let number = |name: &str| metrics[name].as_u64().unwrap();
                assert_eq!(number("tasks_failed"), 0, "{metrics}");
                number("tasks_total") - number("tasks_completed")
            }
            Broker::Redis { connection, .. } => {
                self.kind.keys().iter().map(|order| ask(connection, order)).sum()
            }
        }
    }

    /// Where HTTP is spoken.
    pub(crate) fn addr(&self) -> Option<&str> {
        match &self.broker {
            Broker::Daemon(server) => Some(&server.addr),
            Broker::Redis { .. } => None,
        }
    }
}

fn daemon(python: &Python) -> Broker {
    let worker = scripts().join("noop_worker.py");
    let config = format!(
        "[pool]\nautostart = false\n[queue]\nmax_depth = 1000000\n\
         [worker]\ncommand = [{:?}, {worker:?}]\n[log]\nlevel = \"warning\"\n",
        python.path
    );
    Broker::Daemon(Server::daemon("noop", &config, 0))
}

fn redis(kind: Kind) -> Broker {
    let folder = Folder::new(kind.name());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &free.port().to_string(), "--save", ""]);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--dir"]).arg(folder.path());
    let server = Process(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
    let connection = until(|| TcpStream::connect(free).ok());
    let url = format!("redis://{free}/0");
    Broker::Redis { connection, url, _server: server, _folder: folder }
}

/// Asks Redis for a number.
fn ask(connection: &mut TcpStream, order: &str) -> u64 {
    connection.write_all(format!("{order}\r\n").as_bytes()).unwrap();
    let (mut text, mut byte) = (String::new(), [0]);
    while byte != *b"\n" {
        connection.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
    let number = text.trim().strip_prefix(':');
    number.unwrap_or_else(|| panic!("{order}: {text}")).parse().unwrap()
}

/// A process that submits tasks.
pub(crate) struct Feeder(Process);

impl Feeder {
    pub(crate) fn begin(&mut self) {
        writeln!(self.0.0.stdin.as_mut().unwrap()).unwrap();
    }

    /// Waits until everything that it had was accepted.
    pub(crate) fn end(mut self) {
        let status = self.0.0.wait().unwrap();
        assert!(status.success(), "a feeder failed: {status}");
    }
}

/// A process that ends when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let begun = Instant::now();
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        }
        while matches!(self.0.try_wait(), Ok(None)) {
            if begun.elapsed() > Duration::from_secs(10) {
                let _ = self.0.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
