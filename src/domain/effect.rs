//! What a turn of the scheduler wants done outside: effects, as data.

use std::sync::Arc;

use super::agent::StatusReason;
use super::attempt::{Failure, Outcome};
use super::decision::Rule;
use super::exit::Exit;
use super::follow_up::FollowUps;
use super::ids::{AgentId, Attempt, Incarnation, TaskId, TraceId};
use super::json::Json;
use super::task::TaskStatus;
use super::task_type::TaskType;

/// The work that an agent is given; what a process gets in its `task` frame and an external agent
/// from `assignment`.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The task.
    pub task_id: TaskId,
    /// The fence: what the agent reports must carry it.
    pub attempt: Attempt,
    /// Its type.
    pub kind: TaskType,
    /// The work itself.
    pub payload: Json,
    /// The trace of the request that submitted it.
    pub trace: TraceId,
    /// How long the attempt may take, in microseconds.
    pub timeout_us: u64,
    /// Why the attempt before did not complete.
    pub previous_failure: Option<String>,
}

/// The end of one life of a process agent, for whoever restarts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifeEnded {
    /// Which life.
    pub incarnation: Incarnation,
    /// How the process ended.
    pub exit: Exit,
    /// Why, in words.
    pub cause: Failure,
    /// Whether this death counts against the restart budget.
    pub counts: bool,
    /// Whether trying again at once is of no use: it was never ready, and its exit says that the
    /// command cannot run.
    pub hopeless: bool,
}

/// What a shutdown of the pool did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolClosed {
    /// Agents that ended.
    pub agents_stopped: usize,
    /// Tasks that were stopped and put back.
    pub tasks_requeued: usize,
    /// Tasks that wait for the next pool.
    pub tasks_pending: usize,
}

/// What a turn wants done outside, in order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Give this work to this process agent.
    Assign {
        /// Who.
        agent: AgentId,
        /// In which life.
        incarnation: Incarnation,
        /// What.
        assignment: Assignment,
    },
    /// An external agent's open `assignment` call should ask again.
    Wake {
        /// Whose.
        agent: AgentId,
    },
    /// Ask this process to stop its run, then make it.
    CancelRun {
        /// Who.
        agent: AgentId,
        /// In which life.
        incarnation: Incarnation,
        /// Which task.
        task_id: TaskId,
        /// Which attempt.
        attempt: Attempt,
        /// What the worker is told.
        reason: &'static str,
    },
    /// Kill this process tree now.
    KillTree {
        /// Whose.
        agent: AgentId,
        /// In which life.
        incarnation: Incarnation,
    },
    /// End this process politely; it does nothing.
    StopAgent {
        /// Whose.
        agent: AgentId,
        /// In which life.
        incarnation: Incarnation,
    },
    /// A life of a process agent is over; the agent may be restarted.
    AgentLost {
        /// Who.
        agent: AgentId,
        /// What is known of the end.
        ended: LifeEnded,
    },
    /// Somebody asked for this process agent to be started again.
    RecoverAgent {
        /// Who.
        agent: AgentId,
    },
    /// The agent is gone from the pool.
    AgentRemoved {
        /// Who.
        agent: AgentId,
    },
    /// The agent became idle or failed to: whoever waits for its start need not wait longer.
    AgentSettled {
        /// Who.
        agent: AgentId,
    },
    /// The run of an agent that a client failed is over, and its task (if it had one) was moved.
    FailedOver {
        /// Who.
        agent: AgentId,
        /// The task that was taken away.
        task_id: Option<TaskId>,
    },
    /// The task has ended.
    TaskEnded {
        /// Which.
        task_id: TaskId,
    },
    /// The run of a task that was cancelled is over, and the task is the store's alone.
    TaskLeft {
        /// Which.
        task_id: TaskId,
    },
    /// The last agent of a pool that is shut down is gone.
    PoolClosed(PoolClosed),
    /// The daemon drains, and no process agent works any more.
    Drained,
    /// The daemon stops, and no process agent has a process any more.
    ProcessesStopped,
    /// Something that operators want to read of.
    Event(Event),
}

