//! The tables, and how an older file becomes one of this version.

use rusqlite::Connection;
use uuid::Uuid;

/// Says in the file's header whose it is: "DAED".
pub(super) const APPLICATION_ID: i32 = 0x4441_4544;

/// The newest version that this program knows: the number of migrations.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// The name in `meta` of what marks the store.
pub(super) const STORE_ID: &str = "store_id";
/// The name in `meta` of how many agents should live.
pub(super) const TARGET: &str = "target";
/// What stands in `meta` before the name of a note.
pub(super) const NOTE: &str = "note:";

/// Each one leads to the next version. What a release shipped is never edited: a file may be at
/// any of them.
///
/// The two large texts stand last in a row, so that a list of tasks does not read through them.
/// The planner takes a partial index only where a query repeats its condition.
pub(super) const MIGRATIONS: &[&str] = &["
CREATE TABLE meta(name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE tasks(
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    kind INTEGER NOT NULL,
    status INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    ended_us INTEGER,
    trace TEXT NOT NULL,
    key TEXT,
    fingerprint BLOB,
    body TEXT NOT NULL,
    payload TEXT,
    result TEXT
) STRICT;
CREATE INDEX tasks_live ON tasks(status) WHERE status < 2;
CREATE INDEX tasks_unsuccessful ON tasks(status, seq, kind) WHERE status >= 3;
CREATE UNIQUE INDEX tasks_key ON tasks(key) WHERE key IS NOT NULL;

CREATE TABLE payloads(seq INTEGER PRIMARY KEY, payload TEXT NOT NULL) STRICT;

CREATE TABLE agents(id BLOB PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE lesson_log(at INTEGER PRIMARY KEY, lessons TEXT NOT NULL) STRICT;
CREATE TABLE lessons(
    agent BLOB,
    kind INTEGER,
    slot INTEGER,
    number INTEGER NOT NULL,
    latency_us INTEGER NOT NULL,
    PRIMARY KEY (agent, kind, slot)
) STRICT, WITHOUT ROWID;
"];

/// Whose file it is, as far as its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody's yet.
    Nobody,
    /// Ours, at this version.
    Us(usize),
    /// Another program's.
    Other,
}

/// Reads whose file it is.
pub(super) fn owner(connection: &Connection) -> rusqlite::Result<Owner> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let tables: u64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (number("application_id")?, number("user_version")?) {
        (0, 0) if tables == 0 => Owner::Nobody,
        (APPLICATION_ID, version) => Owner::Us(usize::try_from(version).unwrap_or_default()),
        _ => Owner::Other,
    })
}

/// Brings the file from version `from` to the one that `migrations` end at: wholly, or not at all.
pub(super) fn migrate(
    connection: &mut Connection,
    from: usize,
    migrations: &[&str],
) -> rusqlite::Result<()> {
    let Some(missing) = migrations.get(from..).filter(|missing| !missing.is_empty()) else {
        return Ok(());
    };
    let transaction = connection.transaction()?;
    for migration in missing {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", migrations.len())?;
    if from == 0 {
        write_store_id(&transaction, Uuid::new_v4())?;
    }
    transaction.commit()
}

/// Marks the store.
pub(super) fn write_store_id(connection: &Connection, id: Uuid) -> rusqlite::Result<()> {
    let write = "INSERT OR REPLACE INTO meta(name, value) VALUES (?1, ?2)";
    connection.execute(write, (STORE_ID, id.to_string())).map(drop)
}

/// What marks the store.
pub(super) fn store_id(connection: &Connection) -> rusqlite::Result<Option<Uuid>> {
    let query = "SELECT value FROM meta WHERE name = ?1";
    let text: String = connection.query_row(query, [STORE_ID], |row| row.get(0))?;
    Ok(Uuid::try_parse(&text).ok())
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
