//! Tasks that are submitted again and again.

use std::sync::Arc;

use chrono::DateTime;

use super::json::Json;
use super::priority::Priority;
use super::task_type::TaskType;
use super::time::SECOND_US;

/// Why a run is skipped whose job's last task has not ended.
pub const OVERLAP: &str = "overlap";

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

impl When {
    /// The first time after `done_us`, which is itself a time of the grid when there is a grid;
    /// `None`: there is none ever. In microseconds of the clock that it goes by: of the monotonic one
    /// for [`Every`](Self::Every), of the time of day for [`Cron`](Self::Cron).
    #[must_use]
    pub(super) fn after(&self, done_us: u64) -> Option<u64> {
        match self {
            Self::Every(every_us) => done_us.checked_add((*every_us).max(1)),
            Self::Cron(cron) => {
                let done_s = i64::try_from(done_us / SECOND_US).ok()?;
                let done = DateTime::from_timestamp(done_s, 0)?;
                let next = cron.find_next_occurrence(&done, false).ok()?;
                u64::try_from(next.timestamp_micros()).ok()
            }
        }
    }

    /// What is done when everything up to `at_us` is: for a grid its last time until then.
    #[must_use]
    pub(super) fn done_at(&self, done_us: u64, at_us: u64) -> u64 {
        match self {
            Self::Every(every_us) => {
                let beyond_us = at_us.saturating_sub(done_us) % (*every_us).max(1);
                at_us.max(done_us) - beyond_us
            }
            Self::Cron(_) => at_us,
        }
    }

    /// Tells it from another one.
    #[must_use]
    pub(super) fn text(&self) -> String {
        match self {
            Self::Every(every_us) => format!("every {every_us} us"),
            Self::Cron(cron) => format!("cron {}", cron.as_str()),
        }
    }
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
