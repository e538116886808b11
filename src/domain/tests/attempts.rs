//! How an attempt ends and what follows: the table of rule 7, row by row.

use super::world::{World, error, seconds, success};
use crate::domain::TaskType::General;
use crate::domain::{Jitter, Outcome, Refusal, TaskStatus};

#[test]
fn a_completed_attempt_ends_the_task() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.expect_agent("anna", "analyzing t1");
    world.start("anna");
    world.expect_agent("anna", "executing t1");
    world.finish("anna", success());
    world.expect("t1", "completed on anna, attempt 1");
    world.expect_agent("anna", "idle");
}

#[test]
fn a_lost_agent_loses_no_task() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.submit("t1", General).unwrap();
    world.lose("anna");
    world.expect("t1", "in_progress on bert, attempt 2, failures 1, excludes anna");
    world.report("anna", 1, "t1", 1, success());
    world.expect("t1", "in_progress on bert, attempt 2, failures 1, excludes anna");
    world.expect_attempts("t1", "agent_failed on anna, open on bert");
}

#[test]
fn a_time_out_counts_excludes_and_is_tried_again_at_once() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.submit_with("t1", General, |spec| spec.timeout_us = Some(seconds(2.0))).unwrap();
    world.pass(2.0);
    world.expect("t1", "in_progress on anna, attempt 1");
    world.lose("anna");
    world.expect("t1", "in_progress on bert, attempt 2, failures 1, excludes anna");
    world.expect_attempts("t1", "timed_out on anna, open on bert");
}

#[test]
fn the_time_out_of_the_type_holds_when_the_task_brings_none() {
    let mut world =
        World::with(|limits| limits.timeout_us[General.index()] = seconds(7.0), Vec::new());
    world.join("eve");
    world.submit("t1", General).unwrap();
    world.pass(6.9);
    assert!(!world.heartbeat("eve").unwrap().cancel_requested);
    world.pass(0.1);
    assert!(world.heartbeat("eve").unwrap().cancel_requested);
}

#[test]
fn a_retryable_failure_waits_twice_as_long_each_time_up_to_a_minute() {
    let mut world = World::with(|limits| limits.max_attempts = 20, Vec::new());
    world.spawn("anna");
    world.submit("t1", General).unwrap();
    for (failures, wait_s) in (1..).zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]) {
        world.finish("anna", error(true));
        let waits = format!("pending: retry_backoff, attempt {failures}, failures {failures}");
        world.expect("t1", &waits);
        world.pass(wait_s - 0.001);
        world.expect("t1", &waits);
        world.pass(0.001);
        let runs = format!("in_progress on anna, attempt {}, failures {failures}", failures + 1);
        world.expect("t1", &runs);
    }
}

#[test]
fn the_random_part_shortens_a_backoff_by_up_to_half() {
    for (bits, wait_s) in [(0, 0.5), (u16::MAX, 1.0), (u16::MAX / 2, 0.75)] {
        let mut world = World::new();
        world.join("eve");
        world.submit("t1", General).unwrap();
        world.complete_with("t1", None, error(true), Jitter::from_bits(bits)).unwrap();
        let due_us = world.scheduler.next_timeout().unwrap() - world.now.mono_us;
        assert!(due_us.abs_diff(seconds(wait_s)) < 10, "{due_us} us for {bits}");
    }
}

#[test]
fn the_task_s_own_failure_excludes_nobody() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.finish("anna", error(true));
    world.expect_agent("anna", "idle");
    world.pass(1.0);
    world.expect("t1", "in_progress on anna, attempt 2, failures 1");
}

#[test]
fn a_failure_that_is_not_retryable_ends_the_task_and_counts_nothing() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.finish("anna", error(false));
    world.expect("t1", "failed on anna, attempt 1");
    assert_eq!(world.view("t1").summary.error.unwrap().code, "oops");
}

