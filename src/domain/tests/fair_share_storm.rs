//! Gates that open to a backlog while others wait, tasks hand out children, and not everybody takes
//! everything: `invariants` repeats each assignment by looking at all tasks and agents.

use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{World, agent, error, name, success};
use crate::domain::TaskType::{Discovery, General, Migration};
use crate::domain::{AgentStatus, GateSpec, Priority, TaskType, TaskTypes};

const AGENTS: [&str; 4] = ["anna", "bert", "carl", "dora"];
const KINDS: [TaskType; 3] = [Discovery, Migration, General];

#[derive(Clone, Debug)]
enum Happens {
    Submit { kind: usize, priority: i64 },
    Child { parent: usize, kind: usize, priority: i64 },
    End { who: usize, well: bool },
    Gate { which: usize, open: bool },
    Lose(usize),
    Restart(usize),
    Pass,
}

fn anything() -> impl Strategy<Value = Happens> {
    let (kind, priority, who) = (0..KINDS.len(), 0..3_i64, 0..AGENTS.len());
    prop_oneof![
        8 => (kind.clone(), priority.clone())
            .prop_map(|(kind, priority)| Happens::Submit { kind, priority }),
        3 => (who.clone(), kind, priority)
            .prop_map(|(parent, kind, priority)| Happens::Child { parent, kind, priority }),
        8 => (who.clone(), prop::bool::weighted(0.9))
            .prop_map(|(who, well)| Happens::End { who, well }),
        3 => (0..2_usize, prop::bool::weighted(0.6))
            .prop_map(|(which, open)| Happens::Gate { which, open }),
        2 => who.clone().prop_map(Happens::Lose),
        1 => who.prop_map(Happens::Restart),
        2 => Just(Happens::Pass),
    ]
}

/// Agents of which some take only some types, and a type that needs two gates.
fn pool() -> World {
    let types = |kinds: &[TaskType]| -> TaskTypes { kinds.iter().copied().collect() };
    let gates = vec![
        GateSpec::new("a", types(&[Discovery, Migration])),
        GateSpec::new("b", types(&[Discovery])),
    ];
    let mut world = World::with(|limits| limits.max_depth = 100, gates);
    let takes = [&KINDS[..], &[Migration, General], &[Migration, General], &[Migration, General]];
    for (who, kinds) in AGENTS.into_iter().zip(takes) {
        world.spawn_for(who, types(kinds));
    }
    world
}

fn works(world: &World, who: &str) -> bool {
    world.scheduler.agent_view(agent(who)).is_ok_and(|view| view.status != AgentStatus::Degraded)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_storm_gives_a_backlog_more_than_its_share(events in vec(anything(), 0..80)) {
        let mut world = pool();
        for (number, event) in events.into_iter().enumerate() {
            let what = format!("t{number}");
            let priority = |priority| Priority::new(priority).expect("a small one");
            match event {
                Happens::Submit { kind, priority: urgency } => {
                    let accepted = world.submit_with(&what, KINDS[kind], |spec| {
                        spec.priority = priority(urgency);
                    });
                    prop_assert!(accepted.is_ok());
                }
                Happens::Child { parent, kind, priority: urgency } => {
                    let Some((parent, _)) = world.run_of(AGENTS[parent]) else { continue };
                    // What would lock the pool up is refused.
                    let _ = world.child_with(&what, &name(parent), |spec, of| {
                        (spec.kind, spec.priority) = (KINDS[kind], priority(urgency));
                        of.inherits_priority = false;
                    });
                }
                Happens::End { who, well } if world.run_of(AGENTS[who]).is_some() => {
                    world.finish(AGENTS[who], if well { success() } else { error(true) });
                }
                Happens::Gate { which, open } => world.gate(["a", "b"][which], open),
                Happens::Lose(who) if works(&world, AGENTS[who]) => world.lose(AGENTS[who]),
                Happens::Restart(who) => world.restart(AGENTS[who]),
                Happens::End { .. } | Happens::Lose(_) => {}
                Happens::Pass => world.pass(1.0),
            }
        }
    }
}
