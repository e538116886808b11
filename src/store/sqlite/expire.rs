//! Old tasks leave the file, and the file gets smaller, in steps that no request feels.

use std::ops::RangeInclusive;

use rusqlite::{Connection, params};

use super::rows::integer;
use crate::store::Expired;

/// How many tasks a step looks at.
const STEP_ROWS: u64 = 256;
/// How many pages a step gives back to the file system.
const STEP_PAGES: u64 = 256;
/// So many free pages are not worth the work: 4 MB.
const FREE_PAGES_KEPT: u64 = 1_024;

/// There is no index on the times: the walk goes by submission, the oldest first.
const LOOK: &str = "SELECT seq, created_us, status >= 2 AND ended_us < ?2 FROM tasks \
     WHERE seq > ?1 AND seq < (SELECT max(seq) FROM tasks) ORDER BY seq LIMIT ?3";

/// How far the present walk has come.
#[derive(Debug, Default)]
pub(super) struct Walk {
    after: i64,
    /// Whether nothing was removed since the file was as small as it is worth.
    is_trim: bool,
}

impl Walk {
    /// Goes one step. The newest task stays: it is what says which number is the next.
    pub(super) fn step(
        &mut self,
        connection: &mut Connection,
        before_us: u64,
        now_us: u64,
    ) -> rusqlite::Result<Expired> {
        let young = integer(before_us)..=integer(now_us);
        let (old, next) = look(connection, self.after, &young)?;
        let more = next.is_some();
        self.after = next.unwrap_or_default();
        if !old.is_empty() {
            let transaction = connection.transaction()?;
            for removal in
                ["DELETE FROM tasks WHERE seq = ?1", "DELETE FROM payloads WHERE seq = ?1"]
            {
                let mut statement = transaction.prepare_cached(removal)?;
                for seq in &old {
                    statement.execute([seq])?;
                }
            }
            transaction.commit()?;
            self.is_trim = false;
        }
        if !self.is_trim {
            self.is_trim = !give_back(connection)?;
        }
        let tasks = old.len() as u64;
        Ok(Expired { tasks, more: more || !self.is_trim })
    }
}

/// The old ones among the next tasks, and where the next step begins, if there is one.
fn look(
    connection: &Connection,
    after: i64,
    young: &RangeInclusive<i64>,
) -> rusqlite::Result<(Vec<i64>, Option<i64>)> {
    let mut statement = connection.prepare_cached(LOOK)?;
    let mut found = statement.query(params![after, young.start(), STEP_ROWS])?;
    let (mut old, mut looked, mut last) = (Vec::new(), 0, None);
    while let Some(row) = found.next()? {
        let (seq, created): (i64, i64) = (row.get(0)?, row.get(1)?);
        // It was not even there at that time, nor was any after it. One from after now says nothing:
        // the clock was wrong.
        if young.contains(&created) {
            return Ok((old, None));
        }
        if row.get(2)? {
            old.push(seq);
        }
        looked += 1;
        last = Some(seq);
    }
    Ok((old, last.filter(|_| looked == STEP_ROWS)))
}

/// Makes the file smaller when a quarter of it is free, and says whether there is more to do. New
/// tasks take the free pages first, so a store that is in use keeps its size.
fn give_back(connection: &Connection) -> rusqlite::Result<bool> {
    let pages = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    let is_worth_it = |free: u64, all: u64| free > FREE_PAGES_KEPT && free > all / 4;
    if !is_worth_it(pages("freelist_count")?, pages("page_count")?) {
        return Ok(false);
    }
    let mut statement =
        connection.prepare_cached(&format!("PRAGMA incremental_vacuum({STEP_PAGES})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(is_worth_it(pages("freelist_count")?, pages("page_count")?))
}
