//! The pool as a whole.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::call::{Call, seconds};
use super::fields::{boolean, integer, number};
use super::openapi::words;
use super::problem::Problem;
use super::server::HttpSettings;
use crate::actors::handle::PoolHandle;
use crate::domain::AgentId;

/// The longest drain that a client may ask for, in seconds.
pub(super) const MAX_DRAIN_S: f64 = 86_400.0;

#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = WantedPool)]
#[serde(deny_unknown_fields)]
pub(super) struct InitializeBody<'a> {
    #[serde(borrow)]
    #[schema(schema_with = words::pool_size)]
    size: Option<&'a RawValue>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = InitializedPool)]
pub(super) struct Initialized {
    #[schema(schema_with = words::initialized)]
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
    answer::ok(&body.initialize(call.pool(), call.settings()).await?)
}

impl InitializeBody<'_> {
    /// Makes the pool as large as was said, or as configured.
    pub(super) async fn initialize(
        &self,
        pool: &PoolHandle,
        settings: &HttpSettings,
    ) -> Result<Initialized, Problem> {
        let largest = i64::try_from(settings.max_pool_size).unwrap_or(i64::MAX);
        let size = self.size.map(|size| integer("size", size.get(), 1..=largest)).transpose()?;
        let size = size.and_then(|size| usize::try_from(size).ok());
        let initialized = pool.initialize(size).await?;
        Ok(Initialized {
            status: "initialized",
            pool_size: initialized.agent_ids.len(),
            spawned_agents: initialized.spawned.len(),
            agent_ids: initialized.agent_ids,
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseQuery {
    drain_s: Option<String>,
    discard: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ClosedPool)]
pub(super) struct Closed {
    #[schema(schema_with = words::shutdown_completed)]
    status: &'static str,
    agents_stopped: usize,
    tasks_requeued: usize,
    tasks_pending: usize,
}

/// `DELETE /pool`.
pub(super) async fn close(mut call: Call) -> Answer {
    call.no_body().await?;
    let query: CloseQuery = call.query()?;
    let (drain, discard) = (query.drain_s.as_deref(), query.discard.as_deref());
    answer::ok(&close_pool(call.pool(), drain, discard).await?)
}

/// Ends every agent; `drain_s` and `discard` as the client says them.
pub(super) async fn close_pool(
    pool: &PoolHandle,
    drain: Option<&str>,
    discard: Option<&str>,
) -> Result<Closed, Problem> {
    let drain = drain.map(|drain| number("drain_s", drain, 0.0..=MAX_DRAIN_S)).transpose()?;
    let discard = discard.map(|discard| boolean("discard", discard)).transpose()?;
    let closed = pool.close(drain.map(seconds), discard.unwrap_or(false)).await?;
    Ok(Closed {
        status: "shutdown_completed",
        agents_stopped: closed.agents_stopped,
        tasks_requeued: closed.tasks_requeued,
        tasks_pending: closed.tasks_pending,
    })
}
