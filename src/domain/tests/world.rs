//! A small world around the scheduler: names instead of ids, a clock that is turned by hand, and
//! an outside that kills processes when it is told to. The one place of the tests that knows the
//! scheduler's API; after each of its calls every invariant is checked.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::daemon::{Answer, Base};
use super::disk::Disk;
use super::gating::Gating;
use super::invariants::Before;
use super::stops::Ladders;
use crate::domain::scheduler::Inside;
use crate::domain::{
    Accepted, AgentId, AgentKind, Attempt, ContextIds, Effect, Failing, Failure, GateSpec, Gates,
    Heartbeat, Incarnation, Jitter, Limits, Now, Priority, Refusal, Report, SECOND_US, Scheduler,
    Snapshot, StatusReason, TaskError, TaskId, TaskSpec, TaskStatus, TaskType, TaskTypes, TraceId,
};

/// When the first daemon starts.
const START_US: u64 = 1_700_000_000 * SECOND_US;

/// In which order the world answers a kill, or whether the test does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deaths {
    ActorFirst,
    TreeFirst,
    ByHand,
}

pub(super) struct World {
    pub scheduler: Scheduler,
    pub now: Now,
    /// What the last verb wanted done, in order.
    pub effects: Vec<Effect>,
    pub deaths: Deaths,
    /// Whether a lost agent is begun again at once.
    pub restarts: bool,
    /// Lives that somebody wanted ended and that the test ends by hand.
    pub dying: BTreeSet<(AgentId, Incarnation)>,
    /// Agents that were lost and not begun again.
    pub lost: BTreeMap<AgentId, Incarnation>,
    /// The latencies of every success, the oldest first; an oracle's own memory.
    pub learned: BTreeMap<(AgentId, TaskType), Vec<u64>>,
    /// Every task that has ended and how: it must never change again, unless somebody retries it.
    pub ended: BTreeMap<TaskId, TaskStatus>,
    pub accepted: BTreeSet<TaskId>,
    /// Since when each idle agent is idle; an oracle's own memory.
    pub idle_since: BTreeMap<AgentId, u64>,
    /// Agents whose failing by a client was not answered yet.
    pub underway: BTreeSet<AgentId>,
    /// What was ordered of runs that are to end.
    pub ladders: Ladders,
    /// How often the daemon was told that it has drained.
    pub drained: usize,
    /// What the store has.
    pub disk: Disk,
    /// The model of the gates.
    pub gating: Gating,
    /// What there was when the daemon started.
    pub base: Base,
    /// How many attempts a task had when it was retried last.
    pub retried_at: BTreeMap<TaskId, usize>,
    /// Retries that wait for the end of a run.
    pub waiting_retries: BTreeSet<TaskId>,
    /// After how many turns the daemon ends before what it did is on disk.
    pub lost_after: Option<u32>,
    /// The daemon has ended; whatever it does now, nobody hears of it.
    pub dead: bool,
    /// For how long the daemon stood still since it started.
    pub stood_still_us: u64,
    /// What the next daemon is configured with.
    pub limits: Limits,
    pub gates: Vec<GateSpec>,
    /// Checks nothing, for scenarios with many tasks.
    pub unchecked: bool,
    fresh: u64,
}

/// Ids are names in bytes, so their order is the order of the names.
fn uuid(name: &str) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    Uuid::from_bytes(bytes)
}

pub(super) fn agent(name: &str) -> AgentId {
    AgentId::from_uuid(uuid(name))
}

pub(super) fn task(name: &str) -> TaskId {
    TaskId::from_uuid(uuid(name))
}

/// The name behind an id.
pub(super) fn name(id: impl ToString) -> String {
    let uuid = Uuid::parse_str(&id.to_string()).unwrap();
    let text: Vec<u8> = uuid.into_bytes().into_iter().take_while(|&byte| byte != 0).collect();
    String::from_utf8(text).unwrap()
}

pub(super) fn plain_spec(kind: TaskType) -> TaskSpec {
    TaskSpec {
        kind,
        payload: serde_json::from_str("{}").unwrap(),
        priority: Priority::default(),
        preferred: None,
        timeout_us: None,
        key: None,
        trace: TraceId::parse("trace").unwrap(),
    }
}

pub(super) fn success() -> Report {
    Report::Completed { result: None, usage: None }
}

pub(super) fn error(retryable: bool) -> Report {
    let error = TaskError { code: "oops".into(), message: "it went wrong".into(), retryable };
    Report::Failed { error, usage: None }
}

