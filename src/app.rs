//! Wiring: what starts and what stops, in which order.

mod keep;
mod lock;
mod sandbox;
mod settings;

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use rustix::fs::Mode;
use rustix::process::umask;
use slog::{Logger, error, info, o, warn};
use tokio::signal::unix::{Signal, SignalKind, signal};
use uuid::Uuid;

use crate::actors::fatal::{Fatal, Loss};
use crate::actors::handle::{CallError, PoolHandle};
use crate::actors::{self, StartError, Started};
use crate::config::Config;
use crate::domain::{Refusal, TraceId};
use crate::http;
use crate::logging;
use crate::store::{Store, StoreError};
use crate::systemd;
use crate::worker::sandbox::Sandbox;
use crate::worker::spawner::{Spawner, SpawnerHandle, SpawnerOptions};
use crate::worker::workdir;
use settings::{actor_settings, http_settings};

/// How long the process trees get to end when the daemon does: what the spawner itself takes to
/// call a tree stuck, and a little.
const TREES_END_WITHIN: Duration = Duration::from_secs(32);

/// How long workers get to end by themselves, beyond the grace of those that run something; and to
/// be seen to end when they were killed.
const PROCESSES_END_WITHIN: Duration = Duration::from_secs(3);

/// What a start may take beyond the agents' own time to start: what an earlier daemon left ends, and
/// the store is read.
const START_EXTRA: Duration = Duration::from_secs(60);

/// How soon to ask again what nobody answered, or whether the first agents have come up.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What a stop may take beyond the drain and the grace of the runs: the times above, that of the HTTP
/// server, and the last commit.
const STOP_EXTRA: Duration = Duration::from_secs(90);

/// What agents can pass to their own directory, and not list.
const PASSABLE: u32 = 0o711;
/// What nobody else has to do with.
const CLOSED: u32 = 0o700;

/// Where in the state directory the agents work.
const AGENTS_DIR: &str = "agents";

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
    /// The configuration requires what this machine does not enforce.
    #[error(
        "worker.sandbox.require has {guard}, which cannot be enforced: {why}; help that, or take {guard} \
         out of worker.sandbox.require"
    )]
    Sandbox {
        /// What.
        guard: &'static str,
        /// Why not.
        why: String,
    },
    /// Another daemon works with this store.
    #[error("another daedalus uses the store {}; store.path sets another one", .0.display())]
    StoreInUse(PathBuf),
    /// The store cannot be locked.
    #[error("cannot lock the store {}", .path.display())]
    StoreLock {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A commit failed: nothing of it was acknowledged, and the next start finds the truth.
    #[error(
        "the store failed, so nothing can be acknowledged any more; what was acknowledged is kept, \
         and a start goes on with it: {0}"
    )]
    StoreFailed(String),
    /// A part of the daemon panicked; the next start is a recovery.
    #[error("the {0} panicked; this is a bug of daedalus")]
    Crashed(&'static str),
}

impl From<StartError> for AppError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Store(error) => Self::Store(error),
            StartError::Thread(cause) => {
                Self::Start { what: "the thread that writes the store", cause }
            }
        }
    }
}

