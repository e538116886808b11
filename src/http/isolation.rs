//! How far the agents are kept apart.

use serde::Serialize as SerializeDerive;
use serde::ser::{Serialize, Serializer};
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::call::Call;
use crate::actors::isolation::{AgentIsolation, IsolationReport, Issue, Measured};
use crate::domain::{AgentId, ContextIds, Incarnation, MissingGuard};

/// `GET /isolation-report`.
pub(super) async fn report(call: Call) -> Answer {
    call.no_query()?;
    answer::ok(&Report::from(&call.pool().isolation_report().await?))
}

/// The isolation report.
#[derive(SerializeDerive, ToSchema)]
#[schema(as = IsolationReport)]
pub(super) struct Report<'a> {
    timestamp: f64,
    total_agents: usize,
    breaches_detected: usize,
    not_enforced: &'a [MissingGuard],
    details: Vec<Detail<'a>>,
}

#[derive(SerializeDerive, ToSchema)]
#[schema(as = AgentIsolation)]
struct Detail<'a> {
    agent_id: AgentId,
    incarnation: Incarnation,
    #[serde(flatten)]
    ids: ContextIds,
    isolated: bool,
    #[schema(value_type = Vec<String>)]
    issues: Sentences<'a>,
    measured: Option<&'a Measured>,
}

/// Issues as people read them.
pub(super) struct Sentences<'a>(pub(super) &'a [Issue]);

impl Serialize for Sentences<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|issue| &issue.sentence))
    }
}

impl<'a> From<&'a IsolationReport> for Report<'a> {
    fn from(report: &'a IsolationReport) -> Self {
        Self {
            timestamp: answer::seconds(report.wall_us),
            total_agents: report.agents.len(),
            breaches_detected: report.breaches(),
            not_enforced: &report.not_enforced,
            details: report.agents.iter().map(Detail::from).collect(),
        }
    }
}

impl<'a> From<&'a AgentIsolation> for Detail<'a> {
    fn from(agent: &'a AgentIsolation) -> Self {
        Self {
            agent_id: agent.agent_id,
            incarnation: agent.incarnation,
            ids: agent.ids,
            isolated: agent.issues.is_empty(),
            issues: Sentences(&agent.issues),
            measured: agent.measured.as_ref(),
        }
    }
}
