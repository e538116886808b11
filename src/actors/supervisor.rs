//! The PoolSupervisor: how many agents should live, and what happens when one dies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, Addr, ArbiterHandle, AsyncContext, Context, Handler, MessageResult, SpawnHandle,
};
use uuid::Uuid;

use super::clock::Clock;
use super::desk::ToolDesk;
use super::fatal::PanicGuard;
use super::messages::*;
use super::router::{Router, fresh_ids};
use super::watcher::WatcherLink;
use super::worker_agent::{WorkerAgent, WorkerSettings};
use crate::domain::{
    AgentId, AgentKind, AgentView, Incarnation, LifeEnded, RETRY_AFTER_US, Refusal, RestartBudget,
    StatusReason, TaskTypes, Verdict,
};
use crate::store::Gauges;
use crate::worker::spawner::SpawnerHandle;

/// The supervisor's share of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct PoolSettings {
    /// Agents of a pool when nobody says how many.
    pub size: usize,
    /// Agents of a pool at most.
    pub max_size: usize,
    /// What stands behind an agent when nobody says what.
    pub kind: AgentKind,
    /// Restarts of one agent within the window.
    pub restarts_max: usize,
    /// The window, in microseconds.
    pub restart_window_us: u64,
}

/// Owns the target and the lives of the agents. A restart is a new `WorkerAgent` with a new
/// incarnation.
#[derive(Debug)]
pub struct PoolSupervisor {
    settings: PoolSettings,
    worker: Arc<WorkerSettings>,
    router: Addr<Router>,
    watcher: WatcherLink,
    spawner: SpawnerHandle,
    /// Answers the agents' tools.
    desk: Arc<dyn ToolDesk>,
    /// Where the actors of agents live.
    arbiter: ArbiterHandle,
    clock: Clock,
    target: usize,
    /// Whether the store has room for a larger pool.
    gauges: Arc<Gauges>,
    agents: BTreeMap<AgentId, Supervised>,
    /// The pool is being shut down; runs may go on until then, in monotonic microseconds.
    closing: Option<u64>,
    /// The daemon stops.
    stopping: bool,
    _crash_only: PanicGuard,
}

/// One agent, as the supervisor sees it.
#[derive(Debug)]
struct Supervised {
    kind: AgentKind,
    incarnation: Incarnation,
    budget: RestartBudget,
    /// Whether its present life goes on.
    alive: bool,
    /// Whether it is on its way out of the pool.
    leaving: bool,
    restart: Option<SpawnHandle>,
}

/// What the supervisor works with.
pub(super) struct Means {
    pub(super) worker: Arc<WorkerSettings>,
    pub(super) router: Addr<Router>,
    pub(super) watcher: WatcherLink,
    pub(super) spawner: SpawnerHandle,
    pub(super) arbiter: ArbiterHandle,
    pub(super) clock: Clock,
    pub(super) gauges: Arc<Gauges>,
}

/// The pool that an earlier daemon left.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    /// How many agents should live.
    pub(super) target: usize,
    /// The agents, each in its last life.
    pub(super) agents: Vec<AgentView>,
}

impl PoolSupervisor {
    /// A supervisor of this pool; the lives of its process agents begin when it starts.
    pub(super) fn new(
        settings: PoolSettings,
        inherited: Inherited,
        means: Means,
        desk: Arc<dyn ToolDesk>,
        crash_only: PanicGuard,
    ) -> Self {
        let Means { worker, router, watcher, spawner, arbiter, clock, gauges } = means;
        let agents = inherited.agents.into_iter().map(|agent| {
            let alive = agent.kind != AgentKind::Process;
            let mut known = Supervised::new(agent.kind, agent.incarnation, alive, &settings);
            known.leaving = agent.leaving;
            (agent.id, known)
        });
        let agents = agents.collect();
        Self {
            settings,
            worker,
            router,
            watcher,
            spawner,
            desk,
            arbiter,
            clock,
            target: inherited.target,
            gauges,
            agents,
            closing: None,
            stopping: false,
            _crash_only: crash_only,
        }
    }

    fn admit(&self) -> Result<(), Refusal> {
        if self.stopping {
            return Err(Refusal::Draining);
        }
        if self.closing.is_some() {
            return Err(Refusal::PoolClosing);
        }
        if self.gauges.is_full() {
            return Err(Refusal::StoreFull { min_free_mb: self.gauges.min_free_mb() });
        }
        Ok(())
    }

    /// The agents that are not on their way out.
    fn staying(&self) -> impl Iterator<Item = AgentId> {
        self.agents.iter().filter(|(_, agent)| !agent.leaving).map(|(&id, _)| id)
    }

