//! Changes into rows: one transaction, one sync.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ToSql, params};

use super::lessons::Learned;
use super::rows::{integer, kind_code, status_code, write_body};
use super::{agents, schema};
use crate::domain::{AgentId, AgentRecord, Change, Task, TaskState};

/// A longer payload is kept beside its row, so that a change of the task does not write it again.
pub(super) const PAYLOAD_IN_ROW_BYTES: usize = 4096;

/// Puts the whole row in place of one that may be there.
const INSERT: &str = "INSERT INTO tasks(seq, id, kind, status, priority, created_us, ended_us, \
     trace, key, fingerprint, body, payload, result) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) \
     ON CONFLICT(seq) DO UPDATE SET id = excluded.id, kind = excluded.kind, \
     status = excluded.status, priority = excluded.priority, created_us = excluded.created_us, \
     ended_us = excluded.ended_us, trace = excluded.trace, key = excluded.key, \
     fingerprint = excluded.fingerprint, body = excluded.body, payload = excluded.payload, \
     result = excluded.result WHERE tasks.id = excluded.id";
/// Whether another task has this key: one that came back after it was forgotten, and whose key was
/// used again meanwhile, comes back without it.
const KEY_TAKEN: &str = "SELECT 1 FROM tasks WHERE key = ?1 AND seq <> ?2";
/// A new task takes its key from the one that had it.
const TAKE_KEY: &str =
    "UPDATE tasks SET key = NULL, fingerprint = NULL WHERE key = ?1 AND seq <> ?2";
const INSERT_PAYLOAD: &str = "INSERT OR REPLACE INTO payloads(seq, payload) VALUES (?1, ?2)";
const UPDATE: &str =
    "UPDATE tasks SET status = ?2, ended_us = ?3, body = ?4, result = ?5 WHERE seq = ?1";

/// Kept from commit to commit, so that a commit allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    newest: HashMap<u64, Newest>,
    body: Vec<u8>,
    learned: Learned,
}

/// The last image of a task in a batch.
#[derive(Clone, Copy, Debug)]
struct Newest {
    index: usize,
    /// Whether one of its images said that the store may not have the task.
    new: bool,
}

/// Writes the changes: all, or none.
pub(super) fn commit(
    connection: &Connection,
    scratch: &mut Scratch,
    changes: &[Change],
) -> rusqlite::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let written = write_all(connection, scratch, changes)
        .and_then(|()| connection.prepare_cached("COMMIT")?.execute([]));
    if written.is_err() && !connection.is_autocommit() {
        // Only so that the connection is as before: nobody is told more of it than the error.
        drop(connection.execute_batch("ROLLBACK"));
    }
    written.map(drop)
}

fn write_all(
    connection: &Connection,
    scratch: &mut Scratch,
    changes: &[Change],
) -> rusqlite::Result<()> {
    let Scratch { newest, body, learned } = scratch;
    newest.clear();
    learned.begin();
    for (index, change) in changes.iter().enumerate() {
        if let Change::Task { task, new } = change {
            let known = newest.entry(task.seq.get()).or_insert(Newest { index, new: false });
            *known = Newest { index, new: known.new || *new };
        }
    }
    let mut tasks = TaskWriter::new(connection, body)?;
    for (index, change) in changes.iter().enumerate() {
        match change {
            Change::Task { task, .. } => match newest.get(&task.seq.get()) {
                Some(last) if last.index == index => tasks.write(task, last.new)?,
                _ => {}
            },
            Change::Learned(lesson) => learned.push(lesson),
            Change::Agent(agent) => write_agent(connection, agent)?,
            Change::AgentGone(agent) => {
                learned.forget(connection, *agent)?;
                remove_agent(connection, *agent)?;
            }
            Change::Target(target) => write_meta(connection, schema::TARGET, target)?,
            Change::Note { name, text } => {
                write_meta(connection, &format!("{}{name}", schema::NOTE), text)?;
            }
        }
    }
    learned.write(connection)
}

/// Brings the log of lessons into the windows, so that it does not grow from start to start.
pub(super) fn fold(connection: &mut Connection, scratch: &mut Scratch) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    scratch.learned.fold(&transaction)?;
    transaction.commit()
}

