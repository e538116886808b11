//! A task says that its dependency is down: the gate is held closed for a while.

use super::world::{World, error, name, success, unavailable};
use crate::domain::TaskType::{Discovery, General, Migration};
use crate::domain::{GateMode, GateSpec, GateState, Report, SECOND_US, TaskError};

/// A gate that nobody asks; a hold is 5 s at first.
fn gated() -> World {
    let types = [Discovery, Migration].into_iter().collect();
    let mut world = World::with(|_| {}, vec![GateSpec::new("discovery", types)]);
    world.spawn("anna");
    world
}

fn held_for_s(world: &World) -> Option<f64> {
    let until = world.gate_view("discovery").held_until?;
    assert_eq!(until.wall_us - world.now.wall_us, until.mono_us - world.now.mono_us);
    Some((until.mono_us - world.now.mono_us) as f64 / 1e6)
}

#[test]
fn the_attempt_is_interrupted_and_the_gate_closes_before_the_task_can_go_elsewhere() {
    let mut world = gated();
    world.spawn("bert");
    world.submit("d1", Discovery).unwrap();
    world.finish("anna", unavailable());
    world.expect("d1", "pending: gate_closed:discovery, attempt 1");
    world.expect_attempts("d1", "interrupted on anna");
    let end = world.view("d1").attempts[0].end.clone().unwrap();
    let failure = end.failure.unwrap();
    assert_eq!((&*failure.cause, &*failure.detail), ("dependency_unavailable", "no answer"));
    assert!(!end.counted);
    assert_eq!(world.told(), ["discovery closed, 0 wait: no answer"]);
    let view = world.gate_view("discovery");
    assert_eq!((view.state, view.last_error.as_deref()), (GateState::Closed, Some("no answer")));
    assert_eq!(held_for_s(&world), Some(5.0));
    world.submit("t1", General).unwrap();
    world.expect("t1", "in_progress on anna, attempt 1");
    world.pass(4.9);
    world.expect("d1", "pending: gate_closed:discovery, attempt 1");
    world.pass(0.1);
    assert_eq!(world.told(), ["discovery open, 1 wait"]);
    world.expect("d1", "in_progress on bert, attempt 2");
    assert_eq!(held_for_s(&world), None);
}

#[test]
fn an_external_agent_says_so_too() {
    let mut world =
        World::with(|_| {}, vec![GateSpec::new("x", [Discovery].into_iter().collect())]);
    world.join("eve");
    world.submit("d1", Discovery).unwrap();
    world.complete("d1", None, unavailable()).unwrap();
    world.expect("d1", "pending: gate_closed:x, attempt 1");
    world.expect_attempts("d1", "interrupted on eve");
    world.pass(5.0);
    world.expect("d1", "in_progress on eve, attempt 2");
}

#[test]
fn a_hold_doubles_to_five_minutes_and_a_completion_ends_that() {
    let mut world = gated();
    for (n, s) in [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0].into_iter().enumerate() {
        let what = format!("d{n}");
        world.submit(&what, Discovery).unwrap();
        world.finish("anna", unavailable());
        assert_eq!(held_for_s(&world), Some(s));
        world.cancel(&what).unwrap();
        world.pass(s);
        assert_eq!(held_for_s(&world), None);
    }
    world.submit("t1", General).unwrap();
    world.finish("anna", success());
    world.submit("m1", Migration).unwrap();
    world.finish("anna", error(false));
    world.submit("m2", Migration).unwrap();
    world.finish("anna", unavailable());
    assert_eq!(held_for_s(&world), Some(300.0), "neither another type nor a failure says that");
    world.cancel("m2").unwrap();
    world.pass(300.0);
    world.submit("m3", Migration).unwrap();
    world.finish("anna", success());
    world.submit("m4", Migration).unwrap();
    world.finish("anna", unavailable());
    assert_eq!(held_for_s(&world), Some(5.0));
}

