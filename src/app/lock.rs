//! Files that one daemon at a time holds.

use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

const MODE: u32 = 0o600;

/// Takes the lock of this file, which is made if need be, for as long as the answer lives. `None`
/// when another daemon has it.
///
/// Whoever may open it may lock it and keep the daemon from starting, so nobody else may.
pub(super) fn take(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().write(true).create(true).truncate(false).mode(MODE).open(path)?;
    // One that an earlier version made was open to all. That of another owner is his to close.
    let _not_ours = file.set_permissions(Permissions::from_mode(MODE));
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(cause)) => Err(cause),
    }
}