/// A dependency of the task is down.
pub(super) fn unavailable() -> Report {
    let (code, message) = ("dependency_unavailable".into(), "no answer".into());
    Report::Failed { error: TaskError { code, message, retryable: false }, usage: None }
}

pub(super) fn seconds(seconds: f64) -> u64 {
    (seconds * SECOND_US as f64).round() as u64
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(|_| {}, Vec::new())
    }

    /// Process agents of these names, ready.
    pub(super) fn with_agents<const N: usize>(names: [&str; N]) -> Self {
        let mut world = Self::new();
        for name in names {
            world.spawn(name);
        }
        world
    }

    pub(super) fn with(limits: impl FnOnce(&mut Limits), gates: Vec<GateSpec>) -> Self {
        let mut chosen = Limits::default();
        limits(&mut chosen);
        let now = Now { mono_us: START_US, wall_us: START_US };
        let mut disk = Disk::default();
        let (known, empty) = (Gates::new(gates.clone()), Snapshot::default());
        let mut scheduler =
            Scheduler::load(chosen.clone(), known, empty, false, now, &mut Vec::new());
        disk.apply(scheduler.take_changes(now), &[], now);
        Self {
            scheduler,
            now,
            gating: Gating::start(&gates, &Disk::default(), now),
            effects: Vec::new(),
            deaths: Deaths::ActorFirst,
            restarts: false,
            dying: BTreeSet::new(),
            lost: BTreeMap::new(),
            learned: BTreeMap::new(),
            ended: BTreeMap::new(),
            accepted: BTreeSet::new(),
            idle_since: BTreeMap::new(),
            underway: BTreeSet::new(),
            ladders: Ladders::default(),
            drained: 0,
            disk,
            base: Base::default(),
            retried_at: BTreeMap::new(),
            waiting_retries: BTreeSet::new(),
            lost_after: None,
            dead: false,
            stood_still_us: 0,
            limits: chosen,
            gates,
            unchecked: false,
            fresh: 0,
        }
    }

    pub(super) fn inside(&self) -> Inside<'_> {
        self.scheduler.inside()
    }

    pub(super) fn fresh(&mut self) -> ContextIds {
        let mut id = || {
            self.fresh += 1;
            Uuid::from_u128(u128::from(self.fresh))
        };
        ContextIds { context_window_id: id(), tool_session_id: id(), memory_handle_id: id() }
    }

    /// One call of the scheduler, with every check around it, and then what the outside does.
    pub(super) fn call<T: Answer>(
        &mut self,
        verb: impl FnOnce(&mut Scheduler, Now, &mut Vec<Effect>) -> T,
    ) -> T {
        self.effects.clear();
        self.step(verb)
    }

    pub(super) fn step<T: Answer>(
        &mut self,
        verb: impl FnOnce(&mut Scheduler, Now, &mut Vec<Effect>) -> T,
    ) -> T {
        let checked = !(self.unchecked || self.dead);
        let before = if checked { Before::of(self) } else { Before::default() };
        let mut effects = Vec::new();
        let answer = verb(&mut self.scheduler, self.now, &mut effects);
        let changes = self.scheduler.take_changes(self.now);
        if !self.is_lost() {
            self.committed(&before, answer.is_refusal(), changes, effects);
        }
        answer
    }

    /// The present life of the agent.
    pub(super) fn life(&self, who: &str) -> Incarnation {
        let view = self.scheduler.agent_view(agent(who));
        view.map_or(Incarnation::FIRST, |view| view.incarnation)
    }

    // --- agents ---

    pub(super) fn spawn(&mut self, who: &str) {
        self.spawn_for(who, TaskTypes::ALL);
    }

    pub(super) fn spawn_for(&mut self, who: &str, types: TaskTypes) {
        self.spawn_starting(who, types);
        self.ready(who);
    }

    pub(super) fn spawn_starting(&mut self, who: &str, types: TaskTypes) {
        self.add(who, AgentKind::Process, types);
    }

    /// An external agent without a lease.
    pub(super) fn join(&mut self, who: &str) {
        self.add(who, AgentKind::External { lease_us: None }, TaskTypes::ALL);
    }

    /// An external agent with a lease that has not called yet.
    pub(super) fn join_leased(&mut self, who: &str, lease_s: u64) {
        let kind = AgentKind::External { lease_us: Some(lease_s * SECOND_US) };
        self.add(who, kind, TaskTypes::ALL);
    }

    pub(super) fn add(&mut self, who: &str, kind: AgentKind, types: TaskTypes) {
        let fresh = self.fresh();
        self.call(|s, now, fx| s.add_agent(agent(who), kind, types, fresh, now, fx));
    }

    pub(super) fn ready(&mut self, who: &str) {
        self.effects.clear();
        self.ready_of(agent(who), self.life(who));
    }

    /// An agent says that it is ready in this life, whether or not that is the present one.
    pub(super) fn ready_in(&mut self, id: AgentId, life: Incarnation) {
        self.effects.clear();
        self.ready_of(id, life);
    }

    /// The supervisor begins the next life of a lost agent, and it is ready.
    pub(super) fn restart(&mut self, who: &str) {
        self.effects.clear();
        self.restart_of(agent(who));
    }

    pub(super) fn begin_life(&mut self, who: &str) {
        let Some(life) = self.lost.remove(&agent(who)) else { return };
        let fresh = self.fresh();
        self.call(|s, now, fx| s.begin_life(agent(who), life.next(), fresh, now, fx));
    }

    pub(super) fn give_up(&mut self, who: &str) {
        let reason = StatusReason::RestartsExhausted;
        self.call(|s, now, fx| s.give_up_agent(agent(who), reason, "too often".into(), now, fx));
    }

    /// The whole process dies by itself.
    pub(super) fn lose(&mut self, who: &str) {
        let life = self.life(who);
        self.effects.clear();
        if self.deaths == Deaths::TreeFirst {
            self.tree_gone_of(agent(who), life);
            self.actor_gone_of(agent(who), life);
        } else {
            self.actor_gone_of(agent(who), life);
            self.tree_gone_of(agent(who), life);
        }
    }

    pub(super) fn actor_gone(&mut self, who: &str) {
        self.effects.clear();
        self.actor_gone_of(agent(who), self.life(who));
    }

    pub(super) fn tree_gone(&mut self, who: &str) {
        self.effects.clear();
        self.tree_gone_of(agent(who), self.life(who));
    }

    /// The watcher says that the agent is no good; its actor lives.
    pub(super) fn goes_silent(&mut self, who: &str) {
        let (id, life) = (agent(who), self.life(who));
        let failure = Failure::new("silent", "no frame came");
        self.call(|s, now, fx| s.agent_failed(id, life, failure, false, now, fx));
    }

    pub(super) fn tree_stuck(&mut self, who: &str) {
        let life = self.life(who);
        self.call(|s, now, fx| s.tree_stuck(agent(who), life, now, fx));
    }

    pub(super) fn fail(&mut self, who: &str) -> Result<Failing, Refusal> {
        // The answer stands before the world kills anybody.
        let deaths = std::mem::replace(&mut self.deaths, Deaths::ByHand);
        let answer = self.call(|s, now, fx| s.fail_agent(agent(who), "no good", now, fx));
        self.deaths = deaths;
        if answer == Ok(Failing::Underway) && !self.dead {
            self.underway.insert(agent(who));
        }
        if deaths != Deaths::ByHand && self.dying.contains(&(agent(who), self.life(who))) {
            self.kill(agent(who), self.life(who));
        }
        answer
    }

    pub(super) fn recover(&mut self, who: &str) -> Result<(), Refusal> {
        let fresh = self.fresh();
        self.call(|s, now, fx| s.recover_agent(agent(who), fresh, now, fx))
    }

    pub(super) fn remove(&mut self, who: &str, drain_s: u64) -> Result<(), Refusal> {
        self.call(|s, now, fx| s.remove_agent(agent(who), drain_s * SECOND_US, now, fx))
    }

    pub(super) fn close_pool(&mut self, drain_s: u64, discard: bool) {
        self.call(|s, now, fx| s.close_pool(drain_s * SECOND_US, discard, now, fx));
    }

    pub(super) fn drain(&mut self) {
        self.call(|s, _, fx| s.drain(fx));
    }

    pub(super) fn stop_listening(&mut self) {
        self.call(|s, _, _| s.stop_listening());
    }

    pub(super) fn stop_process_runs(&mut self) {
        self.call(|s, now, fx| s.stop_processes(now, fx));
    }

    pub(super) fn heartbeat(&mut self, who: &str) -> Result<Heartbeat, Refusal> {
        self.heartbeat_as(who, None)
    }

    pub(super) fn heartbeat_as(
        &mut self,
        who: &str,
        life: Option<u32>,
    ) -> Result<Heartbeat, Refusal> {
        let (fresh, life) = (self.fresh(), life.map(Incarnation::new));
        self.call(|s, now, fx| s.heartbeat(agent(who), life, fresh, now, fx))
    }

    /// What the agent is given: task, attempt.
    pub(super) fn fetch(&mut self, who: &str) -> Result<Option<(String, u32)>, Refusal> {
        let fresh = self.fresh();
        let answer = self.call(|s, now, fx| s.fetch(agent(who), None, fresh, now, fx))?;
        Ok(answer.1.map(|work| (name(work.task_id), work.attempt.get())))
    }

    pub(super) fn call_opened(&mut self, who: &str) {
        self.call(|s, now, _| s.call_opened(agent(who), now));
    }

    pub(super) fn call_closed(&mut self, who: &str) {
        self.call(|s, now, _| s.call_closed(agent(who), now));
    }

    // --- tasks ---

    pub(super) fn submit(&mut self, what: &str, kind: TaskType) -> Result<Accepted, Refusal> {
        self.submit_with(what, kind, |_| {})
    }

    pub(super) fn submit_at(&mut self, what: &str, priority: i64) -> Result<Accepted, Refusal> {
        self.submit_with(what, TaskType::General, |spec| {
            spec.priority = Priority::new(priority).unwrap();
        })
    }

    pub(super) fn submit_to(&mut self, what: &str, who: &str) -> Result<Accepted, Refusal> {
        self.submit_with(what, TaskType::General, |spec| spec.preferred = Some(Ok(agent(who))))
    }

    pub(super) fn submit_with(
        &mut self,
        what: &str,
        kind: TaskType,
        change: impl FnOnce(&mut TaskSpec),
    ) -> Result<Accepted, Refusal> {
        let mut spec = plain_spec(kind);
        change(&mut spec);
        self.call(|s, now, fx| s.submit(task(what), spec, now, fx))
    }

    pub(super) fn cancel(&mut self, what: &str) -> Result<TaskStatus, Refusal> {
        let answer = self.call(|s, now, fx| s.cancel(task(what), now, fx));
        self.or_of_the_past(what, answer)
    }

    /// The process agent says that it started what it has.
    pub(super) fn start(&mut self, who: &str) {
        let Some((task_id, attempt)) = self.run_of(who) else { return };
        let life = self.life(who);
        self.call(|s, now, fx| s.task_started(agent(who), life, task_id, attempt, now, fx));
    }

    /// The process of the agent was asked to end what it has, and is signalled.
    pub(super) fn signal(&mut self, who: &str) {
        let Some((task_id, attempt)) = self.run_of(who) else { return };
        let life = self.life(who);
        self.call(|s, now, _| s.run_signalled(agent(who), life, task_id, attempt, now));
    }

    /// The process agent reports how what it has ended.
    pub(super) fn finish(&mut self, who: &str, report: Report) {
        let Some((task_id, attempt)) = self.run_of(who) else { return };
        let life = self.life(who);
        self.report(who, life.get(), &name(task_id), attempt.get(), report);
    }

    /// A report as it came, whether or not it is about anything.
    pub(super) fn report(&mut self, who: &str, life: u32, what: &str, n: u32, report: Report) {
        let (who, life) = (agent(who), Incarnation::new(life));
        let (what, n) = (task(what), Attempt::new(n));
        self.call(|s, now, fx| s.task_ended(who, life, what, n, report, now, Jitter::FULL, fx));
    }

    pub(super) fn complete(
        &mut self,
        what: &str,
        attempt: Option<u32>,
        report: Report,
    ) -> Result<TaskStatus, Refusal> {
        self.complete_with(what, attempt, report, Jitter::FULL)
    }

    pub(super) fn complete_with(
        &mut self,
        what: &str,
        attempt: Option<u32>,
        report: Report,
        jitter: Jitter,
    ) -> Result<TaskStatus, Refusal> {
        let attempt = attempt.map(Attempt::new);
        let answer =
            self.call(|s, now, fx| s.complete(task(what), attempt, report, now, jitter, fx));
        self.or_of_the_past(what, answer)
    }

    /// What is not in memory has ended, if there ever was such a task.
    fn or_of_the_past<T>(&self, what: &str, answer: Result<T, Refusal>) -> Result<T, Refusal> {
        answer.map_err(|refusal| match self.disk.ended(task(what)) {
            Some(ended) if refusal == Refusal::TaskNotFound => ended.already_finished(),
            _ => refusal,
        })
    }

    /// Submits a task, has this agent complete it after so long, and forgets about it.
    pub(super) fn teach(&mut self, who: &str, kind: TaskType, took_s: f64) {
        let what = format!("teach{}", self.accepted.len());
        self.submit_with(&what, kind, |spec| spec.preferred = Some(Ok(agent(who)))).unwrap();
        self.expect(&what, &format!("in_progress on {who}, attempt 1"));
        self.start(who);
        self.pass(took_s);
        self.finish(who, success());
        self.expect(&what, &format!("completed on {who}, attempt 1"));
    }
}
