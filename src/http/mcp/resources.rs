//! What can be read without a tool: tasks, the numbers and the isolation report.

use std::time::Duration;

use rmcp::model::{Resource, ResourceContents, ResourceTemplate};

use super::call::{self, Said};
use crate::actors::handle::{CallError, PoolHandle};
use crate::domain::{Refusal, TaskId};
use crate::http::problem::Problem;
use crate::http::task_show::TaskShown;

const METRICS: &str = "daedalus://metrics";
const ISOLATION: &str = "daedalus://isolation-report";
const TASKS: &str = "daedalus://tasks/";
const JSON: &str = "application/json";

/// Those with an address of their own.
pub(super) fn list() -> Vec<Resource> {
    let resource = |uri: &str, name: &str, title: &str, description: &str| {
        Resource::new(uri, name)
            .with_title(title)
            .with_description(description)
            .with_mime_type(JSON)
    };
    vec![
        resource(
            METRICS,
            "metrics",
            "Numbers of the pool",
            "Agents by status, tasks by status, waits and durations: what coordination_metrics \
             answers.",
        ),
        resource(
            ISOLATION,
            "isolation-report",
            "Isolation of the agents",
            "What the agents share and must not, measured now: what isolation_report answers.",
        ),
    ]
}

/// Those with an id in their address.
pub(super) fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new(format!("{TASKS}{{id}}"), "task")
            .with_title("A task")
            .with_description("One task by its task_id: what get_coordination_task answers.")
            .with_mime_type(JSON),
    ]
}

/// Reads one; `None` when there is nothing at this address.
pub(super) async fn read(
    uri: &str,
    pool: &PoolHandle,
) -> Result<Option<ResourceContents>, Problem> {
    let said = match uri {
        METRICS => call::metrics(pool).await?,
        ISOLATION => call::isolation_report(pool).await?,
        _ => {
            let Some(id) = uri.strip_prefix(TASKS) else { return Ok(None) };
            let Some(id) = TaskId::parse(id) else { return Ok(None) };
            match pool.task(id, Duration::ZERO).await {
                Ok(task) => Said::new(&TaskShown::from(&task))?,
                Err(CallError::Refused(Refusal::TaskNotFound)) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    };
    Ok(Some(ResourceContents::text(said.text, uri).with_mime_type(JSON)))
}
