//! The Router: owns the scheduler, turns messages into its verbs and its effects into messages.
//!
//! A handler here is a few lines: an `if` about tasks belongs into the scheduler. Effects and
//! answers leave through the [`Outbox`] alone, when what caused them is durable.

mod facts;
mod follow_ups;
mod gates;
mod keys;
mod outbox;
mod requests;
mod retries;
mod schedules;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, SpawnHandle};
use tokio::sync::Notify;
use uuid::Uuid;

use super::clock::Clock;
use super::event_log::EventLog;
use super::fatal::PanicGuard;
use super::history::HistoryReader;
use super::messages::{
    AgentLost, AgentRemoved, CancelRun, KillWorker, PoolShutDown, RestartAgent, RunTask, StopWorker,
};
use super::supervisor::PoolSupervisor;
use super::waiters::Waiters;
use super::watcher::Pulse;
use super::worker_agent::WorkerAgent;
use crate::domain::{
    AgentId, ContextIds, Effect, FollowUpRule, Incarnation, Jitter, Now, Scheduler,
};
use crate::store::{Gauges, Ledger};
use crate::worker::spawner::SpawnerHandle;
use follow_ups::Looks;
use keys::Lookups;
use outbox::{Answer, Held, Outbox};
use retries::Retries;

/// How many messages may wait before a sender does.
const MAILBOX: usize = 4_096;

/// How soon to look again whether the watcher has moved the deadlines after a standstill.
const AFTER_STANDSTILL: Duration = Duration::from_millis(5);

/// How long a change may wait for the commit of another one. A task that ends within that time
/// costs one sync less.
const POSTPONED_AT_MOST: Duration = Duration::from_millis(20);

/// Owns the scheduler, and the addresses of the agents' actors.
#[derive(Debug)]
pub(super) struct Router {
    scheduler: Scheduler,
    clock: Clock,
    pulse: Arc<Pulse>,
    /// Filled and emptied within one turn; kept for its room.
    effects: Vec<Effect>,
    /// Whether the changes of an earlier turn were not handed over yet.
    postponed: bool,
    /// Whether a timer is set that ends that.
    postponed_timer: bool,
    outbox: Outbox,
    gauges: Arc<Gauges>,
    history: Addr<HistoryReader>,
    keys: Lookups,
    looks: Looks,
    retries: Retries,
    workers: HashMap<AgentId, (Incarnation, Addr<WorkerAgent>)>,
    /// `None` only until the supervisor exists, which is before the first agent.
    supervisor: Option<Addr<PoolSupervisor>>,
    spawner: SpawnerHandle,
    waiters: Waiters,
    /// The daemon is about to end: nobody is kept waiting for what may happen.
    waits_ended: bool,
    events: EventLog,
    /// Is told of every agent that settled.
    ready: Arc<Notify>,
    /// The moment of the scheduler's next work that a timer is set for.
    armed: Option<(u64, SpawnHandle)>,
    /// How many standstills of the daemon the scheduler knows of.
    standstills: u64,
    crash_only: PanicGuard,
}

/// What the Router works with.
pub(super) struct Means {
    pub(super) ledger: Ledger,
    pub(super) gauges: Arc<Gauges>,
    pub(super) history: Addr<HistoryReader>,
    pub(super) clock: Clock,
    pub(super) pulse: Arc<Pulse>,
    pub(super) spawner: SpawnerHandle,
    pub(super) events: EventLog,
    pub(super) ready: Arc<Notify>,
    pub(super) follow_ups: Vec<FollowUpRule>,
    pub(super) crash_only: PanicGuard,
}

impl Router {
    /// A Router of this scheduler, whose first effects are to be told.
    pub(super) fn new(scheduler: Scheduler, effects: Vec<Effect>, means: Means) -> Self {
        let Means { ledger, gauges, history, clock, pulse, spawner, events, .. } = means;
        let Means { ready, follow_ups, crash_only, .. } = means;
        Self {
            scheduler,
            clock,
            pulse,
            effects,
            postponed: false,
            postponed_timer: false,
            outbox: Outbox::new(ledger),
            gauges,
            history,
            keys: Lookups::default(),
            looks: Looks::new(follow_ups),
            retries: Retries::default(),
            workers: HashMap::new(),
            supervisor: None,
            spawner,
            waiters: Waiters::default(),
            waits_ended: false,
            events,
            ready,
            armed: None,
            standstills: 0,
            crash_only,
        }
    }

