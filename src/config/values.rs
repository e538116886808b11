//! The configuration as plain values.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use slog::Level;

use crate::domain::{FollowUpRule, Guard, PerType, ScheduleSpec, TaskTypes};

/// The effective configuration: every value is checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How clients reach the daemon.
    pub http: HttpConfig,
    /// How many agents live.
    pub pool: PoolConfig,
    /// How tasks wait and are tried again.
    pub queue: QueueConfig,
    /// What an agent runs, and how it is watched.
    pub worker: WorkerConfig,
    /// What differs for one task type, by [`TaskType::index`](crate::domain::TaskType::index).
    pub types: PerType<TypeConfig>,
    /// Where tasks are kept.
    pub store: StoreConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Dependencies that some task types need.
    pub gates: Vec<GateConfig>,
    /// What becomes work when tasks complete.
    pub follow_ups: Vec<FollowUpRule>,
    /// Tasks that are submitted again and again.
    pub schedules: Vec<ScheduleSpec>,
    /// Where the daemon keeps its own files, absolute after [`load`](super::load): the agents' work
    /// directories, and the store unless its path leads elsewhere. No key of the file:
    /// `--state-dir`, else `DAEDALUS_STATE_DIR`, else the first path in the service manager's
    /// `STATE_DIRECTORY`.
    pub state_dir: PathBuf,
}

impl Config {
    /// The file of the store, absolute after [`load`](super::load); `None` when nothing is kept.
    #[must_use]
    pub fn store_path(&self) -> Option<PathBuf> {
        let is_file = self.store.path != StoreConfig::MEMORY;
        is_file.then(|| self.state_dir.join(&self.store.path))
    }
}

/// Section `[http]`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpConfig {
    /// The address and port to listen on; port 0 takes a free one.
    pub bind: SocketAddr,
    /// What stands before every path: empty, or `/...` without a slash at its end.
    pub base_path: String,
    /// The longest request body that is taken, in bytes.
    pub max_body_bytes: usize,
    /// Threads that serve requests; 0 means one per core.
    pub workers: usize,
    /// How many requests may be under way, long polls not counted.
    pub max_in_flight: usize,
    /// Names by which clients of `/mcp` may call the daemon, beside addresses and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// How long a call may take beyond what it may wait by itself.
    pub call_timeout: Duration,
}

/// A dependency: one `[[gate]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct GateConfig {
    /// Its name.
    pub name: String,
    /// The types that need it.
    pub task_types: TaskTypes,
    /// What is asked how it is; `None`: it is closed and opened by hand only.
    pub health_url: Option<String>,
    /// How often.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How many answers in a row must be bad to close the gate.
    pub failures_to_close: u32,
    /// How long it may take after a start until something is known.
    pub start_grace: Duration,
    /// How long a task waits for it before it fails; `None`: for ever.
    pub max_wait: Option<Duration>,
}

/// Section `[pool]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolConfig {
    /// Whether a start without a stored pool begins one of `size` agents.
    pub autostart: bool,
    /// How many agents a pool has when nobody says otherwise.
    pub size: usize,
    /// How many agents a pool can have.
    pub max_size: usize,
    /// How often one agent is restarted within `restart_window`.
    pub restarts_max: u32,
    /// The time in which restarts are counted.
    pub restart_window: Duration,
    /// How long running tasks may go on when the daemon is asked to stop.
    pub drain: Duration,
}

/// Section `[queue]`.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueConfig {
    /// How many tasks may be pending before a submit is refused.
    pub max_depth: usize,
    /// How many counted failures end a task.
    pub max_attempts: u32,
    /// The wait after the first failure of a task's own.
    pub backoff_first: Duration,
    /// The longest wait between two tries.
    pub backoff_max: Duration,
    /// How many successes per task type and agent the routing remembers.
    pub affinity_window: usize,
    /// How long a task waits for an agent on which it did not fail yet.
    pub exclusion_relax: Duration,
    /// The assignment latency over which a warning is due.
    pub assignment_latency_target: Duration,
}

