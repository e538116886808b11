//! After a gate has opened, its backlog leaves the others their half: rule 12.

use super::world::{World, agent, error, success};
use crate::domain::TaskType::{Discovery, General, Heartbeat, Migration, Research};
use crate::domain::{GateSpec, Priority, TaskType};

fn gate(name: &str, types: &[TaskType]) -> GateSpec {
    GateSpec::new(name, types.iter().copied().collect())
}

/// A closed gate, and so many of its tasks wait, more urgent than anything else.
fn with_backlog(tasks: usize) -> World {
    let mut world = World::with(|_| {}, vec![gate("discovery", &[Discovery, Migration])]);
    world.gate("discovery", false);
    for n in 1..=tasks {
        urgent(&mut world, &format!("d{n}"), Discovery);
    }
    world
}

fn urgent(world: &mut World, what: &str, kind: TaskType) {
    world.submit_with(what, kind, |spec| spec.priority = Priority::new(50).unwrap()).unwrap();
}

fn busy(world: &mut World, who: &str) {
    let what = format!("busy-{who}");
    world.submit_with(&what, General, |spec| spec.preferred = Some(Ok(agent(who)))).unwrap();
    world.expect(&what, &format!("in_progress on {who}, attempt 1"));
}

/// The tasks that run, by agent.
fn runs<const N: usize>(world: &World, who: [&str; N]) -> [String; N] {
    who.map(|who| {
        let task = world.run_of(who).map(|(task, _)| super::world::name(task));
        task.unwrap_or_else(|| "-".into())
    })
}

#[test]
fn a_backlog_takes_half_of_the_live_agents_while_others_wait_whatever_the_priorities() {
    let mut world = with_backlog(5);
    for who in ["anna", "bert", "carl"] {
        world.spawn(who);
        busy(&mut world, who);
    }
    for n in 1..=3 {
        world.submit(&format!("t{n}"), Heartbeat).unwrap();
    }
    world.gate("discovery", true);
    for who in ["anna", "bert", "carl"] {
        world.finish(who, success());
    }
    // Half of three, rounded up, is two.
    assert_eq!(runs(&world, ["anna", "bert", "carl"]), ["d1", "d2", "t1"]);
    world.finish("anna", success());
    assert_eq!(runs(&world, ["anna", "bert", "carl"]), ["d3", "d2", "t1"]);
    world.finish("carl", success());
    assert_eq!(runs(&world, ["anna", "bert", "carl"]), ["d3", "d2", "t2"]);
}

#[test]
fn when_nothing_else_can_run_the_backlog_has_all() {
    let mut world = with_backlog(5);
    for who in ["anna", "bert", "carl"] {
        world.spawn(who);
    }
    world.gate("discovery", true);
    assert_eq!(runs(&world, ["anna", "bert", "carl"]), ["d1", "d2", "d3"]);
    world.submit("t1", Heartbeat).unwrap();
    world.finish("anna", success());
    assert_eq!(runs(&world, ["anna", "bert", "carl"]), ["t1", "d2", "d3"], "now somebody waits");
    world.finish("bert", success());
    assert_eq!(runs(&world, ["anna", "bert", "carl"]), ["t1", "d4", "d3"]);
}

#[test]
fn what_comes_after_the_opening_stands_behind_the_backlog_and_shares_its_half() {
    let mut world = with_backlog(2);
    for who in ["anna", "bert"] {
        world.spawn(who);
        busy(&mut world, who);
    }
    world.gate("discovery", true);
    world.pass(1.0);
    urgent(&mut world, "m1", Migration);
    world.submit("t1", General).unwrap();
    world.finish("anna", success());
    world.finish("bert", success());
    assert_eq!(runs(&world, ["anna", "bert"]), ["d1", "t1"], "one of two is half");
    world.finish("anna", success());
    assert_eq!(runs(&world, ["anna", "bert"]), ["d2", "t1"]);
    world.submit("t2", General).unwrap();
    world.finish("anna", success());
    assert_eq!(runs(&world, ["anna", "bert"]), ["m1", "t1"], "it has caught up: priorities again");
}