    /// How many agents take a place of `max_size`. An external one on its way out takes none: it
    /// may be at it for long, even from one daemon to the next, and costs nothing.
    fn places(&self) -> usize {
        let takes = |agent: &&Supervised| !agent.leaving || agent.kind == AgentKind::Process;
        self.agents.values().filter(takes).count()
    }

    fn add_agent(&mut self, kind: AgentKind, types: TaskTypes) -> AgentId {
        let id = AgentId::from_uuid(Uuid::new_v4());
        let incarnation = Incarnation::FIRST;
        let supervised = Supervised::new(kind, incarnation, true, &self.settings);
        self.agents.insert(id, supervised);
        let target = self.target;
        self.router.do_send(AgentAdded { id, kind, types, ids: fresh_ids(), target });
        if kind == AgentKind::Process {
            self.start_worker(id, incarnation);
        }
        id
    }

    /// Begins the next life of a process agent, unless one goes on.
    fn restart(&mut self, id: AgentId) {
        if self.stopping {
            return;
        }
        let Some(agent) = self.agents.get_mut(&id) else { return };
        if agent.alive || agent.leaving {
            return;
        }
        agent.alive = true;
        agent.restart = None;
        agent.incarnation = agent.incarnation.next();
        let incarnation = agent.incarnation;
        self.router.do_send(LifeBegun { id, incarnation, ids: fresh_ids() });
        self.start_worker(id, incarnation);
    }

    /// The Router has the process started when it knows of this life, which it was told before.
    fn start_worker(&self, id: AgentId, incarnation: Incarnation) {
        let agent = WorkerAgent::new(
            (id, incarnation),
            Arc::clone(&self.worker),
            self.router.clone(),
            self.watcher.clone(),
            self.spawner.clone(),
            Arc::clone(&self.desk),
            self.clock,
        );
        let worker = WorkerAgent::start_in_arbiter(&self.arbiter, move |_ctx| agent);
        self.router.do_send(WorkerStarted { id, incarnation, worker });
    }

    fn restart_later(&mut self, id: AgentId, wait_us: u64, ctx: &mut Context<Self>) {
        let wait = Duration::from_micros(wait_us);
        let timer = ctx.run_later(wait, move |supervisor, _ctx| supervisor.restart(id));
        if let Some(agent) = self.agents.get_mut(&id) {
            agent.restart = Some(timer);
        }
    }

    fn give_up(&self, id: AgentId, reason: StatusReason, detail: String) {
        let retry_s = RETRY_AFTER_US / 1_000_000;
        let detail = format!("{detail}; it is tried again in {retry_s} s, or when it is recovered");
        self.router.do_send(AgentGivenUp { id, reason, detail });
    }
}

impl Supervised {
    const fn new(
        kind: AgentKind,
        incarnation: Incarnation,
        alive: bool,
        settings: &PoolSettings,
    ) -> Self {
        let budget = RestartBudget::new(settings.restarts_max, settings.restart_window_us);
        Self { kind, incarnation, budget, alive, leaving: false, restart: None }
    }
}

impl Actor for PoolSupervisor {
    type Context = Context<Self>;

    /// The inherited agents live again, and what is missing of the target is made up for.
    fn started(&mut self, ctx: &mut Self::Context) {
        self.router.do_send(SupervisorStarted(ctx.address()));
        let asleep = self.agents.iter().filter(|(_, agent)| !agent.alive);
        let asleep: Vec<_> = asleep.map(|(&id, _)| id).collect();
        for id in asleep {
            self.restart(id);
        }
        for _ in self.staying().count()..self.target {
            self.add_agent(self.settings.kind, TaskTypes::ALL);
        }
    }
}

impl Handler<InitializePool> for PoolSupervisor {
    type Result = Result<Initialized, Refusal>;

    fn handle(&mut self, message: InitializePool, _ctx: &mut Self::Context) -> Self::Result {
        self.admit()?;
        let size = message.size.unwrap_or(self.settings.size);
        let max_size = self.settings.max_size;
        let target = self.target.max(size);
        let missing = target.saturating_sub(self.staying().count());
        if missing > 0 && self.places() + missing > max_size {
            return Err(Refusal::PoolFull { max_size });
        }
        self.target = target;
        let kind = self.settings.kind;
        let spawned: Vec<_> = (0..missing).map(|_| self.add_agent(kind, TaskTypes::ALL)).collect();
        let agent_ids: Vec<_> = self.staying().collect();
        let pool_size = agent_ids.len();
        let (target, spawned_agents) = (self.target, spawned.len());
        self.router.do_send(PoolInitialized { target, pool_size, spawned: spawned_agents });
        Ok(Initialized { agent_ids, spawned })
    }
}