    /// One turn: a verb of the scheduler at one moment, then its changes and effects. The answer
    /// is for the caller, when the changes are durable.
    fn turn<R>(
        &mut self,
        ctx: &mut Context<Self>,
        verb: impl FnOnce(&mut Scheduler, Now, &mut Vec<Effect>) -> R,
    ) -> R {
        let now = self.clock.now();
        let answer = verb(&mut self.scheduler, now, &mut self.effects);
        self.release(now);
        self.arm_timer(now, ctx);
        answer
    }

    /// A turn that somebody waits for.
    fn answered_turn<R>(
        &mut self,
        ctx: &mut Context<Self>,
        verb: impl FnOnce(&mut Scheduler, Now, &mut Vec<Effect>) -> R,
    ) -> Answer<R> {
        let answer = self.turn(ctx, verb);
        self.answer(answer)
    }

    /// A turn that nobody waits for: what it changed goes with the next commit.
    fn postponed_turn(
        &mut self,
        ctx: &mut Context<Self>,
        verb: impl FnOnce(&mut Scheduler, Now, &mut Vec<Effect>),
    ) {
        let now = self.clock.now();
        verb(&mut self.scheduler, now, &mut self.effects);
        self.outbox.hold_for_next(self.effects.drain(..), now.wall_us);
        self.postponed = true;
        if !std::mem::replace(&mut self.postponed_timer, true) {
            ctx.run_later(POSTPONED_AT_MOST, |router, _| {
                router.postponed_timer = false;
                router.catch_up();
            });
        }
        self.arm_timer(now, ctx);
    }

    /// Releases what was postponed.
    fn catch_up(&mut self) {
        if self.postponed {
            self.release(self.clock.now());
        }
    }

    /// An answer that leaves when everything before it is durable.
    fn answer<R>(&mut self, value: R) -> Answer<R> {
        self.catch_up();
        self.outbox.answer(value)
    }

    /// Sends something when everything before it is durable.
    fn send(&mut self, letter: impl FnOnce() + 'static) {
        self.catch_up();
        self.outbox.send(letter);
    }

    /// Hands over what the turn changed, and lets its effects leave when that is durable.
    fn release(&mut self, now: Now) {
        let changes = self.scheduler.take_changes(now);
        self.looks.note(&changes);
        if std::mem::take(&mut self.postponed) || !changes.is_empty() {
            self.outbox.hand_over(changes);
        }
        let mut effects = std::mem::take(&mut self.effects);
        if self.outbox.is_clear() {
            self.let_go();
            for effect in effects.drain(..) {
                self.perform(effect, now.wall_us);
            }
        } else {
            self.outbox.hold(effects.drain(..), now.wall_us);
        }
        self.effects = effects;
    }

    /// Lets everything leave that waited for what is durable by now.
    fn let_go(&mut self) {
        while let Some(held) = self.outbox.next() {
            match held {
                Held::Effect(effect, at_us) => self.perform(effect, at_us),
                Held::Letter(send) => send(),
            }
        }
    }

