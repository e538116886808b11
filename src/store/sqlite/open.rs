//! From a path to a connection, and in words why there is none.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags};
use uuid::Uuid;

use super::log;
use super::place::{self, beside, wal_path};
use super::probe;
use super::schema::{self, MIGRATIONS, Owner, VERSION};
use super::{bytes, cannot, once};
use crate::store::StoreError;

/// What the writer keeps of the file in memory, in KiB.
const WRITER_CACHE_KIB: i32 = 8 * 1024;
/// What a reader keeps of the file in memory, in KiB.
const READER_CACHE_KIB: i32 = 1024;
/// Into the file goes what the WAL has when it has so many pages (16 MB).
const CHECKPOINT_PAGES: u32 = 4_000;
/// A WAL that a slow reader let grow is cut to this.
const WAL_KEPT_BYTES: u32 = 32 << 20;
/// How long to wait for somebody else's lock, such as that of an operator's sqlite3.
pub(super) const BUSY: Duration = Duration::from_secs(5);
const TO_WRITE: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);
/// Statements kept ready per connection.
const STATEMENTS: usize = 32;

const RESTORE: &str = "restore a backup (`daedalus check FILE` says whether one is sound), or move \
     the file away to begin with an empty store";

/// Opens the file, located before, for the one writer, and makes or updates it as needed.
pub(super) fn writer(path: &Path) -> Result<(Connection, Uuid), StoreError> {
    let is_there = path.try_exists().map_err(not_created(path))?;
    if !is_there {
        refuse_lonely_wal(path)?;
        make(path)?;
    }
    log::refuse_another_files(path)?;
    let failed = |error| explain(path, error);
    let mut connection = Connection::open_with_flags(path, TO_WRITE).map_err(failed)?;
    // Else what is refused below would be changed at the close: the log would go into the file.
    let keep_log = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(keep_log, true).map_err(failed)?;
    refuse_read_only(&connection, path)?;
    let version = known_version(&connection, path)?;
    if version == 0 {
        return Err(damaged(path, "it is empty", None));
    }
    prepare(&connection, WRITER_CACHE_KIB).map_err(failed)?;
    into_wal(&connection, path)?;
    log::to_disk(&connection, path)?;
    schema::migrate(&mut connection, version, MIGRATIONS).map_err(failed)?;
    probe::probe(&connection, path)?;
    let id = schema::store_id(&connection).map_err(failed)?;
    let id = id.ok_or_else(|| damaged(path, "its id is no UUID", None))?;
    connection.set_db_config(keep_log, false).map_err(failed)?;
    Ok((connection, id))
}

/// Opens the file, wherever the path leads, for reading alone. It must be there and of the present version.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error| explain(path, error);
    // SQLite does not say that there is no file. Opening it here to find out would cost this process
    // its locks on the file: they go with the first descriptor that is closed.
    let real = place::locate(path)?;
    fs::metadata(&real).map_err(|error| {
        StoreError::new(format!("cannot open the store {}", path.display()), error)
    })?;
    let connection = Connection::open_with_flags(real, flags).map_err(failed)?;
    known_version(&connection, path)?;
    prepare(&connection, READER_CACHE_KIB).map_err(failed)?;
    Ok(connection)
}

/// Makes a store without tasks that only its owner reads. It is there whole or not at all: a file
/// without tables is then never a new one, but one that was emptied.
fn make(path: &Path) -> Result<(), StoreError> {
    let new = beside(path, ".new");
    // What an earlier try left that did not come to its end.
    for rest in ["", "-wal", "-shm", "-journal"] {
        let _not_there = fs::remove_file(beside(&new, rest));
    }
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
    created.map_err(not_created(path))?;
    let failed = |error| explain(path, error);
    let mut connection = Connection::open_with_flags(&new, TO_WRITE).map_err(failed)?;
    prepare(&connection, WRITER_CACHE_KIB).map_err(failed)?;
    // Only an empty file can be told to give pages back.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(failed)?;
    into_wal(&connection, path)?;
    schema::migrate(&mut connection, 0, MIGRATIONS).map_err(failed)?;
    connection.close().map_err(|(_, error)| failed(error))?;
    place::name(&new, path).map_err(not_created(path))
}

fn not_created(path: &Path) -> impl Fn(io::Error) -> StoreError {
    move |error| StoreError::new(format!("cannot create the store {}", path.display()), error)
}

/// A log without its file holds commits that a new file would mix up or lose.
fn refuse_lonely_wal(path: &Path) -> Result<(), StoreError> {
    let wal = wal_path(path);
    if bytes(&wal) == 0 {
        return Ok(());
    }
    Err(StoreError::plain(format!(
        "the store {} is missing, but its log {} is there: bring the file back, or move the log \
         away too to begin with an empty store",
        path.display(),
        wal.display()
    )))
}

/// SQLite takes a file that may only be read for just that, and the first commit would fail.
fn refuse_read_only(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    if !connection.is_readonly(MAIN_DB).map_err(|error| explain(path, error))? {
        return Ok(());
    }
    Err(StoreError::plain(format!(
        "the store {} may only be read: let the user of the daemon own it and write it (chown, \
         chmod 600), and mount its file system for writing",
        path.display()
    )))
}

/// The version of the file: 0 while it is empty. Nothing is written before it is known.
fn known_version(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let place = path.display();
    match schema::owner(connection).map_err(|error| explain(path, error))? {
        Owner::Nobody => Ok(0),
        Owner::Us(version) if version <= VERSION => Ok(version),
        Owner::Us(version) => Err(StoreError::plain(format!(
            "the store {place} is of version {version}, and this program knows versions up to \
             {VERSION}: start the newer daedalus that wrote it, or restore a backup from before \
             the update"
        ))),
        Owner::Other => Err(StoreError::plain(format!(
            "{place} is not a daedalus store but the database of another program: let store.path \
             name another file"
        ))),
    }
}

fn prepare(connection: &Connection, cache_kib: i32) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    // Mapped pages would count as the daemon's own memory.
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // A commit is on disk when it returns.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)
}

fn into_wal(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(|error| explain(path, error))?;
    if mode == "wal" {
        return Ok(());
    }
    Err(StoreError::plain(format!(
        "the file system of {} cannot hold a store (no write-ahead log, only {mode}): let \
         store.path name a file on a local disk",
        path.display()
    )))
}

/// Says what an error on the first reading of a file means.
pub(super) fn explain(path: &Path, error: rusqlite::Error) -> StoreError {
    if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) {
        let what = format!("{} is not a daedalus store: {RESTORE}", path.display());
        return StoreError::new(what, once(error));
    }
    cannot("open", path)(error)
}

/// Says that the file is broken, and what to do.
pub(super) fn damaged(path: &Path, how: &str, error: Option<rusqlite::Error>) -> StoreError {
    let place = path.display();
    let what = format!("the store {place} is damaged, {how}: {RESTORE}");
    match error {
        Some(error) => StoreError::new(what, once(error)),
        None => StoreError::plain(what),
    }
}
