//! How long tasks wait for a gate, and what counts of that.

use super::world::{World, error, success, task, unavailable};
use crate::domain::TaskType::{Discovery, General, Migration};
use crate::domain::{Effect, Event, GateMode, GateSpec, Refusal, SECOND_US, TaskStatus};

/// A gate that nobody asks; tasks wait 60 s for it at most.
fn patient() -> World {
    let types = [Discovery, Migration].into_iter().collect();
    let spec = GateSpec { max_wait_us: Some(60 * SECOND_US), ..GateSpec::new("discovery", types) };
    World::with(|_| {}, vec![spec])
}

#[test]
fn a_task_that_waited_too_long_fails_and_says_for_what() {
    let mut world = patient();
    world.submit("m1", Migration).unwrap();
    world.pass(100.0);
    world.expect("m1", "pending: pool_empty");
    world.gate_known("discovery", false, Some("HTTP 500"));
    world.submit("d1", Discovery).unwrap();
    world.submit("t1", General).unwrap();
    world.pass(30.0);
    world.submit("d2", Discovery).unwrap();
    world.pass(29.9);
    world.expect("m1", "pending: gate_closed:discovery");
    world.pass(0.1);
    for what in ["m1", "d1"] {
        world.expect(what, "failed");
        assert_eq!(world.view(what).attempts.len(), 0, "no attempt is made up");
    }
    let failed = world.view("d1").summary.error.unwrap();
    assert_eq!((&*failed.code, failed.retryable), ("gate_closed", true));
    let message =
        "it waited 60 s for discovery, which is down since 2023-11-14T22:15:00Z: HTTP 500";
    assert_eq!(failed.message, message);
    let causes = world.effects.iter().filter_map(|effect| match effect {
        Effect::Event(Event::TaskEnded { cause, .. }) => cause.clone(),
        _ => None,
    });
    assert_eq!(causes.collect::<Vec<_>>(), ["gate_closed", "gate_closed"]);
    assert_eq!(world.metrics().tasks_failed, 2);
    world.expect("d2", "pending: gate_closed:discovery");
    world.expect("t1", "pending: pool_empty");
    world.pass(30.0);
    world.expect("d2", "failed");
    assert_eq!(world.gate_view("discovery").counted, 0);
}

#[test]
fn an_opening_that_is_of_no_use_is_no_end_of_the_wait() {
    let mut world = patient();
    world.spawn("anna");
    for n in 1..=5 {
        world.submit(&format!("d{n}"), Discovery).unwrap();
    }
    let began = world.now.mono_us;
    // Held for 5, 10, 20 and 40 s: never for as long as they may wait.
    while world.gate_view("discovery").waiting > 1 {
        world.finish("anna", unavailable());
        let held = world.gate_view("discovery").held_until.unwrap();
        world.pass_until(held.mono_us);
        assert!(world.now.mono_us - began <= 90 * SECOND_US, "they wait for ever");
    }
    for what in ["d4", "d5"] {
        world.expect(what, "failed");
    }
    let message =
        "it waited 60 s for discovery, which is down since 2023-11-14T22:13:20Z: no answer";
    assert_eq!(world.view("d5").summary.error.unwrap().message, message);
}

#[test]
fn a_task_that_completes_or_a_backlog_that_is_gone_ends_the_time_that_a_dependency_is_down() {
    for is_of_use in [true, false] {
        let mut world = patient();
        world.gate("discovery", false);
        for what in ["d1", "d2", "d3"] {
            world.submit(what, Discovery).unwrap();
        }
        world.pass(50.0);
        world.gate("discovery", true);
        world.spawn("anna");
        if is_of_use {
            world.finish("anna", success());
        }
        world.order("discovery", GateMode::Closed).unwrap();
        world.crash();
        world.pass(10.0);
        let is_left = if is_of_use { "pending: gate_closed:discovery" } else { "failed" };
        world.expect("d3", is_left);
    }
    let mut world = patient();
    world.gate("discovery", false);
    world.submit("d1", Discovery).unwrap();
    world.pass(50.0);
    world.gate("discovery", true);
    world.spawn("anna");
    world.submit("d2", Discovery).unwrap();
    world.pass(1.0);
    world.gate("discovery", false);
    world.pass(59.0);
    world.expect("d2", "pending: gate_closed:discovery");
}

