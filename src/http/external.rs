//! The calls of external agents: they fetch their work and show that they are there.

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::call::Call;
use super::fields::incarnation;
use super::tasks::wait;
use crate::domain::{AgentStatus, Attempt, Incarnation, Json, TaskId, TaskType, TraceId};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AssignmentQuery {
    wait_s: Option<String>,
    incarnation: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Assignment)]
pub(super) struct Assigned {
    task_id: TaskId,
    attempt: Attempt,
    incarnation: Incarnation,
    task_type: TaskType,
    #[schema(value_type = Object)]
    payload: Json,
    trace_id: TraceId,
    timeout_s: f64,
    /// Why the attempt before did not complete.
    previous_failure: Option<String>,
}

/// `GET /agents/{id}/assignment`.
pub(super) async fn assignment(call: Call) -> Answer {
    let query: AssignmentQuery = call.query()?;
    let life = query.incarnation.as_deref().map(incarnation).transpose()?;
    let wait = wait(query.wait_s.as_deref())?;
    let fetched = call.pool().assignment(call.agent_id()?, life, wait).await?;
    let Some((incarnation, assignment)) = fetched else {
        return Ok(HttpResponse::NoContent().finish());
    };
    answer::ok(&Assigned {
        task_id: assignment.task_id,
        attempt: assignment.attempt,
        incarnation,
        task_type: assignment.kind,
        payload: assignment.payload,
        trace_id: assignment.trace,
        timeout_s: answer::seconds(assignment.timeout_us),
        previous_failure: assignment.previous_failure,
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeartbeatQuery {
    incarnation: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Heartbeat)]
pub(super) struct Beat {
    status: AgentStatus,
    incarnation: Incarnation,
    task_id: Option<TaskId>,
    attempt: Option<Attempt>,
    /// Whether the agent should stop what it does.
    cancel_requested: bool,
}

/// `POST /agents/{id}/heartbeat`.
pub(super) async fn heartbeat(mut call: Call) -> Answer {
    call.no_body().await?;
    let life = call.query::<HeartbeatQuery>()?.incarnation;
    let life = life.as_deref().map(incarnation).transpose()?;
    let beat = call.pool().heartbeat(call.agent_id()?, life).await?;
    let (task_id, attempt) = beat.run.unzip();
    answer::ok(&Beat {
        status: beat.status,
        incarnation: beat.incarnation,
        task_id,
        attempt,
        cancel_requested: beat.cancel_requested,
    })
}
