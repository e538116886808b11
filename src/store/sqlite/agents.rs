//! An agent as a row, and back.

use std::borrow::Cow;

use rusqlite::Row;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::rows::Unreadable;
use crate::domain::{
    AgentId, AgentKind, AgentRecord, Attempt, ContextIds, Incarnation, Launcher, Leaving,
    StatusReason, TaskId, TaskTypes,
};

/// Everything but the id.
#[derive(Debug, Serialize, Deserialize)]
struct Body<'a> {
    kind: AgentKind,
    types: TaskTypes,
    incarnation: Incarnation,
    ids: ContextIds,
    degraded: Option<(StatusReason, Cow<'a, str>)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaving: Option<Leaving>,
    launcher: Option<Process>,
    cancelled_run: Option<(TaskId, Attempt)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Process {
    pid: u32,
    start_ticks: u64,
}

/// What is stored of an agent besides its id.
pub(super) fn body(agent: &AgentRecord) -> serde_json::Result<String> {
    let degraded = agent.degraded.as_ref();
    serde_json::to_string(&Body {
        kind: agent.kind,
        types: agent.types,
        incarnation: agent.incarnation,
        ids: agent.ids,
        degraded: degraded.map(|(reason, detail)| (*reason, Cow::Borrowed(detail.as_str()))),
        leaving: agent.leaving,
        launcher: agent.launcher.map(|Launcher { pid, start_ticks }| Process { pid, start_ticks }),
        cancelled_run: agent.cancelled_run,
    })
}

/// An agent of the columns `id` and `body`.
pub(super) fn record(row: &Row<'_>) -> Result<AgentRecord, Unreadable> {
    let body: Body<'static> = serde_json::from_str(row.get_ref(1)?.as_str()?)?;
    Ok(AgentRecord {
        id: AgentId::from_uuid(Uuid::from_bytes(row.get(0)?)),
        kind: body.kind,
        types: body.types,
        incarnation: body.incarnation,
        ids: body.ids,
        degraded: body.degraded.map(|(reason, detail)| (reason, detail.into_owned())),
        leaving: body.leaving,
        launcher: body.launcher.map(|Process { pid, start_ticks }| Launcher { pid, start_ticks }),
        cancelled_run: body.cancelled_run,
    })
}
