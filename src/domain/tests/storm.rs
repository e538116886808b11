//! Storms: random events in random order, ends of the daemon among them, every invariant after
//! each, and in the end every accepted task must have ended.
//!
//! A failing case prints its smallest list of events and is kept in
//! `proptest-regressions/domain_storm.txt`, which every later run repeats first. `PROPTEST_CASES`
//! asks for more cases than the usual number, `PROPTEST_RNG_SEED` for other ones, and
//! `PROPTEST_MAX_SHRINK_ITERS` for a longer search for the smallest list.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use super::happens::{Happens, any_event, any_event_of_gates};
use super::world::{Deaths, World, agent, error, name, success, task, unavailable};
use crate::domain::task::Task;
use crate::domain::{
    AgentKind, Attempt, GateMode, GateSpec, Incarnation, Jitter, Preference, Priority, Refusal,
    Report, SECOND_US, TaskState, TaskStatus, TaskType, TaskTypes,
};

const CASES: u32 = 3_000; // for each of the two storms
const CASES_OF_GATES: u32 = 1_000;
const AGENTS: [&str; 6] = ["anna", "bert", "carl", "dora", "eve", "finn"];

/// What the world does not know: which calls are open.
struct Storm {
    world: World,
    /// How many submits there were, accepted or not.
    submits: usize,
    open_calls: [u32; AGENTS.len()],
}

impl Storm {
    fn new(deaths: Deaths, grace_us: u64) -> Self {
        let gate =
            |name: &str, kinds: &[TaskType]| GateSpec::new(name, kinds.iter().copied().collect());
        let mut gates = vec![
            gate("discovery", &[TaskType::Discovery, TaskType::Migration]),
            gate("web", &[TaskType::Research, TaskType::Discovery]),
        ];
        gates[0].hold_us = 2 * SECOND_US;
        gates[1].is_probed = true;
        gates[1].max_wait_us = Some(40 * SECOND_US);
        let limits = |limits: &mut crate::domain::Limits| {
            limits.max_depth = 12;
            limits.cancel_grace_us = grace_us;
            limits.affinity_window = 3;
            limits.timeout_us = [30 * SECOND_US; TaskType::COUNT];
        };
        let mut world = World::with(limits, gates);
        world.deaths = deaths;
        Self { world, submits: 0, open_calls: [0; AGENTS.len()] }
    }

    fn report(&self, number: u8) -> Report {
        match number % 8 {
            0..4 => success(),
            4..6 => error(true),
            6 => error(false),
            _ => Report::Cancelled { usage: None },
        }
    }

    fn task_name(&self, number: u8) -> String {
        format!("t{}", usize::from(number) % self.submits.max(1))
    }

    fn exists(&self, who: &str) -> bool {
        self.world.scheduler.agent_view(agent(who)).is_ok()
    }

    fn is_external(&self, who: &str) -> bool {
        self.world
            .scheduler
            .agent_view(agent(who))
            .is_ok_and(|view| view.kind != AgentKind::Process)
    }

    /// Something happens, and what comes of it when the daemon ends meanwhile.
    fn comes(&mut self, event: Happens) {
        self.happens(event);
        if self.world.dead {
            self.world.crash();
            self.lives_begin(self.submits as u8); // some of them
        }
    }

