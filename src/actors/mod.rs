//! The actors: the shell around the domain.
//!
//! Three arbiters: the Router; the supervisor and the watcher; every `WorkerAgent`. Messages about
//! a life go one way: a `WorkerAgent` reports to the Router only, the Router's effects tell the
//! supervisor, which begins the next life. No actor waits for another inside a handler.

pub mod clock;
mod event_log;
pub mod fatal;
pub mod handle;
pub mod measure;
pub mod messages;
mod router;
mod supervisor;
mod waiters;
mod watcher;
mod worker_agent;

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Arbiter};
use slog::{Logger, o};

use crate::domain::{Gates, Limits, Scheduler};
use crate::worker::spawner::SpawnerHandle;
use clock::Clock;
use event_log::EventLog;
use fatal::Fatal;
use handle::PoolHandle;
use messages::SupervisorStarted;
use router::Router;
use supervisor::{Means, PoolSupervisor};
use watcher::{Pulse, Watcher, WatcherLink};

pub use supervisor::PoolSettings;
pub use watcher::Patience;
pub use worker_agent::{WorkerAgent, WorkerSettings};

/// What the actors are told at their start.
#[derive(Debug)]
pub struct ActorSettings {
    /// For the scheduler.
    pub limits: Limits,
    /// For the scheduler.
    pub gates: Gates,
    /// For the supervisor.
    pub pool: PoolSettings,
    /// For the watcher.
    pub patience: Patience,
    /// For each process agent.
    pub worker: WorkerSettings,
    /// How long a call may take beyond what it may wait by itself.
    pub call_timeout: Duration,
    /// How long runs may go on when the pool is shut down and nobody says how long.
    pub drain: Duration,
}

/// Starts the actors, each group on an arbiter of its own, with an empty pool.
///
/// Must be called within an actix system.
#[must_use]
pub fn start(
    settings: ActorSettings,
    spawner: &SpawnerHandle,
    fatal: &Fatal,
    log: &Logger,
) -> PoolHandle {
    let clock = Clock::start();
    let component = |name: &'static str| log.new(o!("component" => name));
    let (routing, supervising, working) = (Arbiter::new(), Arbiter::new(), Arbiter::new());
    let start_timeout = settings.worker.start_timeout;

    let scheduler = Scheduler::new(settings.limits, settings.gates);
    let events = EventLog::new(component("router"), clock);
    let pulse = Arc::new(Pulse::new(settings.patience.heartbeat_us));
    let (its_spawner, crash_only) = (spawner.clone(), fatal.guard("router"));
    let its_pulse = Arc::clone(&pulse);
    let router = Router::start_in_arbiter(&routing.handle(), move |_ctx| {
        Router::new(scheduler, clock, its_pulse, its_spawner, events, crash_only)
    });

    let (its_router, crash_only) = (router.clone(), fatal.guard("watcher"));
    let (patience, its_log) = (settings.patience, component("watcher"));
    let its_pulse = Arc::clone(&pulse);
    let addr = Watcher::start_in_arbiter(&supervising.handle(), move |_ctx| {
        Watcher::new(patience, its_pulse, its_router, clock, its_log, crash_only)
    });

    let means = Means {
        worker: Arc::new(settings.worker),
        router: router.clone(),
        watcher: WatcherLink { addr, pulse },
        spawner: spawner.clone(),
        arbiter: working.handle(),
        clock,
        log: component("supervisor"),
    };
    let (pool, crash_only) = (settings.pool, fatal.guard("supervisor"));
    let supervisor = PoolSupervisor::start_in_arbiter(&supervising.handle(), move |_ctx| {
        PoolSupervisor::new(pool, means, crash_only)
    });
    router.do_send(SupervisorStarted(supervisor.clone()));
    PoolHandle {
        router,
        supervisor,
        call_timeout: settings.call_timeout,
        start_timeout,
        drain: settings.drain,
    }
}
