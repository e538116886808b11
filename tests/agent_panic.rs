//! A panic in the actor of an agent: its task moves, and nobody else notices. A panic of what
//! nobody can be without: the daemon ends, and no task is charged for it.
//!
//! It runs within this process, because only a test can make an actor panic: the daemon has no back
//! door for that. A file of its own, because a spawner takes every child of its process for its own.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use actix::{Context, Handler, Message};
use daedalus::actors::desk::no_desk;
use daedalus::actors::fatal::{Fatal, Loss};
use daedalus::actors::handle::PoolHandle;
use daedalus::actors::{
    self, ActorSettings, Keep, Patience, PhaseLimits, PoolSettings, WorkerAgent, WorkerSettings,
};
use daedalus::domain::{
    AgentId, AgentKind, AgentStatus, AgentView, Gates, Json, Limits, Outcome, Priority, TaskId,
    TaskSpec, TaskStatus, TaskType, TraceId,
};
use daedalus::store::{SqliteStore, Store, Writer};
use daedalus::worker::proc;
use daedalus::worker::spawner::{Spawner, SpawnerHandle, SpawnerOptions};
use serde_json::{Value, json};
use slog::{Discard, Logger, o};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the actor that gets it panic.
#[derive(Message)]
#[rtype(result = "()")]
struct Boom;

impl Handler<Boom> for WorkerAgent {
    type Result = ();

    fn handle(&mut self, _: Boom, _ctx: &mut Context<Self>) {
        panic!("boom, as the test wants it");
    }
}

/// A pool of four within this process.
struct Pool {
    handle: PoolHandle,
    spawner: SpawnerHandle,
    writer: Option<Writer>,
    fatal: Fatal,
    place: PathBuf,
}

impl Pool {
    async fn start() -> Self {
        Self::start_with(Keep::in_memory()).await
    }

    async fn start_with(keep: Keep) -> Self {
        let place = std::env::temp_dir().join(format!("daedalus-panic-{}", Uuid::new_v4()));
        let log = Logger::root(Discard, o!());
        let fatal = Fatal::new();
        let alarm = fatal.clone();
        let spawner = Spawner::start(SpawnerOptions {
            sandbox: None,
            launcher: env!("CARGO_BIN_EXE_daedalus").into(),
            store_id: format!("panic-{}", Uuid::new_v4()),
            log: log.clone(),
            on_panic: Box::new(move || alarm.raise(Loss::Panicked("spawner"))),
        })
        .expect("the spawner starts");
        let second = Duration::from_secs(1);
        let settings = ActorSettings {
            limits: Limits::default(),
            gates: Gates::default(),
            probes: Vec::new(),
            schedules: Vec::new(),
            follow_ups: Vec::new(),
            pool: PoolSettings {
                size: 4,
                max_size: 4,
                kind: AgentKind::Process,
                restarts_max: 10,
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
                agents_dir: place.clone(),
                agent: json!({}),
                max_frame_bytes: 65_536,
                start_timeout: PATIENCE,
                heartbeat: 5 * second,
                phase_limits: PhaseLimits::default(),
                cancel_grace: second,
                log: log.clone(),
            },
            call_timeout: PATIENCE,
            drain: Duration::ZERO,
            isolation_check: None,
        };
        let started = actors::start(settings, keep, no_desk(), &spawner, &fatal, &log);
        let started = started.expect("it starts");
        let (handle, writer) = (started.pool, started.writer);
        let made = within("the pool starts", handle.initialize(None)).await.expect("it starts");
        assert_eq!(made.spawned.len(), 4);
        Self { handle, spawner, writer, fatal, place }
    }

    async fn submit(&self, payload: &Value) -> TaskId {
        let spec = TaskSpec {
            key: None,
            kind: TaskType::General,
            payload: serde_json::from_str::<Json>(&payload.to_string()).expect("JSON"),
            priority: Priority::default(),
            preferred: None,
            timeout_us: None,
            trace: TraceId::from_uuid(Uuid::nil()),
        };
        self.handle.submit(spec).await.expect("it is accepted").task_id
    }

    async fn agents(&self) -> Vec<AgentView> {
        let reports = self.handle.agent_reports().await.expect("they are known");
        reports.into_iter().map(|report| report.view).collect()
    }

