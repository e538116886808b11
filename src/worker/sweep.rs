//! The children of this process: which of them are launchers, and the end of all others.
//!
//! What a lost launcher leaves behind becomes a child of this process. It cannot be told from other
//! children, so every child that is not a known launcher counts as left behind. The list is one for
//! the whole process, because so is the relation of parent and child: with several spawners, none
//! takes a launcher of another for a stray.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{PidfdFlags, WaitOptions, pidfd_open, waitpid};

use super::spawner_thread::now;
use super::{proc, tree};

/// How soon to look again for what was killed a moment ago.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// The pids of launchers from before they exist until they are reaped.
static LAUNCHERS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// A set of numbers is whole after every single call, so a panic elsewhere did not break it.
fn launchers() -> MutexGuard<'static, BTreeSet<u32>> {
    LAUNCHERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a launcher. The lock is held until its pid is in the list, so that no sweep meets it
/// before. After an error there may be something to sweep.
pub(super) fn start_launcher(command: &mut Command) -> io::Result<(Child, OwnedFd)> {
    let mut launchers = launchers();
    let mut process = command.spawn()?;
    let pidfd = tree::pid_of(process.id())
        .ok_or_else(|| io::Error::other("it has no pid"))
        .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?));
    match pidfd {
        Ok(pidfd) => {
            launchers.insert(process.id());
            Ok((process, pidfd))
        }
        Err(cause) => {
            // Its worker, if it had the time to start one, is left to the sweep of the caller.
            process.kill()?;
            process.wait()?;
            Err(cause)
        }
    }
}

/// Takes the status of a launcher that has ended. From here on its pid may mean another process.
pub(super) fn reap_launcher(process: &mut Child) -> io::Result<ExitStatus> {
    let mut launchers = launchers();
    let status = process.wait();
    launchers.remove(&process.id());
    status
}

/// Kills and reaps, as far as that goes without waiting, every child of this process that is not a
/// launcher, with everything under it. Returns whether none was left; else it is to be called again
/// soon.
pub(super) fn sweep() -> bool {
    let launchers = launchers();
    let own = std::process::id();
    if tree::kill_descendants(own, &launchers) {
        let strays = proc::children(own).into_iter().filter(|child| !launchers.contains(child));
        for stray in strays.filter_map(tree::pid_of) {
            let _not_yet = waitpid(Some(stray), WaitOptions::NOHANG);
        }
        return false;
    }
    // The quick look found nothing. The thorough one decides, if it can be taken, and one more quick
    // one, because only that meets what hides.
    let are_launchers = |children: Vec<u32>| children.iter().all(|child| launchers.contains(child));
    proc::children_by_parent(own).is_ok_and(are_launchers) && are_launchers(proc::children(own))
}

/// Kills and reaps every child of this process, launchers included, when nobody is left who would
/// know them. Returns whether none is left after at most `within`.
#[expect(clippy::disallowed_methods, reason = "the caller waits for the end of the daemon")]
pub(super) fn sweep_everything(within: Duration) -> bool {
    let begun = now();
    launchers().clear();
    loop {
        if sweep() {
            return true;
        }
        if begun.elapsed() >= within {
            return false;
        }
        thread::sleep(LOOK_AGAIN);
    }
}