/// Something that operators want to read of; one log line each.
#[derive(Clone, Debug)]
pub enum Event {
    /// The pool was asked to have so many agents.
    PoolInitialized {
        /// How many should live.
        target: usize,
        /// How many there are.
        pool_size: usize,
        /// How many of them are new.
        spawned: usize,
    },
    /// An agent joined the pool.
    AgentSpawned {
        /// Who.
        agent: AgentId,
        /// `process` or `external`.
        kind: &'static str,
    },
    /// A new life of an agent begins.
    AgentRestarted {
        /// Who.
        agent: AgentId,
        /// Which life.
        incarnation: Incarnation,
    },
    /// The status of an agent changed.
    AgentStatusChanged {
        /// Who.
        agent: AgentId,
        /// In which life.
        incarnation: Incarnation,
        /// Its new status.
        status: &'static str,
        /// Why, when it is degraded.
        reason: Option<StatusReason>,
        /// Why, as a sentence.
        detail: String,
    },
    /// An agent failed.
    AgentFailed {
        /// Who.
        agent: AgentId,
        /// In which life.
        incarnation: Incarnation,
        /// Why.
        failure: Failure,
    },
    /// An agent left the pool.
    AgentRemoved {
        /// Who.
        agent: AgentId,
    },
    /// A task was accepted.
    TaskSubmitted {
        /// Which.
        task_id: TaskId,
        /// Its trace.
        trace: TraceId,
        /// Its type.
        kind: TaskType,
        /// Whose child it is.
        parent: Option<TaskId>,
    },
    /// A task was accepted and nobody can run it now.
    TaskQueued {
        /// Which.
        task_id: TaskId,
        /// Its trace.
        trace: TraceId,
        /// Tasks that wait, this one included.
        queue_length: usize,
    },
    /// A task was refused.
    TaskRejected {
        /// The trace of the request.
        trace: TraceId,
        /// Why.
        reason: &'static str,
    },
    /// A task that failed or was cancelled waits again, because somebody said so.
    TaskRetried {
        /// Which.
        task_id: TaskId,
        /// Its trace.
        trace: TraceId,
    },
    /// A task was given to an agent.
    TaskAssigned {
        /// Which.
        task_id: TaskId,
        /// Its trace.
        trace: TraceId,
        /// Whom.
        agent: AgentId,
        /// In which life.
        incarnation: Incarnation,
        /// Which attempt.
        attempt: Attempt,
        /// Why that agent.
        rule: Rule,
        /// How long it was pending, in milliseconds.
        waited_ms: f64,
    },
    /// An agent says that it started.
    TaskStarted {
        /// Which.
        task_id: TaskId,
        /// Its trace.
        trace: TraceId,
        /// Who.
        agent: AgentId,
        /// Which attempt.
        attempt: Attempt,
        /// From submit to the first start, in milliseconds; `None` for later attempts.
        assignment_latency_ms: Option<f64>,
        /// Whether that is over the target.
        over_target: bool,
    },
    /// An attempt ended and the task waits again.
    TaskRequeued {
        /// Which.
        task_id: TaskId,
        /// Its trace.
        trace: TraceId,
        /// Where it was.
        agent: AgentId,
        /// Which attempt ended.
        attempt: Attempt,
        /// How.
        outcome: Outcome,
        /// Why.
        cause: String,
        /// How many attempts counted against it.
        failures: u32,
    },
    /// A task ended.
    TaskEnded {
        /// Which.
        task_id: TaskId,
        /// Its trace.
        trace: TraceId,
        /// How.
        status: TaskStatus,
        /// Where it was last; `None`: it was cancelled while it waited.
        agent: Option<AgentId>,
        /// Its newest attempt.
        attempt: Attempt,
        /// From the start of that attempt to its end, in milliseconds.
        duration_ms: Option<f64>,
        /// Why it did not complete.
        cause: Option<String>,
    },
    /// A rule looked at the result of a task that completed.
    FollowUpsCreated {
        /// Whose result.
        task_id: TaskId,
        /// Its trace.
        trace: TraceId,
        /// Which rule.
        rule: Arc<str>,
        /// What became of the items.
        numbers: FollowUps,
    },
    /// A dependency went away or came back.
    GateChanged {
        /// Which.
        gate: Arc<str>,
        /// Whether it is back.
        open: bool,
        /// Pending tasks that wait for it.
        waiting: usize,
        /// Why, when it is closed.
        cause: Option<String>,
    },
    /// A recurring job submits its task.
    ScheduleRan {
        /// Which job.
        schedule: Arc<str>,
        /// The task.
        task_id: TaskId,
        /// The trace of this run.
        trace: TraceId,
    },
    /// A recurring job was due and does not run.
    ScheduleSkipped {
        /// Which job.
        schedule: Arc<str>,
        /// The trace of this run.
        trace: TraceId,
        /// Why, in a word.
        reason: &'static str,
    },
    /// Nothing of a recurring job is due any more, by order.
    SchedulePaused {
        /// Which job.
        schedule: Arc<str>,
    },
    /// A recurring job goes on.
    ScheduleResumed {
        /// Which job.
        schedule: Arc<str>,
    },
    /// The last agent of a pool that was shut down is gone.
    PoolShutdown(PoolClosed),
}
