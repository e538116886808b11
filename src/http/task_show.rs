//! Tasks as the API shows them.

use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{seconds, unix_seconds};
use crate::domain::{
    AgentId, Attempt, AttemptRecord, Decision, Failure, FollowUps, Incarnation, Json, Outcome,
    PendingReason, Priority, Stop, StopReason, TaskError, TaskId, TaskPage, TaskStatus,
    TaskSummary, TaskType, TaskView, TraceId, Usage,
};

/// A task, whole.
#[derive(Serialize, ToSchema)]
#[schema(as = Task)]
pub(super) struct TaskShown<'a> {
    #[serde(flatten)]
    summary: SummaryShown<'a>,
    #[schema(value_type = Object)]
    payload: &'a Json,
    #[schema(value_type = Option<Value>)]
    result: Option<&'a Json>,
    follow_ups: Option<FollowUps>,
    attempts: Vec<AttemptShown<'a>>,
}

/// What lists show too.
#[derive(Serialize, ToSchema)]
#[schema(as = TaskSummary)]
pub(super) struct SummaryShown<'a> {
    task_id: TaskId,
    parent_task_id: Option<TaskId>,
    task_type: TaskType,
    status: TaskStatus,
    priority: Priority,
    assigned_agent_id: Option<AgentId>,
    attempt_count: Attempt,
    failures: u32,
    failed_agent_ids: &'a [AgentId],
    created_at: f64,
    started_at: Option<f64>,
    completed_at: Option<f64>,
    assignment_latency_ms: Option<f64>,
    error: Option<&'a TaskError>,
    usage: Option<Usage>,
    pending_reason: Option<String>,
    queue_position: Option<usize>,
    eta_s: Option<f64>,
    trace_id: &'a TraceId,
}

/// A page of tasks.
#[derive(Serialize, ToSchema)]
#[schema(as = TaskPage)]
pub(super) struct PageShown<'a> {
    tasks: Vec<SummaryShown<'a>>,
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AttemptRecord)]
struct AttemptShown<'a> {
    attempt: Attempt,
    agent_id: AgentId,
    incarnation: Incarnation,
    decision: &'a Decision,
    assigned_at: f64,
    started_at: Option<f64>,
    ended_at: Option<f64>,
    outcome: Option<Outcome>,
    failure: Option<&'a Failure>,
    usage: Option<Usage>,
    overlap_possible: bool,
    stop: Option<StopShown>,
}

/// How a run was brought to its end: each step that it came to.
#[derive(Serialize, ToSchema)]
#[schema(as = Stop)]
struct StopShown {
    reason: StopReason,
    asked_at: Option<f64>,
    signalled_at: Option<f64>,
    killed_at: Option<f64>,
    over_at: Option<f64>,
}

impl<'a> From<&'a TaskView> for TaskShown<'a> {
    fn from(task: &'a TaskView) -> Self {
        Self {
            summary: (&task.summary).into(),
            payload: &task.payload,
            result: task.result.as_ref(),
            follow_ups: task.follow_ups,
            attempts: task.attempts.iter().map(AttemptShown::from).collect(),
        }
    }
}

impl<'a> From<&'a TaskPage> for PageShown<'a> {
    fn from(page: &'a TaskPage) -> Self {
        Self {
            tasks: page.tasks.iter().map(SummaryShown::from).collect(),
            next_cursor: page.next.map(|seq| seq.get().to_string()),
        }
    }
}

impl<'a> From<&'a TaskSummary> for SummaryShown<'a> {
    fn from(task: &'a TaskSummary) -> Self {
        Self {
            task_id: task.id,
            parent_task_id: task.parent,
            task_type: task.kind,
            status: task.status,
            priority: task.priority,
            assigned_agent_id: task.assigned_agent,
            attempt_count: task.attempt,
            failures: task.failures,
            failed_agent_ids: &task.failed_on,
            created_at: unix_seconds(task.created),
            started_at: task.first_started.map(unix_seconds),
            completed_at: task.ended.map(unix_seconds),
            assignment_latency_ms: task.assignment_latency_us.map(|us| us as f64 / 1e3),
            error: task.error.as_ref(),
            usage: task.usage,
            pending_reason: task.waiting.as_ref().map(|waiting| reason(&waiting.reason)),
            queue_position: task.waiting.as_ref().and_then(|waiting| waiting.position),
            eta_s: task.waiting.as_ref().and_then(|waiting| waiting.eta_us).map(seconds),
            trace_id: &task.trace,
        }
    }
}

impl<'a> From<&'a AttemptRecord> for AttemptShown<'a> {
    fn from(record: &'a AttemptRecord) -> Self {
        let end = record.end.as_ref();
        Self {
            attempt: record.attempt,
            agent_id: record.agent,
            incarnation: record.incarnation,
            decision: &record.decision,
            assigned_at: unix_seconds(record.assigned),
            started_at: record.started.map(unix_seconds),
            ended_at: end.map(|end| unix_seconds(end.at)),
            outcome: end.map(|end| end.outcome),
            failure: end.and_then(|end| end.failure.as_ref()),
            usage: end.and_then(|end| end.usage),
            overlap_possible: record.overlap_possible,
            stop: record.stop.map(StopShown::from),
        }
    }
}

impl From<Stop> for StopShown {
    fn from(stop: Stop) -> Self {
        Self {
            reason: stop.reason,
            asked_at: stop.asked.map(unix_seconds),
            signalled_at: stop.signalled.map(unix_seconds),
            killed_at: stop.killed.map(unix_seconds),
            over_at: stop.over.map(unix_seconds),
        }
    }
}

fn reason(reason: &PendingReason) -> String {
    match reason {
        PendingReason::GateClosed(gate) => format!("gate_closed:{gate}"),
        PendingReason::RetryBackoff => "retry_backoff".to_owned(),
        PendingReason::PoolEmpty => "pool_empty".to_owned(),
        PendingReason::NoAgentForType => "no_agent_for_type".to_owned(),
        PendingReason::ExcludedEverywhere => "excluded_everywhere".to_owned(),
        PendingReason::NoIdleAgent => "no_idle_agent".to_owned(),
    }
}
