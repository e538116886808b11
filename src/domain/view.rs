//! What readers are told: copies of what the scheduler knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::agent::{AgentKind, AgentStats, AgentStatus, ProcessFacts, StatusReason};
use super::attempt::AttemptRecord;
use super::follow_up::FollowUps;
use super::gate::{GateMode, GateState};
use super::ids::{AgentId, Attempt, ContextIds, Incarnation, TaskId, TraceId};
use super::json::Json;
use super::priority::{Priority, Seq};
use super::recurring::Skip;
use super::report::{TaskError, Usage};
use super::schedule::ScheduleSpec;
use super::task::{Task, TaskState, TaskStatus};
use super::task_type::{TaskType, TaskTypes};
use super::time::Now;

/// A task without what only its own page shows.
#[derive(Clone, Debug)]
pub struct TaskSummary {
    /// Its id.
    pub id: TaskId,
    /// The number of its submission.
    pub seq: Seq,
    /// Whose child it is.
    pub parent: Option<TaskId>,
    /// Its type.
    pub kind: TaskType,
    /// Its state.
    pub status: TaskStatus,
    /// How urgent it is.
    pub priority: Priority,
    /// Who has it, or had it last.
    pub assigned_agent: Option<AgentId>,
    /// Its newest attempt.
    pub attempt: Attempt,
    /// How many attempts counted against it.
    pub failures: u32,
    /// The agents on which it failed, the oldest failure first.
    pub failed_on: Vec<AgentId>,
    /// When it was accepted.
    pub created: Now,
    /// When it was last asked for: accepted, or tried again by order.
    pub asked: Now,
    /// When its first attempt started since then.
    pub first_started: Option<Now>,
    /// The time between the two in microseconds, but for what it waited for gates.
    pub assignment_latency_us: Option<u64>,
    /// When it ended.
    pub ended: Option<Now>,
    /// Why it failed.
    pub error: Option<TaskError>,
    /// What its last attempt that said so used.
    pub usage: Option<Usage>,
    /// Why and where it waits, while it does.
    pub waiting: Option<Waiting>,
    /// The trace of the request that submitted it.
    pub trace: TraceId,
}

/// A task, whole.
#[derive(Clone, Debug)]
pub struct TaskView {
    /// What lists show too.
    pub summary: TaskSummary,
    /// The work itself.
    pub payload: Json,
    /// What the agent found.
    pub result: Option<Json>,
    /// What became of the items of its result; `None`: no rule looked at them.
    pub follow_ups: Option<FollowUps>,
    /// Its attempts, the oldest first.
    pub attempts: Vec<AttemptRecord>,
}

/// Why and where a task waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Why.
    pub reason: PendingReason,
    /// Its place in the queue, 1 for the next; `None` past the counted ones.
    pub position: Option<usize>,
    /// In how many microseconds it is likely to start; `None` when nothing is known of that.
    pub eta_us: Option<u64>,
}

/// Why a task is pending: the first of these that holds (rule 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingReason {
    /// A dependency that its type needs is down.
    GateClosed(Arc<str>),
    /// It failed and is tried again in a while.
    RetryBackoff,
    /// The pool has no agent at all.
    PoolEmpty,
    /// No agent takes its type.
    NoAgentForType,
    /// It failed on every agent that takes its type.
    ExcludedEverywhere,
    /// Every agent that may run it is busy or degraded.
    NoIdleAgent,
}

/// A gate: what is known of a dependency, and what waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateView {
    /// Its name.
    pub name: Arc<str>,
    /// The types that need it.
    pub types: TaskTypes,
    /// Whether their tasks may run.
    pub state: GateState,
    /// Whether that is by order.
    pub mode: GateMode,
    /// Since when its tasks may run, or wait.
    pub since: Now,
    /// Why it is closed, or what went wrong last while it is open.
    pub last_error: Option<String>,
    /// Until when it stays closed because a task said that the dependency is down; `None`: no task
    /// did.
    pub held_until: Option<Now>,
    /// Pending tasks of its types.
    pub waiting: usize,
    /// How many of them count against the depth of its backlog.
    pub counted: usize,
    /// How often it was closed since the start.
    pub closures: u64,
}

