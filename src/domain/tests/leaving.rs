//! Agents leave, pools close, the daemon stops: rules 1, 17 and 18.

use super::world::{Deaths, World};
use crate::domain::TaskType::General;

#[test]
fn the_stop_of_the_daemon_ends_the_drain_of_a_leaving_agent() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.remove("anna", 60).unwrap();
    world.expect_agent("anna", "analyzing t1");
    world.deaths = Deaths::ByHand;
    world.drain();
    world.stop_process_runs();
    world.actor_gone("anna");
    world.tree_gone("anna");
    world.expect_agent("anna", "gone");
    assert_eq!(world.scheduler.next_timeout(), None, "no timer of it is left");
}
