//! A copy of the store, taken while the daemon writes it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use super::place::{self, directory};
use super::{cannot, open};
use crate::store::StoreError;

/// How often somebody is told how far a backup has come.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How far a backup has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are written.
    pub written: u64,
    /// About how many there will be.
    pub expected: u64,
}

/// A backup that is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Its size.
    pub bytes: u64,
    /// How many tasks it has.
    pub tasks: u64,
}

/// Writes a copy of the store at `from` as it is at one moment to the file `to`, which must not be
/// there yet and is whole when it is there. While it runs, the daemon's write-ahead log grows.
///
/// # Errors
/// See [`StoreError`]. Then nothing is left of it.
pub fn backup(
    from: &Path,
    to: &Path,
    mut tell: impl FnMut(Progress),
) -> Result<Backup, StoreError> {
    let source = open::reader(from)?;
    refuse_existing(to)?;
    let partial = Partial::create(to)?;
    let expected = used_bytes(&source).map_err(cannot("read", from))?;
    let copied = thread::scope(|scope| {
        let (done, waits) = mpsc::channel();
        let partial = &partial;
        scope.spawn(move || {
            // Nobody waits any more only when the other side panicked.
            let _unheard = done.send(copy(&source, partial));
        });
        loop {
            match waits.recv_timeout(TELL_EVERY) {
                Ok(copied) => return Some(copied),
                Err(RecvTimeoutError::Timeout) => {
                    tell(Progress { written: partial.bytes(), expected });
                }
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    });
    let failed = format!("cannot back up {} to {}", from.display(), to.display());
    let tasks = match copied {
        Some(Ok(tasks)) => tasks,
        Some(Err(cause)) => return Err(StoreError::new(failed, cause)),
        None => return Err(StoreError::plain(failed)),
    };
    refuse_existing(to)?;
    let bytes = partial.finish(to).map_err(|cause| StoreError::new(failed, cause))?;
    Ok(Backup { bytes, tasks })
}

fn refuse_existing(to: &Path) -> Result<(), StoreError> {
    if fs::symlink_metadata(to).is_err() {
        return Ok(());
    }
    let what = format!("{} is there already: name a file that is not", to.display());
    Err(StoreError::plain(what))
}

/// What is in use of the file: about what a copy of it takes.
fn used_bytes(source: &Connection) -> rusqlite::Result<u64> {
    let number = |name| source.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
    Ok(pages * number("page_size")?)
}

/// Copies all of it, and counts the tasks of the copy.
fn copy(source: &Connection, partial: &Partial) -> rusqlite::Result<u64> {
    let name =
        partial.path.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(partial.path.clone()))?;
    source.execute("VACUUM INTO ?1", [name])?;
    let copy = Connection::open(&partial.path)?;
    copy.query_row("SELECT count(*) FROM tasks", [], |row| row.get(0))
}

/// The file beside the one that is wanted; removed unless it was finished.
struct Partial {
    path: PathBuf,
}

impl Partial {
    /// An empty file, which SQLite takes as none, that only its owner reads.
    fn create(to: &Path) -> Result<Self, StoreError> {
        let mut name = OsString::from(".");
        name.push(to.file_name().unwrap_or_default());
        name.push(format!(".{}.partial", std::process::id()));
        let path = directory(to).join(name);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(_) => Ok(Self { path }),
            Err(error) => {
                Err(StoreError::new(format!("cannot write to {}", directory(to).display()), error))
            }
        }
    }

    fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// Brings it to the disk, and then to its name.
    fn finish(self, to: &Path) -> io::Result<u64> {
        let file = File::open(&self.path)?;
        file.sync_all()?;
        place::name(&self.path, to)?;
        Ok(file.metadata()?.len())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It has another name when it was finished.
        drop(fs::remove_file(&self.path));
    }
}
