//! A store on disk that stops.

use std::path::Path;

use daedalus::domain::{Change, Snapshot, StoreMetrics};
use daedalus::store::{Expired, History, SqliteStore, Store, StoreError};
use uuid::Uuid;

/// When the last commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fails {
    /// Nothing of it is on disk.
    Before,
    /// All of it is, and nobody is told.
    After,
}

/// Fails at the `left`-th commit and at every one after it.
#[derive(Debug)]
pub(crate) struct StopAt {
    store: SqliteStore,
    left: u64,
    fails: Fails,
}

impl StopAt {
    pub(crate) fn open(path: &Path, at: u64, fails: Fails) -> Self {
        Self { store: SqliteStore::open(path).expect("it opens"), left: at, fails }
    }
}

impl Store for StopAt {
    fn id(&self) -> Uuid {
        self.store.id()
    }

    fn load(&mut self) -> Result<Snapshot, StoreError> {
        self.store.load()
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.left = self.left.saturating_sub(1);
        if self.left > 0 {
            return self.store.commit(changes);
        }
        if self.fails == Fails::After {
            self.store.commit(changes)?;
        }
        Err(StoreError { what: "the test stops it".to_owned(), cause: None })
    }

    fn expire(&mut self, before_us: u64, now_us: u64) -> Result<Expired, StoreError> {
        self.store.expire(before_us, now_us)
    }

    fn metrics(&self) -> Result<StoreMetrics, StoreError> {
        self.store.metrics()
    }

    fn history(&self) -> Result<Box<dyn History>, StoreError> {
        self.store.history()
    }
}
