//! Who waits for whom, and how many agents there are to do the work.

use std::collections::{BTreeMap, BTreeSet};

use super::priority::Seq;

/// Kept as things happen, so that nothing is searched for when a child comes or ends.
#[derive(Debug, Default)]
pub(super) struct Family {
    /// The unfinished children of each open attempt that has some; detached ones are nobody's.
    children: BTreeMap<Seq, BTreeSet<Seq>>,
    /// The tasks of these attempts as far as the deadlock rule counts them: their agent counts as
    /// live, and nobody ends their run.
    waiting: BTreeSet<Seq>,
    /// How many agents count as live.
    live: usize,
}

impl Family {
    /// The child is unfinished, and its parent's attempt open.
    pub(super) fn join(&mut self, parent: Seq, child: Seq) {
        self.children.entry(parent).or_default().insert(child);
    }

    /// The child has ended.
    pub(super) fn leave(&mut self, parent: Seq, child: Seq) {
        if let Some(children) = self.children.get_mut(&parent) {
            children.remove(&child);
            if children.is_empty() {
                self.children.remove(&parent);
            }
        }
    }

    /// The attempt of the parent has ended: takes its unfinished children out.
    pub(super) fn part(&mut self, parent: Seq) -> BTreeSet<Seq> {
        self.waiting.remove(&parent);
        self.children.remove(&parent).unwrap_or_default()
    }

    /// Whether the task has an unfinished child.
    pub(super) fn has_children(&self, parent: Seq) -> bool {
        self.children.contains_key(&parent)
    }

    /// How many tasks have an unfinished child.
    pub(super) fn parents(&self) -> usize {
        self.children.len()
    }

    /// Notes whether the deadlock rule counts this task as one that waits.
    pub(super) fn set_waiting(&mut self, task: Seq, waits: bool) {
        if waits {
            self.waiting.insert(task);
        } else {
            self.waiting.remove(&task);
        }
    }

    /// Whether the deadlock rule counts this task as one that waits.
    pub(super) fn is_waiting(&self, task: Seq) -> bool {
        self.waiting.contains(&task)
    }

    /// How many tasks wait and how many agents are live, as the deadlock rule counts.
    pub(super) fn balance(&self) -> (usize, usize) {
        (self.waiting.len(), self.live)
    }

    /// Notes that an agent counts as live from now on, or no longer does.
    pub(super) const fn count_agent(&mut self, before: bool, now: bool) {
        self.live = self.live + now as usize - before as usize;
    }

    /// Takes the youngest waiting task out when no live agent is left to run what it waits for.
    pub(super) fn pop_excess(&mut self) -> Option<Seq> {
        if self.waiting.len() < self.live {
            return None;
        }
        self.waiting.pop_last()
    }
}

#[cfg(test)]
impl Family {
    /// The unfinished children of each task that has some.
    pub(super) const fn children(&self) -> &BTreeMap<Seq, BTreeSet<Seq>> {
        &self.children
    }

    /// The tasks that wait, as the deadlock rule counts.
    pub(super) const fn waiting(&self) -> &BTreeSet<Seq> {
        &self.waiting
    }
}
