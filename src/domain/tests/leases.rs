//! External agents and their leases: rule 3.

use super::world::{World, seconds};
use crate::domain::TaskType::General;
use crate::domain::{Effect, Failing, Incarnation, Refusal};

#[test]
fn a_lease_that_ends_after_the_time_out_changes_nothing_about_the_time_out() {
    let mut world = World::new();
    world.join_leased("eve", 10);
    world.heartbeat("eve").unwrap();
    world.submit_with("t1", General, |spec| spec.timeout_us = Some(seconds(8.0))).unwrap();
    world.pass(9.0);
    world.expect("t1", "in_progress on eve, attempt 1");
    world.pass(1.0);
    world.expect("t1", "pending: excluded_everywhere, attempt 1, failures 1, excludes eve");
    world.expect_attempts("t1", "timed_out on eve");
}

#[test]
fn an_open_call_of_an_agent_that_is_failed_or_removed_hears_of_it() {
    let woken = |effect: &Effect| matches!(effect, Effect::Wake { .. });
    let mut world = World::new();
    world.join_leased("eve", 10);
    assert_eq!(world.fetch("eve"), Ok(None));
    world.call_opened("eve");
    world.fail("eve").unwrap();
    assert_eq!(world.wanted(woken), 1);
    assert_eq!(world.fetch("eve"), Err(Refusal::AgentFailed));
    world.remove("eve", 0).unwrap();
    assert_eq!(world.wanted(woken), 1);
    assert_eq!(world.fetch("eve"), Err(Refusal::AgentNotFound));
}

#[test]
fn an_external_agent_is_idle_at_once_and_without_a_lease_always_a_candidate() {
    let mut world = World::new();
    world.join("eve");
    world.expect_agent("eve", "idle");
    world.pass(1e6);
    world.submit("t1", General).unwrap();
    world.expect("t1", "in_progress on eve, attempt 1");
}

#[test]
fn with_a_lease_an_agent_is_a_candidate_from_its_first_call_to_the_end_of_the_lease() {
    let mut world = World::new();
    world.join_leased("eve", 10);
    world.submit("t1", General).unwrap();
    world.expect("t1", "pending: no_idle_agent");
    world.heartbeat("eve").unwrap();
    world.expect("t1", "in_progress on eve, attempt 1");
    world.complete("t1", None, super::world::success()).unwrap();
    world.pass(9.9);
    world.expect_agent("eve", "idle");
    world.heartbeat("eve").unwrap();
    world.pass(9.9);
    world.expect_agent("eve", "idle");
    world.pass(0.1);
    world.expect_agent("eve", "degraded (lease_lost)");
    world.submit("t2", General).unwrap();
    world.expect("t2", "pending: no_idle_agent");
}

#[test]
fn a_lease_that_ends_before_the_fetch_interrupts_and_after_it_fails_the_agent() {
    let mut world = World::new();
    world.join_leased("eve", 10);
    world.heartbeat("eve").unwrap();
    world.submit("t1", General).unwrap();
    world.pass(10.0);
    world.expect("t1", "pending: no_idle_agent, attempt 1");
    world.expect_attempts("t1", "interrupted on eve");
    assert_eq!(world.fetch("eve"), Ok(Some(("t1".into(), 2))), "a new life, and the task again");
    world.pass(10.0);
    world.expect("t1", "pending: excluded_everywhere, attempt 2, failures 1, excludes eve");
    world.expect_attempts("t1", "interrupted on eve, agent_failed on eve");
}

#[test]
fn an_open_call_holds_the_lease_and_its_end_begins_it() {
    let mut world = World::new();
    world.join_leased("eve", 10);
    assert_eq!(world.fetch("eve"), Ok(None));
    world.call_opened("eve");
    world.call_opened("eve");
    world.pass(100.0);
    world.heartbeat("eve").unwrap();
    world.call_closed("eve");
    world.pass(100.0);
    world.expect_agent("eve", "idle");
    world.call_closed("eve");
    world.pass(9.9);
    world.expect_agent("eve", "idle");
    world.pass(0.1);
    world.expect_agent("eve", "degraded (lease_lost)");
    world.call_closed("eve");
    world.expect_agent("eve", "degraded (lease_lost)");
}

#[test]
fn after_a_lost_lease_the_next_call_without_an_incarnation_begins_a_new_one() {
    let mut world = World::new();
    world.join_leased("eve", 10);
    assert_eq!(world.heartbeat("eve").unwrap().incarnation.get(), 1);
    let first = world.scheduler.agent_view(super::world::agent("eve")).unwrap().ids;
    assert!(world.heartbeat_as("eve", Some(1)).is_ok());
    world.pass(10.0);
    let stale = |given, current| {
        let (given, current) = (Incarnation::new(given), Incarnation::new(current));
        Err(Refusal::StaleIncarnation { given, current })
    };
    assert_eq!(world.heartbeat_as("eve", Some(1)), stale(1, 1), "that life is over");
    world.expect_agent("eve", "degraded (lease_lost)");
    assert_eq!(world.heartbeat("eve").unwrap().incarnation.get(), 2);
    world.expect_agent("eve", "idle");
    assert_eq!(world.heartbeat_as("eve", Some(1)), stale(1, 2));
    let second = world.scheduler.agent_view(super::world::agent("eve")).unwrap().ids;
    assert_ne!(first.context_window_id, second.context_window_id);
}

