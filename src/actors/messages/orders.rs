//! Orders to WorkerAgents, and those that end the daemon.

use actix::Message;
use tokio::sync::oneshot;

use crate::domain::{Assignment, Attempt, TaskId};

// ---- To WorkerAgents, from the Router and the PoolSupervisor -----------------------------------

/// From the Router, once this life is on disk: start the process.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Launch;

/// From the Router: do this.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct RunTask(pub Assignment);

/// From the Router: stop this attempt; ask, then signal, then kill.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct CancelRun {
    /// Which task.
    pub task_id: TaskId,
    /// Which attempt.
    pub attempt: Attempt,
    /// What the worker is told.
    pub reason: &'static str,
}

/// From the Router: the process is being killed; this is for one that does not exist yet.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct KillWorker;

/// From the Router: end the process politely; it does nothing.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct StopWorker;

// ---- From `app`, when the daemon ends ----------------------------------------------------------

/// To the Router: nothing new from here on; answers when no process agent works any more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DrainDaemon {
    /// Is answered when the work of process agents has ended.
    pub drained: oneshot::Sender<()>,
}

/// To the Router: whoever waits for something to happen is answered with what there is, now and
/// from here on.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct EndWaits;

/// To the PoolSupervisor: no new agents and no new lives from here on.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct StopSpawning;

/// To the Router: end every process; answers when none is left.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StopProcesses {
    /// Whether nobody is asked before.
    pub at_once: bool,
    /// Is answered when no process agent has a process any more.
    pub stopped: oneshot::Sender<()>,
}
