//! Dependencies that some types need: rule 12.

use super::world::{World, success, task};
use crate::domain::TaskType::{Discovery, General, Migration};
use crate::domain::{GateMode, GateSpec, GateState, Priority, Refusal, SECOND_US, TaskSpec};

fn gated() -> World {
    let types = [Discovery, Migration].into_iter().collect();
    let mut world = World::with(|_| {}, vec![GateSpec::new("discovery", types)]);
    world.spawn("anna");
    world
}

#[test]
fn a_hundred_tasks_that_wait_for_a_gate_are_in_nobodys_way() {
    let mut world = gated();
    world.gate("discovery", false);
    for number in 0..100 {
        let urgent = |spec: &mut TaskSpec| spec.priority = Priority::new(100).unwrap();
        world.submit_with(&format!("t{number}"), Discovery, urgent).unwrap();
    }
    let last = |spec: &mut TaskSpec| spec.priority = Priority::new(-100).unwrap();
    world.submit_with("late", General, last).unwrap();
    world.expect("late", "in_progress on anna, attempt 1");
}

#[test]
fn while_a_gate_is_closed_its_types_wait_in_order_and_the_others_run_on() {
    let mut world = gated();
    world.gate("discovery", false);
    world.submit("t1", Migration).unwrap();
    world.submit("t2", Discovery).unwrap();
    world.submit("t3", General).unwrap();
    world.expect("t1", "pending: gate_closed:discovery");
    world.expect("t3", "in_progress on anna, attempt 1");
    world.finish("anna", success());
    world.expect_agent("anna", "idle");
    world.gate("discovery", true);
    world.expect("t1", "in_progress on anna, attempt 1");
    world.finish("anna", success());
    world.expect("t2", "in_progress on anna, attempt 1");
}

#[test]
fn what_runs_when_its_gate_closes_runs_on() {
    let mut world = gated();
    world.submit("t1", Migration).unwrap();
    world.gate("discovery", false);
    world.finish("anna", success());
    world.expect("t1", "completed on anna, attempt 1");
}

#[test]
fn each_change_is_told_once_with_why_and_with_what_waits() {
    let mut world = gated();
    world.submit("t1", Migration).unwrap();
    world.submit("t2", Discovery).unwrap();
    for (is_up, error, told) in [
        (true, None, None),
        (false, Some("HTTP 500"), Some("discovery closed, 1 wait: HTTP 500")),
        (false, Some("timed out"), None),
        (true, None, Some("discovery open, 1 wait")),
        (true, None, None),
        (false, None, Some("discovery closed, 1 wait: it is down")),
    ] {
        world.gate_known("discovery", is_up, error);
        assert_eq!(world.told(), Vec::from_iter(told.map(str::to_owned)));
    }
    world.gate("unknown", false);
    assert_eq!(world.told(), [""; 0], "nobody asked for that gate");
    assert_eq!(world.gate_view("discovery").closures, 2);
}

#[test]
fn of_two_gates_that_a_type_needs_the_first_closed_one_is_named() {
    let types = || [Discovery].into_iter().collect();
    let gate = |name: &str| GateSpec { is_probed: true, ..GateSpec::new(name, types()) };
    let mut world = World::with(|_| {}, vec![gate("a"), gate("b")]);
    world.spawn("anna");
    world.submit("t1", Discovery).unwrap();
    world.expect("t1", "pending: gate_closed:a");
    world.gate("a", true);
    world.expect("t1", "pending: gate_closed:b");
    world.gate("b", true);
    world.expect("t1", "in_progress on anna, attempt 1");
}

/// A gate whose dependency somebody asks; its grace is 5 s.
fn probed() -> World {
    let types = [Discovery, Migration].into_iter().collect();
    let spec = GateSpec { is_probed: true, ..GateSpec::new("discovery", types) };
    let mut world = World::with(|_| {}, vec![spec]);
    world.spawn("anna");
    world
}