#[test]
fn fetching_again_answers_the_same_attempt_until_it_ends() {
    let mut world = World::new();
    world.join("eve");
    assert_eq!(world.fetch("eve"), Ok(None));
    world.submit("t1", General).unwrap();
    world.expect_agent("eve", "analyzing t1");
    for _ in 0..3 {
        assert_eq!(world.fetch("eve"), Ok(Some(("t1".into(), 1))));
        world.expect_agent("eve", "executing t1");
    }
    world.complete("t1", None, super::world::success()).unwrap();
    assert_eq!(world.fetch("eve"), Ok(None));
}

#[test]
fn after_a_start_an_idle_agent_has_its_lease_for_the_next_call() {
    let mut world = World::new();
    world.join_leased("eve", 10);
    world.join_leased("finn", 10);
    for who in ["eve", "finn"] {
        world.heartbeat(who).unwrap();
    }
    world.pass(9.0);
    world.crash();
    world.submit("t1", General).unwrap();
    world.pass(9.9);
    world.expect("t1", "pending: no_idle_agent");
    world.expect_agent("eve", "idle");
    world.heartbeat_as("finn", Some(1)).unwrap();
    world.expect("t1", "in_progress on finn, attempt 1");
    world.pass(0.1);
    world.expect_agent("eve", "degraded (lease_lost)");
    world.expect_agent("finn", "analyzing t1");
    assert!(matches!(world.heartbeat_as("eve", Some(1)), Err(Refusal::StaleIncarnation { .. })));
}

/// Between the end of the listener and that of the daemon nobody can hold a lease or answer.
#[test]
fn nothing_runs_out_while_a_stopping_daemon_can_hear_nobody() {
    let mut world = World::new();
    world.join_leased("eve", 10);
    world.heartbeat("eve").unwrap();
    world.submit_with("t1", General, |spec| spec.timeout_us = Some(seconds(12.0))).unwrap();
    world.fetch("eve").unwrap();
    world.join("finn");
    world.submit("t2", General).unwrap();
    world.cancel("t2").unwrap();
    world.pass(4.0);
    world.drain();
    world.stop_listening();
    world.stop_process_runs();
    world.pass(35.0);
    assert_eq!(world.scheduler.next_timeout(), None);
    world.crash();
    world.expect("t1", "in_progress on eve, attempt 1");
    world.expect_attempts("t2", "cancelled on finn");
    assert!(world.heartbeat_as("eve", Some(1)).is_ok(), "its life goes on");
}

#[test]
fn a_failed_external_agent_is_taken_back_only_by_recover() {
    for lease_s in [None, Some(10)] {
        let mut world = World::new();
        match lease_s {
            Some(lease_s) => world.join_leased("eve", lease_s),
            None => world.join("eve"),
        }
        assert!(matches!(world.recover("eve"), Err(Refusal::NotDegraded { .. })));
        world.heartbeat("eve").unwrap();
        world.submit("t1", General).unwrap();
        assert_eq!(world.fail("eve"), Ok(Failing::Done(Some(super::world::task("t1")))));
        world.expect("t1", "pending: excluded_everywhere, attempt 1, failures 1, excludes eve");
        world.heartbeat("eve").unwrap();
        world.expect_agent("eve", "degraded (failed)");
        assert_eq!(world.fetch("eve"), Err(Refusal::AgentFailed));
        world.submit("t2", General).unwrap();
        world.recover("eve").unwrap();
        if lease_s.is_some() {
            world.expect("t2", "pending: no_idle_agent");
        }
        assert_eq!(world.heartbeat("eve").unwrap().incarnation.get(), 2);
        world.expect("t2", "in_progress on eve, attempt 1");
    }
}

#[test]
fn what_is_for_external_agents_is_refused_to_processes_and_strangers() {
    let mut world = World::with_agents(["anna"]);
    assert_eq!(world.heartbeat("anna"), Err(Refusal::NotExternal));
    assert_eq!(world.fetch("anna"), Err(Refusal::NotExternal));
    assert_eq!(world.heartbeat("nobody"), Err(Refusal::AgentNotFound));
    assert_eq!(world.fetch("nobody"), Err(Refusal::AgentNotFound));
    assert_eq!(world.recover("nobody"), Err(Refusal::AgentNotFound));
    assert_eq!(world.fail("nobody"), Err(Refusal::AgentNotFound));
}
