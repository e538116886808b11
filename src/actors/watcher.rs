//! Watches process agents from outside of their actors (rule 13): a process is dead when its exit
//! is seen, and suspect when it is silent.

mod memory;
mod vital;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use slog::{Logger, warn};

use memory::MemoryUse;
pub use vital::AgentPhase;
pub(super) use vital::{ListPhases, Vital};

use super::clock::Clock;
use super::fatal::PanicGuard;
use super::messages::{AgentFailed, Resumed};
use super::router::Router;
use crate::domain::{AgentId, Failure, Incarnation};
use crate::worker::proc;

/// Tells others whether the daemon just stood still (a stop signal, a suspend), before the watcher
/// itself has the time to say so: then no deadline may be taken at its word.
#[derive(Debug)]
pub(super) struct Pulse {
    heartbeat_us: u64,
    /// When the watcher's next tick is due.
    due_us: AtomicU64,
    /// How often it came too late.
    standstills: AtomicU64,
}

impl Pulse {
    /// The pulse of a watcher that did not begin yet.
    pub(super) const fn new(heartbeat_us: u64) -> Self {
        Self { heartbeat_us, due_us: AtomicU64::new(u64::MAX), standstills: AtomicU64::new(0) }
    }

    /// How much too late the watcher is; `None` while that is within bounds.
    fn late_us(&self, now_us: u64) -> Option<u64> {
        let late_us = now_us.saturating_sub(self.due_us.load(Ordering::Acquire));
        (late_us > self.heartbeat_us).then_some(late_us)
    }

    /// Grows with every standstill, the one that the watcher did not see yet included. Whether
    /// there is one is asked first: the watcher counts it before it looks well again.
    pub(super) fn standstills(&self, now_us: u64) -> u64 {
        let unseen = u64::from(self.late_us(now_us).is_some());
        self.standstills.load(Ordering::Acquire) + unseen
    }

    /// The watcher has seen a standstill, and has told the Router.
    pub(super) fn count_standstill(&self) {
        self.standstills.fetch_add(1, Ordering::Release);
    }
}

/// How a `WorkerAgent` reaches its watcher.
#[derive(Clone, Debug)]
pub(super) struct WatcherLink {
    /// The watcher.
    pub addr: Addr<Watcher>,
    /// Its pulse.
    pub pulse: Arc<Pulse>,
}

/// From a `WorkerAgent`: watch this life from now on.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Watch {
    /// Which agent.
    pub id: AgentId,
    /// Which life.
    pub incarnation: Incarnation,
    /// The parent of its process.
    pub launcher_pid: u32,
    /// Its signs of life.
    pub vital: Arc<Vital>,
}

/// From a `WorkerAgent`: this life is over.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Unwatch {
    /// Which agent.
    pub id: AgentId,
    /// Which life.
    pub incarnation: Incarnation,
}

/// When silence is a failure. Durations are microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How often an agent gives a sign of life.
    pub heartbeat_us: u64,
    /// How long it may be silent before it is suspect.
    pub silence_us: u64,
    /// How long it may be silent in any case.
    pub stuck_us: u64,
}

/// Watches process agents.
#[derive(Debug)]
pub(super) struct Watcher {
    patience: Patience,
    /// How much memory the tree of an agent may take, in bytes.
    memory_limit: Option<u64>,
    router: Addr<Router>,
    clock: Clock,
    log: Logger,
    watched: HashMap<AgentId, Watched>,
    pulse: Arc<Pulse>,
    _crash_only: PanicGuard,
}

#[derive(Debug)]
struct Watched {
    incarnation: Incarnation,
    launcher_pid: u32,
    vital: Arc<Vital>,
    /// The CPU time of its tree when it became suspect.
    suspect_cpu: Option<Duration>,
    memory: MemoryUse,
}