/// What was begun before a closing may complete after it.
#[test]
fn a_task_that_completes_behind_a_closed_gate_ends_what_was_before_the_closing() {
    let mut world = patient();
    world.gate("discovery", false);
    for what in ["d1", "d2"] {
        world.submit(what, Discovery).unwrap();
    }
    world.pass(50.0);
    world.gate("discovery", true);
    world.spawn("anna");
    world.gate("discovery", false);
    world.pass(5.0);
    world.finish("anna", success());
    world.pass(54.9);
    world.expect("d2", "pending: gate_closed:discovery");
    world.pass(0.1);
    world.expect("d2", "failed");
}

#[test]
fn a_task_that_came_back_waits_as_long_as_any_other() {
    let mut world = patient();
    world.spawn("anna");
    world.submit("d1", Discovery).unwrap();
    world.finish("anna", error(true));
    world.gate("discovery", false);
    world.pass(60.0);
    world.expect("d1", "failed on anna, attempt 1, failures 1");
    assert_eq!(world.view("d1").summary.error.unwrap().code, "gate_closed");
    let refused = Refusal::AlreadyFinished { status: TaskStatus::Failed, finished_by: None };
    assert_eq!(world.cancel("d1"), Err(refused), "no attempt ended it");
    world.retry("d1").unwrap();
    world.expect("d1", "pending: gate_closed:discovery, attempt 1");
    world.pass(59.9);
    world.expect("d1", "pending: gate_closed:discovery, attempt 1");
    world.pass(0.1);
    world.expect("d1", "failed on anna, attempt 1");
}

#[test]
fn nobody_looks_while_the_gate_is_open_or_has_all_the_time() {
    let mut world = patient();
    world.submit("d1", Discovery).unwrap();
    assert_eq!(world.scheduler.next_timeout(), None);
    world.gate("discovery", false);
    assert!(world.scheduler.next_timeout().is_some());
    world.pass(59.0);
    world.gate("discovery", true);
    assert_eq!(world.scheduler.next_timeout(), None);
    world.pass(3_600.0);
    world.gate("discovery", false);
    world.pass(59.0);
    world.expect("d1", "pending: gate_closed:discovery");
    let types = [Discovery].into_iter().collect();
    let mut world = World::with(|_| {}, vec![GateSpec::new("discovery", types)]);
    world.submit("d1", Discovery).unwrap();
    world.gate("discovery", false);
    assert_eq!(world.scheduler.next_timeout(), None);
}

#[test]
fn a_stream_of_waiting_tasks_is_looked_at_seldom() {
    let mut world = patient();
    world.gate("discovery", false);
    let mut looks = 0;
    for n in 0..600 {
        // One comes each 0.1 s, and each is cancelled before its time.
        world.submit(&format!("d{n}"), Discovery).unwrap();
        let until = world.now.mono_us + SECOND_US / 10;
        while world.scheduler.next_timeout().is_some_and(|due| due <= until) {
            world.pass(0.05);
            looks += 1;
        }
        world.pass_until(until);
        world.cancel(&format!("d{n}")).unwrap();
    }
    assert!(looks <= 2, "{looks} looks in a minute");
}

#[test]
fn after_a_start_a_dependency_gets_its_time_before_anybody_fails() {
    let types = [Discovery].into_iter().collect();
    let spec = GateSpec {
        max_wait_us: Some(60 * SECOND_US),
        is_probed: true,
        ..GateSpec::new("discovery", types)
    };
    let mut world = World::with(|_| {}, vec![spec]);
    for what in ["d1", "d2"] {
        world.submit(what, Discovery).unwrap();
    }
    world.crash_for(3_600.0, false);
    world.pass(4.9);
    world.expect("d1", "pending: gate_closed:discovery");
    world.pass(0.1);
    world.expect("d1", "failed");
    world.submit("d3", Discovery).unwrap();
    world.crash_for(3_600.0, false);
    world.spawn("anna");
    world.gate("discovery", true);
    world.expect("d3", "in_progress on anna, attempt 1");
}

// --- latency ---

fn latency_ms(world: &World) -> Option<f64> {
    world.effects.iter().find_map(|effect| match effect {
        Effect::Event(Event::TaskStarted { assignment_latency_ms, .. }) => *assignment_latency_ms,
        _ => None,
    })
}

