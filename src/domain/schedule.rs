//! Tasks that are submitted again and again.

use std::sync::Arc;

use super::json::Json;
use super::priority::Priority;
use super::task_type::TaskType;

/// A recurring job, as it was configured.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleSpec {
    /// Its name.
    pub name: Arc<str>,
    /// When it runs.
    pub when: When,
    /// The type of its tasks.
    pub task_type: TaskType,
    /// Their payload.
    pub payload: Json,
    /// Their priority.
    pub priority: Priority,
    /// What happens when it is due and its last task has not ended.
    pub overlap: Overlap,
    /// By how much a run is late at most, at random, in microseconds.
    pub jitter_us: u64,
}

/// When a job runs.
#[derive(Clone, Debug, PartialEq)]
pub enum When {
    /// Again and again after so many microseconds.
    Every(u64),
    /// At the times of this pattern, in UTC.
    Cron(Box<croner::Cron>),
}

/// What a job does that is due while its last task has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// Nothing.
    #[default]
    Skip,
    /// It runs all the same.
    Queue,
}

impl Overlap {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Skip, Self::Queue];

    /// The name on every wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Queue => "queue",
        }
    }
}
