//! A look at the file before it is used, so that damage stops the start and not the first commit.

use std::path::Path;

use rusqlite::Connection;

use super::{cannot, open};
use crate::store::StoreError;

/// A file up to this size is read whole, which takes a fraction of a second.
const READ_WHOLE_BYTES: u64 = 64 << 20;

/// Both ends of everything that a commit or a request may look into: of each table and index that
/// the start does not read whole anyway. It is where new rows go, and where damage by a torn or
/// misplaced write is most likely.
const ENDS: [&str; 6] = [
    "SELECT * FROM tasks ORDER BY seq",
    "SELECT id FROM tasks ORDER BY id",
    "SELECT status FROM tasks INDEXED BY tasks_live WHERE status < 2 ORDER BY status",
    "SELECT status, seq, kind FROM tasks INDEXED BY tasks_unsuccessful WHERE status >= 3 \
     ORDER BY status",
    "SELECT key FROM tasks INDEXED BY tasks_key WHERE key IS NOT NULL ORDER BY key",
    "SELECT * FROM payloads ORDER BY seq",
];

/// Refuses a file in which damage is found in the time that a start has for it: a small file is
/// looked through, of a large one the ends of each part are.
pub(super) fn probe(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    if std::fs::metadata(path).map_or(0, |file| file.len()) <= READ_WHOLE_BYTES {
        whole(connection, path)
    } else {
        ends(connection).map_err(cannot("read", path))
    }
}

fn whole(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(cannot("read", path))?;
    // The first line only says in which database.
    let first = found.lines().last().unwrap_or_default();
    if found == "ok" { Ok(()) } else { Err(open::damaged(path, first, None)) }
}

pub(super) fn ends(connection: &Connection) -> rusqlite::Result<()> {
    for query in ENDS {
        for end in ["", " DESC"] {
            let mut statement = connection.prepare(&format!("{query}{end} LIMIT 1"))?;
            let mut found = statement.query([])?;
            while let Some(row) = found.next()? {
                // A long value goes on in pages of its own.
                for column in 0..row.as_ref().column_count() {
                    row.get_ref(column)?;
                }
            }
        }
    }
    Ok(())
}