#[test]
fn a_caught_up_gate_limits_nobody() {
    let mut world = with_backlog(1);
    for who in ["anna", "bert"] {
        world.spawn(who);
        busy(&mut world, who);
    }
    world.gate("discovery", true);
    world.finish("anna", success());
    world.pass(1.0);
    urgent(&mut world, "d2", Discovery);
    world.submit("t1", General).unwrap();
    world.finish("bert", success());
    assert_eq!(runs(&world, ["anna", "bert"]), ["d1", "d2"]);
}

/// A task that could run only elsewhere does not keep an agent idle.
#[test]
fn an_agent_that_nobody_else_can_use_is_the_backlogs() {
    let mut world = with_backlog(3);
    let only = |kind: TaskType| [kind].into_iter().collect();
    world.spawn_for("anna", only(Discovery));
    world.spawn_for("bert", only(Discovery));
    world.submit("t1", General).unwrap();
    world.gate("discovery", true);
    assert_eq!(runs(&world, ["anna", "bert"]), ["d1", "d2"]);
    world.spawn("carl");
    assert_eq!(runs(&world, ["anna", "bert", "carl"]), ["d1", "d2", "t1"]);
}

#[test]
fn a_task_that_failed_on_the_agent_does_not_keep_it_from_the_backlog() {
    let mut world = with_backlog(3);
    world.spawn("anna");
    world.submit("t1", General).unwrap();
    world.lose("anna");
    world.restart("anna");
    world.gate("discovery", true);
    world.expect("t1", "pending: excluded_everywhere, attempt 1, failures 1, excludes anna");
    assert_eq!(runs(&world, ["anna"]), ["d1"]);
    world.pass(11.0);
    world.finish("anna", success());
    assert_eq!(runs(&world, ["anna"]), ["d2"], "one of one is half, rounded up");
    world.spawn("bert");
    assert_eq!(runs(&world, ["anna", "bert"]), ["d2", "t1"]);
}

#[test]
fn what_ran_before_the_opening_is_no_part_of_the_half() {
    let mut world = World::with(|_| {}, vec![gate("discovery", &[Discovery])]);
    world.spawn("anna");
    world.spawn("bert");
    world.submit("d1", Discovery).unwrap();
    world.gate("discovery", false);
    busy(&mut world, "bert");
    urgent(&mut world, "d2", Discovery);
    urgent(&mut world, "d3", Discovery);
    world.submit("t1", General).unwrap();
    world.gate("discovery", true);
    world.finish("bert", success());
    assert_eq!(runs(&world, ["anna", "bert"]), ["d1", "d2"]);
    world.finish("anna", success());
    assert_eq!(runs(&world, ["anna", "bert"]), ["t1", "d2"]);
}

#[test]
fn each_of_two_gates_has_its_own_half() {
    let gates = vec![gate("a", &[Discovery]), gate("b", &[Research])];
    let mut world = World::with(|_| {}, gates);
    for who in ["anna", "bert", "carl", "dora"] {
        world.spawn(who);
        busy(&mut world, who);
    }
    world.gate("a", false);
    world.gate("b", false);
    for n in 1..=4 {
        urgent(&mut world, &format!("d{n}"), Discovery);
    }
    for n in 1..=4 {
        urgent(&mut world, &format!("r{n}"), Research);
    }
    world.submit("t1", General).unwrap();
    world.gate("a", true);
    world.gate("b", true);
    for who in ["anna", "bert", "carl", "dora"] {
        world.finish(who, success());
    }
    assert_eq!(runs(&world, ["anna", "bert", "carl", "dora"]), ["d1", "d2", "r1", "r2"]);
    world.finish("dora", success());
    assert_eq!(runs(&world, ["anna", "bert", "carl", "dora"]), ["d1", "d2", "r1", "r3"]);
}

#[test]
fn a_type_of_two_gates_is_held_to_the_half_of_each() {
    let gates = vec![gate("a", &[Discovery, Migration]), gate("b", &[Discovery])];
    let mut world = World::with(|_| {}, gates);
    for who in ["anna", "bert"] {
        world.spawn(who);
        busy(&mut world, who);
    }
    world.gate("a", false);
    for (what, kind) in [("m1", Migration), ("m2", Migration), ("d1", Discovery)] {
        urgent(&mut world, what, kind);
    }
    world.submit("t1", General).unwrap();
    world.gate("a", true);
    world.finish("anna", success());
    world.finish("bert", success());
    assert_eq!(runs(&world, ["anna", "bert"]), ["m1", "t1"]);
}

