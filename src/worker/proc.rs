//! What `/proc` says of processes.

mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{PidfdFlags, Signal, pidfd_open};

use super::tree;

pub use memory::{OwnMemory, tree_mapped_bytes, tree_own_bytes, tree_rss_bytes};

/// The children of `pid`, those that ended and wait to be reaped among them, oldest first.
///
/// A child that ends during the look can hide another one, so "none" is certain only when nobody
/// reaps children of `pid` meanwhile.
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    from_children_files(pid).unwrap_or_else(|| children_by_parent(pid).unwrap_or_default())
}

/// The children of `pid`, found by asking every process for its parent: slower than
/// [`children`], and complete. Without a free file descriptor, for one, nobody can be asked, and
/// that is an error and not the answer "none". What hides from this process (`hidepid`) is only in
/// the list that [`children`] reads.
pub fn children_by_parent(pid: u32) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for candidate in everyone()? {
        if let Some(stat) = shown(candidate)?.filter(|stat| stat.parent == pid) {
            found.push((stat.started_ticks, candidate));
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, candidate)| candidate).collect())
}

/// A process, for ever: numbers are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did; `None` for one that hides.
    pub started_ticks: Option<u64>,
}

/// Everything under `root` without `root` itself, those that ended and wait to be reaped among
/// them, found by asking every process for its parent: slower than [`descendants`], and complete
/// but for what is started or adopted during the look. What hides is in the lists of the others
/// alone, so what is below two that hide is not found.
///
/// # Errors
/// When there is a process that cannot be asked, for a lack of file descriptors, say.
pub fn tree_by_parent(root: u32) -> io::Result<Vec<Process>> {
    let mut children: BTreeMap<u32, Vec<Process>> = BTreeMap::new();
    for pid in everyone()? {
        // One that may not be read is somebody else's, unless one of the tree lists it.
        if let Some(Stat { parent, started_ticks, .. }) = shown(pid)? {
            let process = Process { pid, started_ticks: Some(started_ticks) };
            children.entry(parent).or_default().push(process);
        }
    }
    let (mut found, mut above, mut next) = (Vec::new(), root, 0);
    loop {
        found.extend(children.remove(&above).unwrap_or_default());
        for pid in from_children_files(above).unwrap_or_default() {
            if found.iter().all(|known: &Process| known.pid != pid) && hides(pid) {
                found.push(Process { pid, started_ticks: None });
            }
        }
        let Some(process) = found.get(next) else { return Ok(found) };
        above = process.pid;
        next += 1;
    }
}

/// Whether this signal was sent to the process `pid` and has not been taken.
#[must_use]
pub fn has_pending(pid: u32, signal: Signal) -> bool {
    is_in_mask(pid, "ShdPnd:", signal).unwrap_or(false)
}

/// Whether the first thread of `pid` blocks this signal; `None` when that cannot be told.
pub(super) fn blocks(pid: u32, signal: Signal) -> Option<bool> {
    is_in_mask(pid, "SigBlk:", signal)
}

fn is_in_mask(pid: u32, name: &str, signal: Signal) -> Option<bool> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix(name))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    Some(mask >> (signal.as_raw() - 1) & 1 == 1)
}

/// Every process of this machine that is shown to this one, in the order of their numbers.
pub(super) fn everyone() -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        found.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(found)
}

/// The worker of the launcher `launcher`: its oldest child. It is always there while the worker
/// lives, because a launcher starts nothing before it, and ends when it ends.
#[must_use]
pub fn worker_of(launcher: u32) -> Option<u32> {
    let children = children(launcher);
    if children.len() < 2 {
        return children.first().copied();
    }
    // The thread that started the worker has ended, and another one got it as its child, perhaps
    // after what the worker left behind at once.
    children.into_iter().min_by_key(|child| (start_ticks(*child).unwrap_or(u64::MAX), *child))
}

/// Everything under `root` without `root` itself, parents before their children.
#[must_use]
pub fn descendants(root: u32) -> Vec<u32> {
    let mut found = children(root);
    let mut known: BTreeSet<u32> = found.iter().copied().collect();
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(children(pid).into_iter().filter(|child| known.insert(*child)));
        next += 1;
    }
    found
}

/// The parent of `pid`; `None` when there is no such process.
#[must_use]
pub fn parent(pid: u32) -> Option<u32> {
    Stat::read(pid).map(|stat| stat.parent)
}

