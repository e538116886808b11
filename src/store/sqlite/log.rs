//! The write-ahead log that an earlier daemon left, before anything of it is used.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::Connection;

use super::place::{beside, directory, wal_path};
use super::{bytes, cannot};
use crate::store::StoreError;

/// How much of the log is written at once.
const PIECE_BYTES: usize = 1 << 20;
/// How a file of SQLite begins.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// Where the file says how it is written.
const WRITE_VERSION: usize = 18;
/// What it says when that is not with a write-ahead log.
const WITHOUT_LOG: u8 = 1;

/// Brings the log to the disk. SQLite takes whatever the kernel has of it for committed, and a
/// daemon that was killed, or could not sync, may have left there what no disk knows.
///
/// A sync alone is too little: after a write that failed the kernel believes that it was done. So
/// every byte is written again. Nobody else may write the store meanwhile, which the caller's
/// connection sees to.
pub(super) fn to_disk(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let wal = wal_path(path);
    if bytes(&wal) == 0 {
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

/// Refuses a file that never had a log, such as a backup, while there is one beside it: that is
/// another file's, and SQLite would mix the two.
///
/// Nobody in this process may have the file open: its locks would go with the descriptor.
pub(super) fn refuse_another_files(path: &Path) -> Result<(), StoreError> {
    let wal = wal_path(path);
    if bytes(&wal) == 0 {
        return Ok(());
    }
    // What cannot be read is refused in other words later.
    let mut header = [0; 20];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    if read.is_err() || !header.starts_with(MAGIC) || header[WRITE_VERSION] != WITHOUT_LOG {
        return Ok(());
    }
    let (place, wal, shm) = (path.display(), wal.display(), beside(path, "-shm"));
    Err(StoreError::plain(format!(
        "{place} never had a log, as a backup has none, so {wal} belongs to the file that was there \
         before, and the two would be mixed: move {wal} and {} away to begin with {place}, or put \
         back the file that they belong to",
        shm.display()
    )))
}