/// A task that killed its worker was redelivered for 17 hours.
#[test]
fn crashes_count_and_the_budget_ends_with_the_reason_of_each_attempt() {
    let mut world = World::with_agents(["anna", "bert", "carl", "dora"]);
    world.submit("t1", General).unwrap();
    world.lose("anna");
    world.fail("bert").unwrap();
    world.expect("t1", "in_progress on carl, attempt 3, failures 2, excludes anna bert");
    world.finish("carl", error(true));
    world.expect("t1", "failed on carl, attempt 3, failures 3, excludes anna bert");
    let error = world.view("t1").summary.error.unwrap();
    assert_eq!(error.code, "oops");
    for reason in ["attempt 1 on ", "process_ended", "failed_by_client: no good", "it went wrong"] {
        assert!(error.message.contains(reason), "{reason:?} is not in {:?}", error.message);
    }
    world.expect_attempts("t1", "agent_failed on anna, agent_failed on bert, failed on carl");
    world.expect_agent("dora", "idle");
}

#[test]
fn an_interruption_by_order_never_counts() {
    let mut world = World::new();
    world.submit("t1", General).unwrap();
    for n in 1..=5 {
        world.spawn("anna");
        world.remove("anna", 0).unwrap();
        world.expect("t1", &format!("pending: pool_empty, attempt {n}"));
    }
}

#[test]
fn an_interruption_otherwise_counts_from_the_third_in_a_row() {
    let mut world = World::with(|limits| limits.exclusion_relax_us = 0, Vec::new());
    world.submit("t1", General).unwrap();
    world.join_leased("eve", 1);
    let mut lost = |failures: u32| {
        world.heartbeat("eve").unwrap();
        world.pass(1.0);
        assert_eq!(world.view("t1").summary.failures, failures);
        world.view("t1").summary.status
    };
    assert_eq!(lost(0), TaskStatus::Pending);
    assert_eq!(lost(0), TaskStatus::Pending);
    assert_eq!(lost(1), TaskStatus::Pending);
    assert_eq!(lost(2), TaskStatus::Pending);
    assert_eq!(lost(3), TaskStatus::Failed);
    assert!(world.view("t1").summary.failed_on.is_empty(), "it excludes nobody");
}

#[test]
fn another_end_begins_the_count_of_interruptions_again_and_an_order_does_not() {
    let mut world = World::new();
    world.submit("t1", General).unwrap();
    world.join_leased("eve", 1);
    let lose = |world: &mut World| {
        world.heartbeat("eve").unwrap();
        world.pass(1.0);
    };
    lose(&mut world);
    lose(&mut world);
    world.spawn("anna");
    world.finish("anna", error(true));
    world.remove("anna", 0).unwrap();
    world.pass(1.0);
    lose(&mut world);
    lose(&mut world);
    world.expect("t1", "pending: no_idle_agent, attempt 5, failures 1");
    world.spawn("bert");
    world.remove("bert", 0).unwrap();
    lose(&mut world);
    world.expect("t1", "pending: no_idle_agent, attempt 7, failures 2");
}

#[test]
fn the_next_agent_is_told_why_the_attempt_before_did_not_complete() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.submit("t1", General).unwrap();
    world.fail("anna").unwrap();
    let told = world.effects.iter().find_map(|effect| match effect {
        crate::domain::Effect::Assign { assignment, .. } => assignment.previous_failure.clone(),
        _ => None,
    });
    assert_eq!(told.as_deref(), Some("failed_by_client: no good"));
}

#[test]
fn a_cancelled_attempt_ends_the_task() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    assert_eq!(world.cancel("t1"), Ok(TaskStatus::Cancelled));
    let end = world.view("t1").attempts[0].end.clone().unwrap();
    assert_eq!(end.outcome, Outcome::Cancelled);
    assert!(matches!(world.cancel("t1"), Err(Refusal::AlreadyFinished { .. })));
}