#[test]
fn while_nothing_is_known_tasks_wait_and_nobody_is_told_before_the_grace_is_over() {
    let mut world = probed();
    world.submit("t1", Migration).unwrap();
    world.expect("t1", "pending: gate_closed:discovery");
    assert_eq!(world.gate_view("discovery").state, GateState::Unknown);
    world.pass(4.9);
    assert_eq!(world.told(), [""; 0]);
    world.pass(0.1);
    assert_eq!(world.told(), ["discovery closed, 1 wait: nothing is known of it yet"]);
    world.gate_known("discovery", false, Some("refused"));
    assert_eq!(world.told(), [""; 0], "it was told as closed already");
    let view = world.gate_view("discovery");
    assert_eq!((view.state, view.last_error.as_deref()), (GateState::Closed, Some("refused")));
    world.gate("discovery", true);
    assert_eq!(world.told(), ["discovery open, 1 wait"]);
    world.expect("t1", "in_progress on anna, attempt 1");
}

#[test]
fn a_bad_answer_within_the_grace_is_told_when_that_is_over() {
    let mut world = probed();
    world.gate_known("discovery", false, Some("refused"));
    assert_eq!(world.gate_view("discovery").state, GateState::Closed);
    assert_eq!(world.gate_view("discovery").closures, 0);
    assert_eq!(world.told(), [""; 0]);
    world.pass(6.0);
    assert_eq!(world.told(), ["discovery closed, 0 wait: refused"]);
    assert_eq!(world.gate_view("discovery").closures, 1);
    world.pass(60.0);
    assert_eq!(world.told(), [""; 0]);
}

#[test]
fn a_dependency_that_comes_within_the_grace_is_told_as_open_and_nothing_else() {
    let mut world = probed();
    world.gate_known("discovery", false, Some("refused"));
    world.pass(1.0);
    world.gate("discovery", true);
    assert_eq!(world.told(), ["discovery open, 0 wait"]);
    world.pass(60.0);
    assert_eq!(world.told(), [""; 0]);
    assert_eq!(world.gate_view("discovery").closures, 0);
}

#[test]
fn an_order_wins_over_everything_that_is_known() {
    let mut world = probed();
    world.submit("t1", Migration).unwrap();
    let view = world.order("discovery", GateMode::Open).unwrap();
    assert_eq!((view.state, view.mode, view.waiting), (GateState::Open, GateMode::Open, 0));
    world.expect("t1", "in_progress on anna, attempt 1");
    world.gate_known("discovery", false, Some("refused"));
    assert_eq!(world.gate_view("discovery").state, GateState::Open);
    let view = world.order("discovery", GateMode::Auto).unwrap();
    assert_eq!((view.state, view.mode), (GateState::Closed, GateMode::Auto));
    assert_eq!(world.told(), ["discovery closed, 0 wait: refused"]);
    world.gate("discovery", true);
    let view = world.order("discovery", GateMode::Closed).unwrap();
    assert_eq!((view.state, view.mode), (GateState::Closed, GateMode::Closed));
    assert_eq!(world.told(), ["discovery closed, 0 wait: closed by order"]);
    world.gate("discovery", true);
    assert_eq!(world.gate_view("discovery").state, GateState::Closed);
    world.order("discovery", GateMode::Closed).unwrap();
    assert_eq!(world.told(), [""; 0], "an order that is given twice changes nothing");
    world.order("discovery", GateMode::Auto).unwrap();
    assert_eq!(world.told(), ["discovery open, 0 wait"]);
}

#[test]
fn an_order_about_no_gate_is_refused() {
    let mut world = gated();
    assert_eq!(world.order("web", GateMode::Closed), Err(Refusal::GateNotFound));
}

#[test]
fn a_view_says_since_when_and_what_went_wrong_last() {
    let mut world = gated();
    world.pass(3.0);
    world.gate_known("discovery", false, Some("HTTP 500"));
    let closed_at = world.now;
    world.submit("t1", Migration).unwrap();
    world.pass(2.0);
    world.gate_known("discovery", false, Some("refused"));
    let view = world.gate_view("discovery");
    assert_eq!((view.since, view.last_error.as_deref()), (closed_at, Some("refused")));
    assert_eq!((view.waiting, view.counted, view.held_until), (1, 1, None));
    world.gate("discovery", true);
    let view = world.gate_view("discovery");
    assert_eq!((view.since, view.last_error.as_deref()), (world.now, Some("refused")));
    assert_eq!((view.waiting, view.counted), (0, 0));
}

