//! The only place that reads the clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::domain::Now;

/// Tells the time of day, and a time that never goes back and begins as the time of day.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    start_us: u64,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock that others ask")]
    pub fn start() -> Self {
        Self { start: Instant::now(), start_us: wall_us() }
    }

    /// The time of one event.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { mono_us: self.mono_us(), wall_us: wall_us() }
    }

    /// Microseconds on a clock that never goes back.
    #[must_use]
    pub fn mono_us(&self) -> u64 {
        let elapsed_us = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.start_us.saturating_add(elapsed_us)
    }
}

/// Microseconds since the Unix epoch.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock that others ask")]
pub fn wall_us() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}
