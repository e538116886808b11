//! A pool within this process.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daedalus::actors::desk::no_desk;
use daedalus::actors::fatal::{Fatal, Loss};
use daedalus::actors::handle::PoolHandle;
use daedalus::actors::{
    self, ActorSettings, Keep, Patience, PhaseLimits, PoolSettings, WorkerSettings,
};
use daedalus::domain::{AgentKind, Gates, Limits};
use daedalus::store::{Store, Writer};
use daedalus::worker::spawner::{Spawner, SpawnerHandle, SpawnerOptions};
use serde_json::json;
use slog::{Discard, Logger, o};

/// How long anything may take before a test gives up. Far above what it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Pool {
    pub handle: PoolHandle,
    fatal: Fatal,
    spawner: SpawnerHandle,
    writer: Option<Writer>,
}

impl Pool {
    /// Its process agents work below `agents_dir`.
    pub(crate) fn start(store: Box<dyn Store>, agents_dir: &Path) -> Self {
        Self::start_with(store, agents_dir, env!("CARGO_BIN_EXE_daedalus").into())
    }

    /// The same with another program above each worker.
    pub(crate) fn start_with(
        mut store: Box<dyn Store>,
        agents_dir: &Path,
        launcher: PathBuf,
    ) -> Self {
        let log = Logger::root(Discard, o!());
        let fatal = Fatal::new();
        let spawner = Spawner::start(SpawnerOptions {
            sandbox: None,
            launcher,
            store_id: store.id().to_string(),
            log: log.clone(),
            on_panic: Box::new(|| {}),
        })
        .expect("the spawner starts");
        let keep = Keep {
            snapshot: store.load().expect("it can be read"),
            store,
            overlap_possible: false,
            on_disk: true,
            retention_us: u64::MAX,
            min_free_mb: 0,
        };
        let settings = settings(agents_dir, &log);
        let started = actors::start(settings, keep, no_desk(), &spawner, &fatal, &log);
        let started = started.expect("it starts");
        Self { handle: started.pool, fatal, spawner, writer: started.writer }
    }

    /// What comes of this, unless the store fails before.
    pub(crate) async fn until_lost<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            loss = self.fatal.lost() => {
                assert!(matches!(loss, Loss::Store(_)), "{loss:?}");
                None
            }
            done = work => Some(done),
        }
    }

    pub(crate) async fn end(mut self, lost: bool) {
        if let (Some(writer), false) = (self.writer.take(), lost) {
            let finished = tokio::task::spawn_blocking(move || writer.finish());
            finished.await.expect("the writer ends");
        }
        let spawner = self.spawner;
        tokio::task::spawn_blocking(move || spawner.shutdown(PATIENCE)).await.expect("it ends");
        actix::System::current().stop();
    }
}

fn settings(agents_dir: &Path, log: &Logger) -> ActorSettings {
    let second = Duration::from_secs(1);
    ActorSettings {
        limits: Limits::default(),
        gates: Gates::default(),
        probes: Vec::new(),
        schedules: Vec::new(),
        follow_ups: vec![super::discovery::rule()],
        pool: PoolSettings {
            size: 2,
            max_size: 4,
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
            agents_dir: agents_dir.to_owned(),
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
    }
}