/// A recurring job: how it is configured, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleView {
    /// How it is configured.
    pub spec: ScheduleSpec,
    /// Whether nothing of it is due, by order.
    pub paused: bool,
    /// When it runs next, as a time of day in microseconds; `None` while it is paused.
    pub next_run_us: Option<u64>,
    /// When it ran last, as a time of day in microseconds.
    pub last_run_us: Option<u64>,
    /// The task of that run.
    pub last_task: Option<TaskId>,
    /// How often it ran, in all.
    pub runs: u64,
    /// How often it was due and did not run, in all.
    pub skipped: u64,
    /// The last time that this happened.
    pub last_skip: Option<Skip>,
}

/// What a recurring job did, in the names of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ScheduleCounts {
    /// Its name.
    pub name: String,
    /// How often it ran, in all.
    pub runs: u64,
    /// How often it was due and did not run, by reason.
    pub skipped: BTreeMap<String, u64>,
}

/// Which tasks a client wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// Only those of this status.
    pub status: Option<TaskStatus>,
    /// Only those of this type.
    pub kind: Option<TaskType>,
    /// At most so many.
    pub limit: usize,
    /// Only those submitted before this one: the last one that the page before looked at.
    pub before: Option<Seq>,
}

/// Some tasks, the newest submission first.
#[derive(Clone, Debug)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<TaskSummary>,
    /// Where the next page begins; `None` when this was the last. A page may hold fewer tasks than
    /// it might and still not be the last.
    pub next: Option<Seq>,
}

impl Task {
    /// The task in short; `waiting` says why and where it waits, if it does.
    #[must_use]
    pub fn summary(&self, waiting: Option<Waiting>) -> TaskSummary {
        let ended = match self.state {
            TaskState::Ended { at, .. } => Some(at),
            TaskState::Pending(_) | TaskState::InProgress { .. } => None,
        };
        let pending = matches!(self.state, TaskState::Pending(_));
        TaskSummary {
            id: self.id,
            seq: self.seq,
            parent: self.parent.map(|parent| parent.task_id),
            kind: self.spec.kind,
            status: self.status(),
            priority: self.spec.priority,
            assigned_agent: self.attempts.last().filter(|_| !pending).map(|last| last.agent),
            attempt: self.attempt,
            failures: self.failures,
            failed_on: self.failed_on.clone(),
            created: self.created,
            asked: self.asked,
            first_started: self.first_started,
            assignment_latency_us: self.assignment_latency_us(),
            ended,
            error: self.error.clone(),
            usage: self.attempts.iter().rev().find_map(|record| record.end.as_ref()?.usage),
            waiting,
            trace: self.spec.trace.clone(),
        }
    }

    /// The task, whole; `waiting` says why and where it waits, if it does.
    #[must_use]
    pub fn view(&self, waiting: Option<Waiting>) -> TaskView {
        TaskView {
            summary: self.summary(waiting),
            payload: self.spec.payload.clone(),
            result: self.result.clone(),
            follow_ups: self.follow_ups,
            attempts: self.attempts.clone(),
        }
    }
}

/// An agent.
#[derive(Clone, Debug)]
pub struct AgentView {
    /// Its id.
    pub id: AgentId,
    /// What stands behind it.
    pub kind: AgentKind,
    /// Its present life.
    pub incarnation: Incarnation,
    /// What belongs to that life alone.
    pub ids: ContextIds,
    /// Its state.
    pub status: AgentStatus,
    /// Why it is degraded, for programs and as a sentence.
    pub reason: Option<(StatusReason, String)>,
    /// What it runs.
    pub run: Option<(TaskId, Attempt)>,
    /// Whether it is on its way out.
    pub leaving: bool,
    /// What it takes.
    pub types: TaskTypes,
    /// Its process.
    pub process: Option<ProcessFacts>,
    /// What it did so far.
    pub stats: AgentStats,
}
