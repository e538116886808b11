//! What a start reads.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::rows::{self, COLUMNS, TEXTS, Unreadable};
use super::{agents, cannot, schema};
use crate::domain::{AgentId, Lesson, Snapshot};
use crate::store::StoreError;

const LAST: &str = "SELECT max(seq) FROM tasks";

fn live() -> String {
    format!("SELECT {COLUMNS}, {TEXTS} FROM tasks INDEXED BY tasks_live WHERE status < 2")
}

/// The queries that must not look at every task.
#[cfg(test)]
pub(super) fn queries() -> Vec<String> {
    vec![live(), LAST.to_owned()]
}

/// Reads all of it, at one moment.
pub(super) fn snapshot(connection: &Connection, path: &Path) -> Result<Snapshot, StoreError> {
    let failed = |cause| cannot("read", path)(cause);
    let moment = connection.unchecked_transaction().map_err(failed)?;
    let mut tasks = every(&moment, path, &live(), "task", |row| rows::task(row, true))?;
    // The index has the waiting ones first; sorting here spares SQLite to move the large rows.
    tasks.sort_by_key(|task| task.seq);
    let agents =
        every(&moment, path, "SELECT id, body FROM agents ORDER BY id", "agent", agents::record)?;
    let lessons = every(
        &moment,
        path,
        "SELECT agent, kind, slot, number, latency_us FROM lessons ORDER BY agent, kind, number",
        "lesson",
        lesson,
    )?;
    let target: Option<i64> = moment
        .query_row("SELECT value FROM meta WHERE name = ?1", [schema::TARGET], |row| row.get(0))
        .optional()
        .map_err(failed)?;
    let last_seq: Option<i64> = moment.query_row(LAST, [], |row| row.get(0)).map_err(failed)?;
    Ok(Snapshot {
        tasks,
        agents,
        lessons,
        target: target.and_then(|target| usize::try_from(target).ok()),
        last_seq: last_seq.map(rows::seq),
    })
}

/// Every row of a query; `what` names one.
fn every<T>(
    connection: &Connection,
    path: &Path,
    query: &str,
    what: &str,
    mut decode: impl FnMut(&Row<'_>) -> Result<T, Unreadable>,
) -> Result<Vec<T>, StoreError> {
    let failed = |cause| cannot("read", path)(cause);
    let mut statement = connection.prepare(query).map_err(failed)?;
    let mut found = statement.query([]).map_err(failed)?;
    let mut values = Vec::new();
    while let Some(row) = found.next().map_err(failed)? {
        values.push(decode(row).map_err(|cause| unreadable(path, what, row, cause))?);
    }
    Ok(values)
}

/// The error about a row that does not mean anything. Its first column says which it is.
pub(super) fn unreadable(path: &Path, what: &str, row: &Row<'_>, cause: Unreadable) -> StoreError {
    let name = row.get_ref(0).map_or_else(
        |_| String::new(),
        |value| match value.as_i64() {
            Ok(number) => number.to_string(),
            Err(_) => value
                .as_blob()
                .ok()
                .and_then(|bytes| Uuid::from_slice(bytes).ok())
                .map_or_else(String::new, |id| id.to_string()),
        },
    );
    let place = path.display();
    StoreError {
        what: format!(
            "{what} {name} in the store {place} cannot be read: `daedalus check {place}` says \
             more; restore a backup"
        ),
        cause: Some(cause),
    }
}

fn lesson(row: &Row<'_>) -> Result<Lesson, Unreadable> {
    Ok(Lesson {
        agent: AgentId::from_uuid(Uuid::from_bytes(row.get(0)?)),
        kind: rows::kind(row.get(1)?)?,
        slot: row.get(2)?,
        number: row.get(3)?,
        latency_us: row.get(4)?,
    })
}