/// Runs the daemon until it is told to stop. The log is flushed when this returns.
///
/// # Errors
/// See [`AppError`].
pub fn run(config: &Config) -> Result<(), AppError> {
    let _lock = lock_state_dir(&config.state_dir)?;
    let bind = config.http.bind;
    let listener = TcpListener::bind(bind).map_err(|cause| AppError::Bind { bind, cause })?;
    let (store, _store_lock) = keep::open(config)?;
    let launcher = std::env::current_exe()
        .map_err(|cause| AppError::Start { what: "without knowing its own executable", cause })?;
    let log = logging::start(&config.log);
    // What no request caused has a trace of its own; a line about a request names that instead.
    let trace = TraceId::from_uuid(Uuid::new_v4()).to_string();
    let logger = log.logger.new(o!("trace_id" => trace));
    actix_web::rt::System::new().block_on(async {
        let stop = Stop::on_signals()?;
        serve(config, &launcher, listener, store, stop, &logger).await
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
    store: Box<dyn Store>,
    mut stop: Stop,
    log: &Logger,
) -> Result<(), AppError> {
    systemd::starting(config.worker.start_timeout + START_EXTRA);
    let fatal = Fatal::new();
    let store_id = store.id().to_string();
    let start = |what| move |cause| AppError::Start { what, cause };
    let addr = listener.local_addr().map_err(start("the listener"))?;
    let settings = actor_settings(config, log);
    let sandbox = sandbox::prepare(config, &settings.worker, launcher, addr.port(), log)?;
    let keep = keep::recover(config, store, log).await?;
    clear_agents_dir(&config.state_dir, log)?;
    let spawner = start_spawner(launcher, sandbox, store_id, &fatal, log)?;
    let Started { pool, writer, target } =
        actors::start(settings, keep, http::desk(), &spawner, &fatal, log)?;
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
    let is_automatic = target == 0 && config.pool.autostart && config.pool.size > 0;
    let starting = start_pool(pool.clone(), is_automatic, addr, log.clone());
    let starting = actix_web::rt::spawn(starting);
    actix_web::rt::spawn(show_life(pool.clone()));

    tokio::select! {
        signal = stop.ordered() => info!(log, "stopping"; "component" => "app", "signal" => signal),
        loss = fatal.lost() => return crash(loss, spawner, log).await,
    }
    starting.abort();
    systemd::stopping(config.pool.drain + config.worker.cancel_grace + STOP_EXTRA);
    tokio::select! {
        () = shut_down(&pool, config.pool.drain, &mut stop, &listening) => {}
        loss = fatal.lost() => return crash(loss, spawner, log).await,
    }
    let all_gone = end_trees(spawner).await;
    // What ended only now is told to the pool, and that to the store, before the end.
    pool.kill_processes(PROCESSES_END_WITHIN).await;
    if let Some(writer) = writer {
        let _panicked = tokio::task::spawn_blocking(move || writer.finish()).await;
    }
    if let Some(loss) = fatal.known() {
        return lost(loss);
    }
    info!(log, "stopped"; "component" => "app", "all_processes_gone" => all_gone);
    Ok(())
}

/// Rule 18: nothing new; the work of process agents ends or its time does (a second signal ends
/// the wait); then the listener closes and what still runs is interrupted: asked, signalled, killed.
/// A signal that comes by then kills it at once.
async fn shut_down(pool: &PoolHandle, drain: Duration, stop: &mut Stop, listening: &ServerHandle) {
    tokio::select! {
        () = pool.drain(drain) => {}
        _ = stop.ordered() => {}
    }
    pool.end_waits();
    // Connections that wait for nothing are closed; calls under way get the server's own time-out.
    listening.stop(true).await;
    tokio::select! {
        biased; // also when the signal has come by now, the attempts say that they were asked
        () = pool.stop_processes(PROCESSES_END_WITHIN) => {}
        _ = stop.ordered() => {}
    }
    // What is left by now is killed, and its attempts say so. Mostly that is nothing.
    pool.kill_processes(PROCESSES_END_WITHIN).await;
}

async fn crash(loss: Loss, spawner: SpawnerHandle, log: &Logger) -> Result<(), AppError> {
    let part = match &loss {
        Loss::Panicked(part) => part,
        Loss::Store(_) => "store",
    };
    error!(log, "crashed"; "component" => "app", "part" => part);
    end_trees(spawner).await;
    lost(loss)
}

fn lost(loss: Loss) -> Result<(), AppError> {
    Err(match loss {
        Loss::Panicked(part) => AppError::Crashed(part),
        Loss::Store(why) => AppError::StoreFailed(why),
    })
}

/// Kills every process tree and waits for their ends.
async fn end_trees(spawner: SpawnerHandle) -> bool {
    let ended = tokio::task::spawn_blocking(move || spawner.shutdown(TREES_END_WITHIN));
    ended.await.unwrap_or(false)
}

/// Starts the first pool, if that is wanted, and says that the daemon is ready when each agent is
/// idle or failed: a pool without agents is ready too, because more can be spawned.
async fn start_pool(pool: PoolHandle, is_automatic: bool, addr: SocketAddr, log: Logger) {
    let mut said = false;
    while is_automatic && let Err(error) = pool.initialize(None).await {
        if !std::mem::replace(&mut said, true) {
            warn!(log, "autostart_failed"; "component" => "app", "error" => %error);
        }
        if !matches!(error, CallError::Refused(Refusal::StoreFull { .. })) {
            break;
        }
        // There is no pool yet, and the daemon is as ready as it can be. It waits for room.
        systemd::ready(&format!("serving at {addr}, without agents: the disk is nearly full"));
        tokio::time::sleep(ASK_AGAIN).await;
    }
    // Without an answer the disk hangs, or somebody else already ends the daemon.
    while pool.all_settled().await.is_err() {
        tokio::time::sleep(ASK_AGAIN).await;
    }
    systemd::ready(&format!("serving at {addr}"));
}

/// Tells the service manager, when it asked, that the daemon is not hung: somebody answers what
/// every request has to pass, the store included.
async fn show_life(pool: PoolHandle) {
    let Some(interval) = systemd::watchdog_interval() else { return };
    loop {
        let pause = if pool.readiness().await.is_ok() {
            systemd::alive();
            interval
        } else {
            // Half of the manager's patience may have gone by, so the next sign comes as soon as
            // somebody answers again.
            interval.min(ASK_AGAIN)
        };
        tokio::time::sleep(pause).await;
    }
}

fn start_spawner(
    launcher: &Path,
    sandbox: Option<Sandbox>,
    store_id: String,
    fatal: &Fatal,
    log: &Logger,
) -> Result<SpawnerHandle, AppError> {
    let alarm = fatal.clone();
    Spawner::start(SpawnerOptions {
        launcher: launcher.to_path_buf(),
        sandbox,
        store_id,
        log: log.new(o!("component" => "spawner")),
        on_panic: Box::new(move || alarm.raise(Loss::Panicked("spawner"))),
    })
    .map_err(|cause| AppError::Start { what: "the spawner thread", cause })
}

/// Makes the state directory this daemon's own for as long as the file is open.
fn lock_state_dir(path: &Path) -> Result<File, AppError> {
    let failed = |cause| AppError::StateDir { path: path.to_path_buf(), cause };
    if let Some(parent) = path.parent() {
        // Agents with user ids of their own must pass through what is made on the way.
        DirBuilder::new().recursive(true).mode(PASSABLE).create(parent).map_err(failed)?;
    }
    DirBuilder::new().recursive(true).mode(CLOSED).create(path).map_err(failed)?;
    // What is made in it is nobody's but the daemon's.
    umask(Mode::RWXG | Mode::RWXO);
    let lock = lock::take(&path.join("lock")).map_err(failed)?;
    lock.ok_or_else(|| AppError::StateDirInUse(path.to_path_buf()))
}

/// Makes the directory of agents afresh. Working directories that an earlier daemon left behind when
/// it was killed are removed meanwhile: an agent may have filled them so that it takes long or fails.
fn clear_agents_dir(path: &Path, log: &Logger) -> Result<(), AppError> {
    let failed = |cause| AppError::StateDir { path: path.to_path_buf(), cause };
    let agents = path.join(AGENTS_DIR);
    if let Err(cause) = workdir::discard(&agents, log.new(o!("component" => "app"))) {
        warn!(log, "workdir_not_removed"; "component" => "app", "path" => %agents.display(),
            "error" => %cause);
    }
    DirBuilder::new().recursive(true).create(&agents).map_err(failed)?;
    std::fs::set_permissions(&agents, Permissions::from_mode(PASSABLE)).map_err(failed)
}
