//! Recurring jobs.

use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{self, Answer, seconds};
use super::call::Call;
use super::openapi::words;
use super::tasks::Submitted;
use crate::domain::{Json, Priority, ScheduleView, Skip, TaskId, TaskType, When};

/// A recurring job: how it is configured, and what came of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Schedule)]
pub(super) struct ScheduleShown<'a> {
    name: &'a str,
    task_type: TaskType,
    #[schema(value_type = Object)]
    payload: &'a Json,
    priority: Priority,
    every_s: Option<f64>,
    cron: Option<&'a str>,
    jitter_s: f64,
    #[schema(schema_with = words::overlap)]
    overlap: &'static str,
    /// Whether nothing of it is due, by order.
    paused: bool,
    next_run_at: Option<f64>,
    last_run_at: Option<f64>,
    last_task_id: Option<TaskId>,
    /// How often it ran, in all.
    runs: u64,
    /// How often it was due and did not run, in all.
    skipped: u64,
    last_skip: Option<SkipShown<'a>>,
}

/// A run that was not made.
#[derive(Serialize, ToSchema)]
#[schema(as = SkippedRun)]
struct SkipShown<'a> {
    /// In Unix seconds.
    at: f64,
    /// `overlap`, or the code with which its submit would have been refused.
    reason: &'a str,
}

impl<'a> From<&'a Skip> for SkipShown<'a> {
    fn from(skip: &'a Skip) -> Self {
        Self { at: seconds(skip.at_us), reason: &skip.reason }
    }
}

impl<'a> From<&'a ScheduleView> for ScheduleShown<'a> {
    fn from(view: &'a ScheduleView) -> Self {
        let spec = &view.spec;
        let (every_s, cron) = match &spec.when {
            When::Every(every_us) => (Some(seconds(*every_us)), None),
            When::Cron(cron) => (None, Some(cron.as_str())),
        };
        Self {
            name: &spec.name,
            task_type: spec.task_type,
            payload: &spec.payload,
            priority: spec.priority,
            every_s,
            cron,
            jitter_s: seconds(spec.jitter_us),
            overlap: spec.overlap.name(),
            paused: view.paused,
            next_run_at: view.next_run_us.map(seconds),
            last_run_at: view.last_run_us.map(seconds),
            last_task_id: view.last_task,
            runs: view.runs,
            skipped: view.skipped,
            last_skip: view.last_skip.as_ref().map(SkipShown::from),
        }
    }
}

/// `GET /schedules`.
pub(super) async fn list(call: Call) -> Answer {
    call.no_query()?;
    let views = call.pool().schedules().await?;
    answer::ok(&views.iter().map(ScheduleShown::from).collect::<Vec<_>>())
}

/// `POST /schedules/{name}/run`.
pub(super) async fn run(mut call: Call) -> Answer {
    call.no_body().await?;
    call.no_query()?;
    let accepted = call.pool().run_schedule(call.name(), call.trace()).await?;
    answer::ok(&Submitted::from(accepted))
}

/// `POST /schedules/{name}/pause`.
pub(super) async fn pause(mut call: Call) -> Answer {
    call.no_body().await?;
    call.no_query()?;
    let view = call.pool().pause_schedule(call.name()).await?;
    answer::ok(&ScheduleShown::from(&view))
}

/// `POST /schedules/{name}/resume`.
pub(super) async fn resume(mut call: Call) -> Answer {
    call.no_body().await?;
    call.no_query()?;
    let view = call.pool().resume_schedule(call.name()).await?;
    answer::ok(&ScheduleShown::from(&view))
}