    /// Waits until the agent is as wanted.
    async fn when(&self, what: &str, is: impl Fn(&AgentView) -> bool) -> AgentView {
        let look = async {
            loop {
                if let Some(agent) = self.agents().await.into_iter().find(|agent| is(agent)) {
                    return agent;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(what, look).await
    }

    async fn executor(&self, task: TaskId) -> AgentView {
        self.when("the task is executed", |agent| {
            agent.status == AgentStatus::Executing
                && agent.run.is_some_and(|(running, _)| running == task)
        })
        .await
    }

    async fn boom(&self, id: AgentId) {
        self.handle.worker(id).await.expect("it has an actor").do_send(Boom);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let over = self.spawner.shutdown(PATIENCE);
        let _left = std::fs::remove_dir_all(&self.place);
        assert!(over || std::thread::panicking(), "every process must end");
    }
}

async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let limited = tokio::time::timeout(PATIENCE, future).await;
    limited.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

fn pid(agent: &AgentView) -> u32 {
    agent.process.as_ref().expect("it has a process").pid
}

#[test]
fn a_panic_of_one_agent_costs_nobody_else_anything() {
    actix::System::new().block_on(async {
        let pool = Pool::start().await;
        let long = json!({"action": "sleep", "seconds": 3.0});
        let neighbour = pool.submit(&long).await;
        let neighbour_agent = pool.executor(neighbour).await;
        for round in 1..=3 {
            let then = json!({"action": "echo", "value": round});
            let payload = json!({"action": "hang", "then": then});
            let task = pool.submit(&payload).await;
            let agent = pool.executor(task).await;
            pool.boom(agent.id).await;
            let task = pool.handle.task(task, PATIENCE).await.expect("it is known");
            assert_eq!(task.summary.status, TaskStatus::Completed, "{task:?}");
            let [first, second] = &task.attempts[..] else { panic!("not two attempts: {task:?}") };
            assert_eq!((first.agent, first.incarnation), (agent.id, agent.incarnation));
            assert_ne!(second.agent, agent.id);
            let end = first.end.as_ref().expect("it ended");
            assert_eq!(end.outcome, Outcome::AgentFailed);
            assert_eq!(end.failure.as_ref().expect("there is a reason").cause, "panic");
            assert_eq!(task.summary.failed_on, [agent.id]);
            assert!(!proc::is_alive(pid(&agent)), "its run was over before the task moved");
            let again = pool
                .when("it lives again", |other| {
                    other.id == agent.id && other.status == AgentStatus::Idle
                })
                .await;
            assert_eq!(again.incarnation, agent.incarnation.next());
            assert_ne!(again.ids, agent.ids, "with a context of its own");
        }
        let neighbour = pool.handle.task(neighbour, PATIENCE).await.expect("it is known");
        assert_eq!(neighbour.summary.status, TaskStatus::Completed);
        assert_eq!(neighbour.attempts.len(), 1);
        let agent = pool.handle.agent(neighbour_agent.id).await.expect("it is there");
        assert_eq!(
            (agent.incarnation, pid(&agent)),
            (neighbour_agent.incarnation, pid(&neighbour_agent))
        );
        let lost = tokio::time::timeout(Duration::ZERO, pool.fatal.lost()).await;
        assert!(lost.is_err(), "the daemon goes on");
    });
}

#[test]
fn a_panic_of_an_agent_without_a_task_starts_it_again() {
    actix::System::new().block_on(async {
        let pool = Pool::start().await;
        let agent = pool.agents().await.remove(0);
        pool.boom(agent.id).await;
        let again = pool
            .when("it lives again", |other| {
                other.id == agent.id
                    && other.status == AgentStatus::Idle
                    && other.incarnation > agent.incarnation
            })
            .await;
        assert!(!proc::is_alive(pid(&agent)));
        assert_ne!(pid(&again), pid(&agent));
    });
}

#[test]
fn a_panic_where_nothing_may_panic_is_fatal() {
    actix::System::new().block_on(async {
        let fatal = Fatal::new();
        let guard = fatal.guard("router");
        drop(fatal.guard("watcher"));
        let unseen = tokio::time::timeout(Duration::ZERO, fatal.lost()).await;
        assert!(unseen.is_err(), "an end without a panic is none");
        let thread = std::thread::spawn(move || {
            let _crash_only = guard;
            panic!("boom, as the test wants it");
        });
        assert!(thread.join().is_err());
        assert_eq!(within("the alarm", fatal.lost()).await, Loss::Panicked("router"));
        fatal.raise(Loss::Store("full".to_owned()));
        assert_eq!(
            within("the alarm", fatal.lost()).await,
            Loss::Panicked("router"),
            "the first one counts"
        );
    });
}

/// A store in a directory that is removed at the end.
struct Disk(PathBuf);

impl Disk {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("daedalus-panic-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).expect("a directory for the test");
        Self(folder)
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.0.join("daedalus.db")).expect("it opens")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _it_is_a_temporary_directory = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_crash_of_the_daemon_is_charged_to_no_task() {
    let disk = Disk::new();
    actix::System::new().block_on(async {
        let store = Box::new(disk.open());
        let keep = Keep { store, on_disk: true, ..Keep::in_memory() };
        let mut pool = Pool::start_with(keep).await;
        let task = pool.submit(&json!({"action": "hang"})).await;
        pool.executor(task).await;
        // What the daemon does when one of its parts is lost.
        pool.fatal.raise(Loss::Panicked("watcher"));
        assert!(pool.spawner.shutdown(PATIENCE));
        // The ends of the trees were told before this is asked.
        let told = pool.handle.task(task, Duration::ZERO).await.expect("it is known");
        assert_eq!(told.summary.status, TaskStatus::InProgress);
        pool.writer.take().expect("it has a writer").finish();
    });
    let snapshot = disk.open().load().expect("it can be read");
    let [task] = &snapshot.tasks[..] else { panic!("not one task: {:?}", snapshot.tasks) };
    assert_eq!(task.status(), TaskStatus::InProgress, "the next start finds it open");
    assert_eq!((task.attempts.len(), task.failures), (1, 0), "{task:?}");
    assert!(task.attempts[0].end.is_none() && task.failed_on.is_empty(), "{task:?}");
}
