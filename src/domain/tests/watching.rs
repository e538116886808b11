//! Nobody is judged by time in which the daemon itself stood still: rule 13.

use super::world::{World, error, seconds};
use crate::domain::TaskType::General;

#[test]
fn a_pause_of_the_daemon_moves_every_deadline() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.submit_with("t1", General, |spec| spec.timeout_us = Some(seconds(10.0))).unwrap();
    world.submit("t2", General).unwrap();
    world.finish("bert", error(true));
    world.pass(0.5);
    world.stand_still(600.0);
    world.pass(0.4);
    world.expect("t2", "pending: retry_backoff, attempt 1, failures 1");
    world.pass(0.1);
    world.expect("t2", "in_progress on bert, attempt 2, failures 1");
    world.pass(8.9);
    assert_eq!(world.effects.len(), 0, "the time-out has not come");
    world.pass(0.1);
    assert_eq!(world.effects.len(), 1, "now it has");
}

#[test]
fn a_pause_of_the_daemon_costs_no_agent_its_lease() {
    let mut world = World::new();
    world.join_leased("eve", 10);
    world.submit("t1", General).unwrap();
    world.fetch("eve").unwrap();
    world.pass(9.0);
    world.stand_still(3_600.0);
    world.pass(9.9);
    world.expect_agent("eve", "executing t1");
    world.pass(0.1);
    world.expect_agent("eve", "degraded (lease_lost)");
}

#[test]
fn a_pause_moves_exclusions_drains_and_graces_too() {
    let mut world = World::with_agents(["anna"]);
    world.restarts = true;
    world.submit("t1", General).unwrap();
    world.lose("anna");
    world.stand_still(60.0);
    world.pass(9.9);
    world.expect("t1", "pending: excluded_everywhere, attempt 1, failures 1, excludes anna");
    world.pass(0.1);
    world.expect("t1", "in_progress on anna, attempt 2, failures 1, excludes anna");

    world.join("eve");
    world.submit("t2", General).unwrap();
    world.cancel("t2").unwrap();
    world.stand_still(60.0);
    world.pass(4.9);
    world.expect_agent("eve", "analyzing t2");
    world.pass(0.1);
    world.expect_agent("eve", "idle");

    world.submit("t3", General).unwrap();
    world.remove("eve", 5).unwrap();
    world.stand_still(60.0);
    world.pass(4.9);
    world.expect_agent("eve", "analyzing t3");
    world.pass(0.1);
    world.expect_agent("eve", "gone");
}

#[test]
fn a_spurious_timeout_does_nothing() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.pass(0.0);
    let mut effects = Vec::new();
    world.scheduler.handle_timeout(world.now, &mut effects);
    assert!(effects.is_empty());
}
