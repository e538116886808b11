//! A file that is being written and has not got its name yet.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::place::{self, beside, directory};
use crate::store::StoreError;

/// How often the lock may be removed by its former holder just when it is taken.
const TRIES: u32 = 100;

/// The file beside the one that is wanted; removed unless it was finished.
///
/// Its name is always the same. What a process left that was killed is so found by the next one for
/// the same target, which begins it anew; a lock says whether somebody still writes it.
pub(super) struct Partial {
    path: PathBuf,
    /// A file of its own: a lock on the copy itself would be in the way of SQLite's own ones on
    /// some network file systems.
    lock: PathBuf,
    _held: File,
}

impl Partial {
    /// An empty file, which SQLite takes as none, that only its owner reads.
    pub(super) fn create(to: &Path) -> Result<Self, StoreError> {
        let failed =
            |error| StoreError::new(format!("cannot write to {}", directory(to).display()), error);
        let path = hidden(to, ".partial");
        let lock = hidden(to, ".lock");
        let Some(held) = take(&lock).map_err(failed)? else {
            return Err(StoreError::plain(format!(
                "another backup to {} is under way: wait for it, or name another file",
                to.display()
            )));
        };
        let partial = Self { path, lock, _held: held };
        partial.remove();
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.open(&partial.path).map_err(failed)?;
        Ok(partial)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// Brings it to the disk, and then to its name, which nobody else may have.
    pub(super) fn finish(self, to: &Path) -> io::Result<u64> {
        let file = File::open(&self.path)?;
        file.sync_all()?;
        place::name(&self.path, to)?;
        Ok(file.metadata()?.len())
    }

    fn remove(&self) {
        for rest in ["", "-journal", "-wal", "-shm"] {
            let _not_there = fs::remove_file(beside(&self.path, rest));
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It has another name when it was finished.
        self.remove();
        drop(fs::remove_file(&self.lock));
    }
}

fn hidden(to: &Path, behind: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(to.file_name().unwrap_or_default());
    name.push(behind);
    directory(to).join(name)
}

/// Takes the lock of this file; `None` when somebody has it.
fn take(path: &Path) -> io::Result<Option<File>> {
    for _ in 0..TRIES {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Its former holder may have removed it meanwhile: then this lock keeps nobody off.
        let (ours, named) = (file.metadata()?, fs::symlink_metadata(path));
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())) {
            return Ok(Some(file));
        }
    }
    Ok(None)
}
