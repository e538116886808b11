//! What the pool measures of itself.

use actix_web::HttpRequest;
use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::call::Call;
use super::meter::Meter;
use super::prometheus;
use crate::actors::measure::{AgentIsolation, IsolationReport, Measured};
use crate::domain::{AgentId, ContextIds};

/// `GET /metrics`.
pub(super) async fn metrics(call: Call, request: HttpRequest, meter: Data<Meter>) -> Answer {
    call.no_query()?;
    prometheus::answer(&request, call.pool().metrics().await?, &meter)
}

/// `GET /isolation-report`.
pub(super) async fn isolation(call: Call) -> Answer {
    call.no_query()?;
    answer::ok(&Report::from(&call.pool().isolation_report().await?))
}

/// The isolation report.
#[derive(Serialize, ToSchema)]
#[schema(as = IsolationReport)]
pub(super) struct Report<'a> {
    timestamp: f64,
    total_agents: usize,
    /// How many agents share something that they must not.
    breaches_detected: usize,
    details: Vec<Detail<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AgentIsolation)]
struct Detail<'a> {
    agent_id: AgentId,
    #[serde(flatten)]
    ids: ContextIds,
    isolated: bool,
    issues: &'a [String],
    measured: Option<&'a Measured>,
}

impl<'a> From<&'a IsolationReport> for Report<'a> {
    fn from(report: &'a IsolationReport) -> Self {
        Self {
            timestamp: answer::seconds(report.wall_us),
            total_agents: report.agents.len(),
            breaches_detected: report.agents.iter().filter(|agent| !is_isolated(agent)).count(),
            details: report.agents.iter().map(Detail::from).collect(),
        }
    }
}

impl<'a> From<&'a AgentIsolation> for Detail<'a> {
    fn from(agent: &'a AgentIsolation) -> Self {
        Self {
            agent_id: agent.agent_id,
            ids: agent.ids,
            isolated: is_isolated(agent),
            issues: &agent.issues,
            measured: agent.measured.as_ref(),
        }
    }
}

fn is_isolated(agent: &AgentIsolation) -> bool {
    agent.issues.is_empty()
}