impl Watcher {
    /// A watcher of nobody yet.
    pub(super) fn new(
        patience: Patience,
        memory_limit: Option<u64>,
        pulse: Arc<Pulse>,
        router: Addr<Router>,
        clock: Clock,
        log: Logger,
        crash_only: PanicGuard,
    ) -> Self {
        let watched = HashMap::new();
        Self { patience, memory_limit, router, clock, log, watched, pulse, _crash_only: crash_only }
    }

    /// Twice per heartbeat, so that a silence is seen at most half a heartbeat late; more often
    /// when heartbeats are rarer than the longest silence allows.
    fn period_us(&self) -> u64 {
        let Patience { heartbeat_us, stuck_us, .. } = self.patience;
        (heartbeat_us / 2).min(stuck_us / 4)
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now_us = self.clock.mono_us();
        match self.pulse.late_us(now_us) {
            Some(late_us) => self.resume(late_us, now_us),
            None => self.judge(now_us),
        }
        self.rest(ctx);
    }

    fn rest(&mut self, ctx: &mut Context<Self>) {
        let due_us = self.clock.mono_us() + self.period_us();
        self.pulse.due_us.store(due_us, Ordering::Release);
        ctx.run_later(Duration::from_micros(self.period_us()), Self::tick);
    }

    /// This daemon itself stood still: that says nothing about the agents.
    fn resume(&mut self, late_us: u64, now_us: u64) {
        warn!(self.log, "daemon_stood_still"; "late_ms" => late_us / 1_000);
        for watched in self.watched.values_mut() {
            watched.vital.touch(now_us);
            watched.suspect_cpu = None;
        }
        // The Router takes no deadline at its word until it has read as many of these as are counted.
        self.router.do_send(Resumed { late_us });
        self.pulse.count_standstill();
    }

    fn judge(&mut self, now_us: u64) {
        let Patience { silence_us, stuck_us, .. } = self.patience;
        let mut failed = Vec::new();
        for (&id, watched) in &mut self.watched {
            let silent_us = watched.vital.silent_us(now_us);
            if silent_us <= silence_us.min(stuck_us) {
                watched.suspect_cpu = None;
                continue;
            }
            // The first look at a suspect only takes its CPU time, the next ones compare.
            let cpu = proc::tree_cpu_time(watched.launcher_pid);
            // On a busy machine one that works may have had to wait for its turn.
            let used_none = watched.suspect_cpu.replace(cpu) == Some(cpu)
                && !proc::tree_wants_cpu(watched.launcher_pid);
            if silent_us > stuck_us {
                failed.push((id, silent_us, "which is over worker.stuck_s"));
            } else if used_none && silent_us > silence_us {
                failed.push((id, silent_us, "and used no CPU meanwhile"));
            }
        }
        for (id, silent_us, why) in failed {
            let Some(Watched { incarnation, .. }) = self.watched.remove(&id) else { continue };
            let seconds = silent_us as f64 / 1e6;
            let detail = format!("it gave no sign of life for {seconds:.1} s {why}");
            let failure = Failure::new("silent", detail);
            self.router.do_send(AgentFailed { id, incarnation, failure, actor_gone: false });
        }
    }
}

impl Actor for Watcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.rest(ctx);
        self.watch_memory(ctx);
    }
}

impl Handler<Watch> for Watcher {
    type Result = ();

    fn handle(&mut self, message: Watch, _ctx: &mut Self::Context) {
        let Watch { id, incarnation, launcher_pid, vital } = message;
        let (suspect_cpu, memory) = (None, MemoryUse::default());
        let watched = Watched { incarnation, launcher_pid, vital, suspect_cpu, memory };
        self.watched.insert(id, watched);
    }
}

impl Handler<Unwatch> for Watcher {
    type Result = ();

    fn handle(&mut self, Unwatch { id, incarnation }: Unwatch, _ctx: &mut Self::Context) {
        if self.watched.get(&id).is_some_and(|watched| watched.incarnation == incarnation) {
            self.watched.remove(&id);
        }
    }
}
