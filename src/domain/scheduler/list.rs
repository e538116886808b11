//! Lists of tasks.

use std::cell::LazyCell;

use super::Scheduler;
use crate::domain::limits::EXACT_POSITIONS;
use crate::domain::priority::Place;
use crate::domain::view::{ListQuery, TaskPage};

/// How many tasks one call looks at, however few of them pass its filter: a list must not hold up
/// the pool.
const LOOKED_AT: usize = 2_000;

impl Scheduler {
    /// A page of tasks. Pages that follow each other by `next` neither skip nor repeat a task
    /// while others come and go, because the number of a submission never changes.
    #[must_use]
    pub fn list(&self, query: &ListQuery) -> TaskPage {
        let mut tasks = Vec::new();
        // The head of the queue, walked once for the page and not for each of its pending tasks.
        let head = LazyCell::new(|| self.queue.iter().take(EXACT_POSITIONS).collect::<Vec<_>>());
        let position = |place: Place| head.binary_search(&place).ok().map(|index| index + 1);
        let before = query.before.unwrap_or(self.next_seq);
        let mut looked_at = self.tasks.range(..before).rev().take(LOOKED_AT + 1);
        let mut last = None;
        for (index, (&seq, task)) in looked_at.by_ref().enumerate() {
            if index == LOOKED_AT || tasks.len() == query.limit {
                return TaskPage { tasks, next: last };
            }
            last = Some(seq);
            let wanted = query.status.is_none_or(|status| task.status() == status)
                && query.kind.is_none_or(|kind| task.spec.kind == kind);
            if wanted {
                tasks.push(task.summary(self.waiting(task, position)));
            }
        }
        TaskPage { tasks, next: None }
    }
}