    fn happens(&mut self, event: Happens) {
        let who = |number: u8| usize::from(number) % AGENTS.len();
        let world = &mut self.world;
        match event {
            Happens::Submit { kind, priority, preferred, timeout } => {
                let what = format!("t{}", self.submits);
                self.submits += 1;
                let kind = TaskType::ALL[usize::from(kind) % 4];
                let _ = world.submit_with(&what, kind, |spec| {
                    spec.priority = Priority::new(i64::from(priority % 3)).unwrap();
                    spec.preferred = match preferred % 16 {
                        0 => Some(Err(Preference::Unknown)),
                        1 => Some(Ok(agent("nobody"))),
                        2..8 => Some(Ok(agent(AGENTS[who(preferred / 16)]))),
                        _ => None,
                    };
                    spec.timeout_us = (timeout % 4 == 0).then_some(u64::from(timeout) * 50_000 + 1);
                });
            }
            Happens::Cancel { task } => {
                let what = self.task_name(task);
                let _ = self.world.cancel(&what);
            }
            Happens::Started { agent } => {
                if !self.is_external(AGENTS[who(agent)]) {
                    self.world.start(AGENTS[who(agent)]);
                }
            }
            Happens::Signalled { agent } => world.signal(AGENTS[who(agent)]),
            Happens::OutOfPatience { agent } => {
                let who = AGENTS[who(agent)];
                if world.is_being_asked(who) {
                    world.give_up_run(who);
                }
            }
            Happens::Ended { agent, report } => {
                let report = self.report(report);
                if !self.is_external(AGENTS[who(agent)]) {
                    self.world.finish(AGENTS[who(agent)], report);
                }
            }
            Happens::Complete { task, attempt, report, jitter } => {
                let (what, report) = (self.task_name(task), self.report(report % 7));
                let attempt = (attempt % 4 > 0).then(|| u32::from(attempt / 4 % 4));
                let jitter = Jitter::from_bits(u16::from(jitter) << 8);
                let _ = self.world.complete_with(&what, attempt, report, jitter);
            }
            Happens::CompleteRun { agent, report, jitter } => {
                let Some((task, attempt)) = world.run_of(AGENTS[who(agent)]) else { return };
                let report = self.report(report % 7);
                let jitter = Jitter::from_bits(u16::from(jitter) << 8);
                let attempt = Some(attempt.get());
                let _ = self.world.complete_with(&name(task), attempt, report, jitter);
            }
            Happens::Forged { agent, task, attempt, life } => {
                self.forge(AGENTS[who(agent)], task, attempt, life);
            }
            Happens::Spawn { agent, kind, types } => {
                self.spawn(who(agent), kind, types);
            }
            Happens::Ready { agent, life } => {
                // also late, doubled and of an older life
                let id = super::world::agent(AGENTS[who(agent)]);
                let life = world.life(AGENTS[who(agent)]).get() - u32::from(life % 4 == 0);
                if !self.is_external(AGENTS[who(agent)]) {
                    self.world.ready_in(id, Incarnation::new(life));
                }
            }
            Happens::Lost { agent } => world.lose(AGENTS[who(agent)]),
            Happens::ActorGone { agent } => world.actor_gone(AGENTS[who(agent)]),
            Happens::TreeGone { agent } => world.tree_gone(AGENTS[who(agent)]),
            Happens::Silent { agent } => world.goes_silent(AGENTS[who(agent)]),
            Happens::Overdue { agent } => world.overdue(AGENTS[who(agent)]),
            Happens::Stuck { agent } => world.tree_stuck(AGENTS[who(agent)]),
            Happens::Fail { agent } => drop(world.fail(AGENTS[who(agent)])),
            Happens::Recover { agent } => drop(world.recover(AGENTS[who(agent)])),
            Happens::GivenUp { agent } => {
                if world.lost.contains_key(&super::world::agent(AGENTS[who(agent)])) {
                    world.give_up(AGENTS[who(agent)]);
                }
            }
            Happens::Restart { agent, ready } => {
                if ready % 4 == 0 {
                    world.begin_life(AGENTS[who(agent)]);
                } else {
                    world.restart(AGENTS[who(agent)]);
                }
            }
            Happens::Remove { agent, drain } => {
                let drain = u64::from(drain % 3) * u64::from(drain % 7);
                drop(world.remove(AGENTS[who(agent)], drain));
            }
            Happens::Heartbeat { agent, life } => {
                let current = world.life(AGENTS[who(agent)]).get();
                let life = (life % 4 == 0).then(|| current.saturating_sub(u32::from(life / 128)));
                drop(world.heartbeat_as(AGENTS[who(agent)], life));
            }
            Happens::Fetch { agent } => drop(world.fetch(AGENTS[who(agent)])),
            Happens::CallOpened { agent } => {
                if self.is_external(AGENTS[who(agent)])
                    && self.world.fetch(AGENTS[who(agent)]).is_ok()
                {
                    self.open_calls[who(agent)] += 1;
                    self.world.call_opened(AGENTS[who(agent)]);
                }
            }
            Happens::CallClosed { agent } => self.close_call(who(agent)),
            Happens::Gate { gate, open } => {
                let gate = ["discovery", "web", "none"][usize::from(gate) % 3];
                world.gate(gate, open % 3 > 0);
            }
            Happens::OrderGate { gate, mode } => {
                let gate = ["discovery", "web", "none"][usize::from(gate) % 3];
                let modes = [GateMode::Auto, GateMode::Open, GateMode::Closed, GateMode::Auto];
                let _ = world.order(gate, modes[usize::from(mode) % 4]);
            }
            Happens::DependencyDown { agent } => {
                let who = AGENTS[who(agent)];
                let Some((task, attempt)) = world.run_of(who) else { return };
                if self.is_external(who) {
                    let (what, attempt) = (name(task), Some(attempt.get()));
                    let _ = self.world.complete(&what, attempt, unavailable());
                } else {
                    self.world.finish(who, unavailable());
                }
            }
            Happens::Pass { tenths } => world.pass(f64::from(tenths) / 20.0),
            Happens::PassLong { seconds } => world.pass(f64::from(seconds)),
            Happens::StandStill { tenths } => world.stand_still(f64::from(tenths) / 10.0),
            Happens::ClosePool { drain, discard } => {
                world.close_pool(u64::from(drain % 8), discard % 2 == 0);
            }
            Happens::SubmitKeyed { key, content } => self.submit_keyed(key % 4, content % 8 / 7),
            Happens::Retry { task } => {
                let what = self.task_name(task);
                let _ = self.world.retry(&what);
            }
            Happens::RetryAll { cancelled } => {
                let cancelled = cancelled % 2 == 0;
                let status = if cancelled { TaskStatus::Cancelled } else { TaskStatus::Failed };
                let _ = world.retry_all(status);
            }
            Happens::Crash { seconds, overlap, lives } => {
                world.crash_for(f64::from(seconds) / 8.0 - 4.0, overlap % 4 == 0);
                self.lives_begin(lives);
            }
            Happens::CrashBeforeCommit { turns } => world.lost_after = Some(u32::from(turns % 4)),
            Happens::StopAndStart { lives, kills } => self.stop_and_start(lives, kills % 2 == 0),
            Happens::TurnClock { seconds } => world.turn_clock(f64::from(seconds) / 8.0 - 16.0),
            Happens::Target { agents } => world.set_target(usize::from(agents % 8)),
            Happens::Child { agent, how, preferred } => {
                let Some((task, _)) = world.run_of(AGENTS[who(agent)]) else { return };
                self.submit_child(&name(task), how, AGENTS.get(usize::from(preferred % 12)));
            }
            Happens::ChildOf { task, how } => self.submit_child(&self.task_name(task), how, None),
        }
    }