    /// Does what a turn wanted at this time of day.
    fn perform(&mut self, effect: Effect, at_us: u64) {
        match effect {
            Effect::Assign { agent, incarnation, assignment } => {
                if let Some(worker) = self.worker(agent, incarnation) {
                    worker.do_send(RunTask(assignment));
                }
            }
            Effect::CancelRun { agent, incarnation, task_id, attempt, reason } => {
                if let Some(worker) = self.worker(agent, incarnation) {
                    worker.do_send(CancelRun { task_id, attempt, reason });
                }
            }
            Effect::StopAgent { agent, incarnation } => match self.worker(agent, incarnation) {
                Some(worker) => worker.do_send(StopWorker),
                None => self.spawner.kill(agent, incarnation),
            },
            Effect::KillTree { agent, incarnation } => {
                self.spawner.kill(agent, incarnation);
                if let Some(worker) = self.worker(agent, incarnation) {
                    worker.do_send(KillWorker);
                }
            }
            Effect::Wake { agent } => self.waiters.wake_polls(agent),
            Effect::AgentLost { agent, ended } => {
                self.workers.remove(&agent);
                self.tell_supervisor(AgentLost { id: agent, ended });
            }
            Effect::RecoverAgent { agent } => self.tell_supervisor(RestartAgent(agent)),
            Effect::AgentRemoved { agent } => {
                self.workers.remove(&agent);
                // Before the client hears of it, who may spawn another at once.
                self.tell_supervisor(AgentRemoved(agent));
                self.waiters.removed(agent);
                self.waiters.settled(agent);
                self.waiters.failed_over(agent, None);
                self.waiters.wake_polls(agent);
            }
            Effect::AgentSettled { agent } => {
                self.waiters.settled(agent);
                self.ready.notify_one();
            }
            Effect::FailedOver { agent, task_id } => self.waiters.failed_over(agent, task_id),
            Effect::TaskEnded { task_id } => self.waiters.task_ended(task_id),
            Effect::TaskLeft { task_id } => self.task_left(task_id),
            Effect::PoolClosed(closed) => {
                self.tell_supervisor(PoolShutDown);
                self.waiters.pool_closed(closed);
            }
            Effect::Drained => self.waiters.drained(),
            Effect::ProcessesStopped => self.waiters.stopped(),
            Effect::Event(event) => self.events.write(&event, at_us),
        }
    }

    fn worker(&self, agent: AgentId, incarnation: Incarnation) -> Option<&Addr<WorkerAgent>> {
        let (life, worker) = self.workers.get(&agent)?;
        (*life == incarnation).then_some(worker)
    }

    fn tell_supervisor<M>(&self, message: M)
    where
        M: actix::Message + Send + 'static,
        M::Result: Send,
        PoolSupervisor: actix::Handler<M>,
    {
        if let Some(supervisor) = &self.supervisor {
            supervisor.do_send(message);
        }
    }

    /// Sets the one timer for what the scheduler has next. A timer that fires too early does
    /// nothing, so one that is early enough is left alone.
    fn arm_timer(&mut self, now: Now, ctx: &mut Context<Self>) {
        let Some(next_us) = self.scheduler.next_timeout() else { return };
        if let Some((armed_us, timer)) = self.armed {
            if armed_us <= next_us {
                return;
            }
            ctx.cancel_future(timer);
        }
        let wait = Duration::from_micros(next_us.saturating_sub(now.mono_us));
        self.armed = Some((next_us, ctx.run_later(wait, Self::timer_fired)));
    }

    /// After a standstill everything seems to be overdue, until the watcher has said that it is
    /// not; both learn of it at the same moment, and what it says may still be in the mailbox.
    fn timer_fired(&mut self, ctx: &mut Context<Self>) {
        let armed = self.armed.take();
        if self.pulse.standstills(self.clock.mono_us()) > self.standstills {
            let again = ctx.run_later(AFTER_STANDSTILL, Self::timer_fired);
            self.armed = armed.map(|(armed_us, _)| (armed_us, again));
            return;
        }
        self.turn(ctx, |scheduler, now, effects| scheduler.handle_timeout(now, effects));
        self.run_schedules(ctx);
    }
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let now = self.clock.now();
        self.release(now);
        self.arm_timer(now, ctx);
    }
}

/// Ids that nobody had before.
pub(super) fn fresh_ids() -> ContextIds {
    ContextIds {
        context_window_id: Uuid::new_v4(),
        tool_session_id: Uuid::new_v4(),
        memory_handle_id: Uuid::new_v4(),
    }
}

/// The random part of a wait.
pub(super) fn jitter() -> Jitter {
    let (bits, _) = Uuid::new_v4().as_u64_pair();
    Jitter::from_bits((bits >> 48) as u16)
}
