//! The backlog of a gate has a depth of its own: rule 4.

use std::sync::Arc;

use super::world::{World, error, success};
use crate::domain::TaskType::{Discovery, General, Heartbeat, Migration, Research};
use crate::domain::{GateMode, GateSpec, GateState, Refusal, TaskStatus, TaskType};

fn gate(name: &str, types: &[TaskType]) -> GateSpec {
    GateSpec::new(name, types.iter().copied().collect())
}

/// Nobody works; two tasks may wait.
fn two_may_wait() -> World {
    let gates = vec![gate("discovery", &[Discovery, Migration]), gate("web", &[Research])];
    let mut world = World::with(|limits| limits.max_depth = 2, gates);
    world.gate("discovery", false);
    world
}

fn backlog_full(gate: &str, max_depth: usize) -> Refusal {
    Refusal::GateBacklogFull { gate: Arc::from(gate), max_depth, retry_after_s: 5 }
}

#[test]
fn a_hundred_gated_tasks_wait_and_never_refuse_a_heartbeat() {
    let mut world = World::with(|_| {}, vec![gate("discovery", &[Discovery, Migration])]);
    world.unchecked = true;
    world.gate("discovery", false);
    for n in 0..100 {
        let kind = [Discovery, Migration][n % 2];
        world.submit(&format!("g{n}"), kind).unwrap();
    }
    for kind in [Discovery, Migration] {
        assert_eq!(world.submit("g100", kind).unwrap_err(), backlog_full("discovery", 100));
    }
    for n in 0..50 {
        world.submit(&format!("h{n}"), Heartbeat).unwrap();
    }
    world.gate("discovery", true);
    for n in 50..100 {
        world.submit(&format!("h{n}"), Heartbeat).expect("the backlog is not the queue's");
    }
    let full = world.submit("h100", Heartbeat);
    assert!(matches!(full, Err(Refusal::QueueFull { max_depth: 100, .. })));
    assert_eq!(world.gate_view("discovery").counted, 100, "until they are placed");
    assert_eq!(world.metrics().tasks_rejected, 3);
}

#[test]
fn a_closed_gate_takes_over_what_counted_with_the_queue() {
    let mut world = two_may_wait();
    world.submit("r1", Research).unwrap();
    world.submit("r2", Research).unwrap();
    assert!(matches!(world.submit("t1", General), Err(Refusal::QueueFull { .. })));
    world.gate("web", false);
    world.submit("t1", General).expect("the queue has room again");
    assert_eq!(world.submit("r3", Research).unwrap_err(), backlog_full("web", 2));
    world.gate("web", true);
    world.submit("t2", General).unwrap();
    assert!(matches!(world.submit("t3", General), Err(Refusal::QueueFull { .. })));
}

#[test]
fn each_gate_has_a_depth_of_its_own() {
    let mut world = two_may_wait();
    world.gate("web", false);
    for (what, kind) in [("d1", Discovery), ("d2", Migration), ("r1", Research), ("r2", Research)] {
        world.submit(what, kind).unwrap();
    }
    assert_eq!(world.submit("d3", Discovery).unwrap_err(), backlog_full("discovery", 2));
    assert_eq!(world.submit("r3", Research).unwrap_err(), backlog_full("web", 2));
    world.submit("t1", General).unwrap();
}

#[test]
fn a_type_that_needs_two_gates_counts_with_each_that_is_closed() {
    let gates = vec![gate("a", &[Discovery, Migration]), gate("b", &[Discovery, Research])];
    let mut world = World::with(|limits| limits.max_depth = 2, gates);
    world.gate("a", false);
    world.submit("d1", Discovery).unwrap();
    world.gate("b", false);
    let counted = |world: &World| (world.gate_view("a").counted, world.gate_view("b").counted);
    assert_eq!(counted(&world), (1, 1));
    world.submit("r1", Research).unwrap();
    assert_eq!(counted(&world), (1, 2));
    assert_eq!(world.submit("d2", Discovery).unwrap_err(), backlog_full("b", 2));
    world.submit("m1", Migration).expect("a has room");
    world.gate("a", true);
    world.submit("t1", General).unwrap();
    world.submit("t2", General).expect("nothing of a gate counts with the queue");
    world.spawn("anna");
    world.expect("m1", "in_progress on anna, attempt 1");
    world.finish("anna", success());
    assert_eq!(counted(&world), (1, 2), "d1 waits for b, and is a part of both");
}

#[test]
fn what_was_placed_counts_no_more_and_what_comes_back_counts_nowhere() {
    let mut world = two_may_wait();
    world.submit("d1", Discovery).unwrap();
    world.submit("d2", Discovery).unwrap();
    world.gate("discovery", true);
    world.spawn("anna");
    world.expect("d1", "in_progress on anna, attempt 1");
    assert_eq!(world.gate_view("discovery").counted, 1);
    world.gate("discovery", false);
    world.lose("anna");
    let view = world.gate_view("discovery");
    assert_eq!((view.waiting, view.counted), (2, 1));
    world.submit("d3", Discovery).unwrap();
    assert_eq!(world.submit("d4", Discovery).unwrap_err(), backlog_full("discovery", 2));
    world.cancel("d1").unwrap();
    assert_eq!(world.submit("d4", Discovery).unwrap_err(), backlog_full("discovery", 2));
    world.cancel("d2").unwrap();
    world.submit("d4", Discovery).expect("a cancelled task gives its place back");
}

