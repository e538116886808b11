//! The enforcement: a thread confines itself, and what it starts is confined with it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, NetPort, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_no_new_privs;
use rustix::fs::Mode;
use rustix::process::umask;

use super::{Plan, calls, paths, rights, uids};
use crate::domain::{Confinement, Guard, MissingGuard};
use crate::worker::cgroup::{self, Cgroup};

/// The rights to files that the rules know: those of this version and, on an older kernel, as many
/// of them as that has.
const FILE_RIGHTS: ABI = ABI::V5;

/// Which version of Landlock enforces what, and the Linux that has it.
const BY_LANDLOCK: [(Guard, u8, &str); 7] = [
    (Guard::Files, 1, "5.13"),
    (Guard::Processes, 1, "5.13"),
    (Guard::Truncate, 3, "6.2"),
    (Guard::Tcp, 4, "6.7"),
    (Guard::Devices, 5, "6.10"),
    (Guard::Signals, 6, "6.12"),
    (Guard::AbstractSockets, 6, "6.12"),
];

/// Those that hold only with the calls forbidden that lead around them.
const LED_AROUND: [Guard; 2] = [Guard::Tcp, Guard::Signals];

/// Why a launcher started nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// What must be enforced cannot be.
    #[error(
        "worker.sandbox.require has {}, which cannot be enforced: {why}", .guard.name()
    )]
    Required {
        /// What.
        guard: Guard,
        /// Why not.
        why: String,
    },
    /// The worker would not have what was planned.
    #[error("cannot {what}")]
    System {
        /// What could not be done.
        what: &'static str,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The worker did not start.
    #[error(transparent)]
    Spawn(io::Error),
}

/// A worker that was started.
pub(in crate::worker) struct Started {
    pub(in crate::worker) worker: Child,
    /// The control group that it is in, alone with what it starts.
    pub(in crate::worker) cgroup: Option<PathBuf>,
}

/// Starts `command` confined, in a process group of its own. `announce` hears before that what is
/// enforced on it.
///
/// The limits and the mask of new files are those of the calling process from here on.
pub(in crate::worker) fn start(
    plan: &Plan,
    command: &[OsString],
    announce: impl FnOnce(&Confinement) -> io::Result<()> + Send,
) -> Result<Started, Refusal> {
    let system = |what| move |cause| Refusal::System { what, cause };
    let search = std::env::var_os("PATH").unwrap_or_default();
    let mut grant = Grant::of(plan, command, &search);
    grant.uid = grant.uid.and_then(|uid| match chown(&plan.workdir, Some(uid), Some(uid)) {
        Ok(()) => Ok(uid),
        Err(cause) => Err(format!("{} cannot be given to it: {cause}", plan.workdir.display())),
    });
    plan.limits.set(grant.uid.is_ok()).map_err(system("set the limits of the worker"))?;
    umask(Mode::RWXG | Mode::RWXO);
    grant.cgroup = grant.cgroup.and_then(|group| match group.enter() {
        Ok(()) => Ok(group),
        Err(cause) => Err(format!("cannot enter {}: {cause}", group.folder.display())),
    });
    let started = on_a_thread(|| {
        let confinement = grant.confine();
        refuse_without(&plan.require, &confinement)?;
        announce(&confinement).map_err(system("say how the worker is confined"))?;
        let Some((program, arguments)) = command.split_first() else {
            return Err(Refusal::Spawn(io::Error::other("no command was given")));
        };
        let mut worker = Command::new(program);
        worker.args(arguments).process_group(0);
        if let Ok(uid) = grant.uid {
            worker.uid(uid).gid(uid);
        }
        worker.spawn().map_err(Refusal::Spawn)
    });
    let started = started.map_err(system("start a thread")).and_then(|started| started);
    let Ok(group) = grant.cgroup else {
        return started.map(|worker| Started { worker, cgroup: None });
    };
    let left = group.leave().map_err(system("leave the control group of the worker"));
    match left.and(started) {
        Ok(worker) => Ok(Started { worker, cgroup: Some(group.folder) }),
        Err(refusal) => {
            // Inside of it this ends the launcher too, and the spawner tidies up.
            cgroup::kill(&group.folder);
            cgroup::remove(&group.folder);
            Err(refusal)
        }
    }
}

