//! How much of the machine a worker may use.

use std::io;

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use serde::{Deserialize, Serialize};

const MIB: u64 = 1 << 20;

/// The limits of one worker. Those of files, memory and CPU hold for each of its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Open files.
    pub files: u32,
    /// Processes and threads of its user id.
    pub processes: u32,
    /// The largest file, in MiB.
    pub file_mb: u64,
    /// Address space, in MiB; 0: no limit.
    pub address_space_mb: u64,
    /// CPU time, in seconds; 0: no limit.
    pub cpu_s: u64,
}

impl Limits {
    /// Sets them for this process, from which its children have them. A limit that this process
    /// got itself and that is lower stays. Processes are counted per user id, so that limit holds
    /// only for a worker with one of its own.
    pub(super) fn set(&self, has_own_uid: bool) -> io::Result<()> {
        let mut wanted: Vec<(Resource, rlim_t)> = vec![
            (Resource::RLIMIT_CORE, 0),
            (Resource::RLIMIT_NOFILE, self.files.into()),
            (Resource::RLIMIT_FSIZE, self.file_mb.saturating_mul(MIB)),
        ];
        if has_own_uid {
            wanted.push((Resource::RLIMIT_NPROC, self.processes.into()));
        }
        if self.address_space_mb > 0 {
            wanted.push((Resource::RLIMIT_AS, self.address_space_mb.saturating_mul(MIB)));
        }
        if self.cpu_s > 0 {
            wanted.push((Resource::RLIMIT_CPU, self.cpu_s));
        }
        for (resource, limit) in wanted {
            let (_, hard) = getrlimit(resource)?;
            let limit = limit.min(hard);
            setrlimit(resource, limit, limit)?;
        }
        Ok(())
    }
}
