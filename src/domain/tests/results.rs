//! One result per task, cancels and time-outs: rules 10 and 11.

use super::world::{World, error, seconds, success};
use crate::domain::TaskType::General;
use crate::domain::{Report, TaskStatus};

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
