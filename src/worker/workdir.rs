//! The working directories of workers.
//!
//! A directory is moved aside first, at once, and removed by a thread of its own: an agent may have
//! left a million files, and nothing else is to wait for that.

mod removal;

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rustix::process::{getegid, geteuid};
use slog::{Logger, warn};

use removal::remove;

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

/// What ends the name of a directory that was moved out of the way.
const ASIDE: &str = ".old";

/// Moves what is at `path` out of the way, and returns to where; `None` when there was nothing.
pub(super) fn set_aside(path: &Path) -> io::Result<Option<PathBuf>> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{}.{number}{ASIDE}", aside_prefix(path), std::process::id());
        let aside = path.with_file_name(name);
        match fs::rename(path, &aside) {
            Ok(()) => return Ok(Some(aside)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // An earlier process of this id left it.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) => return Err(error),
        }
    }
}

fn aside_prefix(path: &Path) -> String {
    format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy())
}

/// What was moved aside from `path` and not removed.
fn left_aside(path: &Path) -> Vec<PathBuf> {
    let prefix = aside_prefix(path);
    let beside = path.parent().and_then(|parent| fs::read_dir(parent).ok());
    let names = beside.into_iter().flatten().flatten().map(|entry| entry.file_name());
    names
        .filter(|name| {
            let name = name.to_string_lossy();
            name.starts_with(&prefix) && name.ends_with(ASIDE)
        })
        .map(|name| path.with_file_name(name))
        .collect()
}

/// Moves what an earlier daemon left at `path` out of the way. It is removed meanwhile, with what
/// was moved there before; what this daemon does not come to, the next one finds.
///
/// # Errors
/// It cannot be moved, or no thread be started. What cannot be removed is told in the log.
pub fn discard(path: &Path, log: Logger) -> io::Result<()> {
    let janitor = Janitor::start(log)?;
    let mut found = left_aside(path);
    let moved = set_aside(path).map(|aside| found.extend(aside));
    for aside in found {
        // The ids of agents are given anew from here on.
        let _told_by_the_janitor = take_back(&aside);
        janitor.remove(Some(aside));
    }
    moved
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    /// A directory of its own for one test.
    pub(super) fn place(name: &str) -> PathBuf {
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
    fn what_an_earlier_daemon_left_is_discarded_and_what_is_beside_it_stays() {
        let place = place("discard");
        let agents = place.join("agents");
        // As an earlier process left it that had the id of this one.
        let names = (0..50).map(|number| format!(".agents.{}.{number}.old", std::process::id()));
        for name in names.chain(["agents".to_owned(), ".agents.kept".to_owned()]) {
            fs::create_dir_all(place.join(name).join("life")).unwrap();
        }
        discard(&agents, Logger::root(slog::Discard, slog::o!())).unwrap();
        assert!(!agents.exists());
        let names = || -> Vec<_> {
            fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect()
        };
        let begun = super::super::spawner_thread::now();
        while names() != [".agents.kept"] {
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", names());
            thread::yield_now();
        }
        discard(&agents, Logger::root(slog::Discard, slog::o!())).unwrap();
        remove(&place).unwrap();
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
