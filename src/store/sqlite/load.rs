//! What a start reads.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Params, Row};
use uuid::Uuid;

use super::rows::{self, COLUMNS, TEXTS, Unreadable};
use super::{agents, cannot, history, lessons, once, schema};
use crate::domain::{Lesson, Snapshot};
use crate::store::StoreError;

/// Every agent, for [`agents::record`].
pub(super) const AGENTS: &str = "SELECT id, body FROM agents ORDER BY id";
const LAST: &str = "SELECT max(seq) FROM tasks";

/// Every task that has not ended, for [`rows::task`].
pub(super) fn live() -> String {
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
    let mut tasks = every(&moment, path, &live(), [], "task", |row| rows::task(row, true))?;
    // The index has the waiting ones first; sorting here spares SQLite to move the large rows.
    tasks.sort_by_key(|task| task.seq);
    let agents = every(&moment, path, AGENTS, [], "agent", agents::record)?;
    let mut cancelled = Vec::new();
    for (id, _) in agents.iter().filter_map(|agent| agent.cancelled_run) {
        let (query, id) = (history::whole(history::OF_ID), id.uuid());
        let read = |row: &Row<'_>| rows::task(row, true);
        cancelled.extend(every(&moment, path, &query, [id.as_bytes()], "task", read)?);
    }
    let lessons = lessons(&moment, path)?;
    let target = target(&moment).map_err(failed)?;
    let notes = notes(&moment).map_err(failed)?;
    let last_seq: Option<i64> = moment.query_row(LAST, [], |row| row.get(0)).map_err(failed)?;
    Ok(Snapshot {
        tasks,
        agents,
        cancelled,
        lessons,
        target: target.and_then(|target| usize::try_from(target).ok()),
        notes,
        last_seq: last_seq.map(rows::seq),
    })
}

/// The windows, and over them what came later.
fn lessons(moment: &Connection, path: &Path) -> Result<Vec<Lesson>, StoreError> {
    let windows = every(moment, path, lessons::WINDOWS, [], "lesson of agent", lessons::lesson)?;
    let log = every(moment, path, lessons::LOG, [], "lessons", lessons::logged)?;
    let place = |lesson: Lesson| ((lesson.agent, lesson.kind, lesson.slot), lesson);
    let all = windows.into_iter().chain(log.into_iter().flatten());
    let newest: BTreeMap<_, _> = all.map(place).collect();
    let mut lessons: Vec<Lesson> = newest.into_values().collect();
    lessons.sort_by_key(|lesson| (lesson.agent, lesson.kind, lesson.number));
    Ok(lessons)
}

/// How many agents should live.
pub(super) fn target(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    let query = "SELECT value FROM meta WHERE name = ?1";
    connection.query_row(query, [schema::TARGET], |row| row.get(0)).optional()
}

/// What parts of the pool remember.
pub(super) fn notes(connection: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let query = "SELECT name, value FROM meta WHERE name GLOB ?1";
    let mut statement = connection.prepare(query)?;
    let found = statement.query_map([format!("{}*", schema::NOTE)], |row| {
        let name: String = row.get(0)?;
        let name = name.strip_prefix(schema::NOTE).unwrap_or(&name).to_owned();
        Ok((name, row.get(1)?))
    })?;
    found.collect()
}

/// Every row of a query; `what` names one.
fn every<T>(
    connection: &Connection,
    path: &Path,
    query: &str,
    values: impl Params,
    what: &str,
    mut decode: impl FnMut(&Row<'_>) -> Result<T, Unreadable>,
) -> Result<Vec<T>, StoreError> {
    let failed = |cause| cannot("read", path)(cause);
    let mut statement = connection.prepare(query).map_err(failed)?;
    let mut found = statement.query(values).map_err(failed)?;
    let mut read = Vec::new();
    while let Some(row) = found.next().map_err(failed)? {
        read.push(decode(row).map_err(|cause| unreadable(path, what, row, cause))?);
    }
    Ok(read)
}

/// Which row it is: its first column is a number or a UUID.
pub(super) fn name(row: &Row<'_>) -> String {
    match row.get_ref(0) {
        Ok(ValueRef::Integer(number)) => number.to_string(),
        Ok(ValueRef::Blob(bytes)) => {
            Uuid::from_slice(bytes).map_or_else(|_| format!("{bytes:?}"), |id| id.to_string())
        }
        other => format!("{other:?}"),
    }
}

/// The error about a row that does not mean anything.
pub(super) fn unreadable(path: &Path, what: &str, row: &Row<'_>, cause: Unreadable) -> StoreError {
    let (name, place) = (name(row), path.display());
    StoreError {
        what: format!(
            "{what} {name} in the store {place} cannot be read: `daedalus check {place}` says \
             more; restore a backup"
        ),
        cause: Some(match cause.downcast::<rusqlite::Error>() {
            Ok(error) => once(*error).into(),
            Err(other) => other,
        }),
    }
}
