//! Small storms on the two indexes that make a decision cheap, each beside a naive model of it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::world::agent;
use crate::domain::affinity::Affinity;
use crate::domain::idle::IdleAgents;
use crate::domain::priority::Place;
use crate::domain::queue::Queue;
use crate::domain::{AgentId, Priority, Seq, TaskType, TaskTypes};

const NAMES: [&str; 4] = ["anna", "bert", "carl", "dora"];
const KINDS: [TaskType; 2] = [TaskType::General, TaskType::Ingest];

/// The members of a set that a few bits stand for.
fn some<T: Copy, const N: usize>(all: [T; N], bits: u8) -> impl Iterator<Item = T> {
    all.into_iter().enumerate().filter(move |(n, _)| bits >> n & 1 == 1).map(|(_, one)| one)
}

fn agents(bits: u8) -> Vec<AgentId> {
    some(NAMES, bits).map(agent).collect()
}

#[derive(Clone, Debug)]
struct Queued {
    kind: TaskType,
    excluded: Vec<AgentId>,
    ready: bool,
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(2_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_queue_is_as_good_as_a_sorted_list(
        events in vec((0..4u8, any::<u8>(), any::<u8>(), any::<u8>()), 0..60),
    ) {
        let mut queue = Queue::default();
        let mut model: BTreeMap<Place, Queued> = BTreeMap::new();
        for (what, a, b, idle) in events {
            let place = model.keys().nth(usize::from(a) % model.len().max(1)).copied();
            match (what, place) {
                (0, _) | (_, None) => {
                    let priority = Priority::new(i64::from(b % 3)).unwrap();
                    let place = Place::new(priority, Seq::new(u64::from(a)));
                    if model.contains_key(&place) {
                        continue;
                    }
                    let excluded = agents(if b & 64 == 0 { 0 } else { b >> 2 });
                    let kind = KINDS[usize::from(b / 128)];
                    queue.insert(place);
                    model.insert(place, Queued { kind, excluded, ready: false });
                }
                (1, Some(place)) => {
                    let task = model.remove(&place).unwrap();
                    queue.remove(place, task.kind, &task.excluded);
                }
                (2, Some(place)) => {
                    let task = model.get_mut(&place).unwrap();
                    task.ready = true;
                    queue.make_ready(place, task.kind, &task.excluded);
                }
                (_, Some(place)) => {
                    let task = model.get_mut(&place).unwrap();
                    task.ready = false;
                    queue.make_unready(place, task.kind, &task.excluded);
                }
            }
            queue.check_heads();
            prop_assert_eq!(queue.len(), model.len());
            prop_assert!(queue.iter().eq(model.keys().copied()));
            let idle = agents(idle);
            for kind in KINDS {
                let free = |excluded: &[AgentId]| idle.iter().any(|id| !excluded.contains(id));
                let runnable = |(_, task): &(&Place, &Queued)| {
                    task.ready && task.kind == kind && free(&task.excluded)
                };
                let first = model.iter().find(runnable).map(|(&place, _)| place);
                prop_assert_eq!(queue.first(kind, !idle.is_empty(), free), first);
                let offered = model.values().any(|task| task.ready && task.kind == kind);
                prop_assert_eq!(queue.offers(kind), offered);
            }
            for (n, place) in model.keys().enumerate() {
                prop_assert_eq!(queue.position(*place), Some(n + 1));
            }
        }
    }

    #[test]
    fn the_idle_agents_come_in_the_order_of_a_sorted_list(
        events in vec((0..3u8, any::<u8>(), 0..5u64, any::<u8>()), 0..60),
    ) {
        let mut idle = IdleAgents::default();
        let mut model: BTreeMap<AgentId, (u64, TaskTypes, [Option<u64>; 2])> = BTreeMap::new();
        for (what, who, at_us, bits) in events {
            let id = agent(NAMES[usize::from(who) % NAMES.len()]);
            idle.remove(id);
            model.remove(&id);
            if what > 0 {
                let types: TaskTypes = some(KINDS, bits).collect();
                let mut affinity = Affinity::default();
                let mut means = [None; 2];
                for (n, kind) in KINDS.into_iter().enumerate() {
                    let latency = u64::from(bits >> (2 + 2 * n)) % 3;
                    if latency > 0 {
                        affinity.learn(kind, latency, 20);
                        means[n] = types.contains(kind).then_some(latency * 1_000);
                    }
                }
                idle.insert(id, at_us, types, &affinity);
                model.insert(id, (at_us, types, means));
            }
            prop_assert_eq!(idle.is_empty(), model.is_empty());
            for (n, kind) in KINDS.into_iter().enumerate() {
                let takers = model.iter().filter(|(_, (_, types, _))| types.contains(kind));
                let times: BTreeSet<_> = takers.map(|(&id, &(at, ..))| (at, id)).collect();
                prop_assert_eq!(idle.count(kind), times.len());
                prop_assert!(idle.longest_first(kind).eq(times.into_iter().map(|(_, id)| id)));
                let means: BTreeSet<_> =
                    model.iter().filter_map(|(&id, (.., means))| Some((means[n]?, id))).collect();
                prop_assert!(idle.fastest_first(kind).eq(means.into_iter().map(|(_, id)| id)));
                for name in NAMES {
                    let id = agent(name);
                    let entry = model.get(&id);
                    prop_assert_eq!(idle.contains(id), entry.is_some());
                    let takes = entry.is_some_and(|(_, types, _)| types.contains(kind));
                    prop_assert_eq!(idle.takes(id, kind), takes);
                    prop_assert_eq!(idle.mean_ns(id, kind), entry.and_then(|entry| entry.2[n]));
                }
            }
        }
    }
}
