//! Trying again by order, repeated submits, and when a task is likely to start.

use super::disk::as_read;
use super::world::{World, agent, error, seconds, success, task};
use crate::domain::TaskType::{General, Ingest, Research};
use crate::domain::{
    Effect, Event, GateSpec, MAX_MESSAGE_BYTES, Refusal, Report, TaskError, TaskStatus,
};

/// A world in which `t1` failed on anna and bert, and for good.
fn failed() -> World {
    let mut world = World::with_agents(["anna", "bert", "carl"]);
    world.submit("t1", General).unwrap();
    world.lose("anna");
    world.lose("bert");
    world.finish("carl", error(true));
    world.expect("t1", "failed on carl, attempt 3, failures 3, excludes anna bert");
    world
}

#[test]
fn a_retry_forgets_the_failures_and_goes_on_counting_attempts() {
    let mut world = failed();
    world.restart("anna");
    world.remove("carl", 0).unwrap();
    assert_eq!(world.retry("t1"), Ok(Some(TaskStatus::InProgress)));
    world.expect("t1", "in_progress on anna, attempt 4");
    assert_eq!(world.view("t1").summary.error, None);
    world.expect_attempts(
        "t1",
        "agent_failed on anna, agent_failed on bert, failed on carl, open on anna",
    );
    world.finish("anna", error(true));
    world.expect("t1", "pending: retry_backoff, attempt 4, failures 1");
    world.pass(1.0);
    world.finish("anna", success());
    world.expect("t1", "completed on anna, attempt 5, failures 1");
}

#[test]
fn a_task_that_is_given_up_says_what_counted_since_it_was_tried_again() {
    let mut world = failed();
    for who in ["anna", "bert"] {
        world.restart(who);
    }
    world.retry("t1").unwrap();
    world.remove("anna", 0).unwrap(); // which counts not
    world.lose("bert");
    world.restart("bert");
    world.finish("carl", error(true));
    world.pass(2.0);
    world.finish("carl", error(true));
    world.expect("t1", "failed on carl, attempt 7, failures 3, excludes bert");
    let given_up = world.view("t1").summary.error.unwrap();
    assert_eq!(given_up.code, "oops");
    let said: Vec<_> = given_up.message.split("; ").collect();
    assert_eq!(said[0], "given up after 3 failures");
    for (reason, begin) in said[1..].iter().zip(["attempt 5 on", "attempt 6 on", "attempt 7 on"]) {
        assert!(reason.starts_with(begin), "{said:?}");
    }
    assert_eq!(said.len(), 4, "{said:?}");
}

#[test]
fn what_a_task_says_that_is_given_up_is_cut() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    for wait_s in [1.0, 2.0, 0.0] {
        let (code, message) = ("oops".into(), "x".repeat(4_000));
        let error = TaskError { code, message, retryable: true };
        world.finish("anna", Report::Failed { error, usage: None });
        world.pass(wait_s);
    }
    let message = world.view("t1").summary.error.unwrap().message;
    assert_eq!(message.len(), MAX_MESSAGE_BYTES, "{message}");
}

#[test]
fn a_retry_begins_the_wait_again() {
    let mut world = World::new();
    world.submit("t1", General).unwrap();
    world.cancel("t1").unwrap();
    world.pass(3_000.0);
    world.submit("t2", General).unwrap();
    world.pass(600.0);
    world.retry("t1").unwrap();
    world.pass(0.25);
    let waits = |world: &World| world.metrics().oldest_wait[0].wait_s;
    assert_eq!(waits(&world), 600.25, "the other one waits longer");
    world.cancel("t2").unwrap();
    assert_eq!(waits(&world), 0.25);
    world.crash();
    world.join("eve");
    world.fetch("eve").unwrap();
    assert_eq!(world.metrics().avg_assignment_latency_ms, Some(250.0));
    assert_eq!(world.metrics().assignment_latency_over_target, 0);
    world.complete("t1", None, error(false)).unwrap();
    world.pass(10.0);
    world.retry("t1").unwrap();
    let summary = world.view("t1").summary;
    assert_eq!(summary.first_started, None);
    assert_eq!(summary.asked.mono_us - summary.created.mono_us, seconds(3_610.25));
    world.fetch("eve").unwrap();
    assert_eq!(world.metrics().avg_assignment_latency_ms, Some(125.0), "a submit of its own");
}

#[test]
fn a_retry_begins_the_count_of_interruptions_again() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    for _ in 0..5 {
        world.crash();
        world.restart("anna");
    }
    world.expect("t1", "failed on anna, attempt 5, failures 3");
    world.retry("t1").unwrap();
    for _ in 0..2 {
        world.crash();
        world.restart("anna");
    }
    world.expect("t1", "in_progress on anna, attempt 8");
    world.crash();
    world.expect("t1", "pending: no_idle_agent, attempt 8, failures 1");
}