impl Handler<SpawnAgent> for PoolSupervisor {
    type Result = Result<AgentId, Refusal>;

    fn handle(
        &mut self,
        SpawnAgent { kind, types }: SpawnAgent,
        _: &mut Self::Context,
    ) -> Self::Result {
        self.admit()?;
        let max_size = self.settings.max_size;
        if self.places() >= max_size {
            return Err(Refusal::PoolFull { max_size });
        }
        self.target += 1;
        Ok(self.add_agent(kind.unwrap_or(self.settings.kind), types))
    }
}

impl Handler<RemoveAgent> for PoolSupervisor {
    type Result = Result<(), Refusal>;

    fn handle(
        &mut self,
        RemoveAgent { id, drain_us }: RemoveAgent,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        let agent = self.agents.get_mut(&id).ok_or(Refusal::AgentNotFound)?;
        if !std::mem::replace(&mut agent.leaving, true) {
            self.target = self.target.saturating_sub(1);
        }
        if let Some(timer) = agent.restart.take() {
            ctx.cancel_future(timer);
        }
        self.router.do_send(AgentDismissed { id, drain_us, target: self.target });
        Ok(())
    }
}

impl Handler<ClosePool> for PoolSupervisor {
    type Result = MessageResult<ClosePool>;

    fn handle(&mut self, message: ClosePool, ctx: &mut Self::Context) -> Self::Result {
        let ClosePool { drain_us, discard } = message;
        let now_us = self.clock.mono_us();
        self.target = 0;
        let until_us = *self.closing.get_or_insert_with(|| now_us.saturating_add(drain_us));
        for agent in self.agents.values_mut() {
            agent.leaving = true;
            if let Some(timer) = agent.restart.take() {
                ctx.cancel_future(timer);
            }
        }
        self.router.do_send(PoolDismissed { drain_us, discard });
        MessageResult(until_us.saturating_sub(now_us))
    }
}

impl Handler<IsClosing> for PoolSupervisor {
    type Result = bool;

    fn handle(&mut self, _: IsClosing, _ctx: &mut Self::Context) -> bool {
        self.closing.is_some() || self.target == 0
    }
}

impl Handler<PoolShutDown> for PoolSupervisor {
    type Result = ();

    fn handle(&mut self, _: PoolShutDown, _ctx: &mut Self::Context) {
        self.closing = None;
    }
}

impl Handler<AgentRemoved> for PoolSupervisor {
    type Result = ();

    fn handle(&mut self, AgentRemoved(id): AgentRemoved, _ctx: &mut Self::Context) {
        self.agents.remove(&id);
    }
}

impl Handler<AgentLost> for PoolSupervisor {
    type Result = ();

    fn handle(&mut self, AgentLost { id, ended }: AgentLost, ctx: &mut Self::Context) {
        let LifeEnded { incarnation, exit, cause, counts, hopeless } = ended;
        let now = self.clock.now();
        let Some(agent) = self.agents.get_mut(&id) else { return };
        if agent.incarnation != incarnation || agent.kind != AgentKind::Process {
            return;
        }
        agent.alive = false;
        if agent.leaving {
            return;
        }
        let verdict = match counts {
            _ if hopeless => {
                self.give_up(id, StatusReason::CommandFailed, exit.to_string());
                Verdict::RestartAfter(RETRY_AFTER_US)
            }
            true => agent.budget.ask(now),
            false => agent.budget.pardoned(),
        };
        let wait_us = match verdict {
            Verdict::RestartAfter(wait_us) => wait_us,
            Verdict::GiveUp => {
                let max = self.settings.restarts_max;
                let window_s = self.settings.restart_window_us / 1_000_000;
                let detail = format!(
                    "it died more than {max} times within {window_s} s, last: {}",
                    cause.detail
                );
                self.give_up(id, StatusReason::RestartsExhausted, detail);
                RETRY_AFTER_US
            }
        };
        self.restart_later(id, wait_us, ctx);
    }
}

impl Handler<RestartAgent> for PoolSupervisor {
    type Result = ();

    fn handle(&mut self, RestartAgent(id): RestartAgent, ctx: &mut Self::Context) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        agent.budget.reset();
        if let Some(timer) = agent.restart.take() {
            ctx.cancel_future(timer);
        }
        self.restart(id);
    }
}

impl Handler<StopSpawning> for PoolSupervisor {
    type Result = ();

    fn handle(&mut self, _: StopSpawning, _ctx: &mut Self::Context) {
        self.stopping = true;
    }
}
