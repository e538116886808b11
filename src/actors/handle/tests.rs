//! What a caller is told when the store cannot be read any more.

use actix::System;
use serde_json::json;
use slog::{Discard, Logger, o};
use uuid::Uuid;

use super::*;
use crate::actors::desk::no_desk;
use crate::actors::fatal::Fatal;
use crate::actors::{ActorSettings, Keep, Patience, PhaseLimits, PoolSettings, WorkerSettings};
use crate::domain::{
    AgentKind, Gates, Json, Limits, ListQuery, Priority, Task, TaskPage, TaskSpec, TaskType,
    TaskTypes, TraceId,
};
use crate::store::{History, StoreError};
use crate::worker::spawner::{Spawner, SpawnerOptions};

/// A store on a disk that is lost.
#[derive(Debug)]
struct Blind;

impl Blind {
    fn error<T>() -> Result<T, StoreError> {
        Err(StoreError { what: "the test wants it".to_owned(), cause: None })
    }
}

impl History for Blind {
    fn task(&mut self, _: TaskId) -> Result<Option<Task>, StoreError> {
        Self::error()
    }

    fn task_of_key(&mut self, _: &str) -> Result<Option<Task>, StoreError> {
        Self::error()
    }

    fn status_of_key(&mut self, _: &str) -> Result<Option<TaskStatus>, StoreError> {
        Self::error()
    }

    fn page(&mut self, _: &ListQuery) -> Result<TaskPage, StoreError> {
        Self::error()
    }

    fn unsuccessful(
        &mut self,
        _: TaskStatus,
        _: TaskTypes,
        _: TaskTypes,
        _: usize,
    ) -> Result<(Vec<Task>, u64), StoreError> {
        Self::error()
    }
}

/// A pool without agents, whose tasks fail with their first failure.
fn pool() -> PoolHandle {
    pool_that_waits(Duration::from_secs(20))
}

fn pool_that_waits(call_timeout: Duration) -> PoolHandle {
    let (log, fatal) = (Logger::root(Discard, o!()), Fatal::new());
    let spawner = Spawner::start(SpawnerOptions {
        sandbox: None,
        launcher: "/no/launcher".into(),
        store_id: "none".to_owned(),
        log: log.clone(),
        on_panic: Box::new(|| {}),
    });
    let patience = Duration::from_secs(20);
    let settings = ActorSettings {
        limits: Limits { max_attempts: 1, ..Limits::default() },
        gates: Gates::default(),
        probes: Vec::new(),
        schedules: Vec::new(),
        follow_ups: Vec::new(),
        pool: PoolSettings {
            size: 1,
            max_size: 1,
            kind: AgentKind::External { lease_us: None },
            restarts_max: 1,
            restart_window_us: 1,
        },
        patience: Patience { heartbeat_us: 60_000_000, silence_us: u64::MAX, stuck_us: u64::MAX },
        memory_limit: None,
        worker: WorkerSettings {
            command: Vec::new(),
            env: Vec::new(),
            agents_dir: "/no/agents".into(),
            agent: json!({}),
            max_frame_bytes: 1_024,
            start_timeout: patience,
            heartbeat: patience,
            phase_limits: PhaseLimits::default(),
            cancel_grace: patience,
            log: log.clone(),
        },
        call_timeout,
        drain: Duration::ZERO,
        isolation_check: None,
    };
    let spawner = spawner.expect("the spawner starts");
    let (keep, desk) = (Keep::in_memory(), no_desk());
    let started = crate::actors::start(settings, keep, desk, &spawner, &fatal, &log);
    let history = HistoryReader::start(vec![Box::new(Blind)], &fatal, log);
    PoolHandle { history, ..started.expect("it starts").pool }
}

#[test]
fn whoever_failed_an_agent_is_not_told_that_nothing_changed() {
    System::new().block_on(async {
        let pool = pool();
        let spawned = SpawnAgent { kind: None, types: TaskTypes::ALL };
        let agent = pool.spawn(spawned).await.expect("there is room").id;
        let spec = TaskSpec {
            kind: TaskType::General,
            payload: serde_json::from_str::<Json>("{}").expect("JSON"),
            priority: Priority::default(),
            preferred: None,
            timeout_us: None,
            key: None,
            trace: TraceId::from_uuid(Uuid::nil()),
        };
        let task = pool.submit(spec).await.expect("there is room").task_id;
        let told = pool.fail(agent, "the test wants it".to_owned()).await;
        assert_eq!(told, Err(CallError::FailedUnreadable));
        assert!(pool.agent(agent).await.expect("it is there").reason.is_some(), "it was failed");
        assert_eq!(
            pool.cancel(task).await,
            Err(CallError::StoreUnreadable),
            "this changed nothing"
        );
    });
}

#[test]
fn a_look_that_does_not_end_holds_up_nobody_for_ever() {
    System::new().block_on(async {
        let pool = pool_that_waits(Duration::from_secs(1));
        let spawned = SpawnAgent { kind: None, types: TaskTypes::ALL };
        let agent = pool.spawn(spawned).await.expect("there is room");
        let looking = pool.auditor.look_for_long().await;
        pool.auditor.know(agent.id, agent.incarnation, "known before");
        let limit = Duration::from_secs(30);
        let report = tokio::time::timeout(limit, pool.isolation_report()).await;
        let report = report.expect("it gives up").map(|_| ());
        assert_eq!(report, Err(CallError::NoAnswer(pool.call_timeout)));
        let listed = tokio::time::timeout(limit, pool.agent_reports()).await;
        let listed = listed.expect("it gives up").expect("it says what is known");
        assert_eq!(listed[0].issues[0].sentence, "known before");
        drop(looking);
        assert_eq!(pool.isolation_report().await.expect("a report").breaches(), 0);
        assert_eq!(pool.agent_report(agent.id).await.expect("it is there").issues, []);
    });
}