#[test]
fn what_is_tried_again_takes_its_old_place() {
    let mut world = World::new();
    for what in ["t1", "t2", "t3"] {
        world.submit(what, General).unwrap();
    }
    world.cancel("t1").unwrap();
    assert_eq!(world.retry("t1"), Ok(Some(TaskStatus::Pending)));
    world.expect("t1", "pending: pool_empty");
    assert_eq!(world.view("t1").summary.waiting.unwrap().position, Some(1));
    assert_eq!(world.metrics().tasks_total, 4, "it counts as a submit");
    world.crash();
    assert_eq!(world.view("t1").summary.waiting.unwrap().position, Some(1));
}

#[test]
fn only_what_failed_or_was_cancelled_is_tried_again() {
    let mut world = World::with_agents(["anna"]);
    let refused = |status| Err(Refusal::NotRetryable { status });
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    assert_eq!(world.retry("t1"), refused(TaskStatus::InProgress));
    assert_eq!(world.retry("t2"), refused(TaskStatus::Pending));
    world.finish("anna", success());
    assert_eq!(world.retry("t1"), refused(TaskStatus::Completed));
    assert_eq!(world.retry("t9"), Err(Refusal::TaskNotFound));
    world.expect("t1", "completed on anna, attempt 1");
}

#[test]
fn a_retry_counts_with_the_queue_until_it_is_placed() {
    let mut world = World::with(|limits| limits.max_depth = 1, Vec::new());
    world.submit("t1", General).unwrap();
    world.cancel("t1").unwrap();
    world.submit("t2", General).unwrap();
    assert!(matches!(world.retry("t1"), Err(Refusal::QueueFull { .. })));
    world.expect("t1", "cancelled");
    world.cancel("t2").unwrap();
    world.retry("t1").unwrap();
    assert!(matches!(world.submit("t3", General), Err(Refusal::QueueFull { .. })));
    world.spawn("anna");
    assert_eq!(world.scheduler.room(), 1);
    world.lose("anna");
    assert_eq!(world.scheduler.room(), 1, "what comes back counts nowhere");
}

#[test]
fn a_retry_is_refused_as_a_submit_is() {
    let mut world = failed();
    world.scheduler.set_store_full(Some(64));
    assert_eq!(world.retry("t1"), Err(Refusal::StoreFull { min_free_mb: 64 }));
    world.scheduler.set_store_full(None);
    world.drain();
    assert_eq!(world.retry("t1"), Err(Refusal::Draining));
    assert_eq!(world.retry_all(TaskStatus::Failed), Err(Refusal::Draining));
    world.expect("t1", "failed on carl, attempt 3, failures 3, excludes anna bert");
}

#[test]
fn a_cancelled_task_is_tried_again_when_its_run_is_over() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.submit("t1", General).unwrap();
    world.cancel("t1").unwrap();
    assert_eq!(world.retry("t1"), Ok(None));
    world.expect("t1", "cancelled on anna, attempt 1");
    world.pass(1.0);
    world.finish("anna", success());
    world.expect("t1", "in_progress on bert, attempt 2");
}

#[test]
fn of_many_the_oldest_are_tried_again_as_many_as_may_wait() {
    let mut world = World::with(|limits| limits.max_depth = 3, Vec::new());
    for n in 1..=5 {
        world.submit(&format!("t{n}"), General).unwrap();
        world.cancel(&format!("t{n}")).unwrap();
    }
    world.submit("t6", General).unwrap();
    assert_eq!(world.retry_all(TaskStatus::Failed), Ok(0));
    assert_eq!(world.retry_all(TaskStatus::Cancelled), Ok(2));
    world.expect("t2", "pending: pool_empty");
    world.expect("t3", "cancelled");
    assert!(matches!(world.retry_all(TaskStatus::Cancelled), Err(Refusal::QueueFull { .. })));
    assert_eq!(world.metrics().tasks_rejected, 1);
    assert!(matches!(world.retry("t3"), Err(Refusal::QueueFull { .. })));
    assert_eq!(world.metrics().tasks_rejected, 2);
    let told = |effect: &Effect| matches!(effect, Effect::Event(Event::TaskRejected { .. }));
    assert_eq!(world.wanted(told), 1);
    world.cancel("t6").unwrap();
    assert_eq!(world.retry_found(TaskStatus::Cancelled, 3), Ok(1), "others came meanwhile");
    world.expect("t3", "pending: pool_empty");
    world.expect("t4", "cancelled");
}

