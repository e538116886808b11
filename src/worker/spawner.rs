//! The spawner: one thread that lives as long as the daemon and to which every child belongs.
//!
//! It starts launchers, watches them through pidfds, and says of each tree exactly once that it is
//! gone, after that was verified. There are two ways to verify it. A launcher that ends with a code
//! of [`exit`](super::exit) has seen the end of everything under it. When a launcher was itself
//! killed, what it left comes to this process, which is a child subreaper too: the spawner then
//! kills and reaps every child of the process that is not one of its live launchers, until there is
//! none. So **no other part of the process may start children of its own**; several spawners in one
//! process (as in tests) know of each other's launchers.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{getpid, set_child_subreaper};
use slog::Logger;
use tokio::sync::oneshot;

use super::sandbox::Sandbox;
use super::spawner_thread::{LaunchOrder, Order, SpawnerThread, now};
use super::sweep;
use crate::domain::{AgentId, Exit, Incarnation};

/// What a spawner needs to know.
pub struct SpawnerOptions {
    /// The `daedalus` executable, which is the launcher.
    pub launcher: PathBuf,
    /// What keeps workers apart; `None`: nothing does.
    pub sandbox: Option<Sandbox>,
    /// Marks every process of this store's pool.
    pub store_id: String,
    /// Takes what the spawner has to say.
    pub log: Logger,
    /// Runs when the thread panics: nothing watches the children any more.
    pub on_panic: Box<dyn FnOnce() + Send>,
}

/// One worker to start.
#[derive(Clone, Debug)]
pub struct LaunchSpec {
    /// Whose process it is.
    pub agent: AgentId,
    /// Which life of the agent. A pair of agent and incarnation is launched once.
    pub incarnation: Incarnation,
    /// The program and its arguments; empty for the built-in worker.
    pub command: Vec<String>,
    /// What is added to the built environment.
    pub env: Vec<(String, String)>,
    /// Its directory: made afresh for it, and removed after its end.
    pub workdir: PathBuf,
}

/// What becomes of a process tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeNews {
    /// Nothing of it is left. Said exactly once for each launch, also for one that failed.
    Gone(Exit),
    /// It was still there 30 s after SIGKILL. `Gone` may follow.
    Stuck,
}

/// Hears of one tree, on the thread of the spawner: it hands the news on and does not block.
pub type OnNews = Box<dyn FnMut(TreeNews) + Send>;

