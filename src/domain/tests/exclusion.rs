//! Exclusion is an order in a finite pool: rule 8.

use super::world::{World, error, success};
use crate::domain::TaskType::General;

/// A task was re-queued before its exclusion was recorded, and ran on the same executor again.
#[test]
fn a_task_does_not_go_back_at_once_to_the_agent_it_failed_on() {
    let mut world = World::with_agents(["anna"]);
    world.restarts = true;
    world.submit("t1", General).unwrap();
    world.lose("anna");
    world.expect_agent("anna", "idle");
    world.expect("t1", "pending: excluded_everywhere, attempt 1, failures 1, excludes anna");
}

/// A hard exclusion in a finite pool waits for ever.
#[test]
fn an_exclusion_is_lifted_after_a_while_and_the_decision_says_so() {
    let mut world = World::with_agents(["anna"]);
    world.restarts = true;
    world.submit("t1", General).unwrap();
    world.lose("anna");
    world.pass(9.999);
    world.expect("t1", "pending: excluded_everywhere, attempt 1, failures 1, excludes anna");
    world.pass(0.001);
    world.expect("t1", "in_progress on anna, attempt 2, failures 1, excludes anna");
    world.expect_decision("t1", "oldest_failure: anna, of 1, excludes anna, relaxed");
    let decision = world.view("t1").attempts[1].decision.clone();
    assert_eq!(decision.waited_ms, 10_000.0);
}

#[test]
fn after_that_others_go_first_and_then_the_oldest_failure() {
    let mut world = World::with(|limits| limits.max_attempts = 9, Vec::new());
    world.restarts = true;
    for who in ["bert", "anna"] {
        world.spawn(who);
    }
    world.submit_to("t1", "bert").unwrap();
    world.lose("bert");
    world.lose("anna");
    world.spawn_for("carl", [crate::domain::TaskType::Ingest].into_iter().collect());
    world.pass(10.0);
    world.expect_decision(
        "t1",
        "oldest_failure: bert anna, of 2, excludes bert anna, relaxed, preference used",
    );
    world.lose("bert");
    world.expect("t1", "pending: excluded_everywhere, attempt 3, failures 3, excludes anna bert");
    for who in ["anna", "bert"] {
        world.submit_to(&format!("busy-{who}"), who).unwrap();
    }
    world.pass(10.0);
    world.remove("carl", 0).unwrap();
    world.expect("t1", "pending: no_idle_agent, attempt 3, failures 3, excludes anna bert");
    world.spawn_starting("dora", crate::domain::TaskTypes::ALL);
    world.expect("t1", "pending: no_idle_agent, attempt 3, failures 3, excludes anna bert");
    world.ready("dora");
    world.expect_decision(
        "t1",
        "longest_idle: dora, of 1, excludes anna bert, relaxed, preference excluded",
    );
}

#[test]
fn an_excluded_agent_works_on_others_meanwhile() {
    let mut world = World::with_agents(["anna"]);
    world.restarts = true;
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    world.lose("anna");
    world.expect("t2", "in_progress on anna, attempt 1");
    world.pass(11.0);
    world.finish("anna", success());
    world.expect("t1", "in_progress on anna, attempt 2, failures 1, excludes anna");
}

#[test]
fn a_backoff_counts_towards_the_wait_for_excluded_agents() {
    let mut world = World::with(
        |limits| {
            limits.max_attempts = 9;
            limits.backoff_first_us = 12_000_000;
        },
        Vec::new(),
    );
    world.restarts = true;
    world.spawn("anna");
    world.submit("t1", General).unwrap();
    world.lose("anna");
    world.pass(10.0);
    world.finish("anna", error(true));
    world.pass(11.0);
    world.expect("t1", "pending: retry_backoff, attempt 2, failures 2, excludes anna");
    world.pass(13.0);
    world.expect("t1", "in_progress on anna, attempt 3, failures 2, excludes anna");
    world.expect_decision("t1", "oldest_failure: anna, of 1, excludes anna, relaxed");
}
