//! Tasks: submit, read, complete, cancel. Trying them again is in `retry`.

use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::answer::{self, Answer};
use super::call::{Call, seconds};
use super::fields::{
    Names, attempt, boolean, integer, json, missing, not_allowed, number, object, positive_us,
    string, task_type,
};
use super::problem::Problem;
use super::task_show::{PageShown, TaskShown};
use crate::domain::{
    AgentId, Content, Fingerprint, IdempotencyKey, ListQuery, MAX_CODE_BYTES, MAX_MESSAGE_BYTES,
    Preference, Priority, Report, Seq, TaskError, TaskId, TaskSpec, TaskStatus, TraceId,
};

/// How long a call may wait, in seconds.
pub(super) const WAIT_S: RangeInclusive<f64> = 0.0..=60.0;
/// The longest time-out of a task, in seconds: 30 days, as in the configuration.
const MAX_TIMEOUT_S: u32 = 2_592_000;
/// How many tasks a page may hold.
const LIMIT: RangeInclusive<i64> = 1..=1_000;
/// How many tasks a page holds when the client does not say.
const DEFAULT_LIMIT: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubmitBody<'a> {
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    task_type: Option<&'a RawValue>,
    #[serde(borrow)]
    preferred_agent_id: Option<&'a RawValue>,
    #[serde(borrow)]
    priority: Option<&'a RawValue>,
    #[serde(borrow)]
    timeout_s: Option<&'a RawValue>,
    #[serde(borrow)]
    idempotency_key: Option<&'a RawValue>,
}

impl SubmitBody<'_> {
    fn parse(&self, trace: TraceId) -> Result<TaskSpec, Problem> {
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
        let content = Content { kind, priority, preferred, timeout_us, payload: &payload };
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

#[derive(Serialize)]
struct Submitted {
    task_id: TaskId,
    status: TaskStatus,
    assigned_agent_id: Option<AgentId>,
    queue_position: Option<usize>,
}

/// `POST /tasks`.
pub(super) async fn submit(mut call: Call) -> Answer {
    let body = call.body().await?;
    call.no_query()?;
    let spec = body.required::<SubmitBody<'_>>()?.parse(call.trace())?;
    let accepted = call.pool().submit(spec).await?;
    answer::ok(&Submitted {
        task_id: accepted.task_id,
        status: accepted.status,
        assigned_agent_id: accepted.assigned_agent_id,
        queue_position: accepted.queue_position,
    })
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
    let wait = call.query::<WaitQuery>()?.wait_s;
    let wait = wait.map(|wait| number("wait_s", &wait, WAIT_S)).transpose()?;
    let task = call.pool().task(call.task_id()?, seconds(wait.unwrap_or(0.0))).await?;
    answer::ok(&TaskShown::from(&task))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CompleteQuery {
    success: Option<String>,
    attempt: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CompleteBody<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorBody<'a> {
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    retryable: Option<&'a RawValue>,
}

impl CompleteBody<'_> {
    fn parse(&self, success: bool) -> Result<Report, Problem> {
        match (success, self.result, self.error) {
            (true, result, None) => {
                let result = result.map(|result| json("result", result)).transpose()?;
                Ok(Report::Completed { result, usage: None })
            }
            (false, None, error) => {
                let error = error.map(parse_error).transpose()?;
                let unsaid = || TaskError {
                    code: "failed".to_owned(),
                    message: "the agent reported failure".to_owned(),
                    retryable: false,
                };
                Ok(Report::Failed { error: error.unwrap_or_else(unsaid), usage: None })
            }
            (true, _, Some(_)) => Err(Problem::invalid(
                "an `error` contradicts success=true, which is the default; \
                 say ?success=false or leave `error` out",
            )),
            (false, Some(_), _) => Err(Problem::invalid(
                "a `result` contradicts success=false; say why it failed in `error`",
            )),
        }
    }
}

fn parse_error(raw: &RawValue) -> Result<TaskError, Problem> {
    let shape = "an object of code, message and retryable";
    if !raw.get().starts_with('{') {
        return Err(not_allowed("error", shape, raw.get()));
    }
    let error: ErrorBody<'_> = serde_json::from_str(raw.get())
        .map_err(|error| Problem::invalid(format!("`error` must be {shape}: {error}")))?;
    let text = |name, raw: Option<&RawValue>, allowed: RangeInclusive<usize>, unsaid: &str| {
        let Some(raw) = raw else { return Ok(unsaid.to_owned()) };
        let text = string(name, raw)?.into_owned();
        if allowed.contains(&text.len()) {
            return Ok(text);
        }
        let allowed = format_args!("a string of {} to {} bytes", allowed.start(), allowed.end());
        Err(not_allowed(name, allowed, raw.get()))
    };
    let retryable = error.retryable.map(|raw| match raw.get() {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(not_allowed("error.retryable", "true or false", other)),
    });
    Ok(TaskError {
        code: text("error.code", error.code, 1..=MAX_CODE_BYTES, "failed")?,
        message: text(
            "error.message",
            error.message,
            0..=MAX_MESSAGE_BYTES,
            "the agent reported failure",
        )?,
        retryable: retryable.transpose()?.unwrap_or(false),
    })
}

#[derive(Serialize)]
pub(super) struct Changed {
    pub(super) task_id: TaskId,
    pub(super) status: TaskStatus,
}

/// `POST /tasks/{id}/complete`.
pub(super) async fn complete(mut call: Call) -> Answer {
    let body = call.body().await?;
    let task_id = call.task_id()?;
    let query: CompleteQuery = call.query()?;
    let success = query.success.as_deref().map(|success| boolean("success", success));
    let success = success.transpose()?.unwrap_or(true);
    let attempt = query.attempt.as_deref().map(attempt).transpose()?;
    let report = body.optional::<CompleteBody<'_>>()?.parse(success)?;
    let status = call.pool().complete(task_id, attempt, report).await?;
    answer::ok(&Changed { task_id, status })
}

/// `POST /tasks/{id}/cancel`.
pub(super) async fn cancel(mut call: Call) -> Answer {
    call.no_body().await?;
    call.no_query()?;
    let task_id = call.task_id()?;
    let status = call.pool().cancel(task_id).await?;
    answer::ok(&Changed { task_id, status })
}
