//! What every store does, and what only the one on disk does.

mod copies;
mod damage;
mod every_field;
mod expiry;
mod history;
mod keys;
mod place;
mod sample;
mod semantics;
mod wal;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{History, MemoryStore, SqliteStore, Store};

/// A directory for one test, removed at its end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("daedalus-store-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("daedalus.db")
    }

    fn wal(&self) -> PathBuf {
        self.0.join("daedalus.db-wal")
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.file()).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Runs a test on a store of each sort.
fn on_both(test: impl Fn(&mut dyn Store, &mut dyn History)) {
    let place = Place::new();
    let mut stores: [Box<dyn Store>; 2] = [Box::new(MemoryStore::new()), Box::new(place.open())];
    for store in &mut stores {
        let mut history = store.history().unwrap();
        test(store.as_mut(), history.as_mut());
    }
}

fn bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}
