//! What the pool learned about one agent: how fast it completes each type of task.

use std::collections::VecDeque;

use super::change::Lesson;
use super::task_type::{PerType, TaskType};

/// The latencies of the last successful completions of one agent, per task type.
#[derive(Debug, Default)]
pub(super) struct Affinity {
    windows: PerType<Window>,
}

#[derive(Debug, Default)]
struct Window {
    /// How many successes there ever were.
    count: u64,
    latencies_us: VecDeque<u64>,
    sum_us: u64,
}

impl Affinity {
    /// Learns from one success; of more than `window` the oldest is forgotten. Returns the number
    /// of this success, from 0.
    pub(super) fn learn(&mut self, kind: TaskType, latency_us: u64, window: usize) -> u64 {
        let learned = &mut self.windows[kind.index()];
        while learned.latencies_us.len() >= window {
            learned.sum_us -= learned.latencies_us.pop_front().unwrap_or_default();
        }
        learned.latencies_us.push_back(latency_us);
        learned.sum_us += latency_us;
        learned.count += 1;
        learned.count - 1
    }

    /// Learns again what an earlier daemon learned; the next success has the number after it.
    pub(super) fn relearn(&mut self, lesson: &Lesson, window: usize) {
        self.windows[lesson.kind.index()].count = lesson.number;
        self.learn(lesson.kind, lesson.latency_us, window);
    }

    /// The mean latency in nanoseconds (finer than what it is made of, so that a rounded mean
    /// makes no false tie); `None` before the first success.
    #[must_use]
    pub(super) fn mean_ns(&self, kind: TaskType) -> Option<u64> {
        let learned = &self.windows[kind.index()];
        let samples = u64::try_from(learned.latencies_us.len()).ok().filter(|&n| n > 0)?;
        Some(learned.sum_us.saturating_mul(1_000) / samples)
    }
}

#[cfg(test)]
impl Affinity {
    /// How many successes there ever were, and the latencies of the last ones.
    pub(super) fn learned(&self, kind: TaskType) -> (u64, &VecDeque<u64>) {
        let learned = &self.windows[kind.index()];
        (learned.count, &learned.latencies_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_over_the_window_and_per_type() {
        let mut affinity = Affinity::default();
        assert_eq!(affinity.mean_ns(TaskType::Research), None);
        for latency_us in [100, 10, 20, 30] {
            affinity.learn(TaskType::Research, latency_us, 3);
        }
        assert_eq!(affinity.mean_ns(TaskType::Research), Some(20_000), "the 100 is forgotten");
        assert_eq!(affinity.mean_ns(TaskType::Ingest), None);
    }
}
