//! One result per task, cancels and time-outs: rules 10 and 11.

use super::world::{World, error, name, seconds, success};
use crate::domain::TaskType::General;
use crate::domain::{Attempt, Effect, Refusal, Report, TaskStatus};

fn finished(status: TaskStatus, by: u32) -> Result<TaskStatus, Refusal> {
    Err(Refusal::AlreadyFinished { status, finished_by: Some(Attempt::new(by)) })
}

fn stale(given: u32, newest: u32) -> Refusal {
    Refusal::StaleAttempt { given: Attempt::new(given), newest: Attempt::new(newest) }
}

#[test]
fn within_the_grace_of_a_time_out_a_result_counts_and_a_failure_does_not() {
    for external in [true, false] {
        let mut world = World::new();
        if external {
            world.join("anna");
        } else {
            world.spawn("anna");
        }
        let answer = |world: &mut World, what: &str, report: Report| {
            if external {
                let _ = world.complete(what, None, report);
            } else {
                world.finish("anna", report);
            }
        };
        for (what, report) in [("t1", success()), ("t2", error(false))] {
            world.submit_with(what, General, |spec| spec.timeout_us = Some(seconds(1.0))).unwrap();
            world.pass(2.0);
            world.expect(what, "in_progress on anna, attempt 1");
            answer(&mut world, what, report);
        }
        world.expect("t1", "completed on anna, attempt 1");
        world.expect("t2", "pending: excluded_everywhere, attempt 1, failures 1, excludes anna");
        world.expect_attempts("t2", "timed_out on anna");
    }
}

#[test]
fn an_agent_cannot_cancel_a_task_that_nobody_cancelled() {
    let mut world = World::new();
    world.join("eve");
    world.submit("t1", General).unwrap();
    let answer = world.complete("t1", None, Report::Cancelled { usage: None });
    assert_eq!(answer, Ok(TaskStatus::Pending));
    world.expect("t1", "pending: retry_backoff, attempt 1, failures 1");
}

/// A completed task could be completed again and freed an agent that already ran the next task.
#[test]
fn a_second_answer_is_refused_and_frees_nobody() {
    let mut world = World::new();
    world.join("eve");
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    assert_eq!(world.complete("t1", Some(1), success()), Ok(TaskStatus::Completed));
    world.expect("t2", "in_progress on eve, attempt 1");
    assert_eq!(world.complete("t1", Some(1), error(false)), finished(TaskStatus::Completed, 1));
    world.expect("t2", "in_progress on eve, attempt 1");
    assert_eq!(world.complete("t1", Some(7), success()), finished(TaskStatus::Completed, 1));
    assert_eq!(world.cancel("t1"), finished(TaskStatus::Completed, 1));
}

/// An acknowledgement that names only the task lets a zombie finish the new attempt.
#[test]
fn a_late_answer_of_an_older_attempt_is_refused() {
    let mut world = World::new();
    world.join("eve");
    world.submit("t1", General).unwrap();
    world.fail("eve").unwrap();
    world.join("finn");
    world.expect("t1", "in_progress on finn, attempt 2, failures 1, excludes eve");
    assert_eq!(world.complete("t1", Some(1), success()), Err(stale(1, 2)));
    let required = Refusal::AttemptRequired { newest: Attempt::new(2) };
    assert_eq!(world.complete("t1", None, success()), Err(required));
    assert_eq!(world.complete("t1", Some(2), success()), Ok(TaskStatus::Completed));
    assert_eq!(world.complete("t1", Some(1), success()), finished(TaskStatus::Completed, 2));
}

#[test]
fn reports_that_are_not_about_the_present_run_are_dropped() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    world.report("bert", 1, "t1", 1, success());
    world.report("anna", 1, "t1", 2, success());
    world.report("anna", 2, "t1", 1, success());
    world.report("anna", 1, "t9", 1, success());
    world.expect("t1", "in_progress on anna, attempt 1");
    world.lose("anna");
    world.restart("anna");
    world.pass(10.0);
    world.expect("t1", "in_progress on anna, attempt 2, failures 1, excludes anna");
    world.report("anna", 1, "t1", 2, success());
    world.expect("t1", "in_progress on anna, attempt 2, failures 1, excludes anna");
    world.report("anna", 2, "t1", 2, success());
    world.expect("t1", "completed on anna, attempt 2, failures 1, excludes anna");
}

#[test]
fn complete_is_refused_for_every_other_reason_too() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    assert_eq!(world.complete("t9", None, success()), Err(Refusal::TaskNotFound));
    assert_eq!(world.complete("t1", None, success()), Err(Refusal::NotExternal));
    assert_eq!(world.complete("t2", None, success()), Err(Refusal::NotRunning));
    assert_eq!(world.complete("t2", Some(1), success()), Err(stale(1, 0)));
    world.lose("anna");
    assert_eq!(world.complete("t1", Some(1), success()), Err(stale(1, 1)), "it has ended");
    assert_eq!(world.cancel("t9"), Err(Refusal::TaskNotFound));
}

#[test]
fn a_pending_task_is_cancelled_at_once_by_no_attempt() {
    let mut world = World::new();
    world.submit("t1", General).unwrap();
    assert_eq!(world.cancel("t1"), Ok(TaskStatus::Cancelled));
    world.expect("t1", "cancelled");
    let refused = Refusal::AlreadyFinished { status: TaskStatus::Cancelled, finished_by: None };
    assert_eq!(world.cancel("t1"), Err(refused));
}

