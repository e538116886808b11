//! When old tasks are forgotten: a little at a time, beside the commits.

use std::sync::Arc;

use super::gauges::Gauges;
use super::{Store, StoreError};

/// How often there is a step while there is little to forget.
const STEP_EVERY_US: u64 = 200_000;
/// How soon it goes on when there is more: not with every commit.
const GO_ON_US: u64 = 20_000;

/// How long ended tasks are kept.
#[derive(Debug)]
pub struct Retention {
    keep_us: u64,
    wall_us: fn() -> u64,
    gauges: Arc<Gauges>,
    more: bool,
    step_at_us: u64,
}

impl Retention {
    /// Tasks are kept for so many microseconds after their end, by this time of day; `gauges` is
    /// told how many went.
    #[must_use]
    pub const fn new(keep_us: u64, wall_us: fn() -> u64, gauges: Arc<Gauges>) -> Self {
        Self { keep_us, wall_us, gauges, more: false, step_at_us: 0 }
    }

    /// Whether the last step left something to forget.
    pub(super) const fn has_more(&self) -> bool {
        self.more
    }

    /// How long until the next step.
    pub(super) const fn pause_us(&self) -> u64 {
        if self.more { GO_ON_US } else { STEP_EVERY_US }
    }

    /// Goes a step when it is time for one.
    pub(super) fn step(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        let now_us = (self.wall_us)();
        if now_us.abs_diff(self.step_at_us) < self.pause_us() {
            return Ok(());
        }
        self.step_at_us = now_us;
        let expired = store.expire(now_us.saturating_sub(self.keep_us), now_us)?;
        self.more = expired.more;
        self.gauges.expired(expired.tasks);
        Ok(())
    }
}