#[test]
fn what_was_read_before_its_run_was_over_is_not_put_back_as_it_was() {
    let mut world = World::new();
    world.join("eve");
    world.submit("t1", General).unwrap();
    world.fetch("eve").unwrap();
    world.cancel("t1").unwrap();
    let (ran_on, read) = (world.scheduler.ran_on(), as_read(world.disk.task(task("t1")).unwrap()));
    world.pass(5.0);
    assert_eq!(world.call(|s, now, fx| s.retry_all(vec![read], &ran_on, now, fx)), Ok(0));
    assert_eq!(world.retry_all(TaskStatus::Cancelled), Ok(1));
    world.expect_attempts("t1", "cancelled on eve (overlap possible), open on eve");
}

#[test]
fn many_are_tried_again_in_their_order_and_then_given_away() {
    let mut world = World::new();
    for what in ["t1", "t2"] {
        world.submit(what, General).unwrap();
        world.cancel(what).unwrap();
    }
    world.join("eve");
    assert_eq!(world.retry_all(TaskStatus::Cancelled), Ok(2));
    world.expect("t1", "in_progress on eve, attempt 1");
    world.expect("t2", "pending: no_idle_agent");
    world.cancel("t1").unwrap();
    assert_eq!(world.retry_all(TaskStatus::Cancelled), Ok(0), "its run goes on");
}

// --- repeated submits ---

#[test]
fn a_repeated_submit_is_answered_with_its_task_wherever_that_is() {
    let mut world = World::new();
    world.submit("t0", General).unwrap();
    let first = world.submit_keyed("t1", "key", 1, |_| {}).unwrap();
    assert_eq!((first.status, first.queue_position), (TaskStatus::Pending, Some(2)));
    let again = |world: &mut World| world.submit_keyed("t2", "key", 1, |_| {}).unwrap();
    assert_eq!(again(&mut world), first);
    world.cancel("t0").unwrap();
    assert_eq!(again(&mut world).queue_position, Some(1), "as it is now");
    world.spawn("anna");
    let given = again(&mut world);
    assert_eq!((given.task_id, given.status), (task("t1"), TaskStatus::InProgress));
    assert_eq!((given.assigned_agent_id, given.queue_position), (Some(agent("anna")), None));
    world.finish("anna", error(false));
    let ended = again(&mut world);
    assert_eq!((ended.task_id, ended.status), (task("t1"), TaskStatus::Failed));
    assert_eq!(ended.assigned_agent_id, Some(agent("anna")));
    world.crash();
    assert_eq!(again(&mut world), ended);
    world.retry("t1").unwrap();
    let back = again(&mut world);
    assert_eq!((back.task_id, back.status), (task("t1"), TaskStatus::Pending));
    assert_eq!(back.assigned_agent_id, None, "nobody has it");
    world.crash();
    assert_eq!(again(&mut world), back);
    world.expect("t2", "unknown");
}

#[test]
fn a_key_with_other_content_is_a_conflict_wherever_its_task_is() {
    let mut world = World::with_agents(["anna"]);
    world.submit_keyed("t1", "key", 1, |_| {}).unwrap();
    let conflict = Err(Refusal::IdempotencyConflict { task_id: task("t1") });
    assert_eq!(world.submit_keyed("t2", "key", 2, |_| {}), conflict);
    world.finish("anna", success());
    assert_eq!(world.submit_keyed("t2", "key", 2, |_| {}), conflict);
    assert!(world.submit_keyed("t2", "other", 2, |_| {}).is_ok());
}

#[test]
fn a_key_that_was_never_on_disk_is_free() {
    let mut world = World::new();
    world.lost_after = Some(0);
    let _unheard = world.submit_keyed("t1", "key", 1, |_| {});
    world.crash();
    assert_eq!(world.submit_keyed("t2", "key", 2, |_| {}).unwrap().task_id, task("t2"));
}

// --- when a task is likely to start ---

fn eta_s(world: &World, what: &str) -> Option<f64> {
    let waiting = world.view(what).summary.waiting.expect("it waits");
    waiting.eta_us.map(|us| us as f64 / 1e6)
}

#[test]
fn a_task_knows_when_it_is_likely_to_start_once_its_type_was_completed() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.teach("anna", General, 4.0);
    world.teach("bert", General, 8.0);
    for what in ["t1", "t2", "t3", "t4"] {
        world.submit(what, General).unwrap();
    }
    world.submit("t5", Ingest).unwrap();
    assert_eq!(eta_s(&world, "t3"), Some(3.0), "6 s on average, and two agents share them");
    assert_eq!(eta_s(&world, "t4"), Some(6.0));
    assert_eq!(eta_s(&world, "t5"), None, "nobody knows how long that takes");
    let listed = world.scheduler.summaries(&[task("t4"), task("t9")], world.now);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].waiting.as_ref().unwrap().eta_us, Some(6_000_000), "as in a list");
    world.lose("anna");
    world.lose("bert");
    assert_eq!(eta_s(&world, "t4"), None, "nobody serves");
}

