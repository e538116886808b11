//! How urgent a task is, and its place in the queue.

use serde::{Deserialize, Serialize};

/// -100 (last) to 100 (first); strict: a lower one waits while a higher one can run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Priority(i8);

impl Priority {
    /// The lowest.
    pub const MIN: i64 = -100;
    /// The highest.
    pub const MAX: i64 = 100;

    /// Takes a number from outside; `None` when it is out of range.
    #[must_use]
    pub fn new(number: i64) -> Option<Self> {
        let in_range = (Self::MIN..=Self::MAX).contains(&number);
        in_range.then(|| i8::try_from(number).ok().map(Self)).flatten()
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> i8 {
        self.0
    }
}

/// The number of a submission; a task keeps it for life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(u64);

impl Seq {
    /// The first submission.
    pub const FIRST: Self = Self(1);

    /// Wraps a number, for example one of a cursor.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of the next submission.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The place of a task among all pending ones: by priority, then by submission. Packed into one
/// word, so that comparing two places is one instruction: (100 - priority) above 56 bits of
/// sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

impl Place {
    const SEQ_BITS: u32 = 56;

    /// The place of this task, now and whenever it comes back.
    #[must_use]
    pub(super) const fn new(priority: Priority, seq: Seq) -> Self {
        let rank = (100 - priority.0 as i64) as u64;
        Self(rank << Self::SEQ_BITS | seq.0)
    }

    /// The task that has this place.
    #[must_use]
    pub(super) const fn seq(self) -> Seq {
        Seq(self.0 & ((1 << Self::SEQ_BITS) - 1))
    }

    /// The priority of that task.
    #[must_use]
    pub(super) const fn priority(self) -> Priority {
        Priority((100 - (self.0 >> Self::SEQ_BITS) as i64) as i8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_ordered_by_priority_and_then_by_submission() {
        let place = |priority, seq| Place::new(Priority::new(priority).unwrap(), Seq::new(seq));
        assert!(place(1, 9) < place(0, 1), "a higher priority goes first");
        assert!(place(0, 1) < place(0, 2), "then the older submission");
        assert!(place(-100, 1) > place(100, u64::MAX >> 8));
        for priority in [-100, -1, 0, 1, 100] {
            let there_and_back = place(priority, 77);
            assert_eq!(i64::from(there_and_back.priority().get()), priority);
            assert_eq!(there_and_back.seq(), Seq::new(77));
        }
    }

    #[test]
    fn a_priority_out_of_range_is_none() {
        assert_eq!(Priority::new(101), None);
        assert_eq!(Priority::new(-101), None);
        assert_eq!(Priority::new(i64::MIN), None);
    }
}