#[test]
fn several_tasks_that_say_so_at_once_are_one_time() {
    let mut world = gated();
    for who in ["bert", "carl"] {
        world.spawn(who);
    }
    for what in ["d1", "d2", "d3"] {
        world.submit(what, Discovery).unwrap();
    }
    world.finish("anna", unavailable());
    world.finish("bert", unavailable());
    assert_eq!(world.told(), [""; 0], "it is closed already");
    assert_eq!(held_for_s(&world), Some(5.0));
    world.pass(3.0);
    world.finish("carl", unavailable());
    assert_eq!(held_for_s(&world), Some(5.0), "at least so long from the last one");
}

#[test]
fn late_reports_of_one_outage_are_one_time() {
    let mut world = gated();
    let others = ["bert", "carl", "dora"];
    for who in others {
        world.spawn(who);
    }
    for what in ["d1", "d2", "d3", "d4"] {
        world.submit(what, Discovery).unwrap();
    }
    world.finish("anna", unavailable());
    world.cancel("d1").unwrap();
    for who in ["bert", "carl"] {
        world.pass(6.0);
        assert_eq!(held_for_s(&world), None);
        let (late, _) = world.run_of(who).unwrap();
        world.finish(who, unavailable());
        assert_eq!(held_for_s(&world), Some(5.0), "it was begun before the first hold");
        world.cancel(&name(late)).unwrap();
    }
    world.pass(5.0);
    world.submit("d5", Discovery).unwrap();
    world.expect("d5", "in_progress on anna, attempt 1");
    world.finish("anna", unavailable());
    assert_eq!(held_for_s(&world), Some(10.0), "this one was begun after it");
    world.pass(3.0);
    world.finish("dora", unavailable());
    assert_eq!(held_for_s(&world), Some(7.0), "a late one makes it no shorter");
}

#[test]
fn after_the_hold_the_gate_is_what_the_dependency_says() {
    let types = [Discovery].into_iter().collect();
    let spec = GateSpec { is_probed: true, ..GateSpec::new("discovery", types) };
    let mut world = World::with(|_| {}, vec![spec]);
    world.spawn("anna");
    world.gate("discovery", true);
    world.submit("d1", Discovery).unwrap();
    world.finish("anna", unavailable());
    world.gate("discovery", true);
    assert_eq!(world.gate_view("discovery").state, GateState::Closed, "it is held");
    world.gate_known("discovery", false, Some("HTTP 503"));
    world.pass(60.0);
    assert_eq!(world.told(), [""; 0]);
    let view = world.gate_view("discovery");
    assert_eq!((view.state, view.held_until), (GateState::Closed, None));
    assert_eq!(view.last_error.as_deref(), Some("HTTP 503"));
    world.gate("discovery", true);
    world.expect("d1", "in_progress on anna, attempt 2");
}

#[test]
fn from_the_third_time_in_a_row_it_counts_against_the_task() {
    let mut world = gated();
    world.submit("d1", Discovery).unwrap();
    let mut failures = Vec::new();
    for _ in 0..4 {
        world.finish("anna", unavailable());
        failures.push(world.view("d1").summary.failures);
        world.pass(300.0);
    }
    assert_eq!(failures, [0, 0, 1, 2]);
    world.finish("anna", unavailable());
    world.expect("d1", "failed on anna, attempt 5, failures 3");
    assert_eq!(world.view("d1").summary.error.unwrap().code, "dependency_unavailable");
    assert_eq!(world.gate_view("discovery").state, GateState::Closed, "for the others");
}

#[test]
fn without_a_gate_that_can_close_it_is_a_failure_like_any_other() {
    let mut world = gated();
    world.submit("t1", General).unwrap();
    world.finish("anna", unavailable());
    world.expect("t1", "failed on anna, attempt 1");
    world.order("discovery", GateMode::Open).unwrap();
    world.submit("d1", Discovery).unwrap();
    world.finish("anna", unavailable());
    world.expect("d1", "failed on anna, attempt 1");
    assert_eq!(world.gate_view("discovery").state, GateState::Open);
}