/// Why a worker was not started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The daemon is going down.
    #[error("the daemon is shutting down")]
    ShuttingDown,
    /// There is a tree of this incarnation already, and it is left alone.
    #[error("this incarnation was launched before")]
    LaunchedBefore,
    /// There is no place for it to work in.
    #[error("cannot make the working directory {}", .path.display())]
    Workdir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// There are no pipes for it.
    #[error("cannot make pipes")]
    Pipes(#[source] io::Error),
    /// The launcher cannot be told how to confine it.
    #[error("cannot write down how the worker is confined")]
    Plan(#[source] io::Error),
    /// The launcher did not start.
    #[error("cannot start the launcher {}", .path.display())]
    Launcher {
        /// The executable.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

/// A launcher that was started. Its worker is about to: it is
/// [`proc::worker_of`](super::proc::worker_of) the launcher, and says hello itself. A command that
/// cannot be run is seen as an early end with code 126 or 127.
#[derive(Debug)]
pub struct Launched {
    /// Keeps the tree alive.
    pub guard: TreeGuard,
    /// The pid of the launcher.
    pub launcher_pid: u32,
    /// The end of a pipe into the worker. When it is closed, the launcher kills the tree.
    pub stdin: OwnedFd,
    /// The end of a pipe with the worker's frames.
    pub stdout: OwnedFd,
    /// The end of a pipe with the worker's log, which must be read always.
    pub stderr: OwnedFd,
}

/// Kills the tree when it is dropped, so that an actor which panics takes its tree along.
#[derive(Debug)]
pub struct TreeGuard {
    handle: SpawnerHandle,
    agent: AgentId,
    incarnation: Incarnation,
}

impl TreeGuard {
    pub(super) fn new(handle: SpawnerHandle, agent: AgentId, incarnation: Incarnation) -> Self {
        Self { handle, agent, incarnation }
    }
}

impl Drop for TreeGuard {
    fn drop(&mut self) {
        self.handle.kill(self.agent, self.incarnation);
    }
}

/// The thread that owns every child.
#[derive(Debug)]
pub struct Spawner;

impl Spawner {
    /// Starts the thread and makes this process the one that inherits orphans.
    pub fn start(options: SpawnerOptions) -> io::Result<SpawnerHandle> {
        set_child_subreaper(Some(getpid()))?;
        let (orders, inbox) = mpsc::channel();
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let lost = Arc::<AtomicBool>::default();
        let handle = SpawnerHandle { orders, wake, over: Arc::default(), lost: Arc::clone(&lost) };
        let spawner = SpawnerThread::new(
            options.launcher,
            options.sandbox,
            options.store_id,
            options.log,
            inbox,
            handle.clone(),
        )?;
        let alarm = Alarm { lost, on_panic: Some(options.on_panic) };
        thread::Builder::new().name("spawner".into()).spawn(move || {
            let _alarm = alarm;
            spawner.run();
        })?;
        Ok(handle)
    }
}

/// Says that the thread panicked, while it unwinds.
struct Alarm {
    lost: Arc<AtomicBool>,
    on_panic: Option<Box<dyn FnOnce() + Send>>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(on_panic) = self.on_panic.take()
        {
            self.lost.store(true, Ordering::Release);
            on_panic();
        }
    }
}

/// Talks to the spawner. Nothing but [`shutdown`](Self::shutdown) ever waits.
#[derive(Clone, Debug)]
pub struct SpawnerHandle {
    orders: mpsc::Sender<Order>,
    wake: Arc<OwnedFd>,
    /// Whether the thread was told to shut down and saw the end of its last tree.
    over: Arc<AtomicBool>,
    /// Whether the thread panicked, so that nobody knows the trees any more.
    lost: Arc<AtomicBool>,
}

impl SpawnerHandle {
    /// Starts a worker. `on_news` gets exactly one [`TreeNews::Gone`], also when nothing was
    /// started. When the answer is no longer waited for, the tree is killed.
    pub fn launch(
        &self,
        spec: LaunchSpec,
        on_news: OnNews,
    ) -> oneshot::Receiver<Result<Launched, LaunchError>> {
        let (answer, answered) = oneshot::channel();
        // An order that the thread does not take any more says so itself.
        self.send(Order::Launch(Box::new(LaunchOrder::new(spec, on_news, answer))));
        answered
    }

    /// Kills a tree with everything in it. Without effect when there is none, or it is dying.
    pub fn kill(&self, agent: AgentId, incarnation: Incarnation) {
        self.send(Order::Kill(agent, incarnation));
    }

    /// Sends SIGTERM to the process group of the worker, which may take its time or ignore it.
    pub fn signal(&self, agent: AgentId, incarnation: Incarnation) {
        self.send(Order::Signal(agent, incarnation));
    }

    /// Refuses every launch from now on, kills every tree and waits until all are gone, but not
    /// longer than `within`. Returns whether they are. It blocks the caller. The thread ends when
    /// its last tree has.
    #[must_use]
    pub fn shutdown(&self, within: Duration) -> bool {
        let begun = now();
        let (gone, all_gone) = mpsc::channel();
        self.send(Order::Shutdown(gone));
        let _said = all_gone.recv_timeout(within);
        // The sender is dropped when the working directories are removed too.
        let _removed = all_gone.recv_timeout(within.saturating_sub(begun.elapsed()));
        self.over.load(Ordering::Acquire)
            || (self.lost.load(Ordering::Acquire)
                && sweep::sweep_everything(within.saturating_sub(begun.elapsed())))
    }

    /// Without effect when the thread has ended.
    fn send(&self, order: Order) {
        if self.orders.send(order).is_ok() {
            // It fails only when the counter is full, and then the thread is awake.
            let _awake = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
        }
    }

    /// Every tree is gone, and no other will be started.
    pub(super) fn set_over(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// What wakes the thread up.
    pub(super) fn wake_up(&self) -> &OwnedFd {
        &self.wake
    }
}
