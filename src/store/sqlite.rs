//! The store on disk: one SQLite file, written by one connection.
//!
//! It is in WAL mode with `synchronous=FULL`, so a commit is one append and one sync, and readers
//! never wait for the writer. A task is one row; what never changes of it is written once.

mod agents;
mod attempts;
mod backup;
mod check;
mod expire;
mod history;
mod lessons;
mod load;
mod log;
mod open;
mod partial;
mod place;
mod probe;
mod rows;
mod schema;
mod write;

use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use rusqlite::{Connection, ErrorCode};
use uuid::Uuid;

use super::{Expired, History, Store, StoreError, Tidied};
use crate::domain::{Change, Snapshot, StoreMetrics};

pub use backup::{Backup, Progress, backup};
pub use check::{AgentKinds, AtStart, CheckReport, TaskCounts, check};
pub use history::SqliteHistory;
use place::{directory, wal_path};
pub use place::{files, lock_path};

/// The writing side of the file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    connection: Connection,
    id: Uuid,
    scratch: write::Scratch,
    expiry: expire::Walk,
}

impl SqliteStore {
    /// The path by which [`lock_path`] and [`SqliteStore::open`] must know the store at `path`:
    /// without links, so that each spelling of it leads to the same.
    ///
    /// # Errors
    /// It is no file, is one of several names, or is a link or in a folder that leads nowhere.
    pub fn locate(path: &Path) -> Result<PathBuf, StoreError> {
        place::locate_to_write(path)
    }

    /// Opens the store at `path`, and makes it when there is none. The directory must be there.
    ///
    /// # Errors
    /// What keeps it from being used: it is no store, is damaged, was written by a newer version,
    /// or the file system refuses.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let path = Self::locate(path)?;
        let (connection, id) = open::writer(&path)?;
        let (scratch, expiry) = (write::Scratch::default(), expire::Walk::default());
        Ok(Self { path, connection, id, scratch, expiry })
    }

    fn cannot(&self, verb: &str) -> impl FnOnce(rusqlite::Error) -> StoreError {
        cannot(verb, &self.path)
    }
}

impl Store for SqliteStore {
    fn id(&self) -> Uuid {
        self.id
    }

    fn load(&mut self) -> Result<Snapshot, StoreError> {
        let snapshot = load::snapshot(&self.connection, &self.path)?;
        write::fold(&mut self.connection, &mut self.scratch).map_err(self.cannot("write to"))?;
        // What was read once is not worth the memory for the rest of the daemon's life.
        self.connection.release_memory().map_err(self.cannot("read"))?;
        Ok(snapshot)
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        write::commit(&self.connection, &mut self.scratch, &changes)
            .map_err(cannot("write to", &self.path))
    }

    fn expire(&mut self, before_us: u64, now_us: u64) -> Result<Expired, StoreError> {
        match self.expiry.step(&mut self.connection, before_us, now_us) {
            // Nothing was written, and there is a next walk.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                Ok(Expired::default())
            }
            expired => expired.map_err(self.cannot("remove old tasks from")),
        }
    }

    fn checkpoint(&mut self) -> Result<Tidied, StoreError> {
        if bytes(&wal_path(&self.path)) == 0 {
            return Ok(Tidied::Wholly);
        }
        match write::checkpoint(&self.connection) {
            Ok(true) => Ok(Tidied::Wholly),
            Ok(false) => Ok(Tidied::ReaderInTheWay),
            Err(error) if is_damage(&error) => Err(self.cannot("tidy up")(error)),
            Err(error) => Ok(Tidied::NotNow(self.cannot("tidy up")(error))),
        }
    }

    fn metrics(&self) -> Result<StoreMetrics, StoreError> {
        let space = statvfs(directory(&self.path)).map_err(|errno| {
            let what = format!("cannot ask how much room is left for {}", self.path.display());
            StoreError::new(what, errno)
        })?;
        Ok(StoreMetrics {
            file_bytes: bytes(&self.path),
            wal_bytes: bytes(&wal_path(&self.path)),
            free_bytes: space.blocks_available().saturating_mul(space.fragment_size()),
            ..StoreMetrics::default()
        })
    }

    fn history(&self) -> Result<Box<dyn History>, StoreError> {
        Ok(Box::new(SqliteHistory::open(&self.path)?))
    }
}

fn cannot(verb: &str, path: &Path) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |error| {
        if is_damage(&error) {
            // Trying again, or another start, helps as little as it does at the start.
            return open::damaged(path, "parts of it are missing or make no sense", Some(error));
        }
        StoreError::new(format!("cannot {verb} the store {}", path.display()), once(error))
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn bytes(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |file| file.len())
}

/// The error without its sources, which its own text has in it.
fn once(error: rusqlite::Error) -> String {
    if let rusqlite::Error::SqliteFailure(code, Some(text)) = &error {
        return format!("{text} (SQLite error {})", code.extended_code);
    }
    error.to_string()
}

/// Reads what a start reads of every part of a large file, for the tests.
#[cfg(test)]
pub(super) fn read_ends(path: &Path) -> rusqlite::Result<()> {
    probe::ends(&Connection::open(path)?)
}

/// How SQLite goes about each query, for the tests: its text and the steps.
#[cfg(test)]
pub(super) fn query_plans(path: &Path) -> Vec<(String, Vec<String>)> {
    let connection = open::reader(path).unwrap();
    let explain = |query: String| {
        let sql = format!("EXPLAIN QUERY PLAN {query}");
        let mut statement = connection.prepare(&sql).unwrap();
        let steps = statement.raw_query().mapped(|row| row.get(3)).map(Result::unwrap).collect();
        (query, steps)
    };
    load::queries().into_iter().chain(history::queries()).map(explain).collect()
}
