//! The end of a process that was found, with everything under it.
//!
//! It is stopped before its children are looked up, so that it has no others when it is killed.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::{Signal, kill_process_group};

use super::held::{Held, read};
use super::{Hunt, Spared};
use crate::worker::proc::{self, Stat};
use crate::worker::tree;

/// How long to kill one by one. What lasts longer forks, and is killed by the group.
const ONE_BY_ONE_FOR: Duration = Duration::from_millis(100);
/// How deep a tree is followed. Each level takes a file descriptor.
const DEPTH_MAX: u32 = 100;

impl Hunt {
    /// A launcher starts nothing, and what is orphaned under it comes to it. So it stays until
    /// nothing is under it, if that is soon.
    pub(super) fn end_launcher(
        &mut self,
        launcher: &Held,
        stat: &Stat,
        spared: &Spared,
    ) -> io::Result<()> {
        self.count(launcher.pid, Some(stat.started_ticks));
        launcher.send(Signal::TERM);
        launcher.send(Signal::CONT);
        if !self.fell_children(launcher, spared, 0)? {
            launcher.send(Signal::KILL);
        }
        Ok(())
    }

    /// Kills a process with everything under it, from the leaves up.
    pub(super) fn fell(
        &mut self,
        process: &Held,
        stat: &Stat,
        spared: &Spared,
        depth: u32,
    ) -> io::Result<()> {
        self.count(process.pid, Some(stat.started_ticks));
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
            let Some(stat) = read(pid)? else {
                // In a `/proc` that hides it, only the list of its parent has it.
                if child.lives() && proc::children(parent.pid).contains(&pid) && parent.lives() {
                    found_any = true;
                    self.count(pid, None);
                    child.send(Signal::KILL);
                }
                continue;
            };
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
                self.known.contains(&(group, Some(leader.started_ticks)))
                    || proc::was_given(group, &self.mark)?
            }
        };
        if let Some(group) = tree::pid_of(group).filter(|_| is_ours) {
            let _gone = kill_process_group(group, Signal::KILL);
        }
        Ok(())
    }

    /// Without a start time: one that hides it.
    pub(super) fn count(&mut self, pid: u32, started_ticks: Option<u64>) {
        self.known.insert((pid, started_ticks));
        self.killed.store(self.known.len(), Ordering::Release);
    }
}
