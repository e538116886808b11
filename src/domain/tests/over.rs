//! A run is over before its task moves: rule 9.

use super::world::{Deaths, World, success, task};
use crate::domain::TaskType::General;
use crate::domain::{Effect, Failing};

#[test]
fn an_agent_whose_processes_are_gone_gets_no_task_while_its_actor_still_reports() {
    let mut world = World::with_agents(["anna"]);
    world.deaths = Deaths::ByHand;
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    world.tree_gone("anna");
    world.finish("anna", success());
    world.expect("t1", "completed on anna, attempt 1");
    world.expect("t2", "pending: no_idle_agent");
    world.expect_agent("anna", "degraded (failed)");
    world.actor_gone("anna");
    world.restart("anna");
    world.expect("t2", "in_progress on anna, attempt 1");
}

#[test]
fn whoever_failed_an_agent_is_answered_when_its_run_is_over_and_not_before() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.deaths = Deaths::ByHand;
    world.submit("t1", General).unwrap();
    assert_eq!(world.fail("anna"), Ok(Failing::Underway));
    world.finish("anna", success()); // nobody trusts it any more
    world.expect("t1", "in_progress on anna, attempt 1");
    world.tree_gone("anna");
    assert_eq!(world.wanted(|effect| matches!(effect, Effect::FailedOver { .. })), 0);
    world.actor_gone("anna");
    world.expect("t1", "in_progress on bert, attempt 2, failures 1, excludes anna");
    let moved = |effect: &Effect| matches!(effect, Effect::FailedOver { task_id: Some(id), .. } if *id == task("t1"));
    assert_eq!(world.wanted(moved), 1);
}

#[test]
fn whoever_failed_an_agent_with_a_cancelled_run_is_answered_too() {
    let mut world = World::with_agents(["anna"]);
    world.deaths = Deaths::ByHand;
    world.submit("t1", General).unwrap();
    world.cancel("t1").unwrap();
    assert_eq!(world.fail("anna"), Ok(Failing::Underway));
    world.finish("anna", success());
    assert_eq!(world.wanted(|effect| matches!(effect, Effect::FailedOver { .. })), 0);
    world.actor_gone("anna");
    world.tree_gone("anna");
    let nothing_moved =
        |effect: &Effect| matches!(effect, Effect::FailedOver { task_id: None, .. });
    assert_eq!(world.wanted(nothing_moved), 1, "the task was cancelled, not taken away");
}

#[test]
fn a_death_that_no_client_ordered_answers_no_client() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.lose("anna");
    assert_eq!(world.wanted(|effect| matches!(effect, Effect::FailedOver { .. })), 0);
}

#[test]
fn failing_an_agent_that_was_stopped_by_order_does_not_count_against_its_task() {
    let mut world = World::with_agents(["anna"]);
    world.deaths = Deaths::ByHand;
    world.submit("t1", General).unwrap();
    world.remove("anna", 0).unwrap();
    assert_eq!(world.fail("anna"), Ok(Failing::Underway));
    world.actor_gone("anna");
    world.tree_gone("anna");
    world.expect_agent("anna", "gone");
    world.expect("t1", "pending: pool_empty, attempt 1");
    world.expect_attempts("t1", "interrupted on anna");
}

#[test]
fn an_unkillable_agent_can_be_removed_and_does_not_hold_up_the_end_of_the_pool() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.deaths = Deaths::ByHand;
    for who in ["anna", "bert"] {
        world.goes_silent(who);
        world.tree_stuck(who);
        world.expect_agent(who, "degraded (unkillable)");
    }
    world.remove("anna", 0).unwrap();
    world.expect_agent("anna", "gone");
    world.close_pool(0, false);
    world.expect_agent("bert", "gone");
    assert_eq!(world.wanted(|effect| matches!(effect, Effect::PoolClosed(_))), 1);
}

#[test]
fn failing_an_agent_is_no_death_that_counts_but_does_not_pardon_one_that_was_under_way() {
    let counts = |world: &World| {
        let ended = world.effects.iter().find_map(|effect| match effect {
            Effect::AgentLost { ended, .. } => Some(ended.counts),
            _ => None,
        });
        ended.expect("a life ended")
    };
    let mut world = World::with_agents(["anna"]);
    world.fail("anna").unwrap();
    assert!(!counts(&world));
    world.restart("anna");

    world.deaths = Deaths::ByHand;
    world.actor_gone("anna");
    world.fail("anna").unwrap();
    world.tree_gone("anna");
    assert!(counts(&world), "it died by itself");
}
