//! How fast the pool works its tasks off, for `Retry-After` (rule 4).

use std::collections::VecDeque;

use super::time::{Now, SECOND_US};

const REMEMBERED: usize = 32;
const UNKNOWN_S: u32 = 5;

/// The moments at which the last tasks were placed.
#[derive(Debug, Default)]
pub(super) struct ServiceRate {
    recent: VecDeque<u64>,
}

impl ServiceRate {
    /// A task was placed.
    pub(super) fn placed(&mut self, now: Now) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(now.mono_us);
    }

    /// When one more place is likely to be free: the mean time between placements, the time since
    /// the last one included, so that a pool that stands still is not taken for a fast one. 1 to
    /// 60 s; 5 when unknown.
    #[must_use]
    pub(super) fn retry_after_s(&self, now: Now) -> u32 {
        let (Some(&first), true) = (self.recent.front(), self.recent.len() > 1) else {
            return UNKNOWN_S;
        };
        let interval_us = now.since(first) / self.recent.len() as u64;
        u32::try_from(interval_us.div_ceil(SECOND_US)).unwrap_or(60).clamp(1, 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { mono_us: ms * 1_000, wall_us: 0 }
    }

    #[test]
    fn the_wait_follows_the_measured_rate() {
        let mut rate = ServiceRate::default();
        assert_eq!(rate.retry_after_s(at(0)), 5, "unknown");
        rate.placed(at(0));
        assert_eq!(rate.retry_after_s(at(0)), 5, "one placement is no rate");
        (1..100).for_each(|n| rate.placed(at(n * 10)));
        assert_eq!(rate.retry_after_s(at(1_000)), 1, "a fast pool");
        assert_eq!(rate.retry_after_s(at(1_000_000)), 32, "a pool that stands still");
        assert_eq!(rate.retry_after_s(at(100_000_000)), 60, "never more than a minute");
    }
}
