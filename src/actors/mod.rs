//! The actors: the shell around the domain.
//!
//! Three arbiters: the Router; the supervisor, the watcher and the probes; every `WorkerAgent`. Messages about
//! a life go one way: a `WorkerAgent` reports to the Router only, the Router's effects tell the
//! supervisor, which begins the next life. No actor waits for another inside a handler.

pub mod canary;
pub mod clock;
pub mod desk;
mod event_log;
pub mod fatal;
mod gate_probe;
pub mod handle;
mod history;
pub mod isolation;
pub mod measure;
pub mod messages;
mod router;
mod supervisor;
mod waiters;
mod watcher;
mod worker_agent;

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Arbiter, AsyncContext};
use slog::{Logger, o};
use tokio::sync::Notify;

use crate::domain::{FollowUpRule, Gates, Limits, ScheduleSpec, Scheduler, Snapshot};
use crate::store::{
    Gauges, Ledger, MemoryStore, Retention, Store, StoreError, Writer, WriterOptions,
};
use crate::worker::spawner::SpawnerHandle;
use clock::Clock;
use desk::MakeDesk;
use event_log::EventLog;
use fatal::{Fatal, Loss};
use gate_probe::GateProbe;
use handle::PoolHandle;
use history::{HistoryReader, READERS};
use isolation::{Auditor, IsolationAuditor};
use measure::LoadMeter;
use messages::Committed;
use router::Router;
use supervisor::{Inherited, Means, PoolSupervisor};
use watcher::{Pulse, Watcher, WatcherLink};

pub use gate_probe::GateProbeSettings;
pub use supervisor::PoolSettings;
pub use watcher::{AgentPhase, Patience};
pub use worker_agent::{PhaseLimits, WorkerAgent, WorkerSettings};

/// What the actors are told at their start.
#[derive(Debug)]
pub struct ActorSettings {
    /// For the scheduler.
    pub limits: Limits,
    /// For the scheduler.
    pub gates: Gates,
    /// Dependencies that are asked how they are, to open and close their gates.
    pub probes: Vec<GateProbeSettings>,
    /// For the scheduler.
    pub schedules: Vec<ScheduleSpec>,
    /// What becomes work when a task completes.
    pub follow_ups: Vec<FollowUpRule>,
    /// For the supervisor.
    pub pool: PoolSettings,
    /// For the watcher.
    pub patience: Patience,
    /// How much memory a process agent may take with all of its processes, in bytes.
    pub memory_limit: Option<u64>,
    /// For each process agent.
    pub worker: WorkerSettings,
    /// How long a call may take beyond what it may wait by itself.
    pub call_timeout: Duration,
    /// How long runs may go on when the pool is shut down and nobody says how long.
    pub drain: Duration,
    /// How often to check whether the agents are kept apart; `None`: when one starts, and on demand.
    pub isolation_check: Option<Duration>,
}

/// Where the pool is kept, and what an earlier daemon left there.
#[derive(Debug)]
pub struct Keep {
    /// The store, which nobody else writes.
    pub store: Box<dyn Store>,
    /// What it had at the start.
    pub snapshot: Snapshot,
    /// Whether something of the earlier daemon's processes may still be alive.
    pub overlap_possible: bool,
    /// Whether commits take time, so that a thread does them.
    pub on_disk: bool,
    /// How long ended tasks are kept, in microseconds.
    pub retention_us: u64,
    /// How much must be free on its file system, in units of 2^20 bytes.
    pub min_free_mb: u64,
}

impl Keep {
    /// A new pool that is kept in memory and gone when the daemon ends.
    #[must_use]
    pub fn in_memory() -> Self {
        Self {
            store: Box::new(MemoryStore::new()),
            snapshot: Snapshot::default(),
            overlap_possible: false,
            on_disk: false,
            retention_us: u64::MAX,
            min_free_mb: 0,
        }
    }
}

/// What was started.
#[derive(Debug)]
pub struct Started {
    /// The verbs of the pool.
    pub pool: PoolHandle,
    /// What writes the store, to be finished last; `None` when no thread does.
    pub writer: Option<Writer>,
    /// How many agents should live, as the store says.
    pub target: usize,
}

/// Why the actors could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be read a second time.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no thread for its writer.
    #[error("cannot start the thread that writes the store")]
    Thread(#[from] std::io::Error),
}

