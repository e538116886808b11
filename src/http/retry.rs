//! Trying again what failed or was cancelled.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::call::Call;
use super::fields::{Names, not_allowed, task_type};
use super::problem::Problem;
use super::tasks::Changed;
use crate::domain::TaskStatus;

/// What can be tried again; the first is meant when the client does not say.
pub(super) const RETRYABLE: [TaskStatus; 2] = [TaskStatus::Failed, TaskStatus::Cancelled];

/// `POST /tasks/{id}/retry`.
pub(super) async fn one(mut call: Call) -> Answer {
    call.no_body().await?;
    call.no_query()?;
    let task_id = call.task_id()?;
    let status = call.pool().retry(task_id).await?;
    answer::ok(&Changed { task_id, status })
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManyQuery {
    status: Option<String>,
    task_type: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RetriedTasks)]
pub(super) struct Retried {
    /// How many go on as pending.
    retried: u64,
    /// How many are left, because there was no more room.
    remaining: u64,
}

/// `POST /tasks/retry`.
pub(super) async fn many(mut call: Call) -> Answer {
    call.no_body().await?;
    let query: ManyQuery = call.query()?;
    let status = query.status.as_deref().map(retryable).transpose()?.unwrap_or(RETRYABLE[0]);
    let kind = query.task_type.as_deref().map(|name| task_type("task_type", name)).transpose()?;
    let done = call.pool().retry_all(status, kind).await?;
    answer::ok(&Retried { retried: done.retried, remaining: done.remaining })
}

fn retryable(name: &str) -> Result<TaskStatus, Problem> {
    let status = RETRYABLE.into_iter().find(|status| status.name() == name);
    let allowed = format_args!("one of {}", Names(RETRYABLE.map(TaskStatus::name)));
    status.ok_or_else(|| not_allowed("status", allowed, name))
}