/// The statements about tasks, ready for a whole batch.
struct TaskWriter<'a> {
    connection: &'a Connection,
    insert: CachedStatement<'a>,
    update: CachedStatement<'a>,
    body: &'a mut Vec<u8>,
}

impl<'a> TaskWriter<'a> {
    fn new(connection: &'a Connection, body: &'a mut Vec<u8>) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            insert: connection.prepare_cached(INSERT)?,
            update: connection.prepare_cached(UPDATE)?,
            body,
        })
    }

    fn write(&mut self, task: &Task, new: bool) -> rusqlite::Result<()> {
        write_body(task, self.body).map_err(unwritable)?;
        // A task that was forgotten meanwhile comes back whole.
        if new || self.update(task)? == 0 {
            self.insert(task, new)?;
        }
        Ok(())
    }

    fn update(&mut self, task: &Task) -> rusqlite::Result<usize> {
        self.update.execute(params![
            integer(task.seq.get()),
            status_code(task.status()),
            ended_us(task),
            Text(self.body),
            task.result.as_ref().map(|json| json.as_str()),
        ])
    }

    fn insert(&mut self, task: &Task, new: bool) -> rusqlite::Result<()> {
        let (seq, spec) = (integer(task.seq.get()), &task.spec);
        let payload = spec.payload.as_str();
        let aside = payload.len() > PAYLOAD_IN_ROW_BYTES;
        let mut key = spec.key.as_ref();
        if let Some(name) = key.map(|key| &*key.name) {
            if new {
                self.connection.prepare_cached(TAKE_KEY)?.execute(params![name, seq])?;
            } else if self.connection.prepare_cached(KEY_TAKEN)?.exists(params![name, seq])? {
                key = None;
            }
        }
        let written = self.insert.execute(params![
            seq,
            task.id.uuid().as_bytes(),
            kind_code(spec.kind),
            status_code(task.status()),
            spec.priority.get(),
            integer(task.created.wall_us),
            ended_us(task),
            spec.trace.as_str(),
            key.map(|key| &*key.name),
            key.map(|key| &key.content.0),
            Text(self.body),
            (!aside).then_some(payload),
            task.result.as_ref().map(|json| json.as_str()),
        ])?;
        if written == 0 {
            // Another task has this number: two daemons wrote here. Nothing is replaced.
            return Err(rusqlite::Error::StatementChangedRows(0));
        }
        // What an earlier row of this number may have left aside is hidden by a payload in the row.
        if aside {
            self.connection.prepare_cached(INSERT_PAYLOAD)?.execute(params![seq, payload])?;
        }
        Ok(())
    }
}

/// Bytes that serde_json wrote, which are UTF-8.
struct Text<'a>(&'a [u8]);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

fn ended_us(task: &Task) -> Option<i64> {
    match task.state {
        TaskState::Ended { at, .. } => Some(integer(at.wall_us)),
        TaskState::Pending(_) | TaskState::InProgress { .. } => None,
    }
}

fn unwritable(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(error.into())
}

fn write_agent(connection: &Connection, agent: &AgentRecord) -> rusqlite::Result<()> {
    let body = agents::body(agent).map_err(unwritable)?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO agents(id, body) VALUES (?1, ?2)")?
        .execute(params![agent.id.uuid().as_bytes(), body])
        .map(drop)
}

fn remove_agent(connection: &Connection, agent: AgentId) -> rusqlite::Result<()> {
    let uuid = agent.uuid();
    connection
        .prepare_cached("DELETE FROM agents WHERE id = ?1")?
        .execute([uuid.as_bytes()])
        .map(drop)
}

fn write_meta(connection: &Connection, name: &str, value: impl ToSql) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta(name, value) VALUES (?1, ?2)")?
        .execute(params![name, value])
        .map(drop)
}

/// Brings everything from the WAL into the file and empties the WAL; `false` when a reader is in
/// the way, for whom nobody waits.
pub(super) fn checkpoint(connection: &Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(Duration::ZERO)?;
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    connection.busy_timeout(super::open::BUSY)?;
    busy.map(|busy: bool| !busy)
}
