//! What was measured of an agent's processes, in the names of the API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::Subject;
use crate::domain::{Confinement, ProcessFacts};
use crate::worker::inspect::{FileKind, Limit, OpenFile, Sight, Unread};

/// What was measured of the processes of an agent. What is not said of the whole tree is said of the
/// worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Measured {
    /// The worker.
    pub pid: u32,
    /// Its parent, which belongs to the daemon.
    pub launcher_pid: u32,
    /// Its session.
    pub session: Option<u32>,
    /// Its process group.
    pub group: Option<u32>,
    /// The user that it acts as.
    pub uid: Option<u32>,
    /// The group of users that it acts as.
    pub gid: Option<u32>,
    /// Its working directory; `None` when it could not be read.
    pub workdir: Option<String>,
    /// Its namespaces, each with the number that names it.
    pub namespaces: BTreeMap<String, u64>,
    /// The names of its environment variables; never their values.
    pub environment: Vec<String>,
    /// What its tree has open, sockets aside.
    pub open_files: Vec<MeasuredFile>,
    /// The sockets that its tree has open, as the kernel calls them.
    pub sockets: Vec<String>,
    /// Memory that its tree may write and that others could map, too.
    pub shared_memory: Vec<String>,
    /// What it may use.
    pub limits: BTreeMap<String, Limit>,
    /// Everything under its launcher.
    pub processes: Vec<MeasuredProcess>,
    /// Whether nothing that it runs can give it more rights.
    pub no_new_privs: Option<bool>,
    /// 0: no filter of system calls, 1: strict, 2: a filter.
    pub seccomp: Option<u8>,
    /// The rights of root that it may take up, by the kernel's names: `CHOWN` and so on.
    pub capabilities: Option<BTreeSet<String>>,
    /// What the launcher enforced; `None` when it did not say.
    #[schema(value_type = Option<Confinement>)]
    pub confinement: Option<Arc<Confinement>>,
    /// What of its processes could not be read; that is no issue.
    pub unread: BTreeSet<Unread>,
}

/// An open file of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MeasuredFile {
    /// The process.
    pub pid: u32,
    /// Its number there.
    pub fd: u32,
    /// What the kernel calls it.
    pub path: String,
    /// Whether the process may write to it.
    pub writable: bool,
}

/// A process of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MeasuredProcess {
    /// Its number.
    pub pid: u32,
    /// Its parent.
    pub parent_pid: u32,
    /// Its session.
    pub session: u32,
    /// Its process group.
    pub group: u32,
    /// The user that it acts as.
    pub uid: Option<u32>,
}

impl Measured {
    pub(super) fn of(facts: &ProcessFacts, subject: &Subject<'_>) -> Self {
        let processes = &subject.processes;
        let worker = processes.iter().find(|sight| sight.pid == facts.pid);
        let has = |names: fn(&Sight) -> Vec<String>| {
            let all: BTreeSet<_> = processes.iter().flat_map(names).collect();
            all.into_iter().collect()
        };
        Self {
            pid: facts.pid,
            launcher_pid: facts.launcher_pid,
            session: worker.map(|worker| worker.session),
            group: worker.map(|worker| worker.group),
            uid: worker.and_then(|worker| worker.uid),
            gid: worker.and_then(|worker| worker.gid),
            workdir: worker
                .and_then(|worker| worker.workdir.as_ref())
                .map(|path| path.display().to_string()),
            namespaces: worker.map(|worker| worker.namespaces.clone()).unwrap_or_default(),
            environment: worker.and_then(|worker| worker.environment.clone()).unwrap_or_default(),
            open_files: processes.iter().flat_map(open_files).collect(),
            sockets: has(|sight| {
                let sockets = files(sight).filter(|file| file.kind == FileKind::Socket);
                sockets.map(|file| file.target.clone()).collect()
            }),
            shared_memory: has(|sight| {
                sight.shared_maps.iter().flatten().map(|map| map.path.clone()).collect()
            }),
            limits: worker.map(|worker| worker.limits.clone()).unwrap_or_default(),
            processes: processes.iter().map(MeasuredProcess::from).collect(),
            no_new_privs: worker.and_then(|worker| worker.no_new_privs),
            seccomp: worker.and_then(|worker| worker.seccomp),
            capabilities: worker.and_then(|worker| worker.capabilities.clone()),
            confinement: facts.confinement.clone(),
            unread: processes.iter().flat_map(Sight::unread).collect(),
        }
    }
}

impl From<&Sight> for MeasuredProcess {
    fn from(sight: &Sight) -> Self {
        Self {
            pid: sight.pid,
            parent_pid: sight.parent,
            session: sight.session,
            group: sight.group,
            uid: sight.uid,
        }
    }
}

fn files(sight: &Sight) -> impl Iterator<Item = &OpenFile> {
    sight.files.iter().flatten()
}

fn open_files(sight: &Sight) -> impl Iterator<Item = MeasuredFile> {
    let plain = files(sight).filter(|file| file.kind != FileKind::Socket);
    plain.map(|file| MeasuredFile {
        pid: sight.pid,
        fd: file.fd,
        path: file.target.clone(),
        writable: file.writable,
    })
}
