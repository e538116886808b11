//! What is left of the processes of an earlier life of the daemon, and its end.
//!
//! When a daemon is killed, its launchers see their pipes close and end their trees by themselves,
//! so most of the time nothing is found here. But a worker may have stopped or killed its launcher,
//! or hold its pipe open, and what it left may still act on a task that is about to run again. So
//! a start looks before anything is requeued, at every process of the machine:
//!
//! - one that carries the mark of the store in its environment is left over,
//! - and so is everything under one, whatever its environment says,
//! - and everything in a control group of a worker of the store, which is killed first.
//!
//! A process is held by a pidfd before anything is read about it, so nothing that was read is about
//! another process of the same number. This file finds what is left; `felling` ends it.

mod felling;
mod held;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::cgroup::{self, Cgroups};
use super::spawner_thread::now;
use super::{environment, proc};
use held::{Held, read};

/// How soon to look again.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// How many looks in a row must find nothing. One is not enough: a process that is about to become
/// another program has no environment for a moment.
const QUIET_LOOKS: u32 = 2;
/// How often one look lists the processes, at most. It lists them until there is none that it has
/// not seen.
const LISTINGS_MAX: u32 = 10;
/// How long to look at each process as it begins, when some ended before they could be looked at.
/// What forks and ends all the time is never in a list for long enough.
const CHASE_FOR: Duration = Duration::from_millis(20);
/// How long a launcher has to obey.
const OBEY_WITHIN: Duration = Duration::from_secs(1);
/// How much longer than it was given the whole search may take before it is given up as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(2);

/// What an earlier life may have left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBehind {
    /// Its launchers: pids and start times ([`proc::start_ticks`]). They are left over only when
    /// they carry the mark too: after the machine was started again, pid and time may be a
    /// stranger's.
    pub launchers: Vec<(u32, u64)>,
    /// The mark: the value of [`environment::STORE_ID`] in everything that it started.
    pub store_id: String,
    /// Where the control groups of its workers are: a folder, "auto", or empty for nowhere.
    pub cgroup: String,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How many processes were found and killed, or at least told to end.
    pub killed: usize,
    /// Whether, at last, nothing was found.
    pub all_gone: bool,
}

/// Kills what is left and waits until it is gone, but not much longer than `within`. It blocks the
/// caller. To be called before anything new is launched with the same mark.
///
/// This process and those above it are never killed, even if they carry the mark because somebody
/// started this daemon from inside a worker.
#[must_use]
pub fn end(left: &LeftBehind, within: Duration) -> Outcome {
    let mut hunt = Hunt::new(left, within);
    let (killed, given_up) = (Arc::clone(&hunt.killed), Arc::clone(&hunt.given_up));
    let (said, gone) = mpsc::channel();
    // Reading about a process can hang with it; the start does not hang along.
    let started = thread::Builder::new().name("leftovers".into()).spawn(move || {
        let _gave_up = said.send(hunt.run());
    });
    let all_gone = started.is_ok() && gone.recv_timeout(within + STUCK_AFTER).unwrap_or_default();
    given_up.store(true, Ordering::SeqCst);
    Outcome { killed: killed.load(Ordering::Acquire), all_gone }
}

struct Hunt {
    mark: Vec<u8>,
    launchers: BTreeSet<(u32, u64)>,
    groups: Cgroups,
    begun: Instant,
    within: Duration,
    /// What was told to end, for the count.
    known: BTreeSet<(u32, Option<u64>)>,
    killed: Arc<AtomicUsize>,
    /// Nobody waits for it any more. What begins from now on carries the same mark and is no
    /// leftover.
    given_up: Arc<AtomicBool>,
}

/// What a process turned out to be.
enum Seen {
    /// It was told to end, or has ended by itself this moment.
    LeftOver,
    /// It ended before it could be looked at, so nobody knows what it was, or what it started.
    Gone,
    Stranger,
}

/// Who is never killed: this process and those above it.
struct Spared {
    pids: BTreeSet<u32>,
    groups: BTreeSet<u32>,
}

impl Hunt {
    fn new(left: &LeftBehind, within: Duration) -> Self {
        Self {
            mark: format!("{}={}", environment::STORE_ID, left.store_id).into_bytes(),
            launchers: left.launchers.iter().copied().collect(),
            groups: Cgroups::of_earlier_lives(&left.cgroup, &left.store_id),
            begun: now(),
            within,
            known: BTreeSet::new(),
            killed: Arc::default(),
            given_up: Arc::default(),
        }
    }

    fn run(&mut self) -> bool {
        self.kill_groups();
        self.end_marked() && self.end_groups()
    }

