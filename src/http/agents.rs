//! Agents: how many there are, how they are, and what clients do to them.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::agent_show::AgentShown;
use super::answer::{self, Answer};
use super::call::{Call, seconds};
use super::fields::{micros, not_allowed, number, string, task_types};
use super::openapi::words;
use super::pool::MAX_DRAIN_S;
use super::problem::Problem;
use super::server::HttpSettings;
use crate::actors::handle::PoolHandle;
use crate::actors::messages::SpawnAgent;
use crate::domain::{AgentId, AgentKind, AgentStatus, AgentView, Incarnation, TaskId, TaskTypes};

/// The shortest and the longest lease, in seconds.
pub(super) const LEASE_S: std::ops::RangeInclusive<f64> = 1.0..=3_600.0;
/// The longest reason that is taken, in characters.
pub(super) const MAX_REASON: usize = 1_000;

/// `GET /agents`.
pub(super) async fn list(call: Call) -> Answer {
    call.no_query()?;
    let reports = call.pool().agent_reports().await?;
    answer::ok(&reports.iter().map(AgentShown::from).collect::<Vec<_>>())
}

/// `GET /agents/{id}`.
pub(super) async fn get(call: Call) -> Answer {
    call.no_query()?;
    let report = call.pool().agent_report(call.agent_id()?).await?;
    answer::ok(&AgentShown::from(&report))
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = NewAgent)]
#[serde(deny_unknown_fields)]
pub(super) struct SpawnBody<'a> {
    #[serde(borrow)]
    #[schema(schema_with = words::new_agent_kind)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    #[schema(schema_with = words::lease_s)]
    lease_s: Option<&'a RawValue>,
    #[serde(borrow)]
    #[schema(schema_with = words::task_types)]
    task_types: Option<&'a RawValue>,
}

impl SpawnBody<'_> {
    /// Adds the agent.
    pub(super) async fn spawn(
        &self,
        pool: &PoolHandle,
        settings: &HttpSettings,
    ) -> Result<Started, Problem> {
        Ok(pool.spawn(self.parse(settings.default_kind)?).await?.into())
    }

    fn parse(&self, default_kind: AgentKind) -> Result<SpawnAgent, Problem> {
        let lease = self.lease_s.map(|lease| number("lease_s", lease.get(), LEASE_S));
        let lease_us = lease.transpose()?.map(micros);
        let types = self.task_types.map(|types| task_types("task_types", types)).transpose()?;
        let kind = match self.kind.map(|kind| string("kind", kind)).transpose()?.as_deref() {
            None if lease_us.is_none() => None,
            None => Some(default_kind),
            Some("process") => Some(AgentKind::Process),
            Some("external") => Some(AgentKind::External { lease_us: None }),
            Some(other) => return Err(not_allowed("kind", "process or external", other)),
        };
        let kind = match (kind, lease_us) {
            (Some(AgentKind::External { .. }), _) => Some(AgentKind::External { lease_us }),
            (Some(AgentKind::Process), Some(_)) => {
                let detail = "`lease_s` is only for agents of the kind `external`";
                return Err(Problem::invalid(detail));
            }
            (kind, _) => kind,
        };
        Ok(SpawnAgent { kind, types: types.unwrap_or(TaskTypes::ALL) })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = StartedAgent)]
pub(super) struct Started {
    agent_id: AgentId,
    context_window_id: Uuid,
    status: AgentStatus,
    incarnation: Incarnation,
}

impl From<AgentView> for Started {
    fn from(view: AgentView) -> Self {
        Self {
            agent_id: view.id,
            context_window_id: view.ids.context_window_id,
            status: view.status,
            incarnation: view.incarnation,
        }
    }
}

/// `POST /agents`.
pub(super) async fn spawn(mut call: Call) -> Answer {
    let body = call.body().await?;
    call.no_query()?;
    let body: SpawnBody<'_> = body.optional()?;
    answer::ok(&body.spawn(call.pool(), call.settings()).await?)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoveQuery {
    drain_s: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RemovedAgent)]
pub(super) struct Removed {
    agent_id: AgentId,
    #[schema(schema_with = words::removed)]
    status: &'static str,
    /// The task that the agent ran when the call came.
    task_id: Option<TaskId>,
}

/// `DELETE /agents/{id}`.
pub(super) async fn remove(mut call: Call) -> Answer {
    call.no_body().await?;
    let agent_id = call.agent_id()?;
    let drain = call.query::<RemoveQuery>()?.drain_s;
    let drain = drain.map(|drain| number("drain_s", &drain, 0.0..=MAX_DRAIN_S)).transpose()?;
    let task_id = call.pool().remove(agent_id, drain.map(seconds)).await?;
    answer::ok(&Removed { agent_id, status: "removed", task_id })
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = AgentFailure)]
#[serde(deny_unknown_fields)]
pub(super) struct FailBody<'a> {
    #[serde(borrow)]
    #[schema(schema_with = words::reason)]
    pub(super) reason: Option<&'a RawValue>,
}

impl FailBody<'_> {
    /// Fails the agent.
    pub(super) async fn fail(
        &self,
        pool: &PoolHandle,
        agent_id: AgentId,
    ) -> Result<Failed, Problem> {
        let done = pool.fail(agent_id, self.parse()?).await?;
        Ok(Failed {
            agent_id,
            status: "degraded",
            task_reassigned: done.reassigned,
            reassigned_task_id: done.task_id,
            task_failed_permanently: done.failed_permanently,
        })
    }

    fn parse(&self) -> Result<String, Problem> {
        let Some(raw) = self.reason else { return Ok("a client failed it".to_owned()) };
        let reason = string("reason", raw)?;
        if reason.chars().nth(MAX_REASON).is_some() {
            let allowed = format!("a string of at most {MAX_REASON} characters");
            return Err(not_allowed("reason", allowed, raw.get()));
        }
        Ok(reason.into_owned())
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = FailedAgent)]
pub(super) struct Failed {
    agent_id: AgentId,
    #[schema(schema_with = words::degraded)]
    status: &'static str,
    /// Whether the task has another agent already.
    task_reassigned: bool,
    /// The task that was taken away.
    reassigned_task_id: Option<TaskId>,
    /// Whether that was the last try of the task.
    task_failed_permanently: bool,
}

/// `POST /agents/{id}/fail`.
pub(super) async fn fail(mut call: Call) -> Answer {
    let body = call.body().await?;
    call.no_query()?;
    let agent_id = call.agent_id()?;
    let body: FailBody<'_> = body.optional()?;
    answer::ok(&body.fail(call.pool(), agent_id).await?)
}

/// `POST /agents/{id}/recover`.
pub(super) async fn recover(mut call: Call) -> Answer {
    call.no_body().await?;
    call.no_query()?;
    let agent_id = call.agent_id()?;
    answer::ok(&Started::from(call.pool().recover(agent_id).await?))
}
