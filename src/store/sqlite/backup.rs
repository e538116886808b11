//! A copy of the store, taken while the daemon writes it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use uuid::Uuid;

use super::partial::Partial;
use super::{cannot, once, open, schema};
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
        // Damage is that of the source; all else may be about either of them.
        Some(Err(cause)) if cause.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            return Err(cannot("back up", from)(cause));
        }
        Some(Err(cause)) => return Err(StoreError::new(failed, once(cause))),
        None => return Err(StoreError::plain(failed)),
    };
    let bytes = partial.finish(to).map_err(|cause| {
        let came_meanwhile = cause.kind() == ErrorKind::AlreadyExists;
        if came_meanwhile { is_there(to) } else { StoreError::new(failed, cause) }
    })?;
    Ok(Backup { bytes, tasks })
}

fn refuse_existing(to: &Path) -> Result<(), StoreError> {
    if fs::symlink_metadata(to).is_err() {
        return Ok(());
    }
    Err(is_there(to))
}

fn is_there(to: &Path) -> StoreError {
    StoreError::plain(format!("{} is there already: name a file that is not", to.display()))
}

/// What is in use of the file: about what a copy of it takes.
fn used_bytes(source: &Connection) -> rusqlite::Result<u64> {
    let number = |name| source.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
    Ok(pages * number("page_size")?)
}

/// Copies all of it, makes the copy a store of its own, and counts its tasks.
fn copy(source: &Connection, partial: &Partial) -> rusqlite::Result<u64> {
    let path = partial.path();
    let name = path.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(path.to_owned()))?;
    source.execute("VACUUM INTO ?1", [name])?;
    let copy = Connection::open(path)?;
    // With the id of the original, a daemon that is started on the copy would take the workers of
    // the original's daemon for left over, and kill them.
    schema::write_store_id(&copy, Uuid::new_v4())?;
    copy.query_row("SELECT count(*) FROM tasks", [], |row| row.get(0))
}
