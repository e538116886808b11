//! Discoveries find the same few items again and again, while what came of them goes any way.

use std::collections::BTreeMap;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::follow_up_plans::{item, of_items, rule};
use super::world::{World, error, name, success, task};
use crate::domain::{
    AgentKind, FollowUpPlan, FollowUps, Jitter, PlannedTask, Priority, TaskStatus, TaskType,
};

#[derive(Clone, Debug)]
enum Happens {
    /// A discovery finds these items.
    Discovery(Vec<u8>),
    /// An agent ends one of the tasks that it may have.
    Success(usize),
    Failure {
        which: usize,
        retryable: bool,
    },
    Cancel(usize),
    Retry(usize),
    Pass(u8),
    Crash,
}

fn anything() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => btree_set(0..5_u8, 1..5).prop_map(|ids| Happens::Discovery(ids.into_iter().collect())),
        4 => any::<usize>().prop_map(Happens::Success),
        3 => any::<(usize, bool)>()
            .prop_map(|(which, retryable)| Happens::Failure { which, retryable }),
        2 => any::<usize>().prop_map(Happens::Cancel),
        2 => any::<usize>().prop_map(Happens::Retry),
        1 => (0..70_u8).prop_map(Happens::Pass),
        1 => Just(Happens::Crash),
    ]
}

/// External agents: one for discoveries alone, so that one can always begin.
fn pool() -> World {
    let mut world = World::new();
    let external = AgentKind::External { lease_us: None };
    world.add("disc", external, [TaskType::Discovery].into_iter().collect());
    for who in ["anna", "bert"] {
        world.add(who, external, [TaskType::Migration].into_iter().collect());
    }
    world
}

/// The names of the tasks that rules made.
fn made(world: &World) -> Vec<String> {
    let made = world.disk.all().filter(|task| task.parent.is_some());
    made.map(|task| name(task.id)).collect()
}

fn plan(world: &World, number: usize, ids: &[u8]) -> FollowUpPlan {
    let items: Vec<_> = ids.iter().map(|&id| item(id, 1)).collect();
    let mut fresh = (0..).map(|index| task(&format!("m{number}_{index}")));
    let of = of_items(&items);
    let mut plan = rule().plan(Some(&of), Priority::default(), || fresh.next().expect("a name"));
    for planned in &mut plan.tasks {
        planned.known = world.disk.task_of_key(&planned.key.name).map(|task| task.status());
    }
    plan
}

fn discover(world: &mut World, number: usize, ids: &[u8]) {
    let what = format!("d{number}");
    world.submit(&what, TaskType::Discovery).expect("there is room");
    let plan = plan(world, number, ids);
    let is_new = |planned: &&PlannedTask| planned.known.is_none_or(PlannedTask::may_follow);
    let created = plan.tasks.iter().filter(is_new).count() as u64;
    let done = world.call(|s, now, fx| {
        s.complete_with(task(&what), None, success(), vec![plan], now, Jitter::FULL, fx)
    });
    assert_eq!(done, Ok(TaskStatus::Completed));
    let expected = FollowUps { created, skipped: ids.len() as u64 - created, invalid: 0 };
    assert_eq!(world.disk.task(task(&what)).expect("it is there").follow_ups, Some(expected));
}

/// Each item has one task at most that is to do or done, but for those that an operator tries again
/// after another one took their key.
fn no_item_is_worked_on_twice(world: &World) {
    let mut owners = BTreeMap::new();
    for task in world.disk.all() {
        if let Some(key) = &task.spec.key {
            let other = owners.insert(key.name.clone(), task.id);
            assert_eq!(other.map(name), None, "{} has the key too", name(task.id));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_storm_makes_a_second_task_of_an_item(events in vec(anything(), 0..60)) {
        let mut world = pool();
        for (number, event) in events.into_iter().enumerate() {
            let made = made(&world);
            let one = |which: usize| (!made.is_empty()).then(|| &*made[which % made.len()]);
            // What cannot be just now is refused.
            match event {
                Happens::Discovery(ids) => discover(&mut world, number, &ids),
                Happens::Success(which) => {
                    one(which).map(|what| world.complete(what, None, success()));
                }
                Happens::Failure { which, retryable } => {
                    one(which).map(|what| world.complete(what, None, error(retryable)));
                }
                Happens::Cancel(which) => {
                    one(which).map(|what| world.cancel(what));
                }
                Happens::Retry(which) => {
                    one(which).map(|what| world.retry(what));
                }
                Happens::Pass(seconds) => world.pass(f64::from(seconds)),
                Happens::Crash => world.crash(),
            }
            no_item_is_worked_on_twice(&world);
        }
    }
}
