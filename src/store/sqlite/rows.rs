//! A task as a row, and back.

use std::borrow::Cow;
use std::error::Error;

use rusqlite::Row;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::attempts;
use crate::domain::{
    AgentId, Attempt, AttemptRecord, Fingerprint, FollowUps, IdempotencyKey, Json, Now, Parent,
    Preference, Priority, Seq, Task, TaskError, TaskId, TaskSpec, TaskState, TaskStatus, TaskType,
    TaskTypes, TraceId, Wait,
};

/// What [`task`] reads of a row, in its order.
pub(super) const COLUMNS: &str =
    "seq, id, kind, status, priority, created_us, ended_us, trace, key, fingerprint, body";

/// What it reads besides when the task is wanted whole. The payload is in the row or beside it.
pub(super) const TEXTS: &str = "coalesce(payload, (SELECT aside.payload FROM payloads aside WHERE aside.seq = tasks.seq)), \
     result";

/// Why a row is no task.
pub(super) type Unreadable = Box<dyn Error + Send + Sync>;

/// What of a task is in no column of its own: what nobody searches for.
#[derive(Debug, Serialize, Deserialize)]
struct Body<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait: Option<Wait>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<AgentId>,
    attempt: Attempt,
    #[serde(default, skip_serializing_if = "is_empty")]
    #[serde(serialize_with = "attempts::write", deserialize_with = "attempts::read")]
    attempts: Cow<'a, [AttemptRecord]>,
    #[serde(default, skip_serializing_if = "is_zero")]
    failures: u32,
    #[serde(default, skip_serializing_if = "is_empty")]
    failed_on: Cow<'a, [AgentId]>,
    #[serde(default, skip_serializing_if = "is_zero")]
    interruptions: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_started: Option<Now>,
    /// None: when it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<Now>,
    #[serde(default, skip_serializing_if = "is_zero")]
    gated_us: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    follow_ups: Option<FollowUps>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<Parent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    preferred: Option<Result<AgentId, Preference>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Cow<'a, TaskError>>,
}

pub(super) const fn is_empty<T>(list: &[T]) -> bool {
    list.is_empty()
}

pub(super) fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// Writes what is in no column of its own to `text`, which is emptied before.
pub(super) fn write_body(task: &Task, text: &mut Vec<u8>) -> serde_json::Result<()> {
    let (wait, agent) = match task.state {
        TaskState::Pending(wait) => (Some(wait), None),
        TaskState::InProgress { agent } => (None, Some(agent)),
        TaskState::Ended { .. } => (None, None),
    };
    let body = Body {
        wait,
        agent,
        attempt: task.attempt,
        attempts: Cow::Borrowed(&task.attempts),
        failures: task.failures,
        failed_on: Cow::Borrowed(&task.failed_on),
        interruptions: task.interruptions,
        first_started: task.first_started,
        asked: Some(task.asked).filter(|asked| *asked != task.created),
        gated_us: task.gated_us,
        follow_ups: task.follow_ups,
        parent: task.parent,
        preferred: task.spec.preferred,
        timeout_us: task.spec.timeout_us,
        error: task.error.as_ref().map(Cow::Borrowed),
    };
    text.clear();
    serde_json::to_writer(text, &body)
}