#[test]
fn every_gate_that_the_type_needs_is_held_but_for_those_open_by_order() {
    let gate = |name: &str| GateSpec::new(name, [Discovery].into_iter().collect());
    let mut world = World::with(|_| {}, vec![gate("a"), gate("b"), gate("c")]);
    world.spawn("anna");
    world.order("b", GateMode::Open).unwrap();
    world.submit("d1", Discovery).unwrap();
    world.order("c", GateMode::Closed).unwrap();
    world.finish("anna", unavailable());
    assert_eq!(world.told(), ["a closed, 0 wait: no answer"]);
    let held = ["a", "b", "c"].map(|name| world.gate_view(name).held_until.is_some());
    assert_eq!(held, [true, false, true]);
    world.order("c", GateMode::Auto).unwrap();
    world.pass(5.0);
    assert_eq!(world.told(), ["a open, 1 wait", "c open, 1 wait"]);
    world.expect("d1", "in_progress on anna, attempt 2");
}

#[test]
fn a_held_gate_opens_by_order_and_is_held_again_when_the_order_ends() {
    let mut world = gated();
    world.submit("d1", Discovery).unwrap();
    world.finish("anna", unavailable());
    world.order("discovery", GateMode::Open).unwrap();
    world.expect("d1", "in_progress on anna, attempt 2");
    world.order("discovery", GateMode::Auto).unwrap();
    assert_eq!(world.gate_view("discovery").state, GateState::Closed);
    world.pass(5.0);
    assert_eq!(world.gate_view("discovery").state, GateState::Open);
}

#[test]
fn what_the_attempt_used_counts() {
    let mut world = gated();
    let usage = Some(crate::domain::Usage { input_tokens: 7, ..Default::default() });
    let (code, message) = ("dependency_unavailable".into(), "no answer".into());
    let error = TaskError { code, message, retryable: true };
    world.submit("d1", Discovery).unwrap();
    world.finish("anna", Report::Failed { error, usage });
    assert_eq!(world.metrics().input_tokens, 7);
    world.expect_attempts("d1", "interrupted on anna");
}

#[test]
fn a_pause_of_the_daemon_makes_a_hold_no_shorter() {
    let mut world = gated();
    world.submit("d1", Discovery).unwrap();
    world.finish("anna", unavailable());
    world.stand_still(60.0);
    assert_eq!(held_for_s(&world), Some(5.0));
    assert_eq!(world.scheduler.next_timeout(), Some(world.now.mono_us + 5 * SECOND_US));
}

#[test]
fn a_hold_goes_on_in_the_next_daemon() {
    let mut world = gated();
    world.submit("d1", Discovery).unwrap();
    world.finish("anna", unavailable());
    world.pass(5.0);
    world.finish("anna", unavailable());
    assert_eq!(held_for_s(&world), Some(10.0));
    world.cancel("d1").unwrap();
    world.crash_for(4.0, false);
    assert_eq!(world.gate_view("discovery").state, GateState::Closed);
    assert_eq!(held_for_s(&world), Some(6.0), "the rest of it");
    world.crash_for(-3_600.0, false);
    assert_eq!(held_for_s(&world), Some(10.0), "not more than all of it");
    world.crash_for(60.0, false);
    assert_eq!(held_for_s(&world), None);
    world.restart("anna");
    world.submit("d3", Discovery).unwrap();
    world.finish("anna", unavailable());
    assert_eq!(held_for_s(&world), Some(20.0), "it has not forgotten how often");
    world.pass(20.0);
    world.finish("anna", success());
    world.crash();
    world.restart("anna");
    world.submit("d4", Discovery).unwrap();
    world.finish("anna", unavailable());
    assert_eq!(held_for_s(&world), Some(5.0), "nor that a task completed since");
}
