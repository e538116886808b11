//! A run that stays in one phase for too long ends as one that took too long: rules 11 and 13.

use super::world::{Deaths, World, error, seconds, success, task};
use crate::domain::TaskType::General;
use crate::domain::{Attempt, Effect, Incarnation};

fn asks(effect: &Effect) -> bool {
    matches!(effect, Effect::CancelRun { reason: "timed_out", .. })
}

impl World {
    /// The cause that the newest attempt ended for.
    fn cause(&self, what: &str) -> String {
        let attempts = self.view(what).attempts;
        attempts.last().unwrap().end.as_ref().unwrap().failure.as_ref().unwrap().cause.clone()
    }
}

#[test]
fn a_run_that_stays_in_one_phase_too_long_is_asked_to_end_and_its_task_moves_on() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.submit("t1", General).unwrap();
    world.start("anna");
    world.overdue("anna");
    assert_eq!(world.wanted(asks), 1);
    world.expect("t1", "in_progress on anna, attempt 1");
    world.finish("anna", error(false));
    world.expect("t1", "in_progress on bert, attempt 2, failures 1, excludes anna");
    world.expect_attempts("t1", "timed_out on anna, open on bert");
    let attempts = world.view("t1").attempts;
    let failure = attempts[0].end.as_ref().unwrap().failure.as_ref().unwrap();
    assert_eq!(failure.cause, "phase_timed_out");
    assert_eq!(failure.detail, "it was in phase tool:x for too long");
    world.expect_agent("anna", "idle");
}

#[test]
fn the_next_time_out_of_an_agent_has_a_cause_of_its_own() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.overdue("anna");
    world.finish("anna", error(false));
    world.cancel("t1").unwrap();
    world.submit_with("t2", General, |spec| spec.timeout_us = Some(seconds(1.0))).unwrap();
    world.pass(1.0);
    world.finish("anna", error(false));
    assert_eq!(world.cause("t2"), "timed_out");
}

#[test]
fn a_killed_run_keeps_the_cause_and_its_death_counts_against_nobody() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.overdue("anna");
    world.lose("anna");
    assert_eq!(world.cause("t1"), "phase_timed_out");
    let pardoned =
        |effect: &Effect| matches!(effect, Effect::AgentLost { ended, .. } if !ended.counts);
    assert_eq!(world.wanted(pardoned), 1);
}

#[test]
fn a_result_in_time_still_counts() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.overdue("anna");
    world.finish("anna", success());
    world.expect("t1", "completed on anna, attempt 1");
}

#[test]
fn it_is_asked_once() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.overdue("anna");
    world.overdue("anna");
    assert_eq!(world.wanted(asks), 0);
    world.cancel("t1").unwrap();
    assert_eq!(world.wanted(asks), 0);
    world.finish("anna", error(false));
    world.expect("t1", "cancelled on anna, attempt 1");
}

#[test]
fn what_ends_already_ends_for_that() {
    let mut world = World::with_agents(["anna"]);
    world.deaths = Deaths::ByHand;
    world.submit("t1", General).unwrap();
    world.goes_silent("anna");
    world.overdue("anna");
    assert_eq!(world.wanted(asks), 0);
    world.actor_gone("anna");
    world.tree_gone("anna");
    world.expect_attempts("t1", "agent_failed on anna");
    assert_eq!(world.cause("t1"), "silent");

    let mut world = World::with_agents(["anna"]);
    world.submit_with("t1", General, |spec| spec.timeout_us = Some(seconds(1.0))).unwrap();
    world.pass(1.0);
    world.overdue("anna");
    world.finish("anna", error(false));
    assert_eq!(world.cause("t1"), "timed_out");
}

#[test]
fn of_another_run_or_life_it_means_nothing() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    let (life, first) = (world.life("anna"), Attempt::new(1));
    let others = [
        (Incarnation::new(9), task("t1"), first),
        (life, task("t2"), first),
        (life, task("t1"), Attempt::new(2)),
    ];
    for (life, what, attempt) in others {
        world.overdue_in("anna", life, what, attempt);
        assert_eq!(world.wanted(asks), 0);
    }
    world.overdue_in("nobody", life, task("t1"), first);
    world.expect("t1", "in_progress on anna, attempt 1");
}