    fn submit_child(&mut self, parent: &str, how: u8, preferred: Option<&&str>) {
        let what = format!("t{}", self.submits);
        self.submits += 1;
        let _ = self.world.some_child(&what, parent, how, preferred.map(|who| Ok(agent(who))));
    }

    /// A submit under a key is accepted, or answered as one before it was.
    fn submit_keyed(&mut self, key: u8, content: u8) {
        let (what, key) = (format!("t{}", self.submits), format!("k{key}"));
        self.submits += 1;
        let known = self.world.disk.task_of_key(&key).map(|task| (task.id, task.spec.key.clone()));
        let answer = self.world.submit_keyed(&what, &key, content, |_| {});
        match (known, answer) {
            (None, Ok(accepted)) => assert_eq!(accepted.task_id, task(&what)),
            (None, Err(refusal)) => {
                assert!(!matches!(refusal, Refusal::IdempotencyConflict { .. }))
            }
            (Some((id, Some(key))), answer) if key.content.0 == [content; 32] => {
                assert_eq!(answer.map(|accepted| accepted.task_id), Ok(id));
            }
            (Some((task_id, _)), answer) => {
                assert_eq!(answer, Err(Refusal::IdempotencyConflict { task_id }));
            }
        }
    }

    /// After a start the supervisor begins the next lives, at once or later.
    fn lives_begin(&mut self, lives: u8) {
        self.open_calls = Default::default();
        for (n, who) in AGENTS.into_iter().enumerate() {
            if lives >> n & 1 == 1 {
                self.world.restart(who);
            }
        }
    }

