//! Where tasks outlive the daemon: the store in our own words, its SQLite form, and the one
//! thread that writes it.

mod gauges;
mod memory;
mod retention;
mod sqlite;
#[cfg(test)]
mod tests;
mod writer;

use std::error::Error;
use std::fmt::Debug;

use uuid::Uuid;

use crate::domain::{
    Chain, Change, ListQuery, Snapshot, StoreMetrics, Task, TaskId, TaskPage, TaskStatus, TaskTypes,
};

pub use gauges::Gauges;
pub use memory::{MemoryHistory, MemoryStore};
pub use retention::Retention;
pub use sqlite::{
    AgentKinds, AtStart, Backup, CheckReport, Progress, SqliteHistory, SqliteStore, TaskCounts,
    backup, check, files, lock_path,
};
pub use writer::{Handed, Ledger, OnFailed, Writer, WriterOptions, WriterStart};

/// How many tasks a page looks at, at most.
const LOOKED_AT_MOST: usize = 5_000;

/// The writing side. One thread holds it.
pub trait Store: Debug + Send {
    /// Marks this store and what belongs to it, for good.
    fn id(&self) -> Uuid;

    /// Reads what a start must know: what is live, and nothing of the history.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn load(&mut self) -> Result<Snapshot, StoreError>;

    /// Makes the changes durable, in order: all of them, or none. Of several images of one task
    /// only the last one counts.
    ///
    /// # Errors
    /// See [`StoreError`]. After one it is not known what the store has: nothing may be
    /// acknowledged, nothing tried again; the next start finds the truth.
    fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError>;

    /// Tidies up, which takes longer than a commit: for when nothing else is to be done. Costs
    /// nothing when there is nothing to tidy.
    ///
    /// # Errors
    /// The store is damaged. All else is told as what became of it, for every commit is as durable
    /// as before.
    fn checkpoint(&mut self) -> Result<Tidied, StoreError> {
        Ok(Tidied::Wholly)
    }

    /// Forgets tasks that ended before `before_us` (times of day in microseconds): one small
    /// step, that no request feels. What says that it is from after `now_us` was accepted while the
    /// clock was wrong, and says nothing of when. Does nothing while there is no room for it.
    ///
    /// # Errors
    /// See [`StoreError`], and that of [`Store::commit`].
    fn expire(&mut self, before_us: u64, now_us: u64) -> Result<Expired, StoreError>;

    /// What it takes. `commits`, `turns` and `expired` are the writer's to count.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn metrics(&self) -> Result<StoreMetrics, StoreError>;

    /// Another way to read it, for a thread of its own. Sees every commit that was done before a
    /// call.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn history(&self) -> Result<Box<dyn History>, StoreError>;
}

/// The reading side: every task that is committed, ended or not.
pub trait History: Debug + Send {
    /// Reads a task, whole.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn task(&mut self, id: TaskId) -> Result<Option<Task>, StoreError>;

    /// Reads the task that was submitted under this idempotency key: the newest one, which took it
    /// from those before.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn task_of_key(&mut self, name: &str) -> Result<Option<Task>, StoreError>;

    /// Reads only the status of that task.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn status_of_key(&mut self, name: &str) -> Result<Option<TaskStatus>, StoreError>;

    /// Reads a page of tasks, the newest submission first. The tasks have no `waiting`. Looks at
    /// a bounded number of tasks: a page may hold fewer than it might and not be the last.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn page(&mut self, query: &ListQuery) -> Result<TaskPage, StoreError>;

    /// Of the tasks that ended as `status` (failed or cancelled): reads the oldest of the types
    /// `from`, whole, at most `at_most`, and counts how many there are of the types `of`.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn unsuccessful(
        &mut self,
        status: TaskStatus,
        of: TaskTypes,
        from: TaskTypes,
        at_most: usize,
    ) -> Result<(Vec<Task>, u64), StoreError>;
}

/// What became of [`Store::checkpoint`].
#[derive(Debug)]
pub enum Tidied {
    /// All is where it belongs.
    Wholly,
    /// Somebody reads the store and is in the way; nobody waits for that.
    ReaderInTheWay,
    /// It cannot be done at the moment, for lack of room for example.
    NotNow(StoreError),
}

/// What a step of [`Store::expire`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// How many tasks were forgotten.
    pub tasks: u64,
    /// Whether there may be more to forget.
    pub more: bool,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct StoreError {
    /// What could not be done, as a sentence.
    pub what: String,
    /// Why not.
    #[source]
    pub cause: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    fn new(what: String, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what, cause: Some(cause.into()) }
    }

    const fn plain(what: String) -> Self {
        Self { what, cause: None }
    }

    /// The error and its causes, on one line.
    #[must_use]
    pub fn chain(&self) -> String {
        Chain(self).to_string()
    }
}
