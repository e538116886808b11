//! The round trip of submit + complete through the Router, beside the same scheduler on a thread
//! of its own behind a bare channel. `cargo bench --bench router`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

mod machine;

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use daedalus::actors::desk::no_desk;
use daedalus::actors::fatal::Fatal;
use daedalus::actors::handle::PoolHandle;
use daedalus::actors::{
    self, ActorSettings, Keep, Patience, PhaseLimits, PoolSettings, WorkerSettings,
};
use daedalus::domain::{
    AgentId, AgentKind, ContextIds, Effect, Gates, Jitter, Json, Limits, Now, Priority, Report,
    Scheduler, TaskId, TaskSpec, TaskType, TaskTypes, TraceId,
};
use daedalus::worker::spawner::{Spawner, SpawnerOptions};
use slog::{Discard, Logger, o};
use tokio::sync::oneshot;
use uuid::Uuid;

const AGENTS: usize = 64;
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(1);

/// One submit + complete.
type Pair = Pin<Box<dyn Future<Output = ()>>>;

fn main() {
    machine::show();
    println!("submit + complete without HTTP, {AGENTS} external agents, pairs per second");
    actix::System::new().block_on(async {
        let pool = pool().await;
        let bare = Bare::start();
        for callers in [1, 16, 64] {
            let (mut of_router, mut of_bare) = (Vec::new(), Vec::new());
            for round in 0..=ROUNDS {
                let (its_pool, its_bare) = (pool.clone(), bare.clone());
                let through_router =
                    pairs(callers, move || Box::pin(through_router(its_pool.clone()))).await;
                let through_bare = pairs(callers, move || Box::pin(its_bare.clone().pair())).await;
                if round > 0 {
                    of_router.push(through_router); // the first one warms up
                    of_bare.push(through_bare);
                }
            }
            let (router, bare) = (median(&mut of_router), median(&mut of_bare));
            println!(
                "{callers:>3} callers  router {router:>8.0}/s  bare channel {bare:>8.0}/s  {:.2} of bare",
                router / bare
            );
        }
    });
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How many pairs per second so many callers get in a closed loop.
async fn pairs(callers: usize, pair: impl Fn() -> Pair + Clone + 'static) -> f64 {
    let begun = Instant::now();
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let pair = pair.clone();
            actix::spawn(async move {
                let mut done = 0_u64;
                while begun.elapsed() < TIME {
                    pair().await;
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for caller in callers {
        done += caller.await.unwrap();
    }
    done as f64 / begun.elapsed().as_secs_f64()
}

fn spec() -> TaskSpec {
    TaskSpec {
        key: None,
        kind: TaskType::Research,
        payload: serde_json::from_str::<Json>(r#"{"prompt":"What grows in the north?"}"#).unwrap(),
        priority: Priority::default(),
        preferred: None,
        timeout_us: None,
        trace: TraceId::from_uuid(Uuid::new_v4()),
    }
}

fn report() -> Report {
    Report::Completed { result: None, usage: None }
}

async fn through_router(pool: PoolHandle) {
    let accepted = pool.submit(spec()).await.unwrap();
    pool.complete(accepted.task_id, None, report()).await.unwrap();
}

async fn pool() -> PoolHandle {
    let log = Logger::root(Discard, o!());
    let fatal = Fatal::new();
    let options = SpawnerOptions {
        sandbox: None,
        launcher: std::env::current_exe().unwrap(),
        store_id: "bench".to_owned(),
        log: log.clone(),
        on_panic: Box::new(|| {}),
    };
    let spawner = Spawner::start(options).unwrap();
    let settings = ActorSettings {
        limits: Limits::default(),
        gates: Gates::default(),
        probes: Vec::new(),
        schedules: Vec::new(),
        follow_ups: Vec::new(),
        pool: PoolSettings {
            size: AGENTS,
            max_size: AGENTS,
            kind: AgentKind::External { lease_us: None },
            restarts_max: 5,
            restart_window_us: 60_000_000,
        },
        patience: Patience {
            heartbeat_us: 5_000_000,
            silence_us: 15_000_000,
            stuck_us: 60_000_000,
        },
        memory_limit: None,
        worker: WorkerSettings {
            command: Vec::new(),
            env: Vec::new(),
            agents_dir: std::env::temp_dir(),
            agent: serde_json::Value::Null,
            max_frame_bytes: 1 << 20,
            start_timeout: Duration::from_secs(30),
            heartbeat: Duration::from_secs(5),
            phase_limits: PhaseLimits::default(),
            cancel_grace: Duration::from_secs(5),
            log: log.clone(),
        },
        call_timeout: Duration::from_secs(10),
        drain: Duration::ZERO,
        isolation_check: None,
    };
    let (keep, desk) = (Keep::in_memory(), no_desk());
    let pool = actors::start(settings, keep, desk, &spawner, &fatal, &log).unwrap().pool;
    pool.initialize(None).await.unwrap();
    pool
}

type Verb = Box<dyn FnOnce(&mut Scheduler, Now, &mut Vec<Effect>) + Send>;

/// The same scheduler behind a channel of the standard library.
#[derive(Clone)]
struct Bare {
    verbs: mpsc::Sender<Verb>,
}

impl Bare {
    fn start() -> Self {
        let (verbs, orders) = mpsc::channel::<Verb>();
        std::thread::spawn(move || {
            let begun = Instant::now();
            let mut scheduler = Scheduler::new(Limits::default(), Gates::default());
            let mut effects = Vec::new();
            let now = || Now { mono_us: begun.elapsed().as_micros() as u64, wall_us: 0 };
            for _ in 0..AGENTS {
                let id = AgentId::from_uuid(Uuid::new_v4());
                let kind = AgentKind::External { lease_us: None };
                scheduler.add_agent(id, kind, TaskTypes::ALL, ids(), now(), &mut effects);
            }
            while let Ok(verb) = orders.recv() {
                verb(&mut scheduler, now(), &mut effects);
                effects.clear();
            }
        });
        Self { verbs }
    }

    async fn pair(self) {
        let id = TaskId::from_uuid(Uuid::now_v7());
        let spec = spec();
        self.call(move |scheduler, now, effects| {
            scheduler.submit(id, spec, now, effects).unwrap();
        })
        .await;
        self.call(move |scheduler, now, effects| {
            scheduler.complete(id, None, report(), now, Jitter::FULL, effects).unwrap();
        })
        .await;
    }

    async fn call(
        &self,
        verb: impl FnOnce(&mut Scheduler, Now, &mut Vec<Effect>) + Send + 'static,
    ) {
        let (done, answer) = oneshot::channel();
        let verb: Verb = Box::new(move |scheduler, now, effects| {
            verb(scheduler, now, effects);
            done.send(()).unwrap();
        });
        self.verbs.send(verb).unwrap();
        answer.await.unwrap();
    }
}

fn ids() -> ContextIds {
    let [context_window_id, tool_session_id, memory_handle_id] = [(); 3].map(|()| Uuid::new_v4());
    ContextIds { context_window_id, tool_session_id, memory_handle_id }
}
