//! A run is over before its task moves: rule 9.

use super::world::{Deaths, World, error, success, task};
use crate::domain::TaskType::General;
use crate::domain::{Effect, Failing, TaskStatus};

fn kills(effect: &Effect) -> bool {
    matches!(effect, Effect::KillTree { .. })
}

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
    for (what, idle) in [("t1", true), ("t2", false), ("t3", false)] {
        if !idle {
            world.submit(what, General).unwrap();
        }
        world.actor_gone("anna");
        if what == "t3" {
            world.cancel("t3").unwrap();
        } else {
            world.fail("anna").unwrap();
        }
        world.tree_gone("anna");
        assert!(counts(&world), "it died by itself: {what}");
        world.restart("anna");
    }
}

#[test]
fn a_task_moves_only_when_both_the_actor_and_the_processes_are_gone() {
    for actor_first in [true, false] {
        let mut world = World::with_agents(["anna", "bert"]);
        world.submit("t1", General).unwrap();
        if actor_first {
            world.deaths = Deaths::ByHand;
            world.actor_gone("anna");
            assert_eq!(world.wanted(kills), 1, "what is left of it is killed");
        } else {
            world.tree_gone("anna");
        }
        world.expect("t1", "in_progress on anna, attempt 1");
        world.expect_agent("anna", "degraded (failed) t1");
        if actor_first {
            world.tree_gone("anna");
        } else {
            world.actor_gone("anna");
        }
        world.expect("t1", "in_progress on bert, attempt 2, failures 1, excludes anna");
        assert_eq!(world.wanted(|effect| matches!(effect, Effect::AgentLost { .. })), 1);
    }
}

#[test]
fn an_answer_that_was_written_before_the_death_still_counts() {
    for report in [success(), error(false)] {
        let mut world = World::with_agents(["anna", "bert"]);
        world.submit("t1", General).unwrap();
        world.tree_gone("anna");
        world.finish("anna", report);
        assert!(world.view("t1").summary.status.is_terminal());
        world.actor_gone("anna");
        world.expect_agent("bert", "idle");
    }
}

#[test]
fn a_silent_agent_is_killed_at_once_and_its_task_moves_when_that_is_verified() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.deaths = Deaths::ByHand;
    world.submit("t1", General).unwrap();
    world.goes_silent("anna");
    assert_eq!(world.wanted(kills), 1);
    world.expect("t1", "in_progress on anna, attempt 1");
    world.actor_gone("anna");
    world.tree_gone("anna");
    world.expect("t1", "in_progress on bert, attempt 2, failures 1, excludes anna");
    let cause = world.view("t1").attempts[0].end.clone().unwrap().failure.unwrap().cause;
    assert_eq!(cause, "silent", "the first reason that anybody gave");
}

#[test]
fn a_task_moves_on_from_an_unkillable_agent_and_says_that_runs_may_overlap() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.deaths = Deaths::ByHand;
    world.submit("t1", General).unwrap();
    world.goes_silent("anna");
    world.tree_stuck("anna");
    world.expect_agent("anna", "degraded (unkillable)");
    world.expect_attempts("t1", "agent_failed on anna (overlap possible), open on bert");
    world.finish("anna", success());
    world.expect_attempts("t1", "agent_failed on anna (overlap possible), open on bert");
    world.actor_gone("anna");
    world.expect_agent("anna", "degraded (unkillable)");
    world.tree_gone("anna");
    world.restart("anna");
    world.expect_agent("anna", "idle");
}

#[test]
fn the_exit_of_the_process_says_more_than_the_end_of_its_pipe() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.lose("anna");
    let failure = world.view("t1").attempts[0].end.clone().unwrap().failure.unwrap();
    assert_eq!(failure.cause, "process_ended");
    assert!(failure.detail.contains("signal 9"), "{}", failure.detail);
}

#[test]
fn news_of_an_older_life_is_dropped() {
    let mut world = World::with_agents(["anna"]);
    world.lose("anna");
    world.restart("anna");
    world.submit("t1", General).unwrap();
    let (id, first) = (super::world::agent("anna"), crate::domain::Incarnation::FIRST);
    let now = world.now;
    let mut effects = Vec::new();
    let failure = crate::domain::Failure::new("late", "");
    world.scheduler.agent_failed(id, first, failure, true, now, &mut effects);
    world.scheduler.tree_gone(id, first, crate::domain::Exit::Unknown, now, &mut effects);
    world.scheduler.tree_stuck(id, first, now, &mut effects);
    assert!(effects.is_empty());
    world.expect("t1", "in_progress on anna, attempt 1");
}

#[test]
fn an_external_agent_that_is_failed_or_removed_gives_its_task_back_at_once() {
    let mut world = World::new();
    world.join("eve");
    world.submit("t1", General).unwrap();
    world.join("finn");
    assert_eq!(world.fail("eve"), Ok(Failing::Done(Some(task("t1")))));
    world.expect("t1", "in_progress on finn, attempt 2, failures 1, excludes eve");
    assert_eq!(world.scheduler.status_here(task("t1")), Some(TaskStatus::InProgress));
    world.remove("finn", 0).unwrap();
    world.expect("t1", "pending: excluded_everywhere, attempt 2, failures 1, excludes eve");
}

#[test]
fn an_idle_agent_that_is_failed_takes_nothing_away() {
    let mut world = World::with_agents(["anna"]);
    world.join("eve");
    for who in ["anna", "eve"] {
        assert_eq!(world.fail(who), Ok(Failing::Done(None)));
        world.expect_agent(who, "degraded (failed)");
    }
    assert_eq!(world.fail("anna"), Ok(Failing::Done(None)), "it is dead and waits");
}

#[test]
fn a_process_agent_is_degraded_until_it_is_ready_and_again_after_its_death() {
    let mut world = World::new();
    world.spawn_starting("anna", crate::domain::TaskTypes::ALL);
    world.submit("t1", General).unwrap();
    world.expect_agent("anna", "degraded (starting)");
    world.actor_gone("anna");
    world.tree_gone("anna");
    world.expect_agent("anna", "degraded (failed)");
    world.begin_life("anna");
    world.expect_agent("anna", "degraded (restarting)");
    world.ready("anna");
    world.expect("t1", "in_progress on anna, attempt 1");
    world.lose("anna");
    world.give_up("anna");
    world.expect_agent("anna", "degraded (restarts_exhausted)");
    world.recover("anna").unwrap();
    assert_eq!(world.wanted(|effect| matches!(effect, Effect::RecoverAgent { .. })), 1);
}

#[test]
fn a_ready_that_comes_after_the_death_revives_nobody() {
    let mut world = World::new();
    world.deaths = Deaths::ByHand;
    world.spawn_starting("anna", crate::domain::TaskTypes::ALL);
    world.actor_gone("anna");
    world.ready("anna");
    world.expect_agent("anna", "degraded (starting)");
    world.tree_gone("anna");
    world.ready("anna");
    world.expect_agent("anna", "degraded (failed)");
}
