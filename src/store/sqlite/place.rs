//! Which file a path means, and the names beside it.

use std::fs::{self, File, FileType, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::store::StoreError;

/// The path of this store without links, which every spelling of it leads to: the lock, the log and
/// the file itself must be beside each other whatever the store was called.
///
/// # Errors
/// What is there is no file, or what the path leads to is missing.
pub(super) fn locate(path: &Path) -> Result<PathBuf, StoreError> {
    look(path).map(|(path, _)| path)
}

/// The same for the one who writes it. The file may have to be made yet.
///
/// # Errors
/// Those of [`locate`], or that the file has several names: links of that sort lead nowhere, so
/// another daemon would be at work on it under another name unseen.
pub(super) fn locate_to_write(path: &Path) -> Result<PathBuf, StoreError> {
    let (path, file) = look(path)?;
    let names = file.map_or(1, |file| file.nlink());
    if names > 1 {
        return Err(StoreError::plain(format!(
            "the store {} has {names} names (hard links), and may be in use under another one: \
             remove the others, or put a copy of it that is a file of its own in its place",
            path.display()
        )));
    }
    Ok(path)
}

fn look(path: &Path) -> Result<(PathBuf, Option<Metadata>), StoreError> {
    let place = path.display();
    let failed = |error| StoreError::new(format!("cannot open the store {place}"), error);
    let is_link = match fs::symlink_metadata(path) {
        Ok(found) => found.is_symlink(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return new_file(path).map(|path| (path, None));
        }
        Err(error) => return Err(failed(error)),
    };
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if is_link && error.kind() == ErrorKind::NotFound => {
            let target = fs::read_link(path).map_err(failed)?;
            return Err(StoreError::plain(format!(
                "{place} is a link to {}, which is not there: mount or restore it, or remove the \
                 link",
                target.display()
            )));
        }
        Err(error) => return Err(failed(error)),
    };
    let file = fs::metadata(&real).map_err(failed)?;
    if !file.is_file() {
        return Err(StoreError::plain(format!(
            "{place} is {}, and a store is a file: name another one (for a daemon that is \
             store.path)",
            sort(file.file_type())
        )));
    }
    Ok((real, Some(file)))
}

/// Where a file will be that is not there yet.
fn new_file(path: &Path) -> Result<PathBuf, StoreError> {
    let folder = directory(path);
    match fs::canonicalize(folder) {
        Ok(folder) => Ok(folder.join(path.file_name().unwrap_or_default())),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(StoreError::plain(format!(
            "the folder {} of the store {} does not exist: make it (or mount what it is on), or \
             name another file (for a daemon that is store.path)",
            folder.display(),
            path.display()
        ))),
        Err(error) => {
            let what = format!("cannot use the folder {} for a store", folder.display());
            Err(StoreError::new(what, error))
        }
    }
}

fn sort(file: FileType) -> &'static str {
    if file.is_dir() {
        "a directory"
    } else if file.is_fifo() {
        "a named pipe"
    } else if file.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// The files that hold the store at `path`: itself, and what stands beside it while it is open.
#[must_use]
pub fn files(path: &Path) -> [PathBuf; 3] {
    [path.to_path_buf(), beside(path, "-wal"), beside(path, "-shm")]
}

/// Which file keeps other daemons off the store at this path, which was located before.
#[must_use]
pub fn lock_path(path: &Path) -> PathBuf {
    beside(path, ".lock")
}

pub(super) fn wal_path(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// The path with something behind its name.
pub(super) fn beside(path: &Path, behind: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(behind);
    name.into()
}

/// Where the file is; the working directory for a bare name.
pub(super) fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Gives a file its name for good, on disk when this returns. A file that has the name already is
/// never replaced, whenever it came.
pub(super) fn name(file: &Path, name: &Path) -> io::Result<()> {
    match renameat_with(CWD, file, CWD, name, RenameFlags::NOREPLACE) {
        // The file system does not know how; a link is not made over a file either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::hard_link(file, name)?;
            fs::remove_file(file)?;
        }
        renamed => renamed?,
    }
    File::open(directory(name))?.sync_all()
}