/// A task of the columns [`COLUMNS`], and [`TEXTS`] when `whole`; else payload and result are
/// left out.
pub(super) fn task(row: &Row<'_>, whole: bool) -> Result<Task, Unreadable> {
    let body: Body<'static> = serde_json::from_str(text(row, 10)?)?;
    let at = |time: i64| moment(time);
    let state = match status(row.get(3)?)? {
        TaskStatus::Pending => TaskState::Pending(body.wait.ok_or("it waits nowhere")?),
        TaskStatus::InProgress => {
            TaskState::InProgress { agent: body.agent.ok_or("no agent has it")? }
        }
        status @ (TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Cancelled) => {
            let ended: Option<i64> = row.get(6)?;
            TaskState::Ended { status, at: at(ended.ok_or("its end has no time")?) }
        }
    };
    let key = match (row.get_ref(8)?.as_str_or_null()?, row.get::<_, Option<[u8; 32]>>(9)?) {
        (Some(name), Some(content)) => {
            Some(IdempotencyKey { name: name.into(), content: Fingerprint(content) })
        }
        (None, None) => None,
        _ => return Err("half of its key is missing".into()),
    };
    let (payload, result) = if whole {
        let payload = row.get_ref(11)?.as_str_or_null()?.ok_or("it has no payload")?;
        (json(payload)?, row.get_ref(12)?.as_str_or_null()?.map(json).transpose()?)
    } else {
        (json("null")?, None)
    };
    let spec = TaskSpec {
        kind: kind(row.get(2)?)?,
        payload,
        priority: Priority::new(row.get(4)?).ok_or("its priority is out of range")?,
        preferred: body.preferred,
        timeout_us: body.timeout_us,
        key,
        trace: TraceId::parse(text(row, 7)?).ok_or("its trace is none")?,
    };
    let created = at(row.get(5)?);
    Ok(Task {
        id: TaskId::from_uuid(Uuid::from_bytes(row.get(1)?)),
        seq: seq(row.get(0)?),
        spec,
        parent: body.parent,
        created,
        asked: body.asked.unwrap_or(created),
        state,
        attempt: body.attempt,
        attempts: body.attempts.into_owned(),
        failures: body.failures,
        failed_on: body.failed_on.into_owned(),
        interruptions: body.interruptions,
        first_started: body.first_started,
        gated_us: body.gated_us,
        follow_ups: body.follow_ups,
        result,
        error: body.error.map(Cow::into_owned),
    })
}

fn text<'row>(row: &'row Row<'_>, column: usize) -> Result<&'row str, Unreadable> {
    Ok(row.get_ref(column)?.as_str()?)
}

fn json(text: &str) -> serde_json::Result<Json> {
    RawValue::from_string(text.to_owned()).map(Json::new)
}

/// A stored time lies before the start of this daemon, where both clocks are one.
fn moment(time: i64) -> Now {
    let wall_us = time.cast_unsigned();
    Now { mono_us: wall_us, wall_us }
}

/// The number of a submission, of its column.
pub(super) const fn seq(number: i64) -> Seq {
    Seq::new(number.cast_unsigned())
}

/// What SQLite can store of a number; times and sequences stay far below its end.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// How a status is stored. The indexes know these numbers: live ones are below 2, and unsuccessful
/// ones from 3.
pub(super) const fn status_code(status: TaskStatus) -> i64 {
    match status {
        TaskStatus::Pending => 0,
        TaskStatus::InProgress => 1,
        TaskStatus::Completed => 2,
        TaskStatus::Failed => 3,
        TaskStatus::Cancelled => 4,
    }
}

/// The status that is stored so.
pub(super) fn status(code: i64) -> Result<TaskStatus, Unreadable> {
    let found = TaskStatus::ALL.into_iter().find(|&status| status_code(status) == code);
    found.ok_or_else(|| format!("there is no status {code}").into())
}

/// How a type is stored.
pub(super) const fn kind_code(kind: TaskType) -> i64 {
    match kind {
        TaskType::Discovery => 0,
        TaskType::Migration => 1,
        TaskType::Heartbeat => 2,
        TaskType::Ingest => 3,
        TaskType::Research => 4,
        TaskType::General => 5,
    }
}

/// A set of types: a bit for the code of each.
pub(super) fn kind_codes(kinds: TaskTypes) -> i64 {
    kinds.iter().fold(0, |bits, kind| bits | 1 << kind_code(kind))
}

/// The type that is stored so.
pub(super) fn kind(code: i64) -> Result<TaskType, Unreadable> {
    let found = TaskType::ALL.into_iter().find(|&kind| kind_code(kind) == code);
    found.ok_or_else(|| format!("there is no task type {code}").into())
}
