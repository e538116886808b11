//! The pool as a whole.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::answer::{self, Answer};
use super::call::{Call, seconds};
use super::fields::{boolean, integer, number};
use crate::domain::AgentId;

/// The longest drain that a client may ask for, in seconds.
pub(super) const MAX_DRAIN_S: f64 = 86_400.0;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct InitializeBody<'a> {
    #[serde(borrow)]
    size: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Initialized {
    status: &'static str,
    pool_size: usize,
    /// How many agents this call made.
    spawned_agents: usize,
    agent_ids: Vec<AgentId>,
}

/// `POST /pool/initialize`.
pub(super) async fn initialize(mut call: Call) -> Answer {
    let body = call.body().await?;
    call.no_query()?;
    let body: InitializeBody<'_> = body.optional()?;
    let largest = i64::try_from(call.settings().max_pool_size).unwrap_or(i64::MAX);
    let size = body.size.map(|size| integer("size", size.get(), 1..=largest)).transpose()?;
    let size = size.and_then(|size| usize::try_from(size).ok());
    let initialized = call.pool().initialize(size).await?;
    answer::ok(&Initialized {
        status: "initialized",
        pool_size: initialized.agent_ids.len(),
        spawned_agents: initialized.spawned.len(),
        agent_ids: initialized.agent_ids,
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseQuery {
    drain_s: Option<String>,
    discard: Option<String>,
}

#[derive(Serialize)]
struct Closed {
    status: &'static str,
    agents_stopped: usize,
    tasks_requeued: usize,
    tasks_pending: usize,
}

/// `DELETE /pool`.
pub(super) async fn close(mut call: Call) -> Answer {
    call.no_body().await?;
    let query: CloseQuery = call.query()?;
    let drain = query.drain_s.as_deref();
    let drain = drain.map(|drain| number("drain_s", drain, 0.0..=MAX_DRAIN_S)).transpose()?;
    let discard = query.discard.as_deref();
    let discard = discard.map(|discard| boolean("discard", discard)).transpose()?;
    let closed = call.pool().close(drain.map(seconds), discard.unwrap_or(false)).await?;
    answer::ok(&Closed {
        status: "shutdown_completed",
        agents_stopped: closed.agents_stopped,
        tasks_requeued: closed.tasks_requeued,
        tasks_pending: closed.tasks_pending,
    })
}