    /// Kills what is in the control groups. Returns whether that was nothing.
    fn kill_groups(&mut self) -> bool {
        let groups = self.groups.present();
        // What is in the list is old, as with a process that is held.
        if self.given_up.load(Ordering::SeqCst) {
            return false;
        }
        let mut all_gone = true;
        for group in groups {
            for pid in cgroup::processes(&group) {
                if let Ok(Some(stat)) = read(pid) {
                    self.count(pid, Some(stat.started_ticks));
                }
            }
            cgroup::kill(&group);
            if cgroup::is_populated(&group) {
                all_gone = false;
            } else {
                cgroup::remove(&group);
            }
        }
        all_gone
    }

    /// Waits until nothing is in the control groups, and removes them. A launcher that was about to
    /// make one has ended before.
    #[expect(clippy::disallowed_methods, reason = "a thread that does nothing else")]
    fn end_groups(&mut self) -> bool {
        loop {
            if self.kill_groups() {
                return true;
            }
            if self.is_late() || self.given_up.load(Ordering::SeqCst) {
                return false;
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Kills what carries the mark and what is under it. Returns whether nothing was found at last.
    #[expect(clippy::disallowed_methods, reason = "a thread that does nothing else")]
    fn end_marked(&mut self) -> bool {
        let mut quiet_looks = 0;
        loop {
            // An error means that not everybody could be looked at.
            let is_quiet = self.look().is_ok_and(|found_any| !found_any);
            quiet_looks = if is_quiet { quiet_looks + 1 } else { 0 };
            if quiet_looks == QUIET_LOOKS {
                return true;
            }
            if (quiet_looks == 0 && self.is_late()) || self.given_up.load(Ordering::SeqCst) {
                return false;
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    fn is_late(&self) -> bool {
        self.begun.elapsed() >= self.within
    }

    /// Looks at everybody once and kills what is left over. Returns whether anything was.
    fn look(&mut self) -> io::Result<bool> {
        let spared = Spared::now();
        let mut seen = spared.pids.clone();
        let (mut found_any, mut missed_any) = (false, false);
        for listing in 0..LISTINGS_MAX {
            let mut unseen = proc::everyone()?;
            unseen.retain(|pid| seen.insert(*pid));
            if unseen.is_empty() {
                break;
            }
            // First the oldest, under which the others are; then the newest, which may end soon.
            if listing > 0 {
                unseen.reverse();
            }
            for pid in unseen {
                match self.look_at(pid, &spared)? {
                    Seen::LeftOver => found_any = true,
                    Seen::Gone => missed_any = true,
                    Seen::Stranger => {}
                }
                if found_any && self.is_late() {
                    return Ok(true);
                }
            }
        }
        Ok((missed_any && self.chase(&spared)?) || found_any)
    }

    /// Looks at each process when it begins, for a while. Returns whether one was left over.
    fn chase(&mut self, spared: &Spared) -> io::Result<bool> {
        let begun = now();
        let (mut found_any, mut before) = (false, None);
        while begun.elapsed() < CHASE_FOR {
            let newest = proc::newest()?;
            if newest != before
                && let Some(pid) = newest.filter(|pid| !spared.pids.contains(pid))
            {
                found_any |= matches!(self.look_at(pid, spared)?, Seen::LeftOver);
            }
            before = newest;
        }
        Ok(found_any)
    }

    fn look_at(&mut self, pid: u32, spared: &Spared) -> io::Result<Seen> {
        let Some(process) = Held::open(pid)? else { return Ok(Seen::Gone) };
        // One that is in the hand before that is old, however long it takes to read about it.
        if self.given_up.load(Ordering::SeqCst) {
            return Ok(Seen::Stranger);
        }
        if !proc::was_given(pid, &self.mark)? {
            return Ok(if process.lives() { Seen::Stranger } else { Seen::Gone });
        }
        if let Some(stat) = read(pid)? {
            let is_launcher = self.launchers.contains(&(pid, stat.started_ticks));
            if is_launcher && self.begun.elapsed() < OBEY_WITHIN {
                self.end_launcher(&process, &stat, spared)?;
            } else {
                self.fell(&process, &stat, spared, 0)?;
            }
        }
        Ok(Seen::LeftOver)
    }
}

impl Spared {
    fn now() -> Self {
        let mut spared = Self { pids: BTreeSet::new(), groups: BTreeSet::new() };
        let mut next = std::process::id();
        while spared.pids.insert(next)
            && let Ok(Some(stat)) = read(next)
        {
            spared.groups.insert(stat.group);
            next = stat.parent;
        }
        spared
    }
}
