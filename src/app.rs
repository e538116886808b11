//! Wiring: what starts and what stops, in which order.

use std::fs::{File, TryLockError};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use slog::{Logger, error, info, o, warn};
use tokio::signal::unix::{Signal, SignalKind, signal};
use uuid::Uuid;

use crate::actors::fatal::Fatal;
use crate::actors::handle::PoolHandle;
use crate::actors::{self, ActorSettings, Patience, PoolSettings, WorkerSettings};
use crate::config::{Config, WorkerKind};
use crate::domain::{AgentKind, Gates, Limits, TaskType, TraceId};
use crate::http::{self, HttpSettings};
use crate::logging;
use crate::worker::spawner::{Spawner, SpawnerHandle, SpawnerOptions};

/// How long the process trees get to end when the daemon does: what the spawner itself takes to
/// call a tree stuck, and a little.
const TREES_END_WITHIN: Duration = Duration::from_secs(32);

/// How long workers that do nothing get to end by themselves.
const PROCESSES_END_WITHIN: Duration = Duration::from_secs(3);

/// Where in the state directory the agents work.
const AGENTS_DIR: &str = "agents";

/// Room for what stands around a payload or result in a frame.
const FRAME_EXTRA_BYTES: usize = 64 * 1024;

/// Why the daemon could not start, or ended other than by order.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Somebody else listens there, most likely.
    #[error(
        "cannot listen on {bind}; is another daedalus running? http.bind or --bind sets another address"
    )]
    Bind {
        /// Where.
        bind: SocketAddr,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Nothing can be written there.
    #[error("cannot use the state directory {}; --state-dir sets another one", .path.display())]
    StateDir {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Another daemon works there.
    #[error("another daedalus uses the state directory {}; --state-dir sets another one", .0.display())]
    StateDirInUse(PathBuf),
    /// Something that the daemon needs of the operating system is not to be had.
    #[error("cannot start {what}")]
    Start {
        /// What.
        what: &'static str,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// A part of the daemon panicked; the next start is a recovery.
    #[error("the {0} panicked; this is a bug of daedalus")]
    Crashed(&'static str),
}

/// Runs the daemon until it is told to stop. The log is flushed when this returns.
///
/// # Errors
/// See [`AppError`].
pub fn run(config: &Config) -> Result<(), AppError> {
    let _lock = lock_state_dir(&config.state_dir)?;
    let bind = config.http.bind;
    let listener = TcpListener::bind(bind).map_err(|cause| AppError::Bind { bind, cause })?;
    let launcher = std::env::current_exe()
        .map_err(|cause| AppError::Start { what: "without knowing its own executable", cause })?;
    let log = logging::start(&config.log);
    // What no request caused has a trace of its own; a line about a request names that instead.
    let trace = TraceId::from_uuid(Uuid::new_v4()).to_string();
    let logger = log.logger.new(o!("trace_id" => trace));
    actix_web::rt::System::new().block_on(async {
        let stop = Stop::on_signals()?;
        serve(config, &launcher, listener, stop, &logger).await
    })
}

/// The order to stop, and the order to stop at once.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn on_signals() -> Result<Self, AppError> {
        let on = |kind| signal(kind).map_err(|cause| AppError::Start { what: "signals", cause });
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        })
    }

    async fn ordered(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

async fn serve(
    config: &Config,
    launcher: &Path,
    listener: TcpListener,
    mut stop: Stop,
    log: &Logger,
) -> Result<(), AppError> {
    let fatal = Fatal::new();
    let spawner = start_spawner(launcher, &fatal, log)?;
    let pool = actors::start(actor_settings(config, log), &spawner, &fatal, log);
    let start = |what| move |cause| AppError::Start { what, cause };
    let addr = listener.local_addr().map_err(start("the listener"))?;
    let server = http::server(
        listener,
        config.http.workers,
        pool.clone(),
        http_settings(config),
        log.new(o!("component" => "http")),
    )
    .map_err(start("the HTTP server"))?;
    let listening = server.handle();
    actix_web::rt::spawn(server);
    info!(log, "listening"; "component" => "app", "addr" => %addr);
    if config.pool.autostart && config.pool.size > 0 {
        actix_web::rt::spawn(autostart(pool.clone(), log.clone()));
    }

    tokio::select! {
        signal = stop.ordered() => info!(log, "stopping"; "component" => "app", "signal" => signal),
        part = fatal.lost() => return crash(part, spawner, log).await,
    }
    tokio::select! {
        () = shut_down(&pool, config.pool.drain, &mut stop, &listening) => {}
        part = fatal.lost() => return crash(part, spawner, log).await,
    }
    let all_gone = end_trees(spawner).await;
    info!(log, "stopped"; "component" => "app", "all_processes_gone" => all_gone);
    Ok(())
}

/// Rule 18: nothing new; the work of process agents ends or its time does (a second signal ends
/// the wait); then the listener closes and what still runs is interrupted.
async fn shut_down(pool: &PoolHandle, drain: Duration, stop: &mut Stop, listening: &ServerHandle) {
    tokio::select! {
        () = pool.drain(drain) => {}
        _ = stop.ordered() => {}
    }
    // Connections that wait for nothing are closed; calls under way get the server's own time-out.
    listening.stop(true).await;
    pool.stop_processes(PROCESSES_END_WITHIN).await;
}

async fn crash(part: &'static str, spawner: SpawnerHandle, log: &Logger) -> Result<(), AppError> {
    error!(log, "crashed"; "component" => "app", "part" => part);
    end_trees(spawner).await;
    Err(AppError::Crashed(part))
}

/// Kills every process tree and waits for their ends.
async fn end_trees(spawner: SpawnerHandle) -> bool {
    let ended = tokio::task::spawn_blocking(move || spawner.shutdown(TREES_END_WITHIN));
    ended.await.unwrap_or(false)
}

async fn autostart(pool: PoolHandle, log: Logger) {
    if let Err(error) = pool.initialize(None).await {
        warn!(log, "autostart_failed"; "component" => "app", "error" => %error);
    }
}

fn start_spawner(launcher: &Path, fatal: &Fatal, log: &Logger) -> Result<SpawnerHandle, AppError> {
    let alarm = fatal.clone();
    Spawner::start(SpawnerOptions {
        launcher: launcher.to_path_buf(),
        store_id: Uuid::new_v4().to_string(),
        log: log.new(o!("component" => "spawner")),
        on_panic: Box::new(move || alarm.raise("spawner")),
    })
    .map_err(|cause| AppError::Start { what: "the spawner thread", cause })
}

/// Makes the state directory this daemon's own for as long as the file is open, and removes the
/// working directories that an earlier daemon left behind when it was killed.
fn lock_state_dir(path: &Path) -> Result<File, AppError> {
    let failed = |cause| AppError::StateDir { path: path.to_path_buf(), cause };
    let agents = path.join(AGENTS_DIR);
    std::fs::create_dir_all(&agents).map_err(failed)?;
    let lock = File::create(path.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(AppError::StateDirInUse(path.to_path_buf())),
        Err(TryLockError::Error(cause)) => return Err(failed(cause)),
    }
    std::fs::remove_dir_all(&agents).and_then(|()| std::fs::create_dir(&agents)).map_err(failed)?;
    Ok(lock)
}

fn agents_dir(config: &Config) -> PathBuf {
    config.state_dir.join(AGENTS_DIR)
}

fn actor_settings(config: &Config, log: &Logger) -> ActorSettings {
    let (pool, queue, worker) = (&config.pool, &config.queue, &config.worker);
    let timeout =
        |kind: TaskType| micros(config.types[kind.index()].timeout.unwrap_or(worker.task_timeout));
    let passed =
        worker.pass_env.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)));
    let own = worker.env.iter().map(|(name, value)| (name.clone(), value.clone()));
    ActorSettings {
        limits: Limits {
            max_depth: queue.max_depth,
            max_attempts: queue.max_attempts,
            backoff_first_us: micros(queue.backoff_first),
            backoff_max_us: micros(queue.backoff_max),
            affinity_window: queue.affinity_window,
            exclusion_relax_us: micros(queue.exclusion_relax),
            assignment_latency_target_us: micros(queue.assignment_latency_target),
            cancel_grace_us: micros(worker.cancel_grace),
            timeout_us: TaskType::ALL.map(timeout),
            ..Limits::default()
        },
        gates: Gates::default(),
        pool: PoolSettings {
            size: pool.size,
            max_size: pool.max_size,
            kind: default_kind(config),
            restarts_max: usize::try_from(pool.restarts_max).unwrap_or(usize::MAX),
            restart_window_us: micros(pool.restart_window),
        },
        patience: Patience {
            heartbeat_us: micros(worker.heartbeat),
            silence_us: micros(worker.heartbeat * worker.heartbeat_misses_max),
            stuck_us: micros(worker.stuck),
        },
        worker: WorkerSettings {
            command: worker.command.clone(),
            env: passed.chain(own).collect(),
            agents_dir: agents_dir(config),
            agent: worker.agent.clone(),
            max_frame_bytes: config.http.max_body_bytes + FRAME_EXTRA_BYTES,
            start_timeout: worker.start_timeout,
            heartbeat: worker.heartbeat,
            cancel_grace: worker.cancel_grace,
            log: log.new(o!("component" => "worker")),
        },
        call_timeout: config.http.call_timeout,
        drain: pool.drain,
    }
}

fn http_settings(config: &Config) -> HttpSettings {
    HttpSettings {
        base_path: config.http.base_path.clone(),
        max_body_bytes: config.http.max_body_bytes,
        max_in_flight: config.http.max_in_flight,
        call_timeout: config.http.call_timeout,
        max_pool_size: config.pool.max_size,
        default_kind: default_kind(config),
    }
}

fn default_kind(config: &Config) -> AgentKind {
    match config.worker.kind {
        WorkerKind::Process => AgentKind::Process,
        WorkerKind::External => AgentKind::External { lease_us: None },
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
