//! The scheduler alone, without actors, store or HTTP: what one decision costs, and how that grows
//! with the number of agents and of queued tasks.
//!
//! `cargo bench --bench scheduler` prints the median of several rounds. A decision at 1 000 agents
//! and 1 000 000 queued tasks should take at most 5 us, and at most 6 times the one at 16 and 100.

#![expect(clippy::print_stdout, reason = "a bench reports to its terminal")]
#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]
#![expect(clippy::unwrap_used, reason = "a benchmark")]

mod machine;

use std::hint::black_box;
use std::time::Instant;

use daedalus::domain::{
    AgentId, AgentKind, Attempt, ContextIds, Effect, Exit, Failure, GateMode, GateSpec, Gates,
    Incarnation, Jitter, Json, Limits, Now, Priority, ProcessFacts, Report, Scheduler, TaskId,
    TaskSpec, TaskType, TaskTypes, TraceId,
};
use uuid::Uuid;

const ROUNDS: usize = 9;
/// How many decisions a round times; the queue is filled up again between rounds.
const PER_ROUND: usize = 2_000;
const SIZES: [(usize, usize); 4] =
    [(16, 100), (1_000, 1_000), (1_000, 100_000), (1_000, 1_000_000)];

/// A pool with its clock, its ids and the assignments that it gave.
struct Pool {
    scheduler: Scheduler,
    now: Now,
    next_id: u128,
    lives: Vec<Incarnation>,
    effects: Vec<Effect>,
    given: Vec<(AgentId, Incarnation, TaskId, Attempt)>,
    payload: Json,
    trace: TraceId,
}

impl Pool {
    fn new(agents: usize) -> Self {
        Self::with(agents, Gates::default())
    }

    fn with(agents: usize, gates: Gates) -> Self {
        let limits = Limits { max_depth: usize::MAX, max_attempts: u32::MAX, ..Limits::default() };
        let mut pool = Self {
            scheduler: Scheduler::new(limits, gates),
            now: Now::default(),
            next_id: 0,
            lives: vec![Incarnation::FIRST; agents],
            effects: Vec::new(),
            given: Vec::new(),
            payload: serde_json::from_str("{}").expect("an object"),
            trace: TraceId::parse("bench").expect("a trace"),
        };
        for number in 0..agents {
            let (id, ids, now) = (agent(number), pool.context(), pool.tick());
            let kind = AgentKind::Process;
            pool.scheduler.add_agent(id, kind, TaskTypes::ALL, ids, now, &mut pool.effects);
            pool.ready(number);
        }
        pool
    }

    /// Every agent has completed a task of every type, each at its own pace, so that affinity has
    /// something to say.
    fn learned(agents: usize) -> Self {
        Self::new(agents).having_learned(agents)
    }

    fn having_learned(mut self, agents: usize) -> Self {
        let pool = &mut self;
        for kind in TaskType::ALL {
            for _ in 0..agents {
                pool.submit(kind);
            }
            for run in std::mem::take(&mut pool.given) {
                pool.now.mono_us += 37;
                pool.finish(run);
            }
        }
        self
    }

    fn tick(&mut self) -> Now {
        self.now.mono_us += 1;
        self.now.wall_us += 1;
        self.now
    }

    fn context(&mut self) -> ContextIds {
        self.next_id += 3;
        let id = |plus| Uuid::from_u128(self.next_id + plus);
        ContextIds { context_window_id: id(0), tool_session_id: id(1), memory_handle_id: id(2) }
    }

    fn ready(&mut self, number: usize) {
        let (pid, launcher_pid, launcher_start_ticks) = (2, 1, 0);
        let workdir = String::new();
        let facts =
            ProcessFacts { pid, launcher_pid, launcher_start_ticks, workdir, confinement: None };
        let (life, now) = (self.lives[number], self.tick());
        self.scheduler.agent_ready(agent(number), life, facts, now, &mut self.effects);
        self.release();
    }

    /// Submits one task; ids look like those of UUID v7: most of them grow.
    fn submit(&mut self, kind: TaskType) {
        self.next_id += 1;
        let id = TaskId::from_uuid(Uuid::from_u128(self.next_id));
        let spec = TaskSpec {
            key: None,
            kind,
            payload: self.payload.clone(),
            priority: Priority::new((self.next_id % 5) as i64).expect("in range"),
            preferred: None,
            timeout_us: None,
            trace: self.trace.clone(),
        };
        let now = self.tick();
        black_box(self.scheduler.submit(id, spec, now, &mut self.effects)).expect("accepted");
        self.release();
    }

    fn finish(&mut self, (agent, life, task, attempt): (AgentId, Incarnation, TaskId, Attempt)) {
        let (now, report) = (self.tick(), Report::Completed { result: None, usage: None });
        let fx = &mut self.effects;
        self.scheduler.task_ended(agent, life, task, attempt, report, now, Jitter::FULL, fx);
        self.release();
    }

    /// The agent dies; its task moves.
    fn lose(&mut self, id: AgentId, life: Incarnation) {
        let (now, failure) = (self.tick(), Failure::new("pipe_closed", ""));
        self.scheduler.agent_failed(id, life, failure, true, now, &mut self.effects);
        self.scheduler.tree_gone(id, life, Exit::Signal(9), now, &mut self.effects);
        self.release();
    }