/// A run of the backlog holds its share until it is over, also when its task was cancelled.
#[test]
fn the_share_is_free_when_the_run_is_over() {
    let mut world = with_backlog(3);
    world.join("anna");
    world.join("bert");
    busy(&mut world, "bert");
    world.gate("discovery", true);
    world.expect("d1", "in_progress on anna, attempt 1");
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    world.cancel("d1").unwrap();
    world.complete("busy-bert", None, success()).unwrap();
    world.expect("t1", "in_progress on bert, attempt 1");
    world.pass(6.0); // its grace
    world.expect("d2", "in_progress on anna, attempt 1");
    world.complete("t1", None, error(false)).unwrap();
    world.expect("t2", "in_progress on bert, attempt 1");
}

/// Its agent does nothing that anybody else could use, and the child may be of the gate's types, too:
/// it would never run while others come.
#[test]
fn a_run_that_waits_for_its_child_takes_no_share() {
    let mut world = with_backlog(2);
    world.spawn("anna");
    world.spawn_for("bert", [Migration, General].into_iter().collect());
    busy(&mut world, "bert");
    world.gate("discovery", true);
    assert_eq!(runs(&world, ["anna", "bert"]), ["d1", "busy-bert"]);
    world.pass(1.0);
    world.child_with("c1", "d1", |spec, _| spec.kind = Migration).unwrap();
    for (what, kind) in [("t2", General), ("m1", Migration), ("t3", General)] {
        world.submit(what, kind).unwrap();
    }
    world.finish("bert", success());
    assert_eq!(runs(&world, ["anna", "bert"]), ["d1", "c1"]);
    world.finish("bert", success());
    assert_eq!(runs(&world, ["anna", "bert"]), ["d1", "t2"], "d1 works again, as half of the two");
    world.finish("bert", success());
    assert_eq!(runs(&world, ["anna", "bert"]), ["d1", "t3"]);
}

/// Two agents that take only newer tasks of the gate's types, which are more urgent than anything else.
fn beside_a_backlog_that_they_do_not_take(gates: Vec<GateSpec>, close: &str) -> World {
    let mut world = World::with(|_| {}, gates);
    world.gate(close, false);
    world.submit("d1", Discovery).unwrap();
    world.gate(close, true);
    world.pass(1.0);
    for who in ["anna", "bert"] {
        world.spawn_for(who, [Migration, General].into_iter().collect());
        busy(&mut world, who);
    }
    urgent(&mut world, "m1", Migration);
    urgent(&mut world, "m2", Migration);
    world.submit("t1", General).unwrap();
    world
}

#[test]
fn a_backlog_that_no_live_agent_takes_limits_nobody() {
    let gates = vec![gate("discovery", &[Discovery, Migration])];
    let mut world = beside_a_backlog_that_they_do_not_take(gates, "discovery");
    world.finish("anna", success());
    world.finish("bert", success());
    assert_eq!(runs(&world, ["anna", "bert"]), ["m1", "m2"]);
    urgent(&mut world, "m3", Migration);
    world.join("carl"); // could take d1: the backlog has its half, with m1 and m2
    world.finish("anna", success());
    assert_eq!(runs(&world, ["anna", "bert", "carl"]), ["m3", "m2", "t1"]);
}

#[test]
fn a_backlog_that_waits_for_another_gate_limits_nobody() {
    let gates = vec![gate("a", &[Discovery, Migration]), gate("b", &[Discovery])];
    let mut world = beside_a_backlog_that_they_do_not_take(gates, "a");
    world.gate("b", false);
    world.spawn_for("carl", [Discovery, General].into_iter().collect());
    world.expect("t1", "in_progress on carl, attempt 1");
    world.submit("t2", General).unwrap();
    world.finish("anna", success());
    world.finish("bert", success());
    assert_eq!(runs(&world, ["anna", "bert"]), ["m1", "m2"]);
}
