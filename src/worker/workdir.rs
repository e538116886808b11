//! The working directories of workers.
//!
//! A directory is moved aside first, at once, and removed by a thread of its own: an agent may have
//! left a million files, and nothing else is to wait for that.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rustix::process::{getegid, geteuid};
use slog::{Logger, warn};

/// Nobody but the owner looks in.
const MODE: u32 = 0o700;
/// Where the directories of all stand others can pass, to their own, and see nothing.
const PASSABLE: u32 = 0o711;

/// Makes `path` an empty directory. Returns where the one that stood there before is now.
pub(super) fn create(path: &Path) -> io::Result<Option<PathBuf>> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(PASSABLE).create(parent)?;
    }
    let former = set_aside(path)?;
    DirBuilder::new().mode(MODE).create(path)?;
    Ok(former)
}

/// Moves what is at `path` out of the way, and returns to where; `None` when there was nothing.
pub(super) fn set_aside(path: &Path) -> io::Result<Option<PathBuf>> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let aside = path.with_file_name(format!(".{name}.{}.{number}.old", std::process::id()));
    match fs::rename(path, &aside) {
        Ok(()) => Ok(Some(aside)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a directory that a worker with a user id of its own left behind the daemon's, so that
/// nobody who gets that id later can look in. A link in its place is left alone.
pub(super) fn take_back(path: &Path) -> io::Result<()> {
    lchown(path, Some(geteuid().as_raw()), Some(getegid().as_raw()))?;
    if fs::symlink_metadata(path)?.is_dir() {
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
    }
    Ok(())
}

/// Removes directories, one after the other.
pub(super) struct Janitor {
    paths: mpsc::Sender<PathBuf>,
    thread: JoinHandle<()>,
}

impl Janitor {
    pub(super) fn start(log: Logger) -> io::Result<Self> {
        let (paths, queue) = mpsc::channel::<PathBuf>();
        let thread = thread::Builder::new().name("janitor".into()).spawn(move || {
            for path in queue {
                if let Err(cause) = remove(&path) {
                    warn!(log, "workdir_not_removed"; "path" => %path.display(),
                        "error" => %cause);
                }
            }
        })?;
        Ok(Self { paths, thread })
    }

    pub(super) fn remove(&self, path: Option<PathBuf>) {
        if let Some(path) = path {
            // Without the thread the directory stays, under a name that nothing uses.
            let _stays = self.paths.send(path);
        }
    }

    /// Waits until all is removed.
    pub(super) fn finish(self) {
        drop(self.paths);
        let _panicked = self.thread.join();
    }
}

/// An agent may have put anything in place of its directory, a link to somewhere else included:
/// then the link goes and what it points to stays.
pub fn remove(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return fs::remove_file(path);
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path);
            fs::remove_dir_all(path)
        }
        other => other,
    }
}

/// Gives the owner back the rights to every folder under `path`, which an agent may have taken
/// away. What fails shows when the folder is to be removed.
fn open_up(path: &Path) {
    let mut closed = vec![path.to_path_buf()];
    while let Some(folder) = closed.pop() {
        let _not_ours = fs::set_permissions(&folder, Permissions::from_mode(MODE));
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            // The type of the entry itself: a link is not followed.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                closed.push(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A directory of its own for one test.
    fn place(name: &str) -> PathBuf {
        let place = std::env::temp_dir().join(format!("daedalus-{}-{name}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        place
    }

    #[test]
    fn a_directory_is_made_afresh_and_private() {
        let place = place("afresh");
        let path = place.join("agents").join("a1");
        assert_eq!(create(&path).unwrap(), None);
        fs::write(path.join("secret"), "of the former life").unwrap();
        let former = create(&path).unwrap().expect("the former one stands aside");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(former.join("secret").exists());
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn folders_that_their_owner_closed_are_removed_all_the_same() {
        let place = place("closed");
        let deep = place.join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        let outside = place.with_extension("outside");
        fs::create_dir_all(&outside).unwrap();
        symlink(&outside, place.join("a/link")).unwrap();
        for folder in [&deep, deep.parent().unwrap(), &place.join("a")] {
            fs::set_permissions(folder, Permissions::from_mode(0o0)).unwrap();
        }
        // Root passes everywhere, so for it only this half says something.
        open_up(&place);
        assert_eq!(fs::metadata(&deep).unwrap().permissions().mode() & 0o777, 0o700);
        assert_ne!(fs::metadata(&outside).unwrap().permissions().mode() & 0o077, 0);
        fs::set_permissions(&deep, Permissions::from_mode(0o0)).unwrap();
        remove(&place).unwrap();
        assert!(!place.exists() && outside.exists());
        fs::remove_dir_all(outside).unwrap();
    }

    #[test]
    fn a_link_in_place_of_the_directory_takes_nothing_else_along() {
        let place = place("link");
        let precious = place.join("precious");
        fs::create_dir(&precious).unwrap();
        let path = place.join("a1");
        symlink(&precious, &path).unwrap();
        let aside = set_aside(&path).unwrap().unwrap();
        remove(&aside).unwrap();
        assert!(precious.exists() && !path.exists());
        fs::remove_dir_all(place).unwrap();
    }
}
