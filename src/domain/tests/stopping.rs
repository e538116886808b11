//! The ladder: asked, signalled, killed, over (rules 9, 11, 17 and 18).

use super::world::{Deaths, World, error, seconds, success};
use crate::domain::TaskType::General;
use crate::domain::{Effect, Outcome, Report, TaskError, Usage};

fn kills(effect: &Effect) -> bool {
    matches!(effect, Effect::KillTree { .. })
}

fn asks(effect: &Effect) -> bool {
    matches!(effect, Effect::CancelRun { .. })
}

fn by_hand() -> World {
    let mut world = World::with_agents(["anna"]);
    world.deaths = Deaths::ByHand;
    world.submit("t1", General).unwrap();
    world
}

/// The rest of the way down.
fn dies(world: &mut World) {
    world.pass(2.5);
    world.signal("anna");
    world.pass(2.5);
    world.give_up_run("anna");
    world.pass(0.5);
    world.tree_gone("anna");
}

#[test]
fn each_step_of_a_cancel_is_in_the_attempt_although_the_task_has_ended() {
    let mut world = by_hand();
    world.expect_stop("t1", "not stopped");
    world.pass(1.0);
    world.cancel("t1").unwrap();
    world.expect_stop("t1", "cancelled: asked 1");
    world.pass(2.5);
    world.signal("anna");
    world.expect_stop("t1", "cancelled: asked 1, signalled 3.5");
    world.pass(2.5);
    world.give_up_run("anna");
    assert_eq!(world.wanted(kills), 1);
    world.expect_stop("t1", "cancelled: asked 1, signalled 3.5, killed 6");
    world.pass(0.5);
    world.tree_gone("anna");
    world.expect("t1", "cancelled on anna, attempt 1");
    world.expect_stop("t1", "cancelled: asked 1, signalled 3.5, killed 6, over 6.5");
}

#[test]
fn a_run_that_does_as_it_is_asked_is_neither_signalled_nor_killed() {
    let mut world = by_hand();
    world.submit_with("t2", General, |spec| spec.timeout_us = Some(seconds(3.0))).unwrap();
    world.cancel("t1").unwrap();
    world.pass(1.0);
    world.finish("anna", Report::Cancelled { usage: None });
    world.expect_stop("t1", "cancelled: asked 0, over 1");
    world.pass(3.0);
    world.expect_stop("t2", "timed_out: asked 3");
    world.pass(0.5);
    world.finish("anna", success());
    world.expect("t2", "completed on anna, attempt 1");
    world.expect_stop("t2", "timed_out: asked 3, over 3.5");
}

#[test]
fn what_no_run_is_about_notes_no_signal() {
    let mut world = by_hand();
    world.signal("anna");
    world.expect_stop("t1", "not stopped");
    world.lose("anna");
    world.expect_stop("t1", "not stopped");
}

#[test]
fn the_first_reason_began_the_ladder_and_there_is_only_one() {
    let mut world = World::with_agents(["anna"]);
    world.deaths = Deaths::ByHand;
    world.submit_with("t1", General, |spec| spec.timeout_us = Some(seconds(1.0))).unwrap();
    world.pass(1.0);
    assert_eq!(world.wanted(asks), 1);
    world.pass(0.5);
    world.cancel("t1").unwrap();
    assert_eq!(world.wanted(asks), 0, "it was asked before");
    world.remove("anna", 0).unwrap();
    assert_eq!(world.wanted(asks) + world.wanted(kills), 0, "the first ladder goes on");
    world.pass(0.5);
    world.give_up_run("anna");
    world.tree_gone("anna");
    world.expect("t1", "cancelled on anna, attempt 1");
    world.expect_stop("t1", "timed_out: asked 1, killed 2, over 2");
    world.expect_agent("anna", "gone");
}

#[test]
fn a_client_that_fails_the_agent_shortens_the_ladder() {
    let mut world = by_hand();
    world.cancel("t1").unwrap();
    world.pass(1.0);
    world.fail("anna").unwrap();
    assert_eq!(world.wanted(kills), 1);
    world.actor_gone("anna");
    world.tree_gone("anna");
    world.expect_stop("t1", "cancelled: asked 0, killed 1, over 1");
}

