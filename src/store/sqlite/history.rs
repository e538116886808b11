//! Reads of every task, on a connection of their own.

use std::path::{Path, PathBuf};

use rusqlite::{CachedStatement, Connection, ToSql, params};

use super::load::unreadable;
use super::rows::{self, COLUMNS, TEXTS, integer, kind_code, kind_codes, status_code};
use super::{cannot, open};
use crate::domain::{ListQuery, Seq, Task, TaskId, TaskPage, TaskStatus, TaskSummary, TaskTypes};
use crate::store::{History, LOOKED_AT_MOST, StoreError};

/// Looks at tasks, the newest first, each of which may be wanted.
const ALL: &str = "SELECT seq, status, kind FROM tasks WHERE seq < ?1 ORDER BY seq DESC";
/// The same of one live status; the planner must be told the index's own condition.
const LIVE: &str = "SELECT seq, status, kind FROM tasks INDEXED BY tasks_live \
     WHERE seq < ?1 AND status = ?2 AND status < 2 ORDER BY seq DESC";
/// The same of tasks that failed or were cancelled.
const UNSUCCESSFUL: &str = "SELECT seq, status, kind FROM tasks INDEXED BY tasks_unsuccessful \
     WHERE seq < ?1 AND status = ?2 AND status >= 3 ORDER BY seq DESC";
/// The oldest unsuccessful ones.
const OLDEST: &str = "SELECT seq FROM tasks INDEXED BY tasks_unsuccessful \
     WHERE status = ?1 AND status >= 3 AND (?2 >> kind) & 1 ORDER BY seq LIMIT ?3";
const COUNT: &str = "SELECT count(*) FROM tasks INDEXED BY tasks_unsuccessful \
     WHERE status = ?1 AND status >= 3 AND (?2 >> kind) & 1";

pub(super) const OF_ID: &str = "id = ?1";
const OF_KEY: &str = "key = ?1 AND key IS NOT NULL";
const OF_SEQ: &str = "seq = ?1";
const STATUS_OF_KEY: &str = "SELECT seq, status FROM tasks WHERE key = ?1 AND key IS NOT NULL";

/// Reads whole tasks, for [`rows::task`].
pub(super) fn whole(condition: &str) -> String {
    format!("SELECT {COLUMNS}, {TEXTS} FROM tasks WHERE {condition}")
}

/// The queries that must not look at every task.
#[cfg(test)]
pub(super) fn queries() -> Vec<String> {
    let lists = [ALL, LIVE, UNSUCCESSFUL, OLDEST, COUNT, STATUS_OF_KEY].map(str::to_owned);
    [OF_ID, OF_KEY, OF_SEQ].map(whole).into_iter().chain(lists).collect()
}

/// The reading side of the file.
#[derive(Debug)]
pub struct SqliteHistory {
    path: PathBuf,
    connection: Connection,
}

