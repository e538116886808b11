//! External agents and their leases: rule 3.

use super::world::{World, seconds};
use crate::domain::TaskType::General;
use crate::domain::{Effect, Refusal};

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