/// The CPU time that `root` and everything under it used, ended processes counted with whoever
/// reaped them. It grows in steps of one clock tick (usually 10 ms), and may go back when a process
/// ends whose parent does not wait for its children: ask whether it changed.
#[must_use]
pub fn tree_cpu_time(root: u32) -> Duration {
    let ticks = std::iter::once(root)
        .chain(descendants(root))
        .filter_map(Stat::read)
        .map(|stat| stat.cpu_ticks + stat.reaped_cpu_ticks)
        .sum();
    from_ticks(ticks)
}

/// Whether something of `root` and everything under it would use CPU, if only it got some.
#[must_use]
pub fn tree_wants_cpu(root: u32) -> bool {
    descendants(root).into_iter().filter_map(Stat::read).any(|stat| stat.state == 'R')
}

/// The CPU time of this one process; `None` when there is no such process.
#[must_use]
pub fn cpu_time(pid: u32) -> Option<Duration> {
    Stat::read(pid).map(|stat| from_ticks(stat.cpu_ticks))
}

/// When `pid` started, in clock ticks since the machine did. With the pid it names a process for
/// ever, because pids are used again.
#[must_use]
pub fn start_ticks(pid: u32) -> Option<u64> {
    Stat::read(pid).map(|stat| stat.started_ticks)
}

/// How long ago `pid` started; `None` when there is no such process.
#[must_use]
pub fn age(pid: u32) -> Option<Duration> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let up = Duration::try_from_secs_f64(seconds).ok()?;
    Some(up.saturating_sub(from_ticks(start_ticks(pid)?)))
}

/// The resident memory of `pid`; `None` when there is no such process.
#[must_use]
pub fn rss_bytes(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * page_size() as u64)
}

/// The names, without the values, of what `pid` was given as its environment.
pub fn environment_names(pid: u32) -> io::Result<Vec<String>> {
    let environment = fs::read(format!("/proc/{pid}/environ"))?;
    Ok(environment
        .split(|byte| *byte == 0)
        .filter(|entry| !entry.is_empty())
        .filter_map(|entry| entry.split(|byte| *byte == b'=').next())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect())
}

/// The number that was given to a process, or to a thread, last.
pub(super) fn newest() -> io::Result<Option<u32>> {
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(load.split_whitespace().next_back().and_then(|pid| pid.parse().ok()))
}

/// Whether `pid` was given `entry` (`NAME=value`) in its environment. It was not when that is not
/// for us to read; a lack of file descriptors, for one, is an error and not the answer "no".
pub(super) fn was_given(pid: u32, entry: &[u8]) -> io::Result<bool> {
    let has = |environment: &[u8]| environment.split(|byte| *byte == 0).any(|one| one == entry);
    let environment = readable(fs::read(format!("/proc/{pid}/environ")))?.unwrap_or_default();
    let first_thread_ended =
        || Stat::read(pid).is_some_and(|stat| matches!(stat.state, 'Z' | 'X') && !stat.is_over());
    if !environment.is_empty() || !first_thread_ended() {
        return Ok(has(&environment));
    }
    // The other threads of a process may go on without the first, which took that view along.
    for thread in readable(fs::read_dir(format!("/proc/{pid}/task")))?.into_iter().flatten() {
        let Some(thread) = readable(thread)? else { continue };
        let environment = readable(fs::read(thread.path().join("environ")))?.unwrap_or_default();
        if has(&environment) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `None` for what is gone or none of our business.
fn readable<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Err(error),
            Some(_) | None => Ok(None),
        },
    }
}

/// The directory in which `pid` works.
pub fn workdir(pid: u32) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/{pid}/cwd"))
}

/// The memory of this machine.
pub fn total_memory_bytes() -> io::Result<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<u64>().ok())
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no MemTotal in /proc/meminfo"))
}

/// Whether `pid` is a process that can still act: it exists and did not end.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    Stat::read(pid).map_or_else(|| hides(pid), |stat| !stat.is_over())
}

/// Whether `pid` is a process that can act and of which `/proc` says nothing (`hidepid`): it made
/// itself unreadable, or is another user's. One that has ended and waits to be reaped can be read.
#[must_use]
pub fn hides(pid: u32) -> bool {
    if Stat::read(pid).is_some() {
        return false;
    }
    let Some(raw) = tree::pid_of(pid) else { return false };
    match pidfd_open(raw, PidfdFlags::empty()) {
        Ok(pidfd) => {
            let mut sources = [PollFd::new(&pidfd, PollFlags::IN)];
            matches!(poll(&mut sources, Some(&Timespec::default())), Ok(0))
        }
        // It ended, or is another thread than the first. When nobody can be asked, it is there.
        Err(cause) => !matches!(cause, Errno::SRCH | Errno::INVAL | Errno::NOENT),
    }
}

