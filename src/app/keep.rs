//! The store at the start: opened, read, and rid of the processes that an earlier daemon left.

use std::fs::File;
use std::time::Duration;

use slog::{Logger, info, warn};

use super::settings::micros;
use super::{AppError, lock};
use crate::actors::Keep;
use crate::config::Config;
use crate::domain::{Snapshot, TaskStatus};
use crate::store::{self, MemoryStore, SqliteStore, Store};
use crate::worker::leftovers::{self, LeftBehind};

/// How long what an earlier daemon left may take to end. Then the pool starts all the same.
const LEFT_OVER_ENDS_WITHIN: Duration = Duration::from_secs(30);

/// Opens the store that the configuration names, or makes it, and keeps every other daemon out for
/// as long as the lock lives: two state directories may name one store, each in its own way.
pub(super) fn open(config: &Config) -> Result<(Box<dyn Store>, Option<File>), AppError> {
    let Some(path) = config.store_path() else {
        return Ok((Box::new(MemoryStore::new()), None));
    };
    let path = SqliteStore::locate(&path)?;
    let lock = lock::take(&store::lock_path(&path))
        .map_err(|cause| AppError::StoreLock { path: path.clone(), cause })?;
    let lock = lock.ok_or_else(|| AppError::StoreInUse(path.clone()))?;
    Ok((Box::new(SqliteStore::open(&path)?), Some(lock)))
}

/// Reads what the pool goes on with, once nothing of the processes of an earlier daemon is left:
/// before that nothing may be given to anybody else.
pub(super) async fn recover(
    config: &Config,
    mut store: Box<dyn Store>,
    log: &Logger,
) -> Result<Keep, AppError> {
    let snapshot = store.load()?;
    let all_gone = end_left_over(config, &snapshot, store.id().to_string(), log).await;
    let in_progress =
        snapshot.tasks.iter().filter(|task| task.status() == TaskStatus::InProgress).count();
    info!(log, "store_opened"; "component" => "app",
        "agents" => snapshot.agents.len(), "tasks_in_progress" => in_progress,
        "tasks_pending" => snapshot.tasks.len() - in_progress);
    let on_disk = config.store_path().is_some();
    Ok(Keep {
        store,
        snapshot,
        overlap_possible: !all_gone,
        on_disk,
        retention_us: micros(config.store.retention),
        // Without a file nothing is ever free, and nothing has to be.
        min_free_mb: if on_disk { config.store.min_free_mb } else { 0 },
    })
}

async fn end_left_over(
    config: &Config,
    snapshot: &Snapshot,
    store_id: String,
    log: &Logger,
) -> bool {
    let launchers = snapshot.agents.iter().filter_map(|agent| agent.launcher);
    let left = LeftBehind {
        launchers: launchers.map(|launcher| (launcher.pid, launcher.start_ticks)).collect(),
        store_id,
        cgroup: config.worker.sandbox.cgroup.clone(),
    };
    let end = move || leftovers::end(&left, LEFT_OVER_ENDS_WITHIN);
    let Ok(outcome) = tokio::task::spawn_blocking(end).await else { return false };
    if outcome.killed > 0 || !outcome.all_gone {
        warn!(log, "left_over_processes"; "component" => "app",
            "killed" => outcome.killed, "all_gone" => outcome.all_gone);
    }
    outcome.all_gone
}