    fn restart(&mut self, id: AgentId) {
        let number = number(id);
        self.lives[number] = self.lives[number].next();
        let ids = self.context();
        self.scheduler.begin_life(id, self.lives[number], ids, self.now, &mut self.effects);
        self.ready(number);
    }

    /// Takes the effects, as the shell around the scheduler would.
    fn release(&mut self) {
        for effect in self.effects.drain(..) {
            if let Effect::Assign { agent, incarnation, assignment } = &effect {
                self.given.push((*agent, *incarnation, assignment.task_id, assignment.attempt));
            }
            black_box(effect);
        }
    }

    fn fill(&mut self, queued: usize) {
        while self.scheduler.metrics(self.now).queue_length < queued as u64 {
            for _ in 0..queued.div_ceil(100) {
                let kind = TaskType::ALL[self.next_id as usize % TaskType::COUNT];
                self.submit(kind);
            }
        }
    }
}

fn agent(number: usize) -> AgentId {
    AgentId::from_uuid(Uuid::from_u128(number as u128))
}

fn number(id: AgentId) -> usize {
    id.to_string()[24..].chars().fold(0, |n, c| n * 16 + c.to_digit(16).unwrap_or(0) as usize)
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// Nanoseconds per turn of `body`, which does `turns` of them.
fn time(turns: usize, body: impl FnOnce()) -> f64 {
    let start = Instant::now();
    body();
    start.elapsed().as_nanos() as f64 / turns as f64
}

/// Submit, assign and finish, one after the other, while nobody else works.
fn idle_pool(agents: usize) -> f64 {
    one_by_one(Pool::learned(agents))
}

/// The same while so many discoveries wait for a gate that is closed.
fn beside_a_gate(agents: usize, waiting: usize) -> f64 {
    let gate = GateSpec::new("discovery", TaskTypes::from_iter([TaskType::Discovery]));
    let mut pool = Pool::with(agents, Gates::new(vec![gate])).having_learned(agents);
    let now = pool.tick();
    let closed = pool.scheduler.order_gate("discovery", GateMode::Closed, now, &mut pool.effects);
    black_box(closed).expect("there is this gate");
    for _ in 0..waiting {
        pool.submit(TaskType::Discovery);
    }
    one_by_one(pool)
}

fn one_by_one(mut pool: Pool) -> f64 {
    let round = |pool: &mut Pool| {
        time(PER_ROUND, || {
            for _ in 0..PER_ROUND {
                pool.submit(TaskType::General);
                let run = pool.given.pop().expect("an agent was idle");
                pool.finish(run);
            }
        })
    };
    median((0..ROUNDS).map(|_| round(&mut pool)).collect())
}

/// All agents work; one finishes and gets the next task. Also: one dies with its task, and
/// another that waits gets it.
fn full_queue(agents: usize, queued: usize) -> (f64, f64) {
    let mut pool = Pool::learned(agents);
    pool.fill(queued + PER_ROUND.min(queued));
    let mut finishing = Vec::new();
    for _ in 0..ROUNDS {
        let turns = PER_ROUND.min(queued / 2);
        pool.fill(queued);
        let mut runs = std::mem::take(&mut pool.given).into_iter().collect::<Vec<_>>();
        runs.reverse();
        finishing.push(time(turns, || {
            for _ in 0..turns {
                let run = runs.pop().unwrap_or_else(|| pool.given.swap_remove(0));
                pool.finish(run);
            }
        }));
        pool.given.append(&mut runs);
    }
    let mut failing = Vec::new();
    let turns = (agents / 4).min(PER_ROUND);
    for _ in 0..ROUNDS {
        pool.fill(queued);
        let runs: Vec<_> = pool.given.drain(..turns).collect();
        // Dead agents' tasks wait with an exclusion; the next that is free takes the oldest.
        failing.push(time(turns, || {
            for (id, life, ..) in &runs {
                pool.lose(*id, *life);
            }
            for (id, ..) in &runs {
                pool.restart(*id);
            }
        }));
    }
    (median(finishing), median(failing))
}

fn main() {
    machine::show();
    println!("median of {ROUNDS} rounds, nanoseconds");
    println!("agents   queued  submit+assign+finish  finish->next  fail+restart->reassign");
    let mut decisions = Vec::new();
    for (agents, queued) in SIZES {
        let idle = idle_pool(agents);
        let (finish, fail) = full_queue(agents, queued);
        println!("{agents:>6} {queued:>8} {idle:>21.0} {finish:>13.0} {fail:>23.0}");
        decisions.push(finish);
    }
    let (first, last) = (decisions[0], decisions[SIZES.len() - 1]);
    println!(
        "a decision at 1 000 agents and 1 000 000 queued: {:.2} us (reach: 5), {:.1} x the one at \
         16 and 100 (reach: 6)",
        last / 1e3,
        last / first
    );
    let none = beside_a_gate(16, 0);
    for waiting in [100, 1_000_000] {
        let ratio = beside_a_gate(16, waiting) / none;
        println!(
            "submit+assign+finish beside {waiting} tasks that wait for a gate: {ratio:.2} x that beside none"
        );
    }
}
