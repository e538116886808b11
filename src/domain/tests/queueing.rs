//! The queue: order, limits, positions and why a task waits (rules 4 and 6).

use super::world::{World, error, success};
use crate::domain::TaskType::{General, Ingest, Research};
use crate::domain::{Refusal, TaskStatus};

#[test]
fn a_higher_priority_goes_first_and_then_the_older_submission() {
    let mut world = World::new();
    for (what, priority) in [("t1", 0), ("t2", 5), ("t3", 5), ("t4", -100), ("t5", 100)] {
        world.submit_at(what, priority).unwrap();
    }
    world.spawn("anna");
    for what in ["t5", "t2", "t3", "t1", "t4"] {
        world.expect(what, "in_progress on anna, attempt 1");
        world.finish("anna", success());
    }
}

/// The reference implementation let a newer task overtake the queue when an agent was idle.
#[test]
fn a_new_task_goes_behind_older_ones_that_can_be_placed() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    world.spawn("bert");
    world.expect("t2", "in_progress on bert, attempt 1");
    world.submit_at("t3", -1).unwrap();
    world.submit_at("t4", 1).unwrap();
    world.finish("anna", success());
    world.expect("t4", "in_progress on anna, attempt 1");
    world.expect("t3", "pending: no_idle_agent");
}

/// The reference implementation popped the head of the queue and dropped it.
#[test]
fn a_task_that_cannot_be_placed_stays_and_holds_nobody_up() {
    let mut world = World::new();
    world.spawn_for("anna", [Ingest].into_iter().collect());
    world.submit("t1", Research).unwrap();
    world.submit("t2", Ingest).unwrap();
    world.expect("t2", "in_progress on anna, attempt 1");
    world.expect("t1", "pending: no_agent_for_type");
    assert_eq!(world.metrics().queue_length, 1);
}

#[test]
fn a_task_that_comes_back_takes_its_old_place() {
    let mut world = World::with_agents(["anna"]);
    for what in ["t1", "t2", "t3"] {
        world.submit(what, General).unwrap();
    }
    world.spawn_starting("bert", crate::domain::TaskTypes::ALL);
    world.lose("anna");
    assert_eq!(world.view("t1").summary.waiting.unwrap().position, Some(1));
    assert_eq!(world.view("t3").summary.waiting.unwrap().position, Some(3));
    world.ready("bert");
    world.expect("t1", "in_progress on bert, attempt 2, failures 1, excludes anna");
}

#[test]
fn a_full_queue_refuses_and_changes_nothing() {
    let mut world = World::with(|limits| limits.max_depth = 2, Vec::new());
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    let refused = Err(Refusal::QueueFull { max_depth: 2, retry_after_s: 5 });
    assert_eq!(world.submit("t3", General), refused, "5 s while the rate is unknown");
    world.expect("t3", "unknown");
    assert_eq!(world.metrics().queue_length, 2);
    assert_eq!(world.metrics().tasks_rejected, 1);
    assert_eq!(world.metrics().tasks_total, 2);
    world.cancel("t1").unwrap();
    assert!(world.submit("t3", General).is_ok(), "a cancelled task gives its place back");
}

#[test]
fn what_comes_back_counts_nowhere_and_is_never_refused() {
    let mut world = World::with(|limits| limits.max_depth = 1, Vec::new());
    world.spawn("anna");
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    world.lose("anna");
    assert_eq!(world.metrics().queue_length, 2, "t1 came back although the queue was full");
    world.spawn("bert");
    world.expect("t1", "in_progress on bert, attempt 2, failures 1, excludes anna");
    assert!(matches!(world.submit("t3", General), Err(Refusal::QueueFull { .. })));
    world.remove("bert", 0).unwrap();
    world.cancel("t2").unwrap();
    assert!(world.submit("t3", General).is_ok(), "only t1 waits, and it does not count");
}