/// What would be enforced on `command`: the same, with nothing started.
pub(super) fn foresee(plan: &Plan, command: &[OsString], search: &OsStr) -> Confinement {
    let grant = Grant::of(plan, command, search);
    on_a_thread(|| grant.confine()).unwrap_or_else(|cause| Confinement {
        missing: Guard::ALL
            .map(|guard| MissingGuard {
                guard,
                why: format!("no thread could be started: {cause}"),
            })
            .into(),
        ..Confinement::default()
    })
}

fn on_a_thread<T: Send>(run: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("confined".into()).spawn_scoped(scope, run)?;
        thread.join().map_err(|_panic| io::Error::other("it panicked"))
    })
}

/// Fails for the first guard of `require` that is not in force.
pub(super) fn refuse_without(require: &[Guard], found: &Confinement) -> Result<(), Refusal> {
    match found.missing.iter().find(|missing| require.contains(&missing.guard)) {
        None => Ok(()),
        Some(MissingGuard { guard, why }) => {
            Err(Refusal::Required { guard: *guard, why: why.clone() })
        }
    }
}

/// What the worker is given, once it is known what it needs.
struct Grant<'a> {
    read: Vec<PathBuf>,
    /// What of it is not the system's own.
    needed: Vec<PathBuf>,
    uid: Result<u32, String>,
    cgroup: Result<Cgroup, String>,
    plan: &'a Plan,
}

impl<'a> Grant<'a> {
    fn of(plan: &'a Plan, command: &[OsString], search: &OsStr) -> Self {
        let mut read = paths::of_command(command, search);
        read.extend(plan.read.iter().filter(|path| path.exists()).cloned());
        let uid = plan.uid.clone().and_then(|uid| {
            uids::closed(&read, &plan.workdir).map_or(Ok(uid), |closed| {
                Err(format!(
                    "{} is closed to other users, and the worker needs it",
                    closed.display()
                ))
            })
        });
        let needed = read.clone();
        read.extend(paths::of_the_system());
        Self { read, needed, uid, cgroup: plan.cgroup.clone(), plan }
    }

    /// Confines the calling thread for ever. What fails is told and not an error.
    fn confine(&self) -> Confinement {
        let mut tally = Tally::default();
        let no_namespace = |cause| {
            if cause == nix::Error::EPERM {
                "the daemon lacks CAP_SYS_ADMIN".to_owned()
            } else {
                format!("the kernel gives no namespace for it: {cause}")
            }
        };
        let ipc = unshare(CloneFlags::CLONE_NEWIPC).map_err(no_namespace);
        let no_new_privs = set_no_new_privs().map_err(|cause| cause.to_string());
        let ipc_namespace = ipc.is_ok();
        let calls = calls::forbid(!ipc_namespace);
        // What has a name in common with others is not there at all, where it cannot be told apart.
        tally.add(Guard::Ipc, ipc.or_else(|why| calls.clone().map_err(|_| why)));
        let landlock_abi = self.landlock(calls, &mut tally);
        // The last, because the rules are made of paths that it may not reach itself.
        tally.add(Guard::Privileges, no_new_privs.and_then(|()| self.give_up_capabilities()));
        tally.add(Guard::Uid, self.uid.clone().map(|_| ()));
        let needs_uid =
            |_: &String| "it is counted per user id, and the worker has none of its own".to_owned();
        tally.add(Guard::ProcessCount, self.uid.as_ref().map(|_| ()).map_err(needs_uid));
        tally.add(Guard::Cgroup, self.cgroup.as_ref().map(|_| ()).map_err(Clone::clone));
        tally.add(
            Guard::Udp,
            Err("Landlock has no rules for it, and without it no name is found".to_owned()),
        );
        let (enforced, missing) = tally.sorted();
        let tcp = enforced.contains(&Guard::Tcp);
        let connect = if tcp { self.plan.connect.clone() } else { Vec::new() };
        let uid = self.uid.clone().ok();
        Confinement { landlock_abi, uid, ipc_namespace, connect, enforced, missing }
    }

