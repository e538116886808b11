//! What the spawner's thread does: orders, ended launchers, deadlines, and nothing that waits.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};
use slog::{Logger, debug, error, warn};
use tokio::sync::oneshot;

use super::cgroup::{Cgroup, Cgroups};
use super::sandbox::{Sandbox, Uids};
use super::spawner::{
    LaunchError, LaunchSpec, Launched, OnNews, SpawnerHandle, TreeGuard, TreeNews,
};
use super::workdir::Janitor;
use super::{cgroup, environment, exit, proc, sweep, workdir};
use crate::domain::{AgentId, Chain, Exit, Incarnation};

/// How long a launcher has to obey SIGTERM. It can be late when its own worker stopped it, or when
/// the tree is large; then its work is done from here.
const OBEY_WITHIN: Duration = Duration::from_secs(1);
/// How soon to look again whether a launcher takes orders.
const LISTENS_SOON: Duration = Duration::from_millis(2);
/// How long after a kill a tree that is still there is called stuck.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// How often to look after what lost launchers left: often at first, because it dies at once.
const SWEEP_EVERY: Duration = Duration::from_millis(2);
const SWEEP_LATER_EVERY: Duration = Duration::from_millis(50);
/// Where "at first" ends.
const SWEEP_OFTEN_FOR: Duration = Duration::from_secs(1);

type Key = (AgentId, Incarnation);

/// What the thread is told.
pub(super) enum Order {
    Launch(Box<LaunchOrder>),
    Kill(AgentId, Incarnation),
    Signal(AgentId, Incarnation),
    /// Gets one word when all are gone, and its end when all is tidied up.
    Shutdown(mpsc::Sender<()>),
}

type Answer = oneshot::Sender<Result<Launched, LaunchError>>;

/// One launch, until the thread takes it. It is refused by being dropped, so that one which came too
/// late is refused too, wherever it was.
pub(super) struct LaunchOrder {
    spec: LaunchSpec,
    listeners: Option<(OnNews, Answer)>,
}

impl LaunchOrder {
    pub(super) fn new(spec: LaunchSpec, on_news: OnNews, answer: Answer) -> Self {
        Self { spec, listeners: Some((on_news, answer)) }
    }
}

impl Drop for LaunchOrder {
    fn drop(&mut self) {
        if let Some((mut on_news, answer)) = self.listeners.take() {
            let refusal = LaunchError::ShuttingDown;
            let exit = Exit::NotStarted(refusal.to_string());
            let _nobody_waits = answer.send(Err(refusal));
            on_news(TreeNews::Gone(exit));
        }
    }
}

struct Tree {
    /// `None` when the launcher was lost, and what it left is being swept up.
    launcher: Option<Launcher>,
    /// What is said when nothing is left after the launcher was lost.
    exit_when_lost: Exit,
    on_news: OnNews,
    workdir: PathBuf,
    /// The user id that it has to itself.
    uid: Option<u32>,
    /// The control group that it has to itself.
    cgroup: Option<PathBuf>,
    /// A signal came too early for its launcher.
    to_signal: bool,
    dying: Option<Dying>,
}

impl Tree {
    /// Passes on a signal that was ordered, as soon as its launcher takes it.
    fn signal_if_asked(&mut self) {
        self.to_signal = match (&self.launcher, &self.dying) {
            (Some(launcher), None) => self.to_signal && !launcher.tell(Signal::USR1),
            // Who is being killed, or gone, needs none.
            _ => false,
        };
    }
}

struct Launcher {
    process: Child,
    pidfd: OwnedFd,
}

struct Dying {
    since: Instant,
    /// Whether its launcher was told.
    told: bool,
    forced: bool,
    stuck: bool,
}

impl Dying {
    fn since(since: Instant) -> Self {
        Self { since, told: false, forced: false, stuck: false }
    }
}

pub(super) struct SpawnerThread {
    launcher: PathBuf,
    sandbox: Option<Sandbox>,
    uids: Uids,
    cgroups: Cgroups,
    store_id: String,
    log: Logger,
    inbox: Receiver<Order>,
    handle: SpawnerHandle,
    trees: BTreeMap<Key, Tree>,
    janitor: Janitor,
    /// Who waits for the end; not empty from the first order to shut down on.
    closing: Vec<mpsc::Sender<()>>,
}

