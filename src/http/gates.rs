//! Gates: the dependencies of the pool, and what waits for them.

use serde::Serialize;
use utoipa::ToSchema;

use super::agent_show::Types;
use super::answer::{self, Answer, unix_seconds};
use super::call::Call;
use crate::actors::handle::GateReport;
use crate::domain::{GateMode, GateState, TaskType};

/// A dependency that some task types need.
#[derive(Serialize, ToSchema)]
#[schema(as = Gate)]
pub(super) struct GateShown<'a> {
    name: &'a str,
    #[schema(value_type = Vec<TaskType>)]
    task_types: Types,
    state: GateState,
    mode: GateMode,
    since_at: f64,
    last_error: Option<&'a str>,
    held_until_at: Option<f64>,
    tasks_waiting: usize,
    backlog: usize,
    max_depth: usize,
    closures: u64,
    health_url: Option<&'a str>,
    interval_s: Option<f64>,
}

impl<'a> From<&'a GateReport> for GateShown<'a> {
    fn from(report: &'a GateReport) -> Self {
        let GateReport { view, probe, max_depth } = report;
        Self {
            name: &view.name,
            task_types: Types(view.types),
            state: view.state,
            mode: view.mode,
            since_at: unix_seconds(view.since),
            last_error: view.last_error.as_deref(),
            held_until_at: view.held_until.map(unix_seconds),
            tasks_waiting: view.waiting,
            backlog: view.counted,
            max_depth: *max_depth,
            closures: view.closures,
            health_url: probe.as_ref().map(|probe| &*probe.url),
            interval_s: probe.as_ref().map(|probe| probe.interval.as_secs_f64()),
        }
    }
}

/// `GET /gates`.
pub(super) async fn list(call: Call) -> Answer {
    call.no_query()?;
    let reports = call.pool().gates().await?;
    answer::ok(&reports.iter().map(GateShown::from).collect::<Vec<_>>())
}

/// `POST /gates/{name}/close`.
pub(super) async fn close(call: Call) -> Answer {
    order(call, GateMode::Closed).await
}

/// `POST /gates/{name}/open`.
pub(super) async fn open(call: Call) -> Answer {
    order(call, GateMode::Open).await
}

/// `POST /gates/{name}/auto`.
pub(super) async fn auto(call: Call) -> Answer {
    order(call, GateMode::Auto).await
}

async fn order(mut call: Call, mode: GateMode) -> Answer {
    call.no_body().await?;
    call.no_query()?;
    let report = call.pool().order_gate(call.name(), mode).await?;
    answer::ok(&GateShown::from(&report))
}
