//! Tasks: submit, read, cancel. Their end is in `complete`, trying them again in `retry`.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::call::{Call, seconds};
use super::fields::{
    Names, integer, missing, not_allowed, number, object, positive_us, string, task_type,
};
use super::openapi::words;
use super::problem::Problem;
use super::task_show::{PageShown, TaskShown};
use crate::actors::handle::PoolHandle;
use crate::domain::{
    Accepted, AgentId, Caller, ChildOf, Content, Fingerprint, IdempotencyKey, ListQuery,
    Preference, Priority, Refusal, Seq, TaskId, TaskSpec, TaskStatus, TraceId,
};

/// How long a call may wait, in seconds.
pub(super) const WAIT_S: RangeInclusive<f64> = 0.0..=60.0;
/// The longest time-out of a task, in seconds: 30 days, as in the configuration.
pub(super) const MAX_TIMEOUT_S: u32 = 2_592_000;
/// How many tasks a page may hold.
pub(super) const LIMIT: RangeInclusive<i64> = 1..=1_000;
/// How many tasks a page holds when the client does not say.
pub(super) const DEFAULT_LIMIT: usize = 100;

#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = NewTask)]
#[serde(deny_unknown_fields)]
pub(super) struct SubmitBody<'a> {
    #[serde(borrow)]
    #[schema(required = true, schema_with = words::payload)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    #[schema(schema_with = words::new_task_type)]
    task_type: Option<&'a RawValue>,
    #[serde(borrow)]
    #[schema(schema_with = words::preferred_agent_id)]
    preferred_agent_id: Option<&'a RawValue>,
    #[serde(borrow)]
    #[schema(schema_with = words::priority)]
    priority: Option<&'a RawValue>,
    #[serde(borrow)]
    #[schema(schema_with = words::timeout_s)]
    timeout_s: Option<&'a RawValue>,
    #[serde(borrow)]
    #[schema(schema_with = words::idempotency_key)]
    idempotency_key: Option<&'a RawValue>,
    #[serde(borrow)]
    #[schema(schema_with = words::parent_task_id)]
    parent_task_id: Option<&'a RawValue>,
    #[serde(borrow)]
    #[schema(schema_with = words::detach)]
    detach: Option<&'a RawValue>,
}

impl SubmitBody<'_> {
    /// Hands the task to the pool.
    pub(super) async fn submit(
        &self,
        pool: &PoolHandle,
        trace: TraceId,
    ) -> Result<Submitted, Problem> {
        let (spec, of) = self.parse(trace)?;
        let accepted = match of {
            Some(of) => pool.submit_child(spec, of).await?,
            None => pool.submit(spec).await?,
        };
        Ok(accepted.into())
    }

    /// What a client asks for; with a parent it is a child of that.
    fn parse(&self, trace: TraceId) -> Result<(TaskSpec, Option<ChildOf>), Problem> {
        let parent = self.parent_task_id.map(|id| string("parent_task_id", id)).transpose()?;
        let parent = parent.map(|id| TaskId::parse(&id));
        let detach = self.detach()?;
        let of = parent.flatten().map(|parent| self.of(parent, detach, None));
        let spec = self.spec(of.as_ref(), trace)?;
        // What cannot be an id is the id of nothing.
        if parent == Some(None) { Err(Refusal::ParentNotFound.into()) } else { Ok((spec, of)) }
    }

    /// What the agent that has `parent` asks for: a child of that.
    pub(super) fn parse_inside(
        &self,
        parent: TaskId,
        caller: Caller,
        trace: TraceId,
    ) -> Result<(TaskSpec, ChildOf), Problem> {
        if let Some(given) = self.parent_task_id
            && TaskId::parse(&string("parent_task_id", given)?) != Some(parent)
        {
            let allowed = "left out here: the parent is the task that the agent runs";
            return Err(not_allowed("parent_task_id", allowed, given.get()));
        }
        let of = self.of(parent, self.detach()?, Some(caller));
        Ok((self.spec(Some(&of), trace)?, of))
    }

    const fn of(&self, parent: TaskId, detach: bool, caller: Option<Caller>) -> ChildOf {
        ChildOf { parent, detach, inherits_priority: self.priority.is_none(), caller }
    }

    fn detach(&self) -> Result<bool, Problem> {
        match self.detach.map_or("false", RawValue::get) {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(not_allowed("detach", "true or false", other)),
        }
    }

    fn spec(&self, of: Option<&ChildOf>, trace: TraceId) -> Result<TaskSpec, Problem> {
        let kind = self.task_type.map(|kind| task_type("task_type", &string("task_type", kind)?));
        let kind = kind.transpose()?.unwrap_or_default();
        let priority = self
            .priority
            .map(|priority| integer("priority", priority.get(), Priority::MIN..=Priority::MAX));
        let priority = priority.transpose()?.and_then(Priority::new).unwrap_or_default();
        let preferred = self.preferred_agent_id.map(|id| string("preferred_agent_id", id));
        let preferred = preferred.transpose()?;
        let preferred = preferred.as_deref();
        let timeout_us = self.timeout_s.map(|s| positive_us("timeout_s", s.get(), MAX_TIMEOUT_S));
        let timeout_us = timeout_us.transpose()?;
        let key = self.idempotency_key.map(key_name).transpose()?;
        let payload = self.payload.ok_or_else(|| missing("payload", "a JSON object"))?;
        let payload = object("payload", payload)?;
        let content = Content { kind, priority, preferred, timeout_us, of, payload: &payload };
        let key = key.map(|name| IdempotencyKey { name, content: Fingerprint::of(&content) });
        let preferred = preferred.map(|id| AgentId::parse(id).ok_or(Preference::Unknown));
        Ok(TaskSpec { kind, payload, priority, preferred, timeout_us, key, trace })
    }
}

