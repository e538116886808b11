//! Agents leave, pools close, the daemon stops: rules 1, 17 and 18.

use super::world::{Deaths, World, error, seconds};
use crate::domain::TaskType::General;
use crate::domain::{Effect, PoolClosed, Refusal, TaskStatus};

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

fn closed(world: &World) -> PoolClosed {
    let closed = world.effects.iter().find_map(|effect| match effect {
        Effect::PoolClosed(closed) => Some(*closed),
        _ => None,
    });
    closed.expect("the pool is closed")
}

#[test]
fn a_discarding_shutdown_cancels_whatever_comes_back_while_it_goes_on() {
    let mut world = World::with_agents(["anna", "bert", "carl"]);
    world.submit("t1", General).unwrap();
    world.submit_with("t2", General, |spec| spec.timeout_us = Some(seconds(1.0))).unwrap();
    world.submit("t3", General).unwrap();
    world.submit("t4", General).unwrap();
    world.deaths = Deaths::ByHand;
    world.close_pool(5, true);
    world.expect("t4", "cancelled");
    world.submit("t5", General).unwrap();
    world.finish("anna", error(true));
    world.expect("t1", "cancelled on anna, attempt 1, failures 1");
    world.pass(1.0);
    for who in ["bert", "carl", "anna"] {
        world.actor_gone(who);
        world.tree_gone(who);
    }
    world.expect("t2", "cancelled on bert, attempt 1, failures 1, excludes bert");
    world.expect("t5", "pending: pool_empty");
    assert_eq!(closed(&world).tasks_requeued, 0);
    assert_eq!(closed(&world).tasks_pending, 1, "what came later waits for the next pool");
    assert_eq!(
        world.cancel("t1"),
        Err(Refusal::AlreadyFinished { status: TaskStatus::Cancelled, finished_by: None })
    );
}

#[test]
fn an_agent_that_comes_while_the_pool_is_shut_down_leaves_with_it() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.deaths = Deaths::ByHand;
    world.close_pool(0, false);
    world.join("eve");
    world.expect_agent("eve", "gone");
    world.spawn("bert");
    world.expect("t1", "in_progress on anna, attempt 1");
    for who in ["bert", "anna"] {
        world.actor_gone(who);
        world.tree_gone(who);
    }
    world.expect("t1", "pending: pool_empty, attempt 1");
    let expected = PoolClosed { agents_stopped: 3, tasks_requeued: 1, tasks_pending: 1 };
    assert_eq!(closed(&world), expected);
}