impl SpawnerThread {
    pub(super) fn new(
        launcher: PathBuf,
        sandbox: Option<Sandbox>,
        store_id: String,
        log: Logger,
        inbox: Receiver<Order>,
        handle: SpawnerHandle,
    ) -> io::Result<Self> {
        let janitor = Janitor::start(log.clone())?;
        let wanted = sandbox.as_ref().map_or("", |sandbox| &sandbox.cgroup);
        let cgroups = Cgroups::find(wanted, &store_id);
        let uids = Uids::new(sandbox.as_ref().map_or(0, |sandbox| sandbox.first_uid));
        Ok(Self {
            launcher,
            sandbox,
            uids,
            cgroups,
            store_id,
            log,
            inbox,
            handle,
            trees: BTreeMap::new(),
            janitor,
            closing: Vec::new(),
        })
    }

    pub(super) fn run(mut self) {
        loop {
            self.take_orders();
            self.keep_deadlines();
            if !self.closing.is_empty() && self.trees.is_empty() {
                break;
            }
            let ended = self.wait();
            for key in ended {
                self.launcher_ended(key);
            }
            if self.trees.values().any(|tree| tree.launcher.is_none()) {
                self.sweep();
            }
        }
        self.handle.set_over();
        for waiting in &self.closing {
            let _gave_up = waiting.send(());
        }
        self.janitor.finish();
    }

    fn take_orders(&mut self) {
        let mut counter = [0; 8];
        let _empty = rustix::io::read(self.handle.wake_up(), &mut counter);
        while let Ok(order) = self.inbox.try_recv() {
            match order {
                Order::Launch(order) => self.launch(*order),
                Order::Kill(agent, incarnation) => self.kill((agent, incarnation)),
                Order::Signal(agent, incarnation) => self.signal((agent, incarnation)),
                Order::Shutdown(waiting) => {
                    self.closing.push(waiting);
                    for key in self.trees.keys().copied().collect::<Vec<_>>() {
                        self.kill(key);
                    }
                }
            }
        }
    }

    fn launch(&mut self, mut order: LaunchOrder) {
        if !self.closing.is_empty() {
            return;
        }
        let Some((mut on_news, answer)) = order.listeners.take() else { return };
        let key = (order.spec.agent, order.spec.incarnation);
        let workdir = order.spec.workdir.clone();
        let uid = self.uids.take();
        let cgroup = self.cgroups.of(&format!("{}-{}", key.0, key.1));
        let started = self.start(&order.spec, uid.clone(), cgroup.clone());
        let (uid, cgroup) = (uid.ok(), cgroup.ok().map(|group| group.folder));
        let refusal = match started {
            Ok((launcher, launched)) => {
                let tree = Tree {
                    launcher: Some(launcher),
                    exit_when_lost: Exit::Unknown,
                    on_news,
                    workdir,
                    uid,
                    cgroup,
                    to_signal: false,
                    dying: None,
                };
                self.trees.insert(key, tree);
                // When nobody waits for it any more, dropping it here orders the kill.
                let _nobody_waits = answer.send(Ok(launched));
                return;
            }
            Err(refusal) => refusal,
        };
        let why = Chain(&refusal).to_string();
        warn!(self.log, "worker_not_started"; "agent_id" => %key.0,
            "incarnation" => key.1.get(), "error" => &why);
        let exit = Exit::NotStarted(why);
        if matches!(refusal, LaunchError::Launcher { .. } | LaunchError::Pipes(_)) {
            // Something may have run for a moment, so this end is verified like any other.
            let tree = Tree {
                launcher: None,
                exit_when_lost: exit,
                on_news,
                workdir,
                uid,
                cgroup,
                to_signal: false,
                dying: Some(Dying::since(now())),
            };
            self.trees.insert(key, tree);
        } else {
            // Nothing ran, and nothing belongs to it.
            if let Some(uid) = uid {
                self.uids.give_back(uid);
            }
            on_news(TreeNews::Gone(exit));
        }
        let _nobody_waits = answer.send(Err(refusal));
    }

