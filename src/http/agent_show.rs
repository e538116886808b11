//! Agents as the API shows them.

use serde::Serialize as SerializeDerive;
use serde::ser::{Serialize, SerializeMap, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

use super::answer;
use super::isolation::Sentences;
use super::openapi::words;
use crate::actors::measure::AgentReport;
use crate::domain::{
    AgentId, AgentStats, AgentStatus, Incarnation, StatusReason, TaskId, TaskType, TaskTypes,
};

/// An agent with what was measured of it.
#[derive(SerializeDerive, ToSchema)]
#[schema(as = AgentReport)]
pub(super) struct AgentShown<'a> {
    agent: Agent<'a>,
    health: Health<'a>,
    performance: Performance<'a>,
    isolation: Isolation<'a>,
}

#[derive(SerializeDerive, ToSchema)]
struct Agent<'a> {
    agent_id: AgentId,
    context_window_id: Uuid,
    status: AgentStatus,
    status_reason: Option<StatusReason>,
    status_detail: Option<&'a str>,
    current_task_id: Option<TaskId>,
    #[schema(schema_with = words::agent_kind)]
    kind: &'static str,
    incarnation: Incarnation,
    pid: Option<u32>,
    #[schema(value_type = Vec<TaskType>)]
    task_types: Types,
    lease_s: Option<f64>,
}

/// The load of its processes; nothing is known of an external agent.
#[derive(SerializeDerive, ToSchema)]
#[schema(as = AgentHealth)]
struct Health<'a> {
    memory_usage: Option<f64>,
    cpu_usage: Option<f64>,
    rss_bytes: Option<u64>,
    phase: Option<&'a str>,
    phase_s: Option<f64>,
}

#[derive(SerializeDerive, ToSchema)]
#[schema(as = AgentPerformance)]
struct Performance<'a> {
    tasks_completed: u64,
    tasks_failed: u64,
    /// In seconds.
    average_task_time: Option<f64>,
    context_switches: u64,
    /// Of each type that the agent completed.
    #[schema(value_type = std::collections::BTreeMap<TaskType, OfType>)]
    by_type: ByType<'a>,
}

#[derive(SerializeDerive, ToSchema)]
#[schema(as = PerformanceOfType)]
struct OfType {
    tasks_completed: u64,
    /// In seconds.
    average_task_time: Option<f64>,
}

#[derive(SerializeDerive, ToSchema)]
#[schema(as = AgentSharing)]
struct Isolation<'a> {
    shared_state_detected: bool,
    #[schema(value_type = Vec<String>)]
    notes: Sentences<'a>,
}

/// The names of a set of types.
pub(super) struct Types(pub(super) TaskTypes);

impl Serialize for Types {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter())
    }
}

/// The types that the agent has completed.
struct ByType<'a>(&'a AgentStats);

impl Serialize for ByType<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for kind in TaskType::ALL {
            let (tasks_completed, busy_us) = self.0.by_type[kind.index()];
            if tasks_completed > 0 {
                let average_task_time = mean_s(busy_us, tasks_completed);
                let of_type = OfType { tasks_completed, average_task_time };
                map.serialize_entry(kind.name(), &of_type)?;
            }
        }
        map.end()
    }
}

impl<'a> From<&'a AgentReport> for AgentShown<'a> {
    fn from(report: &'a AgentReport) -> Self {
        let AgentReport { view, process, phase, issues } = report;
        let stats = &view.stats;
        let reason = view.reason.as_ref();
        let detail = reason.map(|(_, detail)| detail.as_str());
        Self {
            agent: Agent {
                agent_id: view.id,
                context_window_id: view.ids.context_window_id,
                status: view.status,
                status_reason: reason.map(|&(reason, _)| reason),
                status_detail: detail.filter(|detail| !detail.is_empty()),
                current_task_id: view.run.map(|(task, _)| task),
                kind: view.kind.name(),
                incarnation: view.incarnation,
                pid: view.process.as_ref().map(|process| process.pid),
                task_types: Types(view.types),
                lease_s: view.kind.lease_us().map(answer::seconds),
            },
            health: Health {
                memory_usage: process.map(|process| process.memory_usage),
                cpu_usage: process.map(|process| process.cpu_usage),
                rss_bytes: process.map(|process| process.rss_bytes),
                phase: phase.as_ref().map(|phase| phase.name.as_str()),
                phase_s: phase.as_ref().map(|phase| answer::seconds(phase.lasts_us)),
            },
            performance: Performance {
                tasks_completed: stats.completed,
                tasks_failed: stats.failed,
                average_task_time: mean_s(stats.busy_us, stats.completed),
                context_switches: stats.contexts,
                by_type: ByType(stats),
            },
            isolation: Isolation {
                shared_state_detected: !issues.is_empty(),
                notes: Sentences(issues),
            },
        }
    }
}

fn mean_s(sum_us: u64, count: u64) -> Option<f64> {
    (count > 0).then(|| answer::seconds(sum_us) / count as f64)
}
