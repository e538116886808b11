//! The write-ahead log that an earlier daemon left, before anything of it is used.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::Connection;

use super::cannot;
use super::place::{directory, wal_path};
use crate::store::StoreError;

/// How much of the log is written at once.
const PIECE_BYTES: usize = 1 << 20;

/// Brings the log to the disk. SQLite takes whatever the kernel has of it for committed, and a
/// daemon that was killed, or could not sync, may have left there what no disk knows.
///
/// A sync alone is too little: after a write that failed the kernel believes that it was done. So
/// every byte is written again. Nobody else may write the store meanwhile, which the caller's
/// connection sees to.
pub(super) fn to_disk(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let wal = wal_path(path);
    if is_empty(&wal) {
        return Ok(());
    }
    let alone = connection.execute_batch("BEGIN IMMEDIATE");
    alone.map_err(cannot("lock", path))?;
    let written = write_again(&wal).and_then(|()| File::open(directory(&wal))?.sync_all());
    let let_go = connection.execute_batch("ROLLBACK");
    written.map_err(|error| {
        let what = format!(
            "cannot bring the log {} of the store to the disk, so it may be lost: help the disk, \
             and start again",
            wal.display()
        );
        StoreError::new(what, error)
    })?;
    let_go.map_err(cannot("unlock", path))
}

fn write_again(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    loop {
        let length = file.read_at(&mut piece, at)?;
        if length == 0 {
            return file.sync_all();
        }
        file.write_all_at(&piece[..length], at)?;
        at += length as u64;
    }
}

fn is_empty(wal: &Path) -> bool {
    fs::metadata(wal).map_or(0, |wal| wal.len()) == 0
}