    /// An orderly stop interrupts what runs on processes, and costs no task anything.
    fn stop_and_start(&mut self, lives: u8, kills: bool) {
        let world = &mut self.world;
        if kills {
            world.stop_at_once();
        } else {
            world.stop();
        }
        // What still runs is with an external agent, whose time goes on: at the start it may be up, or
        // the agent have to make room for what it waits for. A crash it must not meet.
        let runs = |task: &&Task| matches!(task.state, TaskState::InProgress { .. });
        let outside: BTreeSet<_> = world.disk.all().filter(runs).map(|task| task.id).collect();
        let costs = |world: &World| -> Vec<_> {
            let counts = |task: &Task| {
                (!outside.contains(&task.id)).then_some((task.failures, task.interruptions))
            };
            let crashes = |task: &Task| {
                let ends = task.attempts.iter().filter_map(|attempt| attempt.end.as_ref());
                let failures = ends.filter_map(|end| end.failure.as_ref());
                failures.filter(|failure| failure.cause == "daemon_crashed").count()
            };
            world.disk.all().map(|task| (task.id, counts(task), crashes(task))).collect()
        };
        let (before, orderly) = (costs(world), !world.dead);
        world.crash();
        if orderly {
            assert_eq!(costs(world), before, "an orderly stop was taken for a crash");
        }
        self.lives_begin(lives);
    }

    fn close_call(&mut self, who: usize) {
        if self.open_calls[who] > 0 {
            self.open_calls[who] -= 1;
            self.world.call_closed(AGENTS[who]);
        }
    }

    fn spawn(&mut self, who: usize, kind: u8, types: u8) {
        if self.exists(AGENTS[who]) {
            return;
        }
        let types: TaskTypes = match types % 4 {
            0 => [TaskType::Discovery, TaskType::Research].into_iter().collect(),
            1 => [TaskType::ALL[usize::from(types / 4) % 4]].into_iter().collect(),
            _ => TaskTypes::ALL,
        };
        self.open_calls[who] = 0;
        let who = AGENTS[who];
        match kind % 8 {
            0..4 => self.world.spawn_for(who, types),
            4 => self.world.spawn_starting(who, types),
            5 => self.world.add(who, AgentKind::External { lease_us: None }, types),
            _ => {
                let lease_us = Some(u64::from(kind) / 8 * SECOND_US / 2 + SECOND_US);
                self.world.add(who, AgentKind::External { lease_us }, types);
            }
        }
    }

    /// A report that is not about the present run of the present life.
    fn forge(&mut self, who: &str, task_number: u8, attempt: u8, life: u8) {
        let what = self.task_name(task_number);
        let (attempt, life) = (u32::from(attempt % 4), u32::from(life % 4));
        let present = self.world.run_of(who) == Some((task(&what), Attempt::new(attempt)));
        if (present && self.world.life(who).get() == life) || self.is_external(who) {
            return;
        }
        let before = format!("{:?}", self.world.scheduler);
        self.world.report(who, life, &what, attempt, success());
        let after = format!("{:?}", self.world.scheduler);
        assert_eq!(before, after, "a forged report changed something");
    }