#[test]
fn an_agent_that_a_client_failed_is_killed_at_once_and_one_that_went_silent_too() {
    let mut world = by_hand();
    world.fail("anna").unwrap();
    world.tree_gone("anna");
    world.actor_gone("anna");
    world.expect_stop("t1", "agent_failed: killed 0, over 0");
    let mut world = by_hand();
    world.goes_silent("anna");
    world.expect_stop("t1", "agent_unfit: killed 0");
    world.cancel("t1").unwrap();
    assert_eq!(world.wanted(asks), 0, "it is being killed");
    world.pass(1.0);
    world.tree_gone("anna");
    world.actor_gone("anna");
    world.expect_stop("t1", "agent_unfit: killed 0, over 1");
}

#[test]
fn an_order_to_leave_is_a_ladder_and_a_result_within_the_grace_still_counts() {
    let orders: [fn(&mut World); 3] = [
        |world| world.remove("anna", 0).unwrap(),
        |world| world.close_pool(0, false),
        |world| {
            world.drain();
            world.stop_listening();
            world.stop_process_runs();
        },
    ];
    for order in orders {
        let mut world = by_hand();
        order(&mut world);
        assert_eq!((world.wanted(asks), world.wanted(kills)), (1, 0));
        world.expect("t1", "in_progress on anna, attempt 1");
        dies(&mut world);
        world.expect_attempts("t1", "interrupted on anna");
        world.expect_stop("t1", "interrupted: asked 0, signalled 2.5, killed 5, over 5.5");

        let mut world = by_hand();
        order(&mut world);
        world.pass(1.0);
        world.finish("anna", success());
        assert_eq!(
            world.wanted(|effect| matches!(effect, Effect::StopAgent { .. })),
            1,
            "now it is idle and ends politely"
        );
        world.expect("t1", "completed on anna, attempt 1");
        world.expect_stop("t1", "interrupted: asked 0, over 1");

        // What fails then may fail because it was told to stop, and costs nothing.
        for report in [error(true), error(false), Report::Cancelled { usage: None }] {
            let mut world = by_hand();
            order(&mut world);
            world.finish("anna", report);
            world.expect_attempts("t1", "interrupted on anna");
            assert_eq!(world.view("t1").summary.failures, 0);
        }
    }
}

#[test]
fn a_second_order_to_stop_kills_at_once() {
    let mut world = by_hand();
    world.spawn("bert");
    world.drain();
    world.stop_process_runs();
    world.pass(1.0);
    world.call(|s, now, fx| s.kill_processes(now, fx));
    assert_eq!(world.wanted(kills), 2, "the idle one, too");
    world.expect_stop("t1", "interrupted: asked 0, killed 1");
    for who in ["anna", "bert"] {
        world.actor_gone(who);
        world.tree_gone(who);
    }
    world.expect_attempts("t1", "interrupted on anna");
    assert_eq!(world.wanted(|effect| matches!(effect, Effect::ProcessesStopped)), 1);
}

#[test]
fn without_a_grace_every_stop_is_a_kill() {
    let orders: [fn(&mut World); 4] = [
        |world| drop(world.cancel("t1")),
        |world| world.pass(9.0),
        |world| world.remove("anna", 0).unwrap(),
        World::stop_process_runs,
    ];
    let reasons = ["cancelled", "timed_out", "interrupted", "interrupted"];
    for (order, reason) in orders.into_iter().zip(reasons) {
        let mut world = World::with(|limits| limits.cancel_grace_us = 0, Vec::new());
        world.spawn("anna");
        world.deaths = Deaths::ByHand;
        world.submit_with("t1", General, |spec| spec.timeout_us = Some(seconds(9.0))).unwrap();
        world.submit("t2", General).unwrap();
        order(&mut world);
        assert_eq!((world.wanted(asks), world.wanted(kills)), (0, 1), "{reason}");
        // Its last words count, but it gets nothing more.
        world.finish("anna", success());
        world.expect("t2", "pending: no_idle_agent");
        world.actor_gone("anna");
        world.tree_gone("anna");
        let stop = world.view("t1").attempts[0].stop.expect("it was stopped");
        assert_eq!((stop.reason.name(), stop.asked), (reason, None));
        assert!(stop.killed.is_some() && stop.over.is_some(), "{stop:?}");
    }
}

