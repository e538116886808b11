//! Files that one daemon at a time holds.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// Takes the lock of this file, which is made if need be, for as long as the answer lives. `None`
/// when another daemon has it.
pub(super) fn take(path: &Path) -> io::Result<Option<File>> {
    let file = File::create(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(cause)) => Err(cause),
    }
}