    /// The daemon stops: nothing of a process agent is open any more, and no task is lost.
    fn stops(&mut self) {
        let world = &mut self.world;
        world.drain();
        world.stop_process_runs();
        for who in AGENTS {
            world.lose(who);
        }
        assert_eq!(world.drained, 1, "the end of the drain is said once");
        for task in world.disk.live() {
            let TaskState::InProgress { agent } = task.state else { continue };
            let kind = world.disk.agents[&agent].kind;
            assert_ne!(kind, AgentKind::Process, "{} is still open", name(task.id));
        }
    }

    /// Opens all gates, brings agents for every type and answers every run, until nothing moves.
    fn calms_down(&mut self) {
        let world = &mut self.world;
        world.deaths = Deaths::ActorFirst;
        for who in AGENTS {
            world.lose(who);
        }
        // Without a grace every time-out costs the life of an agent.
        world.restarts = true;
        world.pass(20.0); // longer than any drain
        assert!(world.underway.is_empty(), "a client that failed an agent was never answered");
        assert!(!world.inside().closing, "a shutdown of the pool never ended");
        let leaving = world.inside().agents.values().find(|agent| agent.leaving.is_some());
        assert!(leaving.is_none(), "a removal never ended");
        for gate in ["discovery", "web"] {
            world.order(gate, GateMode::Auto).unwrap();
            world.gate(gate, true);
        }
        world.spawn("zoe");
        world.spawn("zac");
        for _ in 0..2_000 {
            for who in AGENTS.into_iter().chain(["zoe", "zac"]) {
                let Some((what, attempt)) = world.run_of(who) else { continue };
                world.finish(who, success());
                let _ = world.complete(&name(what), Some(attempt.get()), success());
            }
            if world.accepted.len() == world.ended.len() {
                return;
            }
            world.pass(1.0);
        }
        let live: Vec<_> = world.accepted.iter().map(name).map(|t| world.describe(&t)).collect();
        panic!("some task never ended: {live:#?}");
    }
}

fn run(events: Vec<Happens>, deaths: Deaths, grace_us: u64, stops: bool) {
    let mut storm = Storm::new(deaths, grace_us);
    for event in events {
        storm.comes(event);
    }
    storm.world.lost_after = None;
    if stops {
        storm.stops();
        return;
    }
    storm.calms_down();
    let metrics = storm.world.metrics();
    assert_eq!(metrics.tasks_pending + metrics.tasks_in_progress, 0);
    let (accepted, ended) = (storm.world.accepted.len(), storm.world.ended.len());
    assert_eq!(accepted, ended, "every accepted task reached one terminal state");
    assert!(storm.world.ended.values().all(|status| TaskStatus::is_terminal(*status)));
    assert_eq!(storm.world.disk.live().count(), 0);
}

/// With a ladder, and without one.
fn any_grace() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(5 * SECOND_US), 1 => Just(0)]
}

fn config(cases: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    let file = "proptest-regressions/domain_storm.txt";
    ProptestConfig {
        cases: usual.cases.max(cases),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(file))),
        ..usual
    }
}

proptest! {
    #![proptest_config(config(CASES))]

    #[test]
    fn no_storm_breaks_an_invariant(events in vec(any_event(), 0..80), grace_us in any_grace()) {
        run(events, Deaths::ByHand, grace_us, false);
    }

    #[test]
    fn no_storm_breaks_an_invariant_when_kills_work(
        events in vec(any_event(), 0..80),
        tree_first in any::<bool>(),
        stops in any::<bool>(),
        grace_us in any_grace(),
    ) {
        let deaths = if tree_first { Deaths::TreeFirst } else { Deaths::ActorFirst };
        run(events, deaths, grace_us, stops);
    }
}

proptest! {
    #![proptest_config(config(CASES_OF_GATES))]

    /// Mostly gates, and tasks that wait for them.
    #[test]
    fn no_flapping_of_gates_breaks_an_invariant(events in vec(any_event_of_gates(), 0..100)) {
        run(events, Deaths::ActorFirst, 5 * SECOND_US, false);
    }
}
