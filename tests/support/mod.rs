//! A pool of real processes for tests: each [`Pool`] has a spawner, a mark in the environment of
//! its processes, and a directory of its own, so that tests run beside each other.
//!
//! A test with a pool must start no other children: a spawner takes them for something that a lost
//! launcher left.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "this is test code, shared by several files, outside of any test function"
)]

mod uids;

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use daedalus::domain::{
    AgentId, Attempt, Confinement, Exit, Incarnation, Json, Report, TaskId, TaskType, TraceId,
};
use daedalus::worker::frames::{FrameReader, FrameWriter, drain_stderr};
use daedalus::worker::protocol::{FrameError, FromWorker, PROTO, TaskFrame, ToWorker};
use daedalus::worker::sandbox::{Limits, Sandbox};
use daedalus::worker::spawner::{
    LaunchError, LaunchSpec, Launched, Spawner, SpawnerHandle, SpawnerOptions, TreeNews,
};
use daedalus::worker::{environment, proc};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

/// How long anything may take before a test gives up. Far above what it takes.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const MAX_FRAME: usize = 64 * 1024;

pub fn run<F: Future<Output = ()>>(test: F) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// Polls until `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        sleep(Duration::from_millis(1)).await;
    }
}

pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

pub fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).expect("the process is there");
}

/// Every living process that carries the mark of this store, whoever its parent is.
pub fn survivors(store_id: &str) -> Vec<u32> {
    let mark = format!("{}={store_id}", environment::STORE_ID);
    let marked = |pid: &u32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
    };
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(marked).filter(|pid| proc::is_alive(*pid)).collect()
}

/// The sandbox of the defaults, with these ports and user ids of its own.
pub fn sandbox(connect: &[u16]) -> Sandbox {
    Sandbox {
        require: Vec::new(),
        read: Vec::new(),
        connect: connect.to_vec(),
        limits: Limits {
            files: 1024,
            processes: 512,
            file_mb: 1024,
            address_space_mb: 0,
            cpu_s: 0,
        },
        first_uid: uids::first_uid(),
        cgroup: String::new(),
    }
}

pub struct Pool {
    pub spawner: SpawnerHandle,
    pub store_id: String,
    pub place: PathBuf,
}

impl Pool {
    pub fn new() -> Self {
        Self::with_launcher(env!("CARGO_BIN_EXE_daedalus").into())
    }

    pub fn with_launcher(launcher: PathBuf) -> Self {
        Self::make(launcher, None)
    }

    /// A pool whose workers are kept apart.
    pub fn confined(sandbox: Sandbox) -> Self {
        Self::make(env!("CARGO_BIN_EXE_daedalus").into(), Some(sandbox))
    }

    fn make(launcher: PathBuf, sandbox: Option<Sandbox>) -> Self {
        let store_id = format!("test-{}", Uuid::new_v4());
        let place = std::env::temp_dir().join(format!("daedalus-{store_id}"));
        let spawner = Spawner::start(SpawnerOptions {
            sandbox,
            launcher,
            store_id: store_id.clone(),
            log: slog::Logger::root(slog::Discard, slog::o!()),
            on_panic: Box::new(|| panic!("the spawner panicked")),
        })
        .unwrap();
        Self { spawner, store_id, place }
    }

    pub fn spec(&self, command: &[&str]) -> LaunchSpec {
        let agent = AgentId::from_uuid(Uuid::new_v4());
        LaunchSpec {
            agent,
            incarnation: Incarnation::FIRST,
            command: command.iter().map(|&part| part.to_owned()).collect(),
            env: Vec::new(),
            workdir: self.place.join(agent.to_string()),
        }
    }

    pub fn launch(&self, spec: LaunchSpec) -> Starting {
        let (said, news) = mpsc::unbounded_channel();
        let on_news = Box::new(move |item| {
            let _test_is_over = said.send((item, Instant::now()));
        });
        let answer = self.spawner.launch(spec.clone(), on_news);
        Starting { spec, answer, news: News(news) }
    }

    /// A process that does not speak the protocol.
    pub async fn process(&self, command: &[&str]) -> Agent {
        self.launch(self.spec(command)).started().await
    }

    /// The built-in worker, ready for tasks.
    pub async fn worker(&self) -> Agent {
        let mut agent = self.process(&[]).await;
        agent.shake_hands().await;
        agent
    }

    pub fn assert_nothing_survived(&self) {
        let left = survivors(&self.store_id);
        assert!(left.is_empty(), "nothing may outlive its tree: {left:?}");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let over = self.spawner.shutdown(PATIENCE);
        let _not_made = std::fs::remove_dir(&self.place);
        if !std::thread::panicking() {
            assert!(over, "a pool must come to its end");
            self.assert_nothing_survived();
            assert!(!self.place.exists(), "the working directories must be removed");
        }
    }
}

pub struct News(mpsc::UnboundedReceiver<(TreeNews, Instant)>);

