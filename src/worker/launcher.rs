//! `daedalus launch [--confine PLAN] -- CMD ARGS..`: the parent of one worker, which ends only when
//! everything that the worker started has ended.
//!
//! It begins a session of its own, and says in a frame, before there is a worker that could say
//! anything else, how its worker is confined ([`sandbox`]).
//!
//! It adopts what its worker leaves behind (child subreaper), and kills the whole tree when the
//! worker ends, when it gets SIGTERM, and when the daemon is gone: when its parent has ended, or
//! nobody holds the other end of its stdin any more, which a worker can hold itself. SIGUSR1 is
//! passed on as a polite SIGTERM to the group of the worker. It is one thread without a runtime (and
//! another one for the moment in which the worker starts), and it ends with a code of [`exit`].

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, WaitId, WaitIdOptions, WaitOptions, getppid, kill_process_group, pidfd_open,
    set_child_subreaper, waitid, waitpid,
};

use super::sandbox::{self, Plan, Refusal, Started};
use super::{exit, proc, protocol, tree};
use crate::domain::{Chain, Confinement};

/// How long the last phase waits for a child to end before it looks again. Only children which
/// cannot die at once (uninterruptible sleep) make it matter.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What may be behind a program that exists and must not be run.
const UNREADABLE: &str = "; when it may be run, the sandbox does not let it be read: it, its \
     interpreter and its libraries must be in the system's folders or in worker.sandbox.read";

/// Starts `command`, confined as `plan` says (JSON) or not at all, and stays until its whole tree
/// has ended.
#[must_use]
pub fn run(plan: Option<&str>, command: &[OsString]) -> ExitCode {
    match Launcher::start(plan, command) {
        Ok(launcher) => ExitCode::from(launcher.stay()),
        Err(failure) => {
            // The daemon reads this as a line of the worker's log. When it is gone, nobody does.
            let _nobody_reads = writeln!(io::stderr(), "daedalus launch: {}", failure.why);
            ExitCode::from(failure.code)
        }
    }
}

/// Nothing was started.
struct Failure {
    code: u8,
    why: String,
}

impl Failure {
    fn own(what: &str, cause: impl std::fmt::Display) -> Self {
        Self { code: exit::OTHER, why: format!("{what}: {cause}") }
    }
}

struct Launcher {
    /// Its parent; `None` when that is in another namespace.
    daemon: Option<OwnedFd>,
    worker: Pid,
    /// Where it is alone with what it started.
    cgroup: Option<PathBuf>,
    signals: SignalFd,
}

impl Launcher {
    fn start(plan: Option<&str>, command: &[OsString]) -> Result<Self, Failure> {
        let plan = plan.map(serde_json::from_str::<Plan>).transpose();
        let plan = plan.map_err(|cause| Failure::own("cannot read the plan", cause))?;
        close_what_was_inherited()
            .map_err(|cause| Failure::own("cannot close what it inherited", cause))?;
        let daemon = parent()?;
        // It fails for one that a shell started, which leads a group and needs no session.
        let _leads_a_group = rustix::process::setsid();
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGUSR1] {
            mask.add(signal);
        }
        let blocked = |cause| Failure::own("cannot block signals", cause);
        mask.thread_block().map_err(blocked)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&mask, flags)
            .map_err(|cause| Failure::own("cannot watch signals", cause))?;
        set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|cause| Failure::own("cannot become a subreaper", cause))?;
        let null = File::options()
            .write(true)
            .open("/dev/null")
            .map_err(|cause| Failure::own("cannot open /dev/null", cause))?;

        // A worker inherits what is blocked, and a signal that is blocked is none. One that comes at
        // this very moment ends the launcher, as any that is killed (SIGTERM), or is not missed (the
        // end of the worker, which is looked for before the first wait).
        mask.thread_unblock().map_err(blocked)?;
        let started = start_worker(plan.as_ref(), command);
        mask.thread_block().map_err(blocked)?;
        let Started { worker, cgroup } = started?;
        let Some(worker) = tree::pid_of(worker.id()) else {
            return Err(Failure::own("cannot start a worker", "it has no pid"));
        };
        // Now only the worker's side holds the pipe, so that its end is the end of the worker's
        // output. When this fails, that end is merely seen later.
        let _later = rustix::stdio::dup2_stdout(&null);
        Ok(Self { daemon, worker, cgroup, signals })
    }

    fn stay(self) -> u8 {
        let stdin = rustix::stdio::stdin();
        while !self.worker_ended() {
            // The worker reads this pipe too, so no byte of it is asked for or taken here.
            let mut sources = vec![
                PollFd::new(&self.signals, PollFlags::IN),
                PollFd::new(&stdin, PollFlags::empty()),
            ];
            sources.extend(self.daemon.iter().map(|daemon| PollFd::new(daemon, PollFlags::IN)));
            // An interrupted call leaves the results empty, which is another round.
            let _interrupted = poll(&mut sources, None);
            let daemon_is_gone = sources[1..].iter().any(|source| !source.revents().is_empty());
            if daemon_is_gone || self.asked_to_end() {
                break;
            }
            self.reap_the_adopted();
        }
        let cgroup = self.cgroup.as_deref();
        tree::end(self.worker, cgroup, || self.wait_for_a_child()).map_or(exit::OTHER, exit::encode)
    }

    /// Takes the signals that came, passes on the polite one, and says whether SIGTERM was there.
    fn asked_to_end(&self) -> bool {
        let mut asked = false;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match Signal::try_from(signal.ssi_signo.cast_signed()) {
                Ok(Signal::SIGTERM) => asked = true,
                // The worker was not reaped yet, so the number means its own group.
                Ok(Signal::SIGUSR1) => {
                    let _gone = kill_process_group(self.worker, rustix::process::Signal::TERM);
                }
                Ok(_) | Err(_) => {}
            }
        }
        asked
    }

    /// Leaves the worker unreaped, so that its group can still be killed by its number.
    fn worker_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.worker), options), Ok(None))
    }

    fn reap_the_adopted(&self) {
        let children: BTreeSet<u32> = proc::children(std::process::id()).into_iter().collect();
        for child in children.into_iter().filter_map(tree::pid_of) {
            if child != self.worker {
                let _still_running = waitpid(Some(child), WaitOptions::NOHANG);
            }
        }
    }

    fn wait_for_a_child(&self) {
        let mut sources = [PollFd::new(&self.signals, PollFlags::IN)];
        let timeout = Timespec::try_from(LOOK_AGAIN).ok();
        let _interrupted = poll(&mut sources, timeout.as_ref());
        while let Ok(Some(_)) = self.signals.read_signal() {}
    }
}

