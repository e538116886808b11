//! The pending tasks, in their order and by what may run where.
//!
//! A dispatch asks "which task is the first that some idle agent may run?". Two things keep a
//! task from an idle agent: its type (the agent does not take it, or its gate is closed) and its
//! exclusions. So tasks stand in lanes: one per type for those that any agent of the type may
//! run, and one per (type, exclusion set) for the others. Only the heads of lanes are looked at,
//! so a closed gate costs nothing, and an exclusion costs a look at the head of its lane.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ids::AgentId;
use super::limits::EXACT_POSITIONS;
use super::priority::{Place, Priority};
use super::task_type::{PerType, TaskType};

/// The agents that the tasks of one lane must not run on, in the order of their ids.
pub(super) type Exclusions = Arc<[AgentId]>;

/// The pending tasks.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Every pending task by priority, backoff included: depth, positions, oldest waits.
    order: BTreeMap<std::cmp::Reverse<Priority>, BTreeSet<Place>>,
    len: usize,
    ready: PerType<TypeQueue>,
}

#[derive(Debug, Default)]
struct TypeQueue {
    /// Tasks that any agent of the type may run.
    open: BTreeSet<Place>,
    /// Tasks that exclude somebody.
    fenced: BTreeMap<Exclusions, BTreeSet<Place>>,
    /// The first task of each lane of `fenced`.
    heads: BTreeMap<Place, Exclusions>,
}

impl Queue {
    /// How many tasks are pending.
    #[must_use]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Whether no task is pending.
    #[must_use]
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes a task in as pending; it can be given to nobody before [`make_ready`](Self::make_ready).
    pub(super) fn insert(&mut self, place: Place) {
        let inserted =
            self.order.entry(std::cmp::Reverse(place.priority())).or_default().insert(place);
        debug_assert!(inserted, "a task was pending twice");
        self.len += 1;
    }

    /// Takes a pending task out, whether it is ready or not.
    pub(super) fn remove(&mut self, place: Place, kind: TaskType, exclusions: &[AgentId]) {
        self.make_unready(place, kind, exclusions);
        let key = std::cmp::Reverse(place.priority());
        if let Some(places) = self.order.get_mut(&key) {
            self.len -= usize::from(places.remove(&place));
            if places.is_empty() {
                self.order.remove(&key);
            }
        }
    }

    /// Offers a pending task to the agents that it does not exclude.
    pub(super) fn make_ready(&mut self, place: Place, kind: TaskType, exclusions: &[AgentId]) {
        let lanes = &mut self.ready[kind.index()];
        if exclusions.is_empty() {
            lanes.open.insert(place);
            return;
        }
        let key: Exclusions = match lanes.fenced.get_key_value(exclusions) {
            Some((key, _)) => Arc::clone(key),
            None => exclusions.into(),
        };
        let lane = lanes.fenced.entry(Arc::clone(&key)).or_default();
        let head = lane.first().copied();
        lane.insert(place);
        if head.is_none_or(|head| place < head) {
            if let Some(head) = head {
                lanes.heads.remove(&head);
            }
            lanes.heads.insert(place, key);
        }
    }

    /// Withdraws the offer of [`make_ready`](Self::make_ready), if there is one.
    pub(super) fn make_unready(&mut self, place: Place, kind: TaskType, exclusions: &[AgentId]) {
        let lanes = &mut self.ready[kind.index()];
        if exclusions.is_empty() {
            lanes.open.remove(&place);
            return;
        }
        let Some(lane) = lanes.fenced.get_mut(exclusions) else { return };
        lane.remove(&place);
        let next = lane.first().copied();
        if next.is_none() {
            lanes.fenced.remove(exclusions);
        }
        if let Some(key) = lanes.heads.remove(&place)
            && let Some(next) = next
        {
            lanes.heads.insert(next, key);
        }
    }

    /// The first task of this type that may run now: `open` says whether some idle agent takes
    /// the type at all, `fenced` the same for one that is not excluded.
    #[must_use]
    pub(super) fn first(
        &self,
        kind: TaskType,
        open: bool,
        fenced: impl Fn(&[AgentId]) -> bool,
    ) -> Option<Place> {
        if !open {
            return None;
        }
        let lanes = &self.ready[kind.index()];
        let open = lanes.open.first().copied();
        let before_open = |place: &Place| open.is_none_or(|open| *place < open);
        lanes
            .heads
            .iter()
            .take_while(|&(place, _)| before_open(place))
            .find(|(_, exclusions)| fenced(exclusions))
            .map(|(&place, _)| place)
            .or(open)
    }

    /// Whether any task of this type is offered.
    #[must_use]
    pub(super) fn offers(&self, kind: TaskType) -> bool {
        let lanes = &self.ready[kind.index()];
        !lanes.open.is_empty() || !lanes.heads.is_empty()
    }

    /// How many tasks go before this one, plus one; `None` past [`EXACT_POSITIONS`].
    #[must_use]
    pub(super) fn position(&self, place: Place) -> Option<usize> {
        let key = std::cmp::Reverse(place.priority());
        let before: usize = self.order.range(..key).map(|(_, places)| places.len()).sum();
        let places = self.order.get(&key)?;
        let rank = if places.last() == Some(&place) {
            places.len() - 1 // a new task is the last of its priority: no need to count
        } else {
            places.range(..place).take(EXACT_POSITIONS).count()
        };
        let position = before + rank + 1;
        (position <= EXACT_POSITIONS).then_some(position)
    }

    /// The pending tasks of each priority in their order, the most urgent priority first.
    pub(super) fn by_priority(&self) -> impl Iterator<Item = impl Iterator<Item = Place>> {
        self.order.values().map(|places| places.iter().copied())
    }

    /// Every pending task in the order of the queue.
    pub(super) fn iter(&self) -> impl Iterator<Item = Place> {
        self.order.values().flatten().copied()
    }
}

#[cfg(test)]
impl Queue {
    /// Every offered task with its type and the agents that it excludes.
    pub(super) fn ready(&self) -> impl Iterator<Item = (TaskType, Vec<AgentId>, Place)> {
        TaskType::ALL.into_iter().flat_map(|kind| {
            let lanes = &self.ready[kind.index()];
            let open = lanes.open.iter().map(move |&place| (kind, Vec::new(), place));
            let fenced = lanes.fenced.iter().flat_map(move |(exclusions, lane)| {
                lane.iter().map(move |&place| (kind, exclusions.to_vec(), place))
            });
            open.chain(fenced)
        })
    }

    /// Panics unless the heads are the first tasks of the lanes and no lane is empty.
    pub(super) fn check_heads(&self) {
        for lanes in &self.ready {
            let first = |(exclusions, lane): (&Exclusions, &BTreeSet<Place>)| {
                let head = lane.first().copied();
                (head.expect("an empty lane was left behind"), Arc::clone(exclusions))
            };
            let expected: BTreeMap<_, _> = lanes.fenced.iter().map(first).collect();
            assert_eq!(lanes.heads, expected, "the heads are not the first tasks of the lanes");
        }
    }
}