/// Section `[worker]`.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerConfig {
    /// Whether the pool's agents are processes of ours.
    pub kind: WorkerKind,
    /// The program of a process agent and its arguments; empty means the built-in worker.
    pub command: Vec<String>,
    /// Variables that the worker gets; secrets may be among them.
    pub env: BTreeMap<String, String>,
    /// Names of variables that are handed on from the daemon's environment.
    pub pass_env: Vec<String>,
    /// A JSON object that the worker gets as it is when it starts.
    pub agent: Value,
    /// How long a new agent may take to be ready.
    pub start_timeout: Duration,
    /// The time between two signs of life.
    pub heartbeat: Duration,
    /// How many silent intervals make an agent suspect.
    pub heartbeat_misses_max: u32,
    /// How long a suspect agent that is busy may stay silent before it is killed.
    pub stuck: Duration,
    /// How long a run may be in one phase, by the phase's name or the part before its colon; zero
    /// means for ever.
    pub phase_limits: BTreeMap<String, Duration>,
    /// How much memory a process agent may take with all of its processes; 0 means any.
    pub memory_limit_mb: u64,
    /// How long a task may run when neither it nor its type says otherwise.
    pub task_timeout: Duration,
    /// How long a cancelled or overdue task has to end by itself.
    pub cancel_grace: Duration,
    /// How often to check whether the agents are kept apart; zero: not by itself.
    pub isolation_check: Duration,
    /// What keeps workers apart.
    pub sandbox: SandboxConfig,
}

/// Section `[worker.sandbox]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxConfig {
    /// Whether workers are confined at all.
    pub enabled: bool,
    /// What must be enforced: else the daemon does not start.
    pub require: Vec<Guard>,
    /// What workers may read beyond what is found for them, absolute.
    pub read: Vec<PathBuf>,
    /// The TCP ports to which workers may connect.
    pub connect: Vec<u16>,
    /// How many files a process of a worker may have open.
    pub max_files: u32,
    /// How many processes and threads a worker may have.
    pub max_processes: u32,
    /// The largest file that a worker may write, in MiB.
    pub max_file_mb: u64,
    /// The address space of a process of a worker, in MiB; 0: no limit.
    pub max_address_space_mb: u64,
    /// The CPU time of a process of a worker, in seconds; 0: no limit.
    pub max_cpu_s: u64,
    /// The first of the user ids that agents get; 0: none.
    pub first_uid: u32,
    /// Where agents get control groups: a folder, [`SandboxConfig::AUTO`], or empty for nowhere.
    pub cgroup: String,
}

impl SandboxConfig {
    /// The control group of the daemon, if it was delegated to it.
    pub const AUTO: &'static str = "auto";
}

/// Where the agents of the pool come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerKind {
    /// The daemon starts a process per agent.
    Process,
    /// Programs elsewhere fetch their work.
    External,
}

impl WorkerKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Process, Self::External];

    /// The name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::External => "external",
        }
    }
}

/// Section `[types.<task type>]`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TypeConfig {
    /// How long a task of this type may run; `None` means [`WorkerConfig::task_timeout`].
    pub timeout: Option<Duration>,
}

/// Section `[store]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// A file, relative to the state directory, or [`StoreConfig::MEMORY`]. See
    /// [`Config::store_path`].
    pub path: String,
    /// How long an ended task is kept.
    pub retention: Duration,
    /// How much of the store's file system stays free of new tasks.
    pub min_free_mb: u64,
}

impl StoreConfig {
    /// The path that means: in memory, gone when the daemon ends.
    pub const MEMORY: &'static str = ":memory:";

    /// [`Self::min_free_mb`] in bytes.
    #[must_use]
    pub const fn min_free_bytes(&self) -> u64 {
        self.min_free_mb << 20
    }
}

/// Section `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The least severe level that is written.
    pub level: Level,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line, for programs.
    Json,
    /// `ts level msg key=value ...`, for people.
    Text,
}

impl LogConfig {
    /// The levels that can be asked for, the least severe first.
    pub const LEVELS: [Level; 5] =
        [Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Critical];

    /// The name of a level in the file and in every line.
    #[must_use]
    pub const fn level_name(level: Level) -> &'static str {
        match level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
            Level::Critical => "critical",
        }
    }
}

impl LogFormat {
    /// Every format.
    pub const ALL: [Self; 2] = [Self::Json, Self::Text];

    /// The name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
        }
    }
}
