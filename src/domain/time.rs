//! Time as an argument.

/// The time of one event, read once by the shell. Running deadlines use `mono_us`, stored times
/// `wall_us`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since the daemon started; never goes back.
    pub mono_us: u64,
    /// Microseconds since the Unix epoch.
    pub wall_us: u64,
}

impl Now {
    /// Microseconds since `mono_us`, an earlier moment of the same clock.
    #[must_use]
    pub const fn since(self, mono_us: u64) -> u64 {
        self.mono_us.saturating_sub(mono_us)
    }
}

/// A second in microseconds.
pub const SECOND_US: u64 = 1_000_000;