#[test]
fn a_retry_is_not_likely_to_start_before_its_backoff_ends() {
    let mut world = World::with_agents(["anna"]);
    world.teach("anna", General, 0.1);
    world.submit("t1", General).unwrap();
    world.finish("anna", error(true));
    assert_eq!(eta_s(&world, "t1"), Some(1.0));
    world.pass(0.75);
    assert_eq!(eta_s(&world, "t1"), Some(0.25));
}

#[test]
fn a_task_that_failed_everywhere_is_not_likely_to_start_before_that_is_forgiven() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.teach("anna", General, 1.0);
    world.submit_to("t1", "anna").unwrap();
    world.remove("bert", 0).unwrap();
    world.lose("anna");
    world.restart("anna");
    assert_eq!(eta_s(&world, "t1"), Some(10.0));
    world.pass(4.0);
    assert_eq!(eta_s(&world, "t1"), Some(6.0));
    world.spawn_for("carl", [Ingest, General].into_iter().collect());
    world.expect("t1", "in_progress on carl, attempt 2, failures 1, excludes anna");
    world.lose("carl");
    world.restart("carl");
    world.pass(9.9);
    assert_eq!(eta_s(&world, "t1"), Some(0.5), "two agents share one second");
}

#[test]
fn after_a_start_the_newest_latencies_of_all_agents_count_alike() {
    let mut world = World::with(|limits| limits.affinity_window = 2, Vec::new());
    for (who, took_s) in [("anna", 9.0), ("bert", 1.0)] {
        world.join(who);
        world.teach(who, General, 8.0);
        world.teach(who, General, took_s);
    }
    world.crash();
    for what in ["t1", "t2", "t3"] {
        world.submit(what, General).unwrap();
    }
    assert_eq!(eta_s(&world, "t3"), Some(2.5), "5 s on average, and two agents");
}

#[test]
fn a_clock_that_was_turned_while_there_was_no_daemon_teaches_nothing_wrong() {
    for (down_s, words) in [
        (-60.0, "longest_idle: eve, of 1"),
        (86_400.0, "affinity: eve(25000), of 1"),
        (10.0, "affinity: eve(12000), of 1"),
    ] {
        let mut world = World::new();
        world.join("eve");
        world.submit_with("t1", General, |spec| spec.timeout_us = Some(seconds(20.0))).unwrap();
        world.fetch("eve").unwrap();
        world.pass(1.0);
        world.crash_for(down_s, false);
        world.pass(1.0);
        world.complete("t1", None, success()).unwrap();
        world.submit("t2", General).unwrap();
        world.expect_decision("t2", words);
        let stats = world.scheduler.agent_view(agent("eve")).unwrap().stats;
        assert_eq!(stats.completed, 1);
    }
}

#[test]
fn only_agents_that_are_there_and_stay_bring_a_task_forward() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.teach("anna", General, 4.0);
    world.join_leased("eve", 10);
    for what in ["t1", "t2", "t3"] {
        world.submit(what, General).unwrap();
    }
    assert_eq!(eta_s(&world, "t3"), Some(2.0), "of two agents");
    world.remove("bert", 60).unwrap();
    assert_eq!(eta_s(&world, "t3"), Some(4.0), "one of them takes nothing any more");
    world.heartbeat("eve").unwrap();
    world.submit("t4", General).unwrap();
    assert_eq!(eta_s(&world, "t4"), Some(2.0), "and one that has called takes some");
}

#[test]
fn nobody_knows_when_a_gate_opens() {
    let types = [Research].into_iter().collect();
    let mut world = World::with(|_| {}, vec![GateSpec::new("web", types)]);
    world.spawn("anna");
    world.teach("anna", Research, 1.0);
    world.gate("web", false);
    world.submit("t1", Research).unwrap();
    assert_eq!(eta_s(&world, "t1"), None);
}

#[test]
fn what_tasks_take_is_known_after_a_start_and_after_their_agents_are_gone() {
    let mut world = World::new();
    world.join("eve");
    world.teach("eve", General, 2.0);
    world.join("finn");
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    world.submit("t3", General).unwrap();
    assert_eq!(eta_s(&world, "t3"), Some(1.0));
    world.crash();
    assert_eq!(eta_s(&world, "t3"), Some(1.0));
    world.remove("eve", 60).unwrap();
    assert_eq!(eta_s(&world, "t3"), Some(2.0));
}