    /// A user id of its own takes them from the worker by itself.
    fn give_up_capabilities(&self) -> Result<(), String> {
        if self.uid.is_ok() {
            return Ok(());
        }
        let needed = self.needed.iter().chain([&self.plan.workdir]);
        rights::give_up(needed.map(PathBuf::as_path))
    }

    /// The rules for TCP and for signals hold only with the `calls` forbidden that lead around them.
    fn landlock(&self, calls: Result<(), String>, tally: &mut Tally) -> u8 {
        let status = match self.restrict() {
            Ok(RestrictionStatus { landlock, .. }) => landlock,
            Err(cause) => {
                for (guard, ..) in BY_LANDLOCK {
                    tally.add(guard, Err(format!("Landlock refused the rules: {cause}")));
                }
                return 0;
            }
        };
        let abi = match status {
            LandlockStatus::Available { effective_abi, .. } => effective_abi as u8,
            LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => 0,
        };
        for (guard, needed, linux) in BY_LANDLOCK {
            let found = match status {
                LandlockStatus::NotEnabled => {
                    Err("this kernel was started without Landlock".to_owned())
                }
                LandlockStatus::NotImplemented => Err(format!(
                    "there is no Landlock here; it needs Linux {linux}, and nothing that forbids it"
                )),
                LandlockStatus::Available { .. } if abi < needed => Err(format!(
                    "this kernel has Landlock ABI {abi}; this needs {needed} (Linux {linux})"
                )),
                LandlockStatus::Available { .. } if LED_AROUND.contains(&guard) => calls.clone(),
                LandlockStatus::Available { .. } => Ok(()),
            };
            tally.add(guard, found);
        }
        abi
    }

    fn restrict(&self) -> Result<RestrictionStatus, RulesetError> {
        let Plan { workdir, connect, .. } = self.plan;
        let null = AccessFs::ReadFile | AccessFs::WriteFile;
        let devices = AccessFs::MakeBlock | AccessFs::MakeChar;
        let own = AccessFs::from_all(FILE_RIGHTS) & !devices;
        let ports = connect.iter().map(|port| Ok(NetPort::new(*port, AccessNet::ConnectTcp)));
        Ruleset::default()
            .handle_access(AccessFs::from_all(FILE_RIGHTS))?
            .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?
            .scope(Scope::AbstractUnixSocket | Scope::Signal)?
            .create()?
            .add_rules(path_beneath_rules(&self.read, AccessFs::from_read(FILE_RIGHTS)))?
            .add_rules(path_beneath_rules([paths::NULL], null))?
            .add_rules(path_beneath_rules([workdir], own))?
            .add_rules(ports.collect::<Vec<Result<_, RulesetError>>>())?
            .restrict_self()
    }
}

/// What is in force so far, and what is not.
#[derive(Default)]
struct Tally {
    enforced: Vec<Guard>,
    missing: Vec<MissingGuard>,
}

impl Tally {
    fn add(&mut self, guard: Guard, found: Result<(), String>) {
        match found {
            Ok(()) => self.enforced.push(guard),
            Err(why) => self.missing.push(MissingGuard { guard, why }),
        }
    }

    /// Both in the order of a report.
    fn sorted(mut self) -> (Vec<Guard>, Vec<MissingGuard>) {
        self.enforced.sort_unstable();
        self.missing.sort_unstable_by_key(|missing| missing.guard);
        (self.enforced, self.missing)
    }
}