impl SqliteHistory {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { path: path.to_owned(), connection: open::reader(path)? })
    }

    /// The whole task for which `condition`, about `?1`, is true.
    fn find(&self, condition: &str, value: &dyn ToSql) -> Result<Option<Task>, StoreError> {
        let mut statement =
            self.connection.prepare_cached(&whole(condition)).map_err(self.failed())?;
        self.one(&mut statement, value, true)
    }

    fn one(
        &self,
        statement: &mut CachedStatement<'_>,
        value: &dyn ToSql,
        whole: bool,
    ) -> Result<Option<Task>, StoreError> {
        let mut found = statement.query([value]).map_err(self.failed())?;
        let Some(row) = found.next().map_err(self.failed())? else { return Ok(None) };
        let task = rows::task(row, whole);
        task.map(Some).map_err(|cause| unreadable(&self.path, "task", row, cause))
    }

    /// The numbers of the tasks of a page, and where the next one begins.
    fn look(&self, query: &ListQuery) -> rusqlite::Result<(Vec<i64>, Option<Seq>)> {
        let status = query.status.map(status_code);
        let kind = query.kind.map(kind_code);
        let before = query.before.map_or(i64::MAX, |seq| integer(seq.get()));
        let sql = match query.status {
            Some(TaskStatus::Pending | TaskStatus::InProgress) => LIVE,
            Some(TaskStatus::Failed | TaskStatus::Cancelled) => UNSUCCESSFUL,
            Some(TaskStatus::Completed) | None => ALL,
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut found = if sql == ALL {
            statement.query([before])?
        } else {
            statement.query((before, status))?
        };
        let (mut wanted, mut looked, mut last) = (Vec::new(), 0, None);
        while let Some(row) = found.next()? {
            // There is at least one more.
            if wanted.len() >= query.limit || looked == LOOKED_AT_MOST {
                return Ok((wanted, last.map(rows::seq)));
            }
            let (seq, its_status, its_kind): (i64, i64, i64) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            if status.is_none_or(|status| status == its_status)
                && kind.is_none_or(|kind| kind == its_kind)
            {
                wanted.push(seq);
            }
            looked += 1;
            last = Some(seq);
        }
        Ok((wanted, None))
    }

    fn failed(&self) -> impl FnOnce(rusqlite::Error) -> StoreError {
        cannot("read", &self.path)
    }
}

impl History for SqliteHistory {
    fn task(&mut self, id: TaskId) -> Result<Option<Task>, StoreError> {
        self.find(OF_ID, id.uuid().as_bytes())
    }

    fn task_of_key(&mut self, name: &str) -> Result<Option<Task>, StoreError> {
        self.find(OF_KEY, &name)
    }

    fn status_of_key(&mut self, name: &str) -> Result<Option<TaskStatus>, StoreError> {
        let mut statement = self.connection.prepare_cached(STATUS_OF_KEY).map_err(self.failed())?;
        let mut found = statement.query([name]).map_err(self.failed())?;
        let Some(row) = found.next().map_err(self.failed())? else { return Ok(None) };
        let code = row.get(1).map_err(self.failed())?;
        let status = rows::status(code);
        status.map(Some).map_err(|cause| unreadable(&self.path, "task", row, cause))
    }

    fn page(&mut self, query: &ListQuery) -> Result<TaskPage, StoreError> {
        let moment = self.connection.unchecked_transaction().map_err(self.failed())?;
        let (wanted, next) = self.look(query).map_err(self.failed())?;
        let sql = format!("SELECT {COLUMNS} FROM tasks WHERE seq = ?1");
        let mut statement = moment.prepare_cached(&sql).map_err(self.failed())?;
        let mut tasks: Vec<TaskSummary> = Vec::with_capacity(wanted.len());
        for seq in wanted {
            tasks.extend(self.one(&mut statement, &seq, false)?.map(|task| task.summary(None)));
        }
        Ok(TaskPage { tasks, next })
    }

    fn unsuccessful(
        &mut self,
        status: TaskStatus,
        of: TaskTypes,
        from: TaskTypes,
        at_most: usize,
    ) -> Result<(Vec<Task>, u64), StoreError> {
        let moment = self.connection.unchecked_transaction().map_err(self.failed())?;
        let status = status_code(status);
        let counted = |connection: &Connection| -> rusqlite::Result<(Vec<i64>, u64)> {
            let mut count = connection.prepare_cached(COUNT)?;
            let mut oldest = connection.prepare_cached(OLDEST)?;
            let numbers =
                oldest.query_map(params![status, kind_codes(from), at_most], |row| row.get(0))?;
            Ok((
                numbers.collect::<Result<_, _>>()?,
                count.query_row((status, kind_codes(of)), |row| row.get(0))?,
            ))
        };
        let (numbers, count) = counted(&moment).map_err(self.failed())?;
        let mut tasks = Vec::with_capacity(numbers.len());
        for seq in numbers {
            tasks.extend(self.find(OF_SEQ, &seq)?);
        }
        Ok((tasks, count))
    }
}
