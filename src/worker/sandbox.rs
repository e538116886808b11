//! What keeps a worker apart from everything else, enforced by the operating system.
//!
//! The daemon makes one [`Sandbox`] of its configuration. For each worker the spawner makes a
//! [`Plan`] of it and gives that to the launcher, which enforces it and says in a frame before any
//! of the worker's what came of it. There is no program in between: Landlock, `no_new_privs` and a
//! new IPC namespace hold for one thread and for what that thread starts, so the launcher confines
//! a thread of its own, starts the worker from it, and stays outside itself. That is why its worker
//! can neither signal it nor keep it from ending the tree.
//!
//! What this machine cannot enforce is no error: it is told, with the reason.

mod calls;
mod confine;
mod limits;
mod paths;
mod ports;
mod rights;
mod uids;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cgroup::{Cgroup, Cgroups};
use crate::domain::{Confinement, Guard, MissingGuard};

pub use confine::Refusal;
pub(super) use confine::{Started, start};
pub use limits::Limits;
pub use ports::of_texts as ports_of_texts;
pub(super) use uids::Uids;

/// Why nothing is enforced when nothing is to be.
const DISABLED: &str = "worker.sandbox.enabled is false";

/// What all workers of a pool may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Without one of these no worker starts.
    pub require: Vec<Guard>,
    /// What workers may read beyond what is found for them.
    pub read: Vec<PathBuf>,
    /// The TCP ports to which they may connect.
    pub connect: Vec<u16>,
    /// How much of the machine one may use.
    pub limits: Limits,
    /// The first of the user ids that agents get; 0: none.
    pub first_uid: u32,
    /// Where they get control groups: a folder, "auto", or empty for nowhere.
    pub cgroup: String,
}

/// What one worker may do, as the launcher is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Without one of these it does not start.
    pub require: Vec<Guard>,
    /// What it may read beyond what is found for it.
    pub read: Vec<PathBuf>,
    /// What it may write.
    pub workdir: PathBuf,
    /// The TCP ports to which it may connect.
    pub connect: Vec<u16>,
    /// How much of the machine it may use.
    pub limits: Limits,
    /// The user id that it gets, or why it gets none.
    pub uid: Result<u32, String>,
    /// The control group that it gets, or why it gets none.
    pub cgroup: Result<Cgroup, String>,
}

impl Sandbox {
    /// What one worker with this working directory may do.
    pub(super) fn plan(
        &self,
        workdir: &Path,
        uid: Result<u32, String>,
        cgroup: Result<Cgroup, String>,
    ) -> Plan {
        Plan {
            require: self.require.clone(),
            read: self.read.clone(),
            workdir: workdir.to_path_buf(),
            connect: self.connect.clone(),
            limits: self.limits,
            uid,
            cgroup,
        }
    }

    /// Whether agents get user ids of their own, as far as that depends on this process.
    #[must_use]
    pub fn gives_uids(&self) -> bool {
        Uids::new(self.first_uid).first().is_ok()
    }

    /// What will be enforced on a worker that runs `command`, found by the variable PATH as
    /// `search`, somewhere in `agents_dir`. It asks the kernel, on a thread that ends with it.
    #[must_use]
    pub fn foresee(&self, command: &[String], search: &str, agents_dir: &Path) -> Confinement {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        // The directory itself is made when the worker is: the way to it counts.
        let uid = Uids::new(self.first_uid).first();
        let cgroup = Cgroups::find(&self.cgroup, &std::process::id().to_string()).of("worker");
        let plan = self.plan(&agents_dir.join("worker"), uid, cgroup);
        confine::foresee(&plan, &command, OsStr::new(search))
    }
}

/// What a launcher says that got no plan.
#[must_use]
pub fn unconfined() -> Confinement {
    let missing = |guard| MissingGuard { guard, why: DISABLED.to_owned() };
    Confinement { missing: Guard::ALL.map(missing).into(), ..Confinement::default() }
}