#[test]
fn retry_after_follows_the_pace_of_the_pool() {
    let mut world = World::with(|limits| limits.max_depth = 1, Vec::new());
    world.spawn("anna");
    world.submit("t0", General).unwrap();
    for n in 1..=10 {
        world.submit(&format!("t{n}"), General).unwrap();
        world.pass(4.0);
        world.finish("anna", success());
    }
    world.submit("t11", General).unwrap();
    let refused = Refusal::QueueFull { max_depth: 1, retry_after_s: 4 };
    assert_eq!(world.submit("t12", General), Err(refused));
    world.pass(3_600.0);
    let refused = Refusal::QueueFull { max_depth: 1, retry_after_s: 60 };
    assert_eq!(world.submit("t12", General), Err(refused), "never more than a minute");
}

#[test]
fn positions_are_exact_to_a_thousand() {
    let mut world = World::with(|limits| limits.max_depth = 2_000, Vec::new());
    world.unchecked = true;
    for n in 1..=1_002 {
        let accepted = world.submit(&format!("t{n}"), General).unwrap();
        assert_eq!(accepted.status, TaskStatus::Pending);
        assert_eq!(accepted.queue_position, (n <= 1_000).then_some(n));
    }
    let accepted = world.submit_at("urgent", 1).unwrap();
    assert_eq!(accepted.queue_position, Some(1));
    assert_eq!(world.view("t999").summary.waiting.unwrap().position, Some(1_000));
    assert_eq!(world.view("t1000").summary.waiting.unwrap().position, None);
}

#[test]
fn a_list_and_a_single_task_tell_the_same_position() {
    let mut world = World::with(|limits| limits.max_depth = 2_000, Vec::new());
    world.unchecked = true;
    for n in 0..1_010 {
        world.submit_at(&format!("t{n}"), n % 3 - 1).unwrap();
    }
    let ids: Vec<_> = (0..1_010).map(|n| super::world::task(&format!("t{n}"))).collect();
    let listed = world.scheduler.summaries(&ids, world.now);
    assert_eq!(listed.len(), 1_010);
    let mut known = 0;
    for task in listed {
        let position = task.waiting.unwrap().position;
        known += usize::from(position.is_some());
        let single = world.scheduler.task(task.id, world.now).unwrap().summary.waiting.unwrap();
        assert_eq!(position, single.position, "{}", task.id);
    }
    assert_eq!(known, 1_000, "those behind only know that they are far behind");
}

/// 17 of 17 tasks were pending for ten minutes and nothing said why.
#[test]
fn every_pending_task_says_why_it_waits() {
    let mut world = World::new();
    world.submit("t1", General).unwrap();
    world.expect("t1", "pending: pool_empty");
    world.spawn_for("anna", [Ingest].into_iter().collect());
    world.expect("t1", "pending: no_agent_for_type");
    world.spawn_starting("bert", crate::domain::TaskTypes::ALL);
    world.expect("t1", "pending: no_idle_agent");
    world.ready("bert");
    world.lose("bert");
    world.expect("t1", "pending: excluded_everywhere, attempt 1, failures 1, excludes bert");
    world.spawn("carl");
    world.finish("carl", error(true));
    world.expect("t1", "pending: retry_backoff, attempt 2, failures 2, excludes bert");
}

#[test]
fn the_first_reason_that_holds_is_the_one_that_is_said() {
    let gate = crate::domain::GateSpec::new("web", [Research].into_iter().collect());
    let mut world = World::with(|_| {}, vec![gate]);
    world.spawn("anna");
    world.submit("t1", Research).unwrap();
    world.finish("anna", error(true));
    world.gate("web", false);
    world.expect("t1", "pending: gate_closed:web, attempt 1, failures 1");
    world.gate("web", true);
    world.remove("anna", 0).unwrap();
    world.expect("t1", "pending: retry_backoff, attempt 1, failures 1");
    world.pass(1.0);
    world.expect("t1", "pending: pool_empty, attempt 1, failures 1");
}
