//! Killing and reaping what is under a process.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, pidfd_send_signal, wait,
};

use super::{cgroup, proc};

/// Sends SIGKILL to every process under `root` except for those `spared`, children of `root`, and
/// what is under them. Returns whether there was anything to kill.
///
/// One pass is not enough: a process may fork between the look and the kill. The caller goes on
/// until nothing is left.
pub(super) fn kill_descendants(root: u32, spared: &BTreeSet<u32>) -> bool {
    let mut known = BTreeSet::new();
    let mut found = Vec::new();
    let mut add_children_of = |above: u32, found: &mut Vec<(u32, u32)>| {
        let children = proc::children(above).into_iter();
        let unspared = children.filter(|child| above != root || !spared.contains(child));
        found.extend(unspared.filter(|child| known.insert(*child)).map(|child| (child, above)));
    };
    add_children_of(root, &mut found);
    let mut next = 0;
    while let Some(&(pid, above)) = found.get(next) {
        // Its children first: a killed process has none.
        add_children_of(pid, &mut found);
        kill_if_below(pid, above, |parent| {
            parent == root || found.iter().any(|(known, _)| *known == parent)
        });
        next += 1;
    }
    !found.is_empty()
}

/// A pid that was read a moment ago may already belong to a stranger. A pidfd holds on to one
/// process, so whoever has an expected parent after it was opened is the right one.
///
/// One that made itself unreadable is not there at all for others in a `/proc` that hides
/// (`hidepid`), but it is in the list of its parent.
fn kill_if_below(pid: u32, above: u32, is_expected: impl Fn(u32) -> bool) {
    let Some(raw) = pid_of(pid) else { return };
    let Ok(pidfd) = pidfd_open(raw, PidfdFlags::empty()) else { return };
    let is_ours = match proc::parent(pid) {
        Some(parent) => is_expected(parent),
        None => proc::children(above).contains(&pid),
    };
    if is_ours {
        // It fails when the process ended meanwhile, which is as good.
        let _ended = pidfd_send_signal(pidfd, Signal::KILL);
    }
}

/// Ends the whole tree under this process, which must be its subreaper and have no other thread
/// that waits for children. Returns when nothing is left at all, with the status of `worker`.
/// Where the worker has a control group to itself, that is killed first. `pause` is called when
/// nothing ended since the last look; it waits for a child to end, but not for long.
pub(super) fn end(
    worker: Pid,
    cgroup: Option<&Path>,
    mut pause: impl FnMut(),
) -> Option<ExitStatus> {
    if let Some(cgroup) = cgroup {
        cgroup::kill(cgroup);
    }
    // The worker was not reaped yet, so its number still means its own group. This is the one call
    // that kills a group of forking processes at once.
    let _gone = kill_process_group(worker, Signal::KILL);
    let own = std::process::id();
    let mut status = None;
    loop {
        kill_descendants(own, &BTreeSet::new());
        let mut reaped_any = false;
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, ended))) => {
                    reaped_any = true;
                    if pid == worker {
                        status = Some(ExitStatus::from_raw(ended.as_raw()));
                    }
                }
                Ok(None) => break,
                Err(rustix::io::Errno::CHILD) => return status,
                Err(_interrupted) => {}
            }
        }
        if !reaped_any {
            pause();
        }
    }
}

/// The pid in the form that system calls take; `None` for 0, which would mean "my own group".
pub(super) fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)
}