fn key_name(raw: &RawValue) -> Result<Arc<str>, Problem> {
    let name = string("idempotency_key", raw)?;
    if IdempotencyKey::is_name(&name) {
        return Ok(name.into());
    }
    let most = IdempotencyKey::MAX_CHARS;
    let allowed = format_args!("a string of 1 to {most} characters, none a control character");
    Err(not_allowed("idempotency_key", allowed, raw.get()))
}

#[derive(Serialize, ToSchema)]
#[schema(as = AcceptedTask)]
pub(super) struct Submitted {
    task_id: TaskId,
    status: TaskStatus,
    assigned_agent_id: Option<AgentId>,
    queue_position: Option<usize>,
}

impl From<Accepted> for Submitted {
    fn from(accepted: Accepted) -> Self {
        Self {
            task_id: accepted.task_id,
            status: accepted.status,
            assigned_agent_id: accepted.assigned_agent_id,
            queue_position: accepted.queue_position,
        }
    }
}

/// `POST /tasks`.
pub(super) async fn submit(mut call: Call) -> Answer {
    let body = call.body().await?;
    call.no_query()?;
    let body: SubmitBody<'_> = body.required()?;
    answer::ok(&body.submit(call.pool(), call.trace()).await?)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskListQuery {
    status: Option<String>,
    task_type: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

impl TaskListQuery {
    fn parse(&self) -> Result<ListQuery, Problem> {
        let status = self.status.as_deref().map(|name| {
            let allowed = format_args!("one of {}", Names(TaskStatus::ALL.map(TaskStatus::name)));
            TaskStatus::parse(name).ok_or_else(|| not_allowed("status", allowed, name))
        });
        let kind = self.task_type.as_deref().map(|name| task_type("task_type", name));
        let limit = self.limit.as_deref().map(|limit| integer("limit", limit, LIMIT));
        let limit = limit.transpose()?.and_then(|limit| usize::try_from(limit).ok());
        let before = self.cursor.as_deref().map(|cursor| {
            let allowed = "the `next_cursor` of an earlier page";
            let seq = cursor.parse().map(Seq::new);
            seq.map_err(|_no_number| not_allowed("cursor", allowed, cursor))
        });
        Ok(ListQuery {
            status: status.transpose()?,
            kind: kind.transpose()?,
            limit: limit.unwrap_or(DEFAULT_LIMIT),
            before: before.transpose()?,
        })
    }
}

/// `GET /tasks`.
pub(super) async fn list(call: Call) -> Answer {
    let query = call.query::<TaskListQuery>()?.parse()?;
    answer::ok(&PageShown::from(&call.pool().tasks(query).await?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitQuery {
    wait_s: Option<String>,
}

/// `GET /tasks/{id}`.
pub(super) async fn get(call: Call) -> Answer {
    let wait = wait(call.query::<WaitQuery>()?.wait_s.as_deref())?;
    let task = call.pool().task(call.task_id()?, wait).await?;
    answer::ok(&TaskShown::from(&task))
}

/// How long a call may wait, when the client says so.
pub(super) fn wait(said: Option<&str>) -> Result<Duration, Problem> {
    let wait = said.map(|said| number("wait_s", said, WAIT_S)).transpose()?;
    Ok(seconds(wait.unwrap_or(0.0)))
}

#[derive(Serialize, ToSchema)]
#[schema(as = ChangedTask)]
pub(super) struct Changed {
    pub(super) task_id: TaskId,
    pub(super) status: TaskStatus,
}

/// `POST /tasks/{id}/cancel`.
pub(super) async fn cancel(mut call: Call) -> Answer {
    call.no_body().await?;
    call.no_query()?;
    answer::ok(&cancel_task(call.pool(), call.task_id()?).await?)
}

/// Calls a task off.
pub(super) async fn cancel_task(pool: &PoolHandle, task_id: TaskId) -> Result<Changed, Problem> {
    Ok(Changed { task_id, status: pool.cancel(task_id).await? })
}