#[test]
fn an_external_agent_is_asked_and_what_nobody_saw_end_is_never_over() {
    for answers in [true, false] {
        let mut world = World::new();
        world.join("eve");
        world.submit("t1", General).unwrap();
        world.fetch("eve").unwrap();
        world.pass(1.0);
        world.cancel("t1").unwrap();
        world.expect_stop("t1", "cancelled: asked 1");
        if answers {
            world.pass(2.0);
            world.complete("t1", None, success()).unwrap_err();
            world.expect_stop("t1", "cancelled: asked 1, over 3");
        } else {
            world.pass(5.0);
            world.expect_agent("eve", "idle");
            world.expect_stop("t1", "cancelled: asked 1");
        }
    }
    let mut world = World::new();
    world.join("eve");
    world.submit("t1", General).unwrap();
    world.remove("eve", 0).unwrap();
    world.expect_stop("t1", "interrupted: over 0");
}

#[test]
fn an_unkillable_run_is_never_over_and_a_crash_ends_what_was_asked() {
    let mut world = by_hand();
    world.goes_silent("anna");
    world.pass(30.0);
    world.tree_stuck("anna");
    world.expect_stop("t1", "agent_unfit: killed 0");

    let mut world = World::with_agents(["anna"]);
    world.deaths = Deaths::ByHand;
    world.submit_with("t1", General, |spec| spec.timeout_us = Some(seconds(1.0))).unwrap();
    world.pass(1.0);
    world.crash_for(1.0, false);
    world.expect_attempts("t1", "interrupted on anna");
    world.expect_stop("t1", "timed_out: asked 1, over 2");
}

#[test]
fn what_a_stopped_attempt_used_counts() {
    let usage = Some(Usage { input_tokens: 7, output_tokens: 3, ..Usage::default() });
    let mut world = by_hand();
    world.remove("anna", 0).unwrap();
    world.finish("anna", Report::Cancelled { usage });
    world.expect_attempts("t1", "interrupted on anna");
    let end = world.view("t1").attempts[0].end.clone().expect("it ended");
    assert_eq!(end.usage, usage);

    let mut world = World::with_agents(["anna"]);
    world.join("eve");
    world.submit_to("t1", "eve").unwrap();
    world.child("c1", "t1").unwrap();
    world.remove("anna", 0).unwrap();
    world.complete("t1", None, Report::Failed { error: oops(), usage }).unwrap();
    let record = world.view("t1").attempts[0].clone();
    let end = record.end.expect("it ended");
    assert_eq!((end.outcome, end.usage), (Outcome::Interrupted, usage), "of a deadlock");
    assert_eq!(world.metrics().input_tokens, 7);
}

fn oops() -> TaskError {
    TaskError { code: "oops".into(), message: "it was told to end".into(), retryable: true }
}

#[test]
fn a_worker_that_died_by_itself_was_not_killed() {
    // The tree is gone, and its actor has another reason to end.
    let mut world = by_hand();
    world.tree_gone("anna");
    world.pass(1.0);
    world.give_up_run("anna");
    assert_eq!(world.wanted(kills), 0);
    world.expect_attempts("t1", "agent_failed on anna");
    world.expect_stop("t1", "not stopped");

    // The same, and somebody cancels in between: there is nobody left to be asked.
    let mut world = by_hand();
    world.tree_gone("anna");
    world.cancel("t1").unwrap();
    assert_eq!((world.wanted(asks), world.wanted(kills)), (0, 0));
    world.pass(1.0);
    world.actor_gone("anna");
    world.expect_stop("t1", "cancelled: over 1");
}