/// "Still running after cancellation": the slot is free only when the run is over.
#[test]
fn the_agent_of_a_cancelled_task_takes_nothing_until_its_run_is_over() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    world.cancel("t1").unwrap();
    assert_eq!(world.wanted(|effect| matches!(effect, Effect::CancelRun { .. })), 1);
    world.expect("t1", "cancelled on anna, attempt 1");
    world.expect_agent("anna", "analyzing t1");
    world.expect("t2", "pending: no_idle_agent");
    world.finish("anna", success());
    world.expect("t1", "cancelled on anna, attempt 1");
    world.expect("t2", "in_progress on anna, attempt 1");
}

#[test]
fn the_death_of_a_process_that_was_cancelled_or_timed_out_counts_against_nobody() {
    for cancelled in [true, false] {
        let mut world = World::with_agents(["anna"]);
        world.submit_with("t1", General, |spec| spec.timeout_us = Some(seconds(1.0))).unwrap();
        if cancelled {
            world.cancel("t1").unwrap();
        }
        world.pass(1.0);
        world.lose("anna");
        let pardoned = |effect: &Effect| match effect {
            Effect::AgentLost { ended, .. } => !ended.counts,
            _ => false,
        };
        assert_eq!(world.wanted(pardoned), 1);
    }
}

#[test]
fn an_external_agent_learns_of_a_cancel_by_its_heartbeat_and_its_refused_answer_ends_the_run() {
    let mut world = World::new();
    world.join("eve");
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    assert!(!world.heartbeat("eve").unwrap().cancel_requested);
    world.cancel("t1").unwrap();
    let heartbeat = world.heartbeat("eve").unwrap();
    assert!(heartbeat.cancel_requested);
    assert_eq!(heartbeat.run.map(|(id, _)| name(id)).as_deref(), Some("t1"));
    assert_eq!(world.fetch("eve"), Ok(None), "there is nothing to do for it");
    world.expect("t2", "pending: no_idle_agent");
    assert_eq!(world.complete("t1", None, success()), finished(TaskStatus::Cancelled, 1));
    world.expect("t2", "in_progress on eve, attempt 1");
    world.expect_attempts("t1", "cancelled on eve");
}

#[test]
fn an_external_agent_that_never_answers_is_waited_for_as_long_as_the_grace() {
    let mut world = World::new();
    world.join("eve");
    world.submit("t1", General).unwrap();
    world.submit_with("t2", General, |spec| spec.timeout_us = Some(seconds(3.0))).unwrap();
    world.cancel("t1").unwrap();
    world.pass(4.9);
    world.expect("t2", "pending: no_idle_agent");
    world.pass(0.1);
    world.expect_attempts("t1", "cancelled on eve (overlap possible)");
    world.expect("t2", "in_progress on eve, attempt 1");
    world.pass(7.9);
    world.expect("t2", "in_progress on eve, attempt 1");
    world.pass(0.1);
    world.expect("t2", "pending: excluded_everywhere, attempt 1, failures 1, excludes eve");
    world.expect_attempts("t2", "timed_out on eve (overlap possible)");
    assert_eq!(world.complete("t2", None, success()), Err(Refusal::NotRunning));
}

#[test]
fn a_cancel_in_the_grace_of_a_time_out_wins() {
    for external in [true, false] {
        let mut world = World::new();
        if external {
            world.join("anna");
        } else {
            world.spawn("anna");
        }
        world.submit_with("t1", General, |spec| spec.timeout_us = Some(seconds(1.0))).unwrap();
        world.pass(2.0);
        assert_eq!(world.cancel("t1"), Ok(TaskStatus::Cancelled));
        if external {
            assert_eq!(world.fetch("anna"), Ok(None), "there is nothing to do any more");
            world.pass(4.0);
        } else {
            world.lose("anna");
        }
        world.expect("t1", "cancelled on anna, attempt 1");
    }
}

#[test]
fn an_answer_without_a_fetch_counts_from_the_assignment() {
    let mut world = World::new();
    world.join("eve");
    world.submit("t1", General).unwrap();
    world.pass(3.0);
    world.complete("t1", None, success()).unwrap();
    assert_eq!(world.metrics().avg_task_duration, Some(3.0));
    let view = world.view("t1");
    assert_eq!(view.attempts[0].started, Some(view.attempts[0].assigned));
    assert_eq!(view.summary.first_started, Some(view.attempts[0].assigned));
}

#[test]
fn an_answer_that_may_be_about_an_older_attempt_does_not_end_a_cancelled_run() {
    let mut world = World::new();
    world.join("eve");
    world.submit("t1", General).unwrap();
    world.complete("t1", None, error(true)).unwrap();
    world.pass(1.0);
    world.cancel("t1").unwrap();
    assert_eq!(world.complete("t1", None, success()), finished(TaskStatus::Cancelled, 2));
    assert_eq!(world.complete("t1", Some(1), success()), finished(TaskStatus::Cancelled, 2));
    world.expect_agent("eve", "analyzing t1");
    assert_eq!(world.complete("t1", Some(2), success()), finished(TaskStatus::Cancelled, 2));
    world.expect_agent("eve", "idle");
}
