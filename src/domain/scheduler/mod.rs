//! The state machine of the pool: tasks, queue, attempts, agents and what was learned of them.
//!
//! One method per verb. A request answers or is refused and then changed nothing; a fact is never
//! refused, only dropped when it is about something that is over. Time, ids and random parts are
//! arguments, and what is to be done outside comes out as [`Effect`]s, in order.

mod assign;
mod cancel;
mod changes;
mod children;
mod complete;
mod drain;
mod end;
mod external;
mod fail;
mod follow_up;
mod gates;
#[cfg(test)]
mod inspect;
mod ladder;
mod leave;
mod life;
mod load;
mod read;
mod report;
mod retry;
mod schedules;
mod submit;
mod timeout;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::affinity::Affinity;
use super::agent::Agent;
use super::effect::{Effect, Event};
use super::family::Family;
use super::gates::Gates;
use super::idle::IdleAgents;
use super::ids::{AgentId, TaskId};
use super::limits::Limits;
use super::metrics::Counters;
use super::priority::Seq;
use super::queue::Queue;
use super::recurring::Recurring;
use super::refusal::Refusal;
use super::service_rate::ServiceRate;
use super::task::Task;
use super::time::Now;
use super::timers::Timers;
use changes::Unsaved;

pub use external::Heartbeat;
pub use fail::Failing;
pub use gates::{DEPENDENCY_UNAVAILABLE, GATE_CLOSED};
#[cfg(test)]
pub(super) use inspect::Inside;
pub use life::PIPE_CLOSED;
pub use submit::Accepted;

/// The random part of a wait: of a backoff (rule 7), or of how late a recurring job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jitter(u16);

impl Jitter {
    /// No shortening at all.
    pub const FULL: Self = Self(u16::MAX);

    /// Takes 16 random bits.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// A wait between half of `full_us` and all of it.
    #[must_use]
    pub const fn apply(self, full_us: u64) -> u64 {
        let half = full_us / 2;
        half + half * self.0 as u64 / u16::MAX as u64
    }

    /// A part of `most_us`, from nothing to all of it.
    #[must_use]
    pub const fn share(self, most_us: u64) -> u64 {
        (most_us as u128 * self.0 as u128 / u16::MAX as u128) as u64
    }
}

/// What the state machine of the pool knows: every agent, and every task that has not ended or
/// whose run is not over. Ended ones are the store's.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    tasks: BTreeMap<Seq, Task>,
    ids: BTreeMap<TaskId, Seq>,
    /// Tasks here by their idempotency key.
    keys: BTreeMap<Arc<str>, Seq>,
    next_seq: Seq,
    queue: Queue,
    agents: BTreeMap<AgentId, Agent>,
    idle: IdleAgents,
    family: Family,
    gates: Gates,
    /// What was learned of all agents together.
    learned: Affinity,
    timers: Timers,
    /// In the order of the configuration.
    schedules: Vec<Recurring>,
    rate: ServiceRate,
    counters: Counters,
    /// Process agents with a run.
    process_runs: usize,
    unsaved: Unsaved,
    closing: Option<Closing>,
    draining: bool,
    stopping: bool,
    /// Nobody outside can be heard any more.
    deaf: bool,
    store_full: Option<u64>,
}

/// A shutdown of the pool that goes on.
#[derive(Debug)]
struct Closing {
    stopped: usize,
    requeued: usize,
}

impl Scheduler {
    /// An empty pool.
    #[must_use]
    pub fn new(limits: Limits, gates: Gates) -> Self {
        Self {
            limits,
            tasks: BTreeMap::new(),
            ids: BTreeMap::new(),
            keys: BTreeMap::new(),
            next_seq: Seq::FIRST,
            queue: Queue::default(),
            agents: BTreeMap::new(),
            idle: IdleAgents::default(),
            family: Family::default(),
            gates,
            learned: Affinity::default(),
            timers: Timers::default(),
            schedules: Vec::new(),
            rate: ServiceRate::default(),
            counters: Counters::default(),
            process_runs: 0,
            unsaved: Unsaved::default(),
            closing: None,
            draining: false,
            stopping: false,
            deaf: false,
            store_full: None,
        }
    }

    fn agent(&self, id: AgentId) -> Result<&Agent, Refusal> {
        self.agents.get(&id).ok_or(Refusal::AgentNotFound)
    }

    fn agent_mut(&mut self, id: AgentId) -> Result<&mut Agent, Refusal> {
        self.agents.get_mut(&id).ok_or(Refusal::AgentNotFound)
    }

    fn task_by_id(&self, id: TaskId) -> Result<&Task, Refusal> {
        self.ids.get(&id).and_then(|seq| self.tasks.get(seq)).ok_or(Refusal::TaskNotFound)
    }

    /// Offers the agent to the queue if it may be given a task now.
    fn offer(&mut self, id: AgentId, now: Now) {
        let Some(agent) = self.agents.get(&id) else { return };
        if agent.is_candidate() && !self.idle.contains(id) {
            self.idle.insert(id, now.mono_us, agent.types, &agent.affinity);
        }
    }

    /// Says how the status of the agent changed, for the log.
    fn status_changed(&mut self, id: AgentId, effects: &mut Vec<Effect>) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        let (status, health) = (agent.status(), agent.health.clone());
        let now = Some((agent.incarnation, status, health));
        if agent.said == now {
            return;
        }
        agent.said = now;
        let (reason, detail) = agent.status_reason().unzip();
        effects.push(Effect::Event(Event::AgentStatusChanged {
            agent: id,
            incarnation: agent.incarnation,
            status: agent.status().name(),
            reason,
            detail: detail.unwrap_or_default().to_owned(),
        }));
    }
}