fn start_worker(plan: Option<&Plan>, command: &[OsString]) -> Result<Started, Failure> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::own("cannot start a worker", "no command was given"));
    };
    let cannot_start = |cause: &io::Error, hint: &str| Failure {
        code: code_of(cause),
        why: format!("cannot start {}: {cause}{hint}", program.display()),
    };
    let Some(plan) = plan else {
        announce(&sandbox::unconfined())
            .map_err(|cause| Failure::own("cannot say that the worker is not confined", cause))?;
        let worker = Command::new(program).args(arguments).process_group(0).spawn();
        return match worker {
            Ok(worker) => Ok(Started { worker, cgroup: None }),
            Err(cause) => Err(cannot_start(&cause, "")),
        };
    };
    sandbox::start(plan, command, announce).map_err(|refusal| match refusal {
        Refusal::Spawn(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
            cannot_start(&cause, UNREADABLE)
        }
        Refusal::Spawn(cause) => cannot_start(&cause, ""),
        Refusal::Required { .. } => {
            Failure { code: exit::CANNOT_EXECUTE, why: refusal.to_string() }
        }
        Refusal::System { .. } => Failure { code: exit::OTHER, why: Chain(&refusal).to_string() },
    })
}

/// Holds on to the parent of this process, whose number may belong to another when it has ended. It
/// is the daemon, as the daemon lives now: there is no worker yet that could hold the pipe.
fn parent() -> Result<Option<OwnedFd>, Failure> {
    let Some(parent) = getppid() else { return Ok(None) };
    let held = pidfd_open(parent, PidfdFlags::empty());
    let stdin = rustix::stdio::stdin();
    let mut pipe = [PollFd::new(&stdin, PollFlags::empty())];
    let _interrupted = poll(&mut pipe, Some(&Timespec::default()));
    if getppid() != Some(parent) || !pipe[0].revents().is_empty() {
        return Err(Failure::own("cannot start a worker", "the daemon is gone"));
    }
    held.map(Some).map_err(|cause| Failure::own("cannot watch the daemon", cause))
}

/// Says how the worker is confined, in one frame.
fn announce(confinement: &Confinement) -> io::Result<()> {
    let frame = protocol::confined(confinement);
    io::stdout().write_all(&frame).and_then(|()| io::stdout().flush())
}

/// The daemon opens everything close-on-exec, but what it was itself started with (sockets from a
/// service manager) may not be. A worker gets its three streams and nothing else.
fn close_what_was_inherited() -> io::Result<()> {
    let open = std::fs::read_dir("/proc/self/fd")?;
    let fds: Vec<i32> =
        open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in fds.into_iter().filter(|fd| *fd > 2) {
        // The one of the directory itself is closed already.
        let _closed = nix::unistd::close(fd);
    }
    Ok(())
}

/// A lack of memory or of processes may pass, so it is not reported as a command that cannot run.
fn code_of(cause: &io::Error) -> u8 {
    use io::ErrorKind::{NotFound, OutOfMemory, WouldBlock};
    let kind = cause.kind();
    if kind == NotFound {
        exit::NOT_FOUND
    } else if matches!(kind, WouldBlock | OutOfMemory) {
        exit::OTHER
    } else {
        exit::CANNOT_EXECUTE
    }
}
