//! A process in the hand.

use std::io;
use std::os::fd::OwnedFd;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::worker::proc::Stat;
use crate::worker::tree;

/// How often to ask whether a process has stopped. One that cannot stop now (uninterruptible sleep)
/// cannot fork either.
const STOP_LOOKS: u32 = 100;

/// A process that cannot be taken for another.
pub(super) struct Held {
    pub(super) pid: u32,
    pidfd: OwnedFd,
}

impl Held {
    /// `None` when there is no such process, or the number is that of another thread than the first.
    pub(super) fn open(pid: u32) -> io::Result<Option<Self>> {
        let Some(raw) = tree::pid_of(pid) else { return Ok(None) };
        match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Some(Self { pid, pidfd })),
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(cause) => Err(cause.into()),
        }
    }

    /// It fails when the process has ended, which the next look tells, or when it is not ours to
    /// kill, and then it stays.
    pub(super) fn send(&self, signal: Signal) {
        let _ended = pidfd_send_signal(&self.pidfd, signal);
    }

    pub(super) fn lives(&self) -> bool {
        let mut sources = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(poll(&mut sources, Some(&Timespec::default())), Ok(0))
    }

    /// Stops it and waits a moment until that is true.
    pub(super) fn stop(&self) {
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
pub(super) fn read(pid: u32) -> io::Result<Option<Stat>> {
    match Stat::try_read(pid) {
        Ok(stat) => Ok(stat.filter(|stat| !stat.is_over())),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(error),
    }
}