#[test]
fn what_comes_after_the_opening_counts_with_the_queue() {
    let mut world = two_may_wait();
    world.submit("d1", Discovery).unwrap();
    world.submit("d2", Discovery).unwrap();
    world.gate("discovery", true);
    world.pass(0.001);
    world.submit("d3", Discovery).unwrap();
    world.submit("d4", Discovery).unwrap();
    assert!(matches!(world.submit("d5", Discovery), Err(Refusal::QueueFull { .. })));
    assert_eq!(world.gate_view("discovery").counted, 2);
    world.gate("discovery", false);
    assert_eq!(world.gate_view("discovery").counted, 4, "all of them wait for it again");
    world.submit("t1", General).unwrap();
    assert_eq!(world.submit("d5", Discovery).unwrap_err(), backlog_full("discovery", 2));
}

#[test]
fn a_retry_and_a_child_are_refused_as_a_submit_is() {
    let mut world = two_may_wait();
    world.gate("discovery", true);
    world.spawn("anna");
    world.submit("d1", Discovery).unwrap();
    world.finish("anna", error(false));
    world.submit("t1", General).unwrap();
    world.gate("discovery", false);
    world.submit("d2", Discovery).unwrap();
    world.submit("d3", Discovery).unwrap();
    assert_eq!(world.retry("d1").unwrap_err(), backlog_full("discovery", 2));
    assert_eq!(world.retry_all(TaskStatus::Failed), Err(backlog_full("discovery", 2)));
    world.spawn("bert");
    let child = world.child_with("c1", "t1", |spec, _| spec.kind = Discovery);
    assert_eq!(child.unwrap_err(), backlog_full("discovery", 2));
}

#[test]
fn of_many_those_are_tried_again_for_which_there_is_room() {
    let mut world = two_may_wait();
    world.gate("discovery", true);
    world.spawn("anna");
    for (what, kind) in [("d1", Discovery), ("d2", Discovery), ("d3", Discovery), ("t1", General)] {
        world.submit(what, kind).unwrap();
        world.finish("anna", error(false));
    }
    world.remove("anna", 0).unwrap();
    world.gate("discovery", false);
    assert_eq!(world.scheduler.room(), 4, "two with the queue, and two with the gate");
    assert_eq!(world.retry_all(TaskStatus::Failed), Ok(3));
    world.expect("d3", "failed on anna, attempt 1");
    world.expect("t1", "pending: pool_empty, attempt 1");
}

#[test]
fn after_a_start_a_task_counts_as_before() {
    let mut world = two_may_wait();
    world.order("web", GateMode::Closed).unwrap();
    for (what, kind) in [("d1", Discovery), ("d2", Discovery), ("r1", Research), ("r2", Research)] {
        world.submit(what, kind).unwrap();
    }
    world.crash();
    assert_eq!(world.gate_view("web").counted, 2);
    let view = world.gate_view("discovery");
    assert_eq!((view.state, view.counted), (GateState::Open, 2), "nobody asks it, so it is open");
    world.submit("t1", General).expect("the backlog is not the queue's");
    world.submit("t2", General).unwrap();
    assert!(matches!(world.submit("t3", General), Err(Refusal::QueueFull { .. })));
    assert_eq!(world.submit("r3", Research).unwrap_err(), backlog_full("web", 2));
    world.spawn("anna");
    world.finish("anna", success());
    world.expect("d2", "in_progress on anna, attempt 1");
    world.crash();
    assert_eq!(world.gate_view("discovery").counted, 0);
}

#[test]
fn a_start_while_a_gate_catches_up_keeps_its_backlog_apart() {
    let mut world = two_may_wait();
    world.submit("d1", Discovery).unwrap();
    world.submit("d2", Discovery).unwrap();
    world.gate("discovery", true);
    world.pass(1.0);
    world.submit("m1", Migration).unwrap();
    world.submit("t1", General).unwrap();
    for s in [60.0, 0.0] {
        world.crash_for(s, false);
        assert_eq!(world.gate_view("discovery").counted, 2, "m1 came later");
        assert!(matches!(world.submit("t2", General), Err(Refusal::QueueFull { .. })));
    }
    world.cancel("d1").unwrap();
    world.cancel("d2").unwrap();
    world.submit("m2", Migration).expect_err("nothing is behind, and m1 and t1 fill the queue");
    world.crash();
    assert_eq!(world.gate_view("discovery").counted, 0);
}

/// The clock of the daemon goes back when it is started again after somebody turned the clock.
#[test]
fn a_start_in_the_past_makes_no_backlog_of_what_comes_after_it() {
    let mut world = two_may_wait();
    world.submit("d1", Discovery).unwrap();
    world.gate("discovery", true);
    world.crash_for(-100.0, false);
    assert_eq!(world.gate_view("discovery").counted, 1);
    world.pass(0.001);
    world.submit("d2", Discovery).unwrap();
    assert_eq!(world.gate_view("discovery").counted, 1);
}