impl News {
    /// The end, and when it was announced. It is the only thing that was.
    pub async fn gone(&mut self) -> (Exit, Instant) {
        let (news, at) = within("the end of a tree", self.0.recv()).await.expect("an end is said");
        let TreeNews::Gone(exit) = news else { panic!("{news:?}") };
        assert!(within("the end of the news", self.0.recv()).await.is_none(), "said once");
        (exit, at)
    }
}

pub struct Starting {
    pub spec: LaunchSpec,
    pub answer: oneshot::Receiver<Result<Launched, LaunchError>>,
    pub news: News,
}

impl Starting {
    pub async fn started(self) -> Agent {
        let answer = within("the answer to a launch", self.answer).await.unwrap();
        let Launched { guard, launcher_pid, stdin, stdout, stderr } = answer.unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let lines = Arc::clone(&log);
        tokio::spawn(drain_stderr(pipe::Receiver::from_owned_fd(stderr).unwrap(), move |line| {
            lines.lock().unwrap().push_str(&format!("{line}\n"));
        }));
        let mut reader =
            FrameReader::new(pipe::Receiver::from_owned_fd(stdout).unwrap(), MAX_FRAME);
        // Its launcher speaks first, unless it starts nothing.
        let confinement = match within("how it is confined", reader.next()).await {
            Ok(Some(FromWorker::Confined(confinement))) => Some(*confinement),
            Ok(None) => None,
            other => panic!("{other:?} instead of how it is confined"),
        };
        Agent {
            spec: self.spec,
            news: self.news,
            guard: Some(guard),
            launcher: launcher_pid,
            reader,
            writer: Some(FrameWriter::spawn(pipe::Sender::from_owned_fd(stdin).unwrap())),
            log,
            confinement,
        }
    }
}

pub struct Agent {
    pub spec: LaunchSpec,
    pub news: News,
    pub guard: Option<daedalus::worker::spawner::TreeGuard>,
    pub launcher: u32,
    pub reader: FrameReader,
    pub writer: Option<FrameWriter>,
    pub log: Arc<Mutex<String>>,
    confinement: Option<Confinement>,
}

impl Agent {
    /// What its launcher said of it.
    pub fn confinement(&self) -> &Confinement {
        self.confinement.as_ref().unwrap()
    }

    pub async fn shake_hands(&mut self) {
        let hello = self.frame().await;
        assert_eq!(hello, FromWorker::Hello { proto: [1, PROTO], canary: true });
        self.send(&ToWorker::Init {
            proto: PROTO,
            agent_id: self.spec.agent,
            incarnation: self.spec.incarnation,
            heartbeat_s: 0.05,
            max_frame_bytes: MAX_FRAME,
            agent: &json!({}),
        });
        assert_eq!(self.frame().await, FromWorker::Ready);
    }

    pub fn worker_pid(&self) -> u32 {
        proc::worker_of(self.launcher).expect("the worker is there")
    }

    pub fn send(&self, frame: &ToWorker<'_>) {
        assert!(self.writer.as_ref().unwrap().send(frame.encode()));
    }

    /// The next frame that is more than a sign of life.
    pub async fn next(&mut self) -> Result<Option<FromWorker>, FrameError> {
        loop {
            match within("a frame", self.reader.next()).await {
                Ok(Some(FromWorker::Heartbeat(_))) => {}
                other => return other,
            }
        }
    }

    pub async fn frame(&mut self) -> FromWorker {
        match self.next().await {
            Ok(Some(frame)) => frame,
            other => panic!("{other:?} instead of a frame; log: {}", self.log.lock().unwrap()),
        }
    }

    /// Gives a task and waits until it has begun.
    pub async fn begin(&mut self, payload: &Value) -> (TaskId, Attempt) {
        let (task_id, attempt) = (TaskId::from_uuid(Uuid::new_v4()), Attempt::new(1));
        let payload: Json = serde_json::from_str(&payload.to_string()).unwrap();
        self.send(&ToWorker::Task(TaskFrame {
            task_id,
            attempt,
            task_type: TaskType::General,
            payload: &payload,
            trace_id: &TraceId::from_uuid(Uuid::nil()),
            timeout_s: 60.0,
            previous_failure: None,
        }));
        assert_eq!(self.frame().await, FromWorker::Started { task_id, attempt });
        (task_id, attempt)
    }

    pub async fn report(&mut self, lease: (TaskId, Attempt)) -> Report {
        match self.frame().await {
            FromWorker::Ended { task_id, attempt, report } if (task_id, attempt) == lease => report,
            other => panic!("{other:?} instead of the end of the task"),
        }
    }

    pub async fn work(&mut self, payload: &Value) -> Report {
        let lease = self.begin(payload).await;
        self.report(lease).await
    }

    /// The result of a task, which must be one.
    pub async fn result(&mut self, payload: &Value) -> Value {
        match self.work(payload).await {
            Report::Completed { result: Some(result), .. } => {
                serde_json::from_str(result.as_str()).unwrap()
            }
            other => panic!("{other:?} instead of a result"),
        }
    }
}
