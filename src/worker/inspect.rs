//! What `/proc` says of the processes of an agent: what each has open, maps, was given and may do.
//!
//! A look takes no lock on anybody: what it finds may have ended a moment later. A [`Sight`] is named
//! by its pid and the tick in which it started, so that a second look can tell.

mod files;
mod maps;
mod status;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use utoipa::ToSchema;

use super::proc::{self, Stat};

pub use files::{FileKind, OpenFile};
pub use maps::SharedMap;
pub use status::Limit;
use status::Status;

/// What names a file, a pipe, a socket or a piece of shared memory on this machine: device and
/// inode.
pub type Inode = (u64, u64);

/// One process, as far as it may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did.
    pub started_ticks: u64,
    /// Its parent.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// The user that it acts as.
    pub uid: Option<u32>,
    /// The group of users that it acts as.
    pub gid: Option<u32>,
    /// Whether no program that it runs can give it more rights.
    pub no_new_privs: Option<bool>,
    /// 0: no filter of system calls, 1: strict, 2: a filter.
    pub seccomp: Option<u8>,
    /// The rights of root that it may take up, by the kernel's names: `CHOWN` and so on.
    pub capabilities: Option<BTreeSet<String>>,
    /// Where it works.
    pub workdir: Option<PathBuf>,
    /// Its namespaces: `net` and so on, each with the number that names it.
    pub namespaces: BTreeMap<String, u64>,
    /// The names of what it was given as its environment; never the values.
    pub environment: Option<Vec<String>>,
    /// Those of them that this process has with the same value.
    pub like_ours: BTreeSet<String>,
    /// What it has open.
    pub files: Option<Vec<OpenFile>>,
    /// Memory that it may write and that others can map, too.
    pub shared_maps: Option<Vec<SharedMap>>,
    /// What it may use, by the kernel's names: `open_files`, `processes` and so on.
    pub limits: BTreeMap<String, Limit>,
}

/// What of a process could not be read: it belongs to somebody else, most likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unread {
    /// Its user, its rights.
    Status,
    /// Where it works.
    Workdir,
    /// Its namespaces.
    Namespaces,
    /// Its environment.
    Environment,
    /// Its open files.
    OpenFiles,
    /// Its maps.
    SharedMemory,
    /// Its limits.
    Limits,
}

impl Sight {
    /// Looks at one process; `None` when there is no such process, or none that runs.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = Stat::try_read(pid).ok()?.filter(|stat| !stat.is_over())?;
        let status = Status::of(pid);
        let (environment, like_ours) = environment(pid).unzip();
        let namespaces = status::namespaces(pid);
        let sight = Self {
            pid,
            started_ticks: stat.started_ticks,
            parent: stat.parent,
            group: stat.group,
            session: stat.session,
            uid: status.uid,
            gid: status.gid,
            no_new_privs: status.no_new_privs,
            seccomp: status.seccomp,
            capabilities: status.capabilities,
            workdir: proc::workdir(pid).ok(),
            shared_maps: maps::shared_maps(pid, namespaces.get("ipc").copied()),
            namespaces,
            environment,
            like_ours: like_ours.unwrap_or_default(),
            files: files::open_files(pid),
            limits: status::limits(pid),
        };
        // All of that was of one process when the same one is still there.
        (proc::start_ticks(pid) == Some(sight.started_ticks)).then_some(sight)
    }

    /// What names it for ever.
    #[must_use]
    pub const fn identity(&self) -> (u32, u64) {
        (self.pid, self.started_ticks)
    }

    /// What of it could not be read.
    pub fn unread(&self) -> impl Iterator<Item = Unread> {
        let missing = [
            (self.uid.is_none(), Unread::Status),
            (self.workdir.is_none(), Unread::Workdir),
            (self.namespaces.is_empty(), Unread::Namespaces),
            (self.environment.is_none(), Unread::Environment),
            (self.files.is_none(), Unread::OpenFiles),
            (self.shared_maps.is_none(), Unread::SharedMemory),
            (self.limits.is_empty(), Unread::Limits),
        ];
        missing.into_iter().filter(|(is_missing, _)| *is_missing).map(|(_, what)| what)
    }
}

/// Everything under a launcher, its worker first. Empty when that launcher, which started in this
/// tick, is gone.
#[must_use]
pub fn tree(launcher: u32, launcher_start_ticks: u64) -> Vec<Sight> {
    if proc::start_ticks(launcher) != Some(launcher_start_ticks) {
        return Vec::new();
    }
    proc::descendants(launcher).into_iter().filter_map(Sight::of).collect()
}

/// The session of a process; `None` when there is no such process.
#[must_use]
pub fn session(pid: u32) -> Option<u32> {
    Stat::try_read(pid).ok().flatten().map(|stat| stat.session)
}

/// The names of what a process was given, and of those that we have alike.
fn environment(pid: u32) -> Option<(Vec<String>, BTreeSet<String>)> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut names = Vec::new();
    let mut alike = BTreeSet::new();
    for entry in bytes.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
        let end = entry.iter().position(|byte| *byte == b'=').unwrap_or(entry.len());
        let (name, value) = (&entry[..end], entry.get(end + 1..).unwrap_or_default());
        let shown = String::from_utf8_lossy(name).into_owned();
        let ours = std::env::var_os(std::ffi::OsStr::from_bytes(name));
        if ours.is_some_and(|ours| ours.as_bytes() == value) {
            alike.insert(shown.clone());
        }
        names.push(shown);
    }
    Some((names, alike))
}
