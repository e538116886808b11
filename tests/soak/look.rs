//! What the operating system says of the daemon and its processes at one moment.

use std::fmt;
use std::fs;

use super::super::daemon::Daemon;

/// One look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Resident memory of the daemon, in KiB.
    pub(crate) rss_kib: usize,
    /// Files that it has open.
    pub(crate) files: usize,
    /// Its threads.
    pub(crate) threads: usize,
    /// Processes that belong to it, itself not counted.
    pub(crate) processes: usize,
    /// Working directories of workers.
    pub(crate) workdirs: usize,
}

impl Look {
    pub(crate) fn at(daemon: &Daemon) -> Self {
        let own = format!("/proc/{}", daemon.pid);
        let status = fs::read_to_string(format!("{own}/status")).expect("the daemon lives");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let count = |path: &str| fs::read_dir(path).expect("the daemon lives").count();
        Self {
            rss_kib: resident.expect("a number"),
            files: count(&format!("{own}/fd")),
            threads: count(&format!("{own}/task")),
            processes: daemon.processes().len(),
            workdirs: fs::read_dir(daemon.place.join("state/agents")).expect("a directory").count(),
        }
    }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rss_kib, files, threads, processes, workdirs } = self;
        write!(
            f,
            "{rss_kib} KiB resident, {files} files, {threads} threads, {processes} processes, \
             {workdirs} working directories"
        )
    }
}
