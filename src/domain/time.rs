//! Time as an argument.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The time of one event, read once by the shell. Running deadlines use `mono_us`, stored times
/// `wall_us`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Never goes back. In microseconds; when the daemon starts it is the time of day, so that
    /// what an earlier daemon stored as such can be compared with it.
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

    /// The time of day at `mono_us` of the same clock, as it looks from here.
    #[must_use]
    pub const fn wall_of(self, mono_us: u64) -> u64 {
        (self.wall_us + mono_us).saturating_sub(self.mono_us)
    }
}

/// Of a moment its time of day is stored.
impl Serialize for Now {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.wall_us)
    }
}

/// A stored moment lies before the start of this daemon, where both clocks are one.
impl<'de> Deserialize<'de> for Now {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wall_us = u64::deserialize(deserializer)?;
        Ok(Self { mono_us: wall_us, wall_us })
    }
}

/// A second in microseconds.
pub const SECOND_US: u64 = 1_000_000;
