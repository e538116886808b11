//! How often durations fell between fixed bounds.

/// The upper bounds of the buckets, each included, in microseconds: 1 ms to 1 h. Behind the last is
/// one bucket more, without an upper bound.
pub const BOUNDS_US: [u64; 17] = [
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
    3_600_000_000,
];

/// A count per bucket, and the sum of all durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BOUNDS_US.len() + 1],
    sum_us: u64,
}

impl Histogram {
    /// Counts a duration.
    pub(super) fn add(&mut self, us: u64) {
        self.counts[BOUNDS_US.partition_point(|&bound| bound < us)] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// How many durations fell into each bucket, and into none before.
    #[must_use]
    pub const fn counts(&self) -> &[u64; BOUNDS_US.len() + 1] {
        &self.counts
    }

    /// How many durations there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all durations, in microseconds.
    #[must_use]
    pub const fn sum_us(&self) -> u64 {
        self.sum_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut histogram = Histogram::default();
        for us in [0, 1_000, 1_001, 3_600_000_000, 3_600_000_001, u64::MAX] {
            histogram.add(us);
        }
        let counts = histogram.counts();
        assert_eq!((counts[0], counts[1], counts[16], counts[17]), (2, 1, 1, 2));
        assert_eq!((histogram.count(), histogram.sum_us()), (6, u64::MAX));
    }

    #[test]
    fn the_bounds_grow() {
        assert!(BOUNDS_US.is_sorted_by(|before, after| before < after));
    }
}