/// Starts the actors, each group on an arbiter of its own, with the pool that the store has. What
/// `make_desk` makes answers the tools of its process agents.
///
/// Must be called within an actix system.
///
/// # Errors
/// See [`StartError`].
pub fn start(
    settings: ActorSettings,
    keep: Keep,
    make_desk: MakeDesk,
    spawner: &SpawnerHandle,
    fatal: &Fatal,
    log: &Logger,
) -> Result<Started, StartError> {
    let clock = Clock::start();
    let component = |name: &'static str| log.new(o!("component" => name));
    let Keep { store, snapshot, overlap_possible, on_disk, retention_us, min_free_mb } = keep;
    let target = snapshot.target.unwrap_or(0);
    let gauges = Arc::new(Gauges::new(min_free_mb));
    gauges.set(&store.metrics()?);
    let histories = (0..READERS).map(|_| store.history()).collect::<Result<Vec<_>, _>>()?;
    let history = HistoryReader::start(histories, fatal, component("store"));
    let (routing, supervising, working) = (Arbiter::new(), Arbiter::new(), Arbiter::new());
    let start_timeout = settings.worker.start_timeout;
    let cancel_grace = settings.worker.cancel_grace;

    let mut effects = Vec::new();
    let (limits, gates, now) = (settings.limits, settings.gates, clock.now());
    let max_depth = limits.max_depth;
    let notes = snapshot.notes.clone();
    let mut scheduler =
        Scheduler::load(limits, gates, snapshot, overlap_possible, now, &mut effects);
    scheduler.load_schedules(settings.schedules, &notes, router::jitter, now);
    let agents = scheduler.agent_views();
    let retention = Retention::new(retention_us, clock::wall_us, Arc::clone(&gauges));
    let (ledger, writing) = if on_disk {
        let (ledger, start) = Ledger::to_thread(Arc::clone(&gauges));
        (ledger, Some((start, store, retention)))
    } else {
        (Ledger::here(store, retention), None)
    };
    let events = EventLog::new(component("router"), clock);
    let pulse = Arc::new(Pulse::new(settings.patience.heartbeat_us));
    let ready = Arc::new(Notify::new());
    let its_means = router::Means {
        ledger,
        gauges: Arc::clone(&gauges),
        history: history.clone(),
        clock,
        pulse: Arc::clone(&pulse),
        spawner: spawner.clone(),
        events,
        ready: Arc::clone(&ready),
        follow_ups: settings.follow_ups,
        crash_only: fatal.guard("router"),
    };
    let router = Router::start_in_arbiter(&routing.handle(), move |_ctx| {
        Router::new(scheduler, effects, its_means)
    });
    let writer = writing.map(|(start, store, retention)| {
        let (its_router, alarm) = (router.clone(), fatal.clone());
        start.start(WriterOptions {
            store,
            retention,
            gauges: Arc::clone(&gauges),
            wall_us: clock::wall_us,
            on_committed: Box::new(move |turn| its_router.do_send(Committed(turn))),
            on_failed: Box::new(move |error| alarm.raise(Loss::Store(error.chain()))),
            crash_only: Box::new(fatal.guard("store")),
            log: component("store"),
        })
    });
    let writer = writer.transpose()?;

    let (its_router, crash_only) = (router.clone(), fatal.guard("watcher"));
    let (patience, memory_limit) = (settings.patience, settings.memory_limit);
    let its_log = component("watcher");
    let its_pulse = Arc::clone(&pulse);
    let watcher = Watcher::start_in_arbiter(&supervising.handle(), move |_ctx| {
        Watcher::new(patience, memory_limit, its_pulse, its_router, clock, its_log, crash_only)
    });

    let (call_timeout, env) = (settings.call_timeout, &settings.worker.env);
    let auditor = Auditor::new(router.clone(), call_timeout, clock, env, component("pool"));
    let auditor = Arc::new(auditor);
    let (its_auditor, every) = (Arc::clone(&auditor), settings.isolation_check);
    let crash_only = fatal.guard("isolation auditor");
    IsolationAuditor::start_in_arbiter(&supervising.handle(), move |_ctx| {
        IsolationAuditor::new(its_auditor, ready, every, crash_only)
    });

    for probe in &settings.probes {
        let (probe, its_router) = (probe.clone(), router.clone());
        let crash_only = fatal.guard("gate probe");
        GateProbe::start_in_arbiter(&supervising.handle(), move |_ctx| {
            GateProbe::new(probe, its_router, clock, crash_only)
        });
    }

    let means = Means {
        worker: Arc::new(settings.worker),
        router: router.clone(),
        watcher: WatcherLink { addr: watcher.clone(), pulse },
        spawner: spawner.clone(),
        arbiter: working.handle(),
        clock,
        gauges: Arc::clone(&gauges),
    };
    let (pool, crash_only) = (settings.pool, fatal.guard("supervisor"));
    let inherited = Inherited { target, agents };
    let drain = settings.drain;
    let loads = Arc::new(LoadMeter::default());
    let probes: Arc<[_]> = settings.probes.into();
    let canary = Arc::default();
    let handle = move |supervisor| PoolHandle {
        router: router.clone(),
        supervisor,
        watcher: watcher.clone(),
        probes: Arc::clone(&probes),
        max_depth,
        history: history.clone(),
        gauges: Arc::clone(&gauges),
        auditor: Arc::clone(&auditor),
        loads: Arc::clone(&loads),
        clock,
        call_timeout,
        start_timeout,
        cancel_grace,
        drain,
        canary: Arc::clone(&canary),
    };
    let its_handle = handle.clone();
    let supervisor = PoolSupervisor::start_in_arbiter(&supervising.handle(), move |ctx| {
        let desk = make_desk(its_handle(ctx.address()));
        PoolSupervisor::new(pool, inherited, means, desk, crash_only)
    });
    Ok(Started { pool: handle(supervisor), writer, target })
}

#[cfg(test)]
mod tests;
