//! The agents that may be given a task now, by how long they are idle and by how fast they are.

use std::collections::{BTreeMap, BTreeSet};

use super::affinity::Affinity;
use super::ids::AgentId;
use super::task_type::{PerType, TaskType, TaskTypes};

/// The idle agents. An agent that is idle but may get nothing (it leaves, its lease is not held)
/// is not in here.
#[derive(Debug, Default)]
pub(super) struct IdleAgents {
    entries: BTreeMap<AgentId, Entry>,
    /// By moment of becoming idle, apart for each set of types that agents take: nearly always
    /// there is one such set, so a turn costs one insertion and not one per type.
    by_time: BTreeMap<TaskTypes, BTreeSet<(u64, AgentId)>>,
    /// By mean latency, only those that completed this type before.
    by_latency: PerType<BTreeSet<(u64, AgentId)>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    since_us: u64,
    types: TaskTypes,
    means_ns: PerType<Option<u64>>,
}

impl IdleAgents {
    /// Takes an agent in that became idle at `since_us`.
    pub(super) fn insert(
        &mut self,
        agent: AgentId,
        since_us: u64,
        types: TaskTypes,
        affinity: &Affinity,
    ) {
        let mut means_ns = [None; TaskType::COUNT];
        for kind in types.iter() {
            if let Some(mean_ns) = affinity.mean_ns(kind) {
                means_ns[kind.index()] = Some(mean_ns);
                self.by_latency[kind.index()].insert((mean_ns, agent));
            }
        }
        self.by_time.entry(types).or_default().insert((since_us, agent));
        self.entries.insert(agent, Entry { since_us, types, means_ns });
    }

    /// Takes an agent out; one that is not in is no error.
    pub(super) fn remove(&mut self, agent: AgentId) {
        let Some(entry) = self.entries.remove(&agent) else { return };
        for (means, mean_ns) in self.by_latency.iter_mut().zip(entry.means_ns) {
            if let Some(mean_ns) = mean_ns {
                means.remove(&(mean_ns, agent));
            }
        }
        if let Some(times) = self.by_time.get_mut(&entry.types) {
            times.remove(&(entry.since_us, agent));
            if times.is_empty() {
                self.by_time.remove(&entry.types);
            }
        }
    }

    /// Whether no agent is idle.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether this agent is idle, whatever it takes.
    #[must_use]
    pub(super) fn contains(&self, agent: AgentId) -> bool {
        self.entries.contains_key(&agent)
    }

    /// Whether this agent is idle and takes this type.
    #[must_use]
    pub(super) fn takes(&self, agent: AgentId, kind: TaskType) -> bool {
        self.entries.get(&agent).is_some_and(|entry| entry.types.contains(kind))
    }

    /// How many idle agents take this type.
    #[must_use]
    pub(super) fn count(&self, kind: TaskType) -> usize {
        self.lanes(kind).map(BTreeSet::len).sum()
    }

    /// The mean latency in nanoseconds of this idle agent; `None` without a success.
    #[must_use]
    pub(super) fn mean_ns(&self, agent: AgentId, kind: TaskType) -> Option<u64> {
        self.entries.get(&agent)?.means_ns[kind.index()]
    }

    /// Those that completed this type before, the fastest first; the smaller id decides a tie.
    pub(super) fn fastest_first(&self, kind: TaskType) -> impl Iterator<Item = AgentId> {
        self.by_latency[kind.index()].iter().map(|&(_, agent)| agent)
    }

    /// Those that take this type, the one idle longest first; the smaller id decides a tie.
    pub(super) fn longest_first(&self, kind: TaskType) -> impl Iterator<Item = AgentId> {
        let mut lanes: Vec<_> = self.lanes(kind).map(|lane| lane.iter().peekable()).collect();
        std::iter::from_fn(move || {
            let next =
                lanes.iter_mut().filter_map(|lane| lane.peek().copied().map(|at| (at, lane)));
            next.min_by_key(|&(at, _)| at)
                .and_then(|(_, lane)| lane.next())
                .map(|&(_, agent)| agent)
        })
    }

    fn lanes(&self, kind: TaskType) -> impl Iterator<Item = &BTreeSet<(u64, AgentId)>> {
        self.by_time.iter().filter(move |(types, _)| types.contains(kind)).map(|(_, lane)| lane)
    }
}

#[cfg(test)]
impl IdleAgents {
    /// Every idle agent and since when it is.
    pub(super) fn all(&self) -> impl Iterator<Item = (AgentId, u64)> {
        self.entries.iter().map(|(&agent, entry)| (agent, entry.since_us))
    }
}