/// `None` when there is no such process, and when `/proc` hides it from this one.
fn shown(pid: u32) -> io::Result<Option<Stat>> {
    match Stat::try_read(pid) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        read => read,
    }
}

/// `None` when the kernel was built without these files.
fn from_children_files(pid: u32) -> Option<Vec<u32>> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Some(Vec::new()); // No such process, so it has no children.
    };
    let mut found = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => {
                found.extend(list.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()))
            }
            Err(_) if thread.path().exists() => return None,
            Err(_) => {} // The thread ended; another one of `pid` got its children.
        }
    }
    Some(found)
}

fn from_ticks(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64)
}

/// The fields of `/proc/PID/stat` that are used here.
pub(super) struct Stat {
    pub(super) state: char,
    pub(super) parent: u32,
    pub(super) group: u32,
    pub(super) session: u32,
    cpu_ticks: u64,
    reaped_cpu_ticks: u64,
    threads: u64,
    pub(super) started_ticks: u64,
}

impl Stat {
    /// Whether nothing of it runs any more. The state is that of its first thread alone, which may
    /// end before the others.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }

    fn read(pid: u32) -> Option<Self> {
        Self::try_read(pid).ok().flatten()
    }

    /// `None` when there is no such process, an error when that cannot be told.
    pub(super) fn try_read(pid: u32) -> io::Result<Option<Self>> {
        let gone = |error: &io::Error| {
            let ended_meanwhile = Errno::SRCH.raw_os_error();
            error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ended_meanwhile)
        };
        match fs::read(format!("/proc/{pid}/stat")) {
            Ok(stat) => Ok(Self::parse(&stat)),
            Err(error) if gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The second field is the name of the program in parentheses, which may hold anything,
    /// parentheses, spaces and broken UTF-8 included. So the fields are counted from its end.
    fn parse(stat: &[u8]) -> Option<Self> {
        let name_end = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            cpu_ticks: number(14)? + number(15)?,
            reaped_cpu_ticks: number(16)? + number(17)?,
            threads: number(20)?,
            started_ticks: number(22)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_program_name_hides_nothing() {
        let line = b"7 (a) R 1 (\xff b) S 41 7 8 0 -1 4194560 9 8 7 6 11 12 13 14 20 0 1 0 99 1 2";
        let stat = Stat::parse(line).expect("a well-formed line");
        assert_eq!((stat.state, stat.parent, stat.started_ticks), ('S', 41, 99));
        assert_eq!((stat.cpu_ticks, stat.reaped_cpu_ticks), (23, 27));
        assert_eq!((stat.group, stat.session, stat.threads), (7, 8, 1));
        assert!(Stat::parse(b"").is_none());
        assert!(Stat::parse(b"7 (x").is_none());
        assert!(Stat::parse(b"7 (x) S 1").is_none());
    }

    #[test]
    fn this_process_can_be_looked_up() {
        let own = std::process::id();
        assert!(is_alive(own));
        assert!(rss_bytes(own).unwrap() > 100_000);
        assert!(total_memory_bytes().unwrap() > rss_bytes(own).unwrap());
        assert!(age(own).unwrap() < Duration::from_secs(3600));
        assert!(start_ticks(own).is_some() && cpu_time(own).is_some());
        assert_eq!(workdir(own).unwrap(), std::env::current_dir().unwrap());
        assert!(environment_names(own).unwrap().iter().any(|name| name == "PATH"));
        let parent = parent(own).unwrap();
        assert!(children(parent).contains(&own));
        assert!(children_by_parent(parent).unwrap().contains(&own));
        let started_ticks = start_ticks(own);
        assert!(tree_by_parent(parent).unwrap().contains(&Process { pid: own, started_ticks }));
        assert!(!has_pending(own, Signal::USR1) && !hides(own));
        assert_eq!(blocks(own, Signal::USR1), Some(false));
    }

    #[test]
    fn a_process_that_is_not_there_is_no_error() {
        let nobody = u32::MAX;
        assert!(!is_alive(nobody) && !hides(nobody) && !is_alive(0));
        assert_eq!(rss_bytes(nobody), None);
        assert_eq!(blocks(nobody, Signal::TERM), None);
        assert_eq!(tree_cpu_time(nobody), Duration::ZERO);
        assert!(children(nobody).is_empty() && descendants(nobody).is_empty());
    }
}
