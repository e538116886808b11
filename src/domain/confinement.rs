//! What keeps the process of an agent apart from everything else, as its launcher enforced it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One thing that an agent must not be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// It reads only what its interpreter needs and writes only below its own working directory.
    Files,
    /// It cannot truncate a file that it may not write.
    Truncate,
    /// It cannot look into processes that are not its own: `ptrace`, and what `/proc/PID` shows.
    Processes,
    /// It connects to the TCP ports that the configuration allows, and binds no socket to one.
    Tcp,
    /// It can give no orders to devices.
    Devices,
    /// It can signal only processes of its own.
    Signals,
    /// It reaches no abstract Unix socket of others.
    AbstractSockets,
    /// It gains no rights by running another program (`no_new_privs`), and has no capabilities.
    Privileges,
    /// Its process has a user id that no other agent has.
    Uid,
    /// It shares no System V memory, semaphores or message queues with others.
    Ipc,
    /// It can have only so many processes.
    ProcessCount,
    /// Its whole tree ends in one call (`cgroup.kill`).
    Cgroup,
    /// It sends nothing by UDP.
    Udp,
}

impl Guard {
    /// Every guard, in the order in which a report lists them.
    pub const ALL: [Self; 13] = [
        Self::Files,
        Self::Truncate,
        Self::Processes,
        Self::Tcp,
        Self::Devices,
        Self::Signals,
        Self::AbstractSockets,
        Self::Privileges,
        Self::Uid,
        Self::Ipc,
        Self::ProcessCount,
        Self::Cgroup,
        Self::Udp,
    ];

    /// The name on every wire and in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Truncate => "truncate",
            Self::Processes => "processes",
            Self::Tcp => "tcp",
            Self::Devices => "devices",
            Self::Signals => "signals",
            Self::AbstractSockets => "abstract_sockets",
            Self::Privileges => "privileges",
            Self::Uid => "uid",
            Self::Ipc => "ipc",
            Self::ProcessCount => "process_count",
            Self::Cgroup => "cgroup",
            Self::Udp => "udp",
        }
    }
}

/// A guard that is not in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MissingGuard {
    /// Which.
    pub guard: Guard,
    /// Why not, as a sentence without its end.
    pub why: String,
}

/// What the launcher enforced on a worker before it started it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Confinement {
    /// The version of Landlock of this kernel; 0: it has none.
    #[serde(default)]
    pub landlock_abi: u8,
    /// The user id of the worker; `None`: that of the daemon.
    #[serde(default)]
    pub uid: Option<u32>,
    /// Whether it has an IPC namespace of its own; without one, `ipc` in force means that the calls
    /// are forbidden to it.
    #[serde(default)]
    pub ipc_namespace: bool,
    /// The TCP ports to which it may connect.
    #[serde(default)]
    pub connect: Vec<u16>,
    /// What is in force.
    #[serde(default)]
    pub enforced: Vec<Guard>,
    /// What is not.
    #[serde(default)]
    pub missing: Vec<MissingGuard>,
}

impl Confinement {
    /// Whether this guard is in force.
    #[must_use]
    pub fn enforces(&self, guard: Guard) -> bool {
        self.enforced.contains(&guard)
    }
}
