//! The verbs of recurring jobs.

use uuid::Uuid;

use super::{CallError, PoolHandle};
use crate::actors::messages::*;
use crate::domain::{Accepted, ScheduleView, TaskId, TraceId};

impl PoolHandle {
    /// Every recurring job, in the order of the configuration.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn schedules(&self) -> Result<Vec<ScheduleView>, CallError> {
        self.ask(&self.router, ListSchedules).await
    }

    /// Runs a recurring job now: submits its task under a new id.
    ///
    /// # Errors
    /// See [`CallError`]; `ScheduleNotFound`, and the refusals of a submit.
    pub async fn run_schedule(&self, name: &str, trace: TraceId) -> Result<Accepted, CallError> {
        let (name, id) = (name.to_owned(), TaskId::from_uuid(Uuid::now_v7()));
        Ok(self.ask(&self.router, RunSchedule { name, id, trace }).await??)
    }

    /// Lets nothing of a recurring job be due.
    ///
    /// # Errors
    /// See [`CallError`]; `ScheduleNotFound`.
    pub async fn pause_schedule(&self, name: &str) -> Result<ScheduleView, CallError> {
        Ok(self.ask(&self.router, PauseSchedule(name.to_owned())).await??)
    }

    /// Lets a paused recurring job go on.
    ///
    /// # Errors
    /// See [`CallError`]; `ScheduleNotFound`.
    pub async fn resume_schedule(&self, name: &str) -> Result<ScheduleView, CallError> {
        Ok(self.ask(&self.router, ResumeSchedule(name.to_owned())).await??)
    }
}
