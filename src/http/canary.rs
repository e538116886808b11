//! Whether a secret of one agent reaches another one, tried out.

use std::collections::BTreeSet;

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::answer::{self, Answer};
use super::call::Call;
use crate::actors::canary::{CanaryAgent, CanaryOutcome, CanaryReport, Leak};

/// What came of the canary.
#[derive(Serialize, ToSchema)]
#[schema(as = CanaryReport)]
pub(super) struct Report<'a> {
    timestamp: f64,
    run: Uuid,
    agents: &'a [CanaryAgent],
    leaks: &'a BTreeSet<Leak>,
    /// Whether any secret reached another agent.
    leaked: bool,
    /// How many agents were checked.
    checked: usize,
}

/// `POST /isolation-report/canary`.
pub(super) async fn check(mut call: Call) -> Answer {
    call.no_body().await?;
    call.no_query()?;
    let CanaryReport { wall_us, run, agents, leaks } = &call.pool().check_isolation().await?;
    answer::ok(&Report {
        timestamp: answer::seconds(*wall_us),
        run: *run,
        agents,
        leaks,
        leaked: !leaks.is_empty(),
        checked: agents.iter().filter(|agent| agent.outcome == CanaryOutcome::Checked).count(),
    })
}
