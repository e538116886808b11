//! What is left of the processes of an earlier life of the daemon, and its end.
//!
//! When a daemon is killed, its launchers see their pipes close and end their trees by themselves,
//! so most of the time nothing is found here. But a worker may have stopped or killed its launcher,
//! or hold its pipe open, and what it left may still act on a task that is about to run again. So
//! a start looks before anything is requeued, at every process of the machine:
//!
//! - one that carries the mark of the store in its environment is left over,
//! - and so is everything under one, whatever its environment says.
//!
//! A process is held by a pidfd before anything is read about it, so nothing that was read is about
//! another process of the same number. It is stopped before its children are looked up, so that it
//! has no others when it is killed.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

use super::proc::Stat;
use super::spawner_thread::now;
use super::{environment, proc, tree};

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
/// How long to kill one by one. What lasts longer forks, and is killed by the group.
const ONE_BY_ONE_FOR: Duration = Duration::from_millis(100);
/// How long a launcher has to obey.
const OBEY_WITHIN: Duration = Duration::from_secs(1);
/// How deep a tree is followed. Each level takes a file descriptor.
const DEPTH_MAX: u32 = 100;
/// How often to ask whether a process has stopped. One that cannot stop now (uninterruptible sleep)
/// cannot fork either.
const STOP_LOOKS: u32 = 100;
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
    let killed = Arc::<AtomicUsize>::default();
    let (said, gone) = mpsc::channel();
    let mut hunt = Hunt {
        mark: format!("{}={}", environment::STORE_ID, left.store_id).into_bytes(),
        launchers: left.launchers.iter().copied().collect(),
        begun: now(),
        within,
        known: BTreeSet::new(),
        killed: Arc::clone(&killed),
    };
    // Reading about a process can hang with it; the start does not hang along.
    let started = thread::Builder::new().name("leftovers".into()).spawn(move || {
        let _gave_up = said.send(hunt.run());
    });
    let all_gone = started.is_ok() && gone.recv_timeout(within + STUCK_AFTER).unwrap_or_default();
    Outcome { killed: killed.load(Ordering::Acquire), all_gone }
}

struct Hunt {
    mark: Vec<u8>,
    launchers: BTreeSet<(u32, u64)>,
    begun: Instant,
    within: Duration,
    /// What was told to end, for the count.
    known: BTreeSet<(u32, u64)>,
    killed: Arc<AtomicUsize>,
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
    #[expect(clippy::disallowed_methods, reason = "a thread that does nothing else")]
    fn run(&mut self) -> bool {
        let mut quiet_looks = 0;
        loop {
            // An error means that not everybody could be looked at.
            let is_quiet = self.look().is_ok_and(|found_any| !found_any);
            quiet_looks = if is_quiet { quiet_looks + 1 } else { 0 };
            if quiet_looks == QUIET_LOOKS {
                return true;
            }
            if quiet_looks == 0 && self.is_late() {
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

    /// A launcher starts nothing, and what is orphaned under it comes to it. So it stays until
    /// nothing is under it, if that is soon.
    fn end_launcher(&mut self, launcher: &Held, stat: &Stat, spared: &Spared) -> io::Result<()> {
        self.count(launcher, stat);
        launcher.send(Signal::TERM);
        launcher.send(Signal::CONT);
        if !self.fell_children(launcher, spared, 0)? {
            launcher.send(Signal::KILL);
        }
        Ok(())
    }

    /// Kills a process with everything under it, from the leaves up.
    fn fell(&mut self, process: &Held, stat: &Stat, spared: &Spared, depth: u32) -> io::Result<()> {
        self.count(process, stat);
        process.stop();
        if self.begun.elapsed() >= ONE_BY_ONE_FOR {
            self.kill_group(stat.group, spared)?;
        }
        if depth < DEPTH_MAX && !self.is_late() {
            self.fell_children(process, spared, depth + 1)?;
        }
        process.send(Signal::KILL);
        Ok(())
    }

    /// Returns whether there were any that were not over.
    fn fell_children(&mut self, parent: &Held, spared: &Spared, depth: u32) -> io::Result<bool> {
        let mut found_any = false;
        for pid in proc::children(parent.pid) {
            if spared.pids.contains(&pid) {
                continue;
            }
            let Some(child) = Held::open(pid)? else { continue };
            let Some(stat) = read(pid)? else { continue };
            // While its parent lives, the number of the parent means nobody else.
            if stat.parent == parent.pid && parent.lives() {
                found_any = true;
                self.fell(&child, &stat, spared, depth)?;
            }
        }
        Ok(found_any)
    }

    /// Kills a group in one go, which no fork escapes. Its number means this group as long as it
    /// has the member that was stopped a moment ago.
    fn kill_group(&self, group: u32, spared: &Spared) -> io::Result<()> {
        let launches = self.launchers.iter().any(|(pid, _)| *pid == group);
        if launches || spared.groups.contains(&group) {
            return Ok(());
        }
        // Others cannot get into the group of a worker; but a worker can get into that of others,
        // as long as they have one.
        let is_ours = match read(group)? {
            None => true,
            Some(leader) => {
                self.known.contains(&(group, leader.started_ticks))
                    || proc::was_given(group, &self.mark)?
            }
        };
        if let Some(group) = tree::pid_of(group).filter(|_| is_ours) {
            let _gone = kill_process_group(group, Signal::KILL);
        }
        Ok(())
    }

    fn count(&mut self, process: &Held, stat: &Stat) {
        self.known.insert((process.pid, stat.started_ticks));
        self.killed.store(self.known.len(), Ordering::Release);
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

/// A process that cannot be taken for another.
struct Held {
    pid: u32,
    pidfd: OwnedFd,
}

impl Held {
    /// `None` when there is no such process, or the number is that of another thread than the first.
    fn open(pid: u32) -> io::Result<Option<Self>> {
        let Some(raw) = tree::pid_of(pid) else { return Ok(None) };
        match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Some(Self { pid, pidfd })),
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(cause) => Err(cause.into()),
        }
    }

    /// It fails when the process has ended, which the next look tells, or when it is not ours to
    /// kill, and then it stays.
    fn send(&self, signal: Signal) {
        let _ended = pidfd_send_signal(&self.pidfd, signal);
    }

    fn lives(&self) -> bool {
        let mut sources = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(poll(&mut sources, Some(&Timespec::default())), Ok(0))
    }

    /// Stops it and waits a moment until that is true.
    fn stop(&self) {
        self.send(Signal::STOP);
        for _ in 0..STOP_LOOKS {
            let stat = read(self.pid).ok().flatten();
            if stat.is_none_or(|stat| matches!(stat.state, 'T' | 't' | 'Z' | 'X')) {
                return;
            }
            thread::yield_now();
        }
    }
}

/// `None` when there is no such process, when nothing of it runs any more, and when it is hidden
/// from this one.
fn read(pid: u32) -> io::Result<Option<Stat>> {
    match Stat::try_read(pid) {
        Ok(stat) => Ok(stat.filter(|stat| !stat.is_over())),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(error),
    }
}
