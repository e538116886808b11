//! Dependencies that some types need: rule 12.

use super::world::{World, success};
use crate::domain::TaskType::{Discovery, General, Migration};
use crate::domain::{Effect, Event, GateSpec};

fn gated() -> World {
    let types = [Discovery, Migration].into_iter().collect();
    let mut world = World::with(|_| {}, vec![GateSpec::new("discovery", types)]);
    world.spawn("anna");
    world
}

#[test]
fn while_a_gate_is_closed_its_types_wait_in_order_and_the_others_run_on() {
    let mut world = gated();
    world.gate("discovery", false);
    world.submit("t1", Migration).unwrap();
    world.submit("t2", Discovery).unwrap();
    world.submit("t3", General).unwrap();
    world.expect("t1", "pending: gate_closed:discovery");
    world.expect("t3", "in_progress on anna, attempt 1");
    world.finish("anna", success());
    world.expect_agent("anna", "idle");
    world.gate("discovery", true);
    world.expect("t1", "in_progress on anna, attempt 1");
    world.finish("anna", success());
    world.expect("t2", "in_progress on anna, attempt 1");
}

#[test]
fn what_runs_when_its_gate_closes_runs_on() {
    let mut world = gated();
    world.submit("t1", Migration).unwrap();
    world.gate("discovery", false);
    world.finish("anna", success());
    world.expect("t1", "completed on anna, attempt 1");
}

#[test]
fn each_change_is_said_once() {
    let mut world = gated();
    let changes = |effect: &Effect| matches!(effect, Effect::Event(Event::GateChanged { .. }));
    for (open, said) in [(true, 0), (false, 1), (false, 0), (true, 1), (true, 0)] {
        world.gate("discovery", open);
        assert_eq!(world.wanted(changes), said);
    }
    world.gate("unknown", false);
    assert_eq!(world.wanted(changes), 0);
}

#[test]
fn of_two_gates_that_a_type_needs_the_first_closed_one_is_named() {
    let types = || [Discovery].into_iter().collect();
    let gate = |name: &str| GateSpec { is_probed: true, ..GateSpec::new(name, types()) };
    let mut world = World::with(|_| {}, vec![gate("a"), gate("b")]);
    world.spawn("anna");
    world.submit("t1", Discovery).unwrap();
    world.expect("t1", "pending: gate_closed:a");
    world.gate("a", true);
    world.expect("t1", "pending: gate_closed:b");
    world.gate("b", true);
    world.expect("t1", "in_progress on anna, attempt 1");
}