#[test]
fn an_ordered_gate_is_as_ordered_after_a_start() {
    let mut world = probed();
    world.order("discovery", GateMode::Closed).unwrap();
    let closed_since = world.gate_view("discovery").since.wall_us;
    world.submit("t1", Migration).unwrap();
    world.crash_for(60.0, false);
    assert_eq!(world.told(), ["discovery closed, 1 wait: closed by order"], "of this daemon");
    let view = world.gate_view("discovery");
    assert_eq!((view.state, view.mode), (GateState::Closed, GateMode::Closed));
    assert_eq!(view.since.wall_us, closed_since, "since long before");
    world.gate("discovery", true);
    world.expect("t1", "pending: gate_closed:discovery");
    world.order("discovery", GateMode::Open).unwrap();
    world.crash();
    assert_eq!(world.gate_view("discovery").state, GateState::Open);
    world.order("discovery", GateMode::Auto).unwrap();
    world.crash();
    assert_eq!(world.gate_view("discovery").state, GateState::Unknown);
}

#[test]
fn what_is_remembered_of_other_gates_or_cannot_be_read_is_no_obstacle() {
    for text in ["", "[]", "{\"modes\":{\"discovery\":\"ajar\"}}", "{\"modes\":3}"] {
        let mut world = probed();
        world.disk.notes.insert("gates".into(), text.into());
        world.crash();
        assert_eq!(world.gate_view("discovery").mode, GateMode::Auto, "{text}");
    }
    let mut world = gated();
    let text = "{\"modes\":{\"web\":\"closed\"},\"closed_since_us\":{\"web\":1},\"types\":{\"x\":{}},\"y\":0}";
    world.disk.notes.insert("gates".into(), text.into());
    world.crash();
    assert_eq!(world.gate_view("discovery").state, GateState::Open);
}

/// The clock of the daemon goes back when it is started again after somebody turned the clock.
#[test]
fn a_gate_is_never_closed_since_a_moment_that_has_not_come() {
    let mut world = gated();
    world.order("discovery", GateMode::Closed).unwrap();
    world.crash_for(-100.0, false);
    assert_eq!(world.gate_view("discovery").since, world.now);
}

/// Nothing is asked of such a gate, so whoever reads the log would never hear of its opening.
#[test]
fn a_gate_whose_hold_was_over_when_the_daemon_started_is_told_as_open() {
    let mut world = gated();
    world.submit("t1", Migration).unwrap();
    world.finish("anna", super::world::unavailable());
    assert_eq!(world.told(), ["discovery closed, 0 wait: no answer"]);
    world.crash_for(5.0, false);
    assert_eq!(world.told(), ["discovery open, 1 wait"]);
}

#[test]
fn a_pause_of_the_daemon_gives_a_dependency_its_full_grace() {
    let mut world = probed();
    world.pass(4.0);
    world.stand_still(3_600.0);
    world.pass(0.9);
    assert_eq!(world.told(), [""; 0]);
    world.pass(0.2);
    assert_eq!(world.told().len(), 1);
    assert_eq!(
        world.gate_view("discovery").since.mono_us + 3_605 * SECOND_US + 100_000,
        world.now.mono_us
    );
}

#[test]
fn what_waits_for_a_gate_keeps_its_position_and_delays_nobody() {
    let mut world = gated();
    world.teach("anna", General, 4.0);
    world.gate("discovery", false);
    world.submit("busy", General).unwrap();
    for n in 1..=3 {
        world.submit(&format!("d{n}"), Discovery).unwrap();
        world.submit(&format!("t{n}"), General).unwrap();
    }
    let listed = |world: &World, what: &str| {
        let summary = world.scheduler.summaries(&[task(what)], world.now).remove(0);
        let one = world.view(what).summary.waiting.unwrap();
        let waiting = summary.waiting.unwrap();
        assert_eq!((one.position, one.eta_us), (waiting.position, waiting.eta_us), "as in a list");
        (waiting.position.unwrap(), waiting.eta_us)
    };
    assert_eq!(listed(&world, "t1"), (2, Some(4_000_000)));
    assert_eq!(listed(&world, "t3"), (6, Some(12_000_000)));
    assert_eq!(listed(&world, "d2"), (3, None), "nobody knows when its gate opens");
    world.gate("discovery", true);
    assert_eq!(listed(&world, "t3"), (6, Some(24_000_000)));
}
