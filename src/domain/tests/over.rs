//! A run is over before its task moves: rule 9.

use super::world::{Deaths, World, success};
use crate::domain::TaskType::General;

#[test]
fn an_agent_whose_processes_are_gone_gets_no_task_while_its_actor_still_reports() {
    let mut world = World::with_agents(["anna"]);
    world.deaths = Deaths::ByHand;
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    world.tree_gone("anna");
    world.finish("anna", success());
    world.expect("t1", "completed on anna, attempt 1");
    world.expect("t2", "pending: no_idle_agent");
    world.expect_agent("anna", "degraded (failed)");
    world.actor_gone("anna");
    world.restart("anna");
    world.expect("t2", "in_progress on anna, attempt 1");
}