    fn start(
        &self,
        spec: &LaunchSpec,
        uid: Result<u32, String>,
        cgroup: Result<Cgroup, String>,
    ) -> Result<(Launcher, Launched), LaunchError> {
        if self.trees.contains_key(&(spec.agent, spec.incarnation)) {
            return Err(LaunchError::LaunchedBefore);
        }
        let path = &spec.workdir;
        let former = workdir::create(path)
            .map_err(|cause| LaunchError::Workdir { path: path.clone(), cause })?;
        self.janitor.remove(former);
        let (their_stdin, stdin) = io::pipe().map_err(LaunchError::Pipes)?;
        let (stdout, their_stdout) = io::pipe().map_err(LaunchError::Pipes)?;
        let (stderr, their_stderr) = io::pipe().map_err(LaunchError::Pipes)?;

        let mut command = Command::new(&self.launcher);
        command.arg("launch");
        if let Some(sandbox) = &self.sandbox {
            let plan = serde_json::to_string(&sandbox.plan(path, uid, cgroup));
            command.arg("--confine").arg(plan.map_err(|cause| LaunchError::Plan(cause.into()))?);
        }
        command.arg("--");
        if spec.command.is_empty() {
            command.arg(&self.launcher).arg("worker");
        } else {
            command.args(&spec.command);
        }
        command
            .env_clear()
            .envs(environment::build(&self.store_id, spec.agent, path, &spec.env))
            .current_dir(path)
            .stdin(Stdio::from(their_stdin))
            .stdout(Stdio::from(their_stdout))
            .stderr(Stdio::from(their_stderr));
        let (process, pidfd) = sweep::start_launcher(&mut command)
            .map_err(|cause| LaunchError::Launcher { path: self.launcher.clone(), cause })?;
        let launched = Launched {
            guard: TreeGuard::new(self.handle.clone(), spec.agent, spec.incarnation),
            launcher_pid: process.id(),
            stdin: stdin.into(),
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        Ok((Launcher { process, pidfd }, launched))
    }

    fn kill(&mut self, key: Key) {
        let Some(tree) = self.trees.get_mut(&key) else { return };
        if tree.dying.is_some() {
            return;
        }
        let dying = tree.dying.insert(Dying::since(now()));
        if let Some(launcher) = &tree.launcher {
            dying.told = launcher.tell(Signal::TERM);
        }
    }

    fn signal(&mut self, key: Key) {
        if let Some(tree) = self.trees.get_mut(&key) {
            tree.to_signal = true;
            tree.signal_if_asked();
        }
    }

    /// Waits for an order, an ended launcher or the next deadline, and returns the trees whose
    /// launchers ended.
    fn wait(&self) -> Vec<Key> {
        let mut keys = Vec::with_capacity(self.trees.len());
        let mut sources = Vec::with_capacity(self.trees.len() + 1);
        sources.push(PollFd::new(self.handle.wake_up(), PollFlags::IN));
        for (key, tree) in &self.trees {
            if let Some(launcher) = &tree.launcher {
                keys.push(*key);
                sources.push(PollFd::new(&launcher.pidfd, PollFlags::IN));
            }
        }
        let timeout = self
            .next_deadline()
            .and_then(|at| Timespec::try_from(at.saturating_duration_since(now())).ok());
        match poll(&mut sources, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Vec::new(),
            // Nobody watches the children then, so this ends the daemon.
            Err(cause) => panic!("the spawner cannot watch its children: {cause}"),
        }
        let ended =
            sources[1..].iter().zip(keys).filter(|(source, _)| !source.revents().is_empty());
        ended.map(|(_, key)| key).collect()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let of_tree = |tree: &Tree| {
            if tree.to_signal {
                return Some(now() + LISTENS_SOON);
            }
            let dying = tree.dying.as_ref()?;
            if tree.launcher.is_none() {
                let often = dying.since.elapsed() < SWEEP_OFTEN_FOR;
                return Some(now() + if often { SWEEP_EVERY } else { SWEEP_LATER_EVERY });
            }
            match (dying.forced, dying.stuck) {
                (false, _) if !dying.told => Some(now() + LISTENS_SOON),
                (false, _) => Some(dying.since + OBEY_WITHIN),
                (true, false) => Some(dying.since + STUCK_AFTER),
                (true, true) => None,
            }
        };
        self.trees.values().filter_map(of_tree).min()
    }

    fn keep_deadlines(&mut self) {
        for ((agent, incarnation), tree) in &mut self.trees {
            tree.signal_if_asked();
            let Some(dying) = &mut tree.dying else { continue };
            let late = dying.since.elapsed();
            if let Some(launcher) = tree.launcher.as_ref().filter(|_| !dying.told) {
                dying.told = launcher.tell(Signal::TERM);
            }
            if late >= OBEY_WITHIN
                && !dying.forced
                && let Some(launcher) = &tree.launcher
            {
                dying.forced = true;
                launcher.send(Signal::KILL);
                warn!(self.log, "launcher_killed"; "agent_id" => %agent,
                    "incarnation" => incarnation.get());
            }
            if late >= STUCK_AFTER && !dying.stuck {
                dying.stuck = true;
                error!(self.log, "process_tree_stuck"; "agent_id" => %agent,
                    "incarnation" => incarnation.get());
                (tree.on_news)(TreeNews::Stuck);
            }
        }
    }

    fn launcher_ended(&mut self, key: Key) {
        let Some(tree) = self.trees.get_mut(&key) else { return };
        let Some(mut launcher) = tree.launcher.take() else { return };
        // A status that cannot be read says as little as that of a killed launcher.
        let verified = sweep::reap_launcher(&mut launcher.process).ok().and_then(exit::decode);
        if let Some(exit) = verified {
            self.gone(key, exit);
            return;
        }
        if let Some(cgroup) = &tree.cgroup {
            cgroup::kill(cgroup);
        }
        if tree.dying.is_none() {
            warn!(self.log, "launcher_lost"; "agent_id" => %key.0, "incarnation" => key.1.get());
        }
        tree.dying.get_or_insert_with(|| Dying::since(now()));
    }

    /// What lost launchers left cannot be told apart, so all their trees are gone together.
    fn sweep(&mut self) {
        if !sweep::sweep() {
            return;
        }
        let lost = self.trees.iter().filter(|(_, tree)| tree.launcher.is_none());
        let lost: Vec<(Key, Exit)> =
            lost.map(|(key, tree)| (*key, tree.exit_when_lost.clone())).collect();
        for (key, exit) in lost {
            self.gone(key, exit);
        }
    }

    fn gone(&mut self, key: Key, exit: Exit) {
        let Some(mut tree) = self.trees.remove(&key) else { return };
        debug!(self.log, "process_tree_gone"; "agent_id" => %key.0,
            "incarnation" => key.1.get(), "exit" => %exit);
        (tree.on_news)(TreeNews::Gone(exit));
        if let Some(cgroup) = &tree.cgroup {
            cgroup::remove(cgroup);
        }
        match workdir::set_aside(&tree.workdir) {
            Ok(aside) => {
                // What cannot be taken back keeps its id from everybody else.
                if let Some(uid) = tree.uid
                    && aside.as_deref().is_none_or(|aside| workdir::take_back(aside).is_ok())
                {
                    self.uids.give_back(uid);
                }
                self.janitor.remove(aside);
            }
            Err(cause) => warn!(self.log, "workdir_not_removed"; "agent_id" => %key.0,
                "path" => %tree.workdir.display(), "error" => %cause),
        }
    }
}

impl Launcher {
    /// Gives an order, unless it comes too early: while a launcher starts its worker it cannot take
    /// any, and would die of it and leave the worker behind. Whether it was given.
    fn tell(&self, order: Signal) -> bool {
        let listens = proc::blocks(self.process.id(), order).unwrap_or(true);
        if listens {
            self.send(order);
            // One that its worker stopped hears it when it goes on.
            self.send(Signal::CONT);
        }
        listens
    }

    fn send(&self, signal: Signal) {
        // It fails when the launcher has ended, which the next wait will tell.
        let _ended = pidfd_send_signal(&self.pidfd, signal);
    }
}

#[expect(clippy::disallowed_methods, reason = "times the death of processes, decides nothing else")]
pub(super) fn now() -> Instant {
    Instant::now()
}