#[test]
fn the_time_behind_a_gate_is_no_latency() {
    let mut world = patient();
    world.submit("d1", Discovery).unwrap();
    world.pass(1.0);
    world.gate("discovery", false);
    world.pass(10.0);
    world.gate("discovery", true);
    world.pass(0.5);
    world.gate("discovery", false);
    world.pass(20.0);
    world.order("discovery", GateMode::Open).unwrap();
    world.pass(0.25);
    world.spawn("anna");
    world.start("anna");
    assert_eq!(latency_ms(&world), Some(1_750.0));
    assert_eq!(world.view("d1").summary.assignment_latency_us, Some(1_750_000));
    assert_eq!(world.metrics().avg_assignment_latency_ms, Some(1_750.0));
    world.finish("anna", success());
    world.order("discovery", GateMode::Closed).unwrap();
    world.pass(5.0);
    assert_eq!(world.view("d1").summary.assignment_latency_us, Some(1_750_000), "it is over");
}

/// An answer without a fetch: the assignment was the start, and what was closed after it is no wait.
#[test]
fn the_latency_of_an_answer_without_a_fetch_ends_with_the_assignment() {
    let mut world = patient();
    world.gate("discovery", false);
    world.submit("d1", Discovery).unwrap();
    world.pass(30.0);
    world.gate("discovery", true);
    world.pass(2.0);
    world.join("anna");
    world.gate("discovery", false);
    world.pass(20.0);
    world.gate("discovery", true);
    world.gate("discovery", false);
    world.pass(20.0);
    world.complete("d1", None, success()).unwrap();
    assert_eq!(world.metrics().avg_assignment_latency_ms, Some(2_000.0));
    assert_eq!(world.view("d1").summary.assignment_latency_us, Some(2_000_000));
}

/// The same over a restart.
#[test]
fn the_latency_of_an_answer_to_a_later_daemon_ends_with_the_assignment() {
    let mut world = patient();
    world.submit("d1", Discovery).unwrap();
    world.pass(2.0);
    world.join("anna");
    world.order("discovery", GateMode::Closed).unwrap();
    world.pass(20.0);
    world.crash();
    world.pass(20.0);
    world.complete("d1", None, success()).unwrap();
    assert_eq!(world.view("d1").summary.assignment_latency_us, Some(2_000_000));
}

#[test]
fn of_two_gates_that_are_closed_at_once_the_time_counts_once() {
    let gate = |name: &str| GateSpec::new(name, [Discovery].into_iter().collect());
    let mut world = World::with(|_| {}, vec![gate("a"), gate("b")]);
    world.spawn("anna");
    world.gate("a", false);
    world.submit("d1", Discovery).unwrap();
    world.pass(10.0);
    world.gate("b", false);
    world.pass(10.0);
    world.gate("a", true);
    world.pass(10.0);
    world.gate("b", true);
    world.pass(0.125);
    world.start("anna");
    assert_eq!(latency_ms(&world), Some(125.0));
}

#[test]
fn the_clock_of_closed_time_goes_on_through_a_crash() {
    let mut world = patient();
    world.gate("discovery", false);
    world.pass(7.0);
    world.order("discovery", GateMode::Closed).unwrap();
    world.submit("d1", Discovery).unwrap();
    world.pass(3.0);
    world.crash_for(40.0, false);
    world.pass(2.0);
    world.order("discovery", GateMode::Open).unwrap();
    world.pass(0.5);
    world.join("eve");
    world.fetch("eve").unwrap();
    assert_eq!(latency_ms(&world), Some(500.0));
    world.crash_for(9.0, false);
    let latency_us = world.view("d1").summary.assignment_latency_us;
    assert_eq!(latency_us, Some(500_000), "the same after a start");
}

#[test]
fn a_retry_begins_the_latency_again() {
    let mut world = patient();
    world.spawn("anna");
    world.gate("discovery", false);
    world.submit("d1", Discovery).unwrap();
    world.pass(60.0);
    world.expect("d1", "failed");
    world.retry("d1").unwrap();
    world.pass(30.0);
    world.gate("discovery", true);
    world.start("anna");
    assert_eq!(latency_ms(&world), Some(0.0));
    world.finish("anna", unavailable());
    assert!(world.scheduler.is_live_task(task("d1")));
    world.pass(5.0);
    world.start("anna");
    assert_eq!(latency_ms(&world), None, "only the first start counts");
}
