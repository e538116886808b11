//! What was learned of the agents: a window per agent and type, and what came after it.
//!
//! The rows of the windows lie all over their table, so writing each lesson to its place would
//! write about one page per lesson. The lessons of a commit are one row of a log instead; now and
//! then the log is folded into the windows.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::rows::{self, Unreadable, integer, kind_code};
use crate::domain::{AgentId, Lesson};

/// How many lessons the log holds before it is folded.
const LOG_LESSONS: usize = 4_096;

/// Every lesson of the windows, for [`lesson`].
pub(super) const WINDOWS: &str =
    "SELECT agent, kind, slot, number, latency_us FROM lessons ORDER BY agent, kind, number";
/// Every row of the log, for [`logged`].
pub(super) const LOG: &str = "SELECT at, lessons FROM lesson_log ORDER BY at";

/// A lesson as the log has it: agent, type, slot, number and latency.
type Entry = (AgentId, i64, usize, u64, u64);

/// The lessons of a commit, and how long the log is.
#[derive(Debug, Default)]
pub(super) struct Learned {
    entries: Vec<Entry>,
    /// Since the log was folded; what was there at the start is not counted.
    in_log: usize,
}

impl Learned {
    /// Forgets what a commit that failed left behind.
    pub(super) fn begin(&mut self) {
        self.entries.clear();
    }

    /// Takes one lesson of the commit.
    pub(super) fn push(&mut self, lesson: &Lesson) {
        let Lesson { agent, kind, number, slot, latency_us } = *lesson;
        self.entries.push((agent, kind_code(kind), slot, number, latency_us));
    }

    /// Writes the lessons of the commit.
    pub(super) fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let text = serde_json::to_string(&self.entries)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        connection
            .prepare_cached("INSERT INTO lesson_log(lessons) VALUES (?1)")?
            .execute([text])?;
        self.in_log += self.entries.len();
        self.entries.clear();
        if self.in_log >= LOG_LESSONS { self.fold(connection) } else { Ok(()) }
    }

    /// Forgets an agent.
    pub(super) fn forget(
        &mut self,
        connection: &Connection,
        agent: AgentId,
    ) -> rusqlite::Result<()> {
        self.write(connection)?;
        self.fold(connection)?;
        let uuid = agent.uuid();
        connection
            .prepare_cached("DELETE FROM lessons WHERE agent = ?1")?
            .execute([uuid.as_bytes()])
            .map(drop)
    }

    /// Brings the log into the windows.
    pub(super) fn fold(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut newest = BTreeMap::new();
        let mut log = connection.prepare_cached(LOG)?;
        let mut found = log.query([])?;
        while let Some(row) = found.next()? {
            for (agent, kind, slot, number, latency_us) in entries(row).map_err(unreadable)? {
                newest.insert((agent, kind, slot), (number, latency_us));
            }
        }
        drop(found);
        if newest.is_empty() {
            return Ok(());
        }
        let mut window = connection.prepare_cached(
            "INSERT OR REPLACE INTO lessons(agent, kind, slot, number, latency_us) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for ((agent, kind, slot), (number, latency_us)) in newest {
            let uuid = agent.uuid();
            let (number, latency_us) = (integer(number), integer(latency_us));
            window.execute(params![uuid.as_bytes(), kind, slot, number, latency_us])?;
        }
        connection.prepare_cached("DELETE FROM lesson_log")?.execute([])?;
        self.in_log = 0;
        Ok(())
    }
}

fn unreadable(cause: Unreadable) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, cause)
}

fn entries(row: &Row<'_>) -> Result<Vec<Entry>, Unreadable> {
    Ok(serde_json::from_str(row.get_ref(1)?.as_str()?)?)
}

/// The lessons of a row of [`LOG`].
pub(super) fn logged(row: &Row<'_>) -> Result<Vec<Lesson>, Unreadable> {
    let lesson = |(agent, kind, slot, number, latency_us)| {
        Ok(Lesson { agent, kind: rows::kind(kind)?, number, slot, latency_us })
    };
    entries(row)?.into_iter().map(lesson).collect()
}

/// A lesson of a row of [`WINDOWS`].
pub(super) fn lesson(row: &Row<'_>) -> Result<Lesson, Unreadable> {
    Ok(Lesson {
        agent: AgentId::from_uuid(Uuid::from_bytes(row.get(0)?)),
        kind: rows::kind(row.get(1)?)?,
        slot: row.get(2)?,
        number: row.get(3)?,
        latency_us: row.get(4)?,
    })
}
