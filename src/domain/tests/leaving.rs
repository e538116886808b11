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
fn a_discarding_shutdown_does_so_after_a_start_too() {
    let mut world = World::with_agents(["anna"]);
    world.join("eve");
    world.submit_to("t1", "anna").unwrap();
    world.submit_to("t2", "eve").unwrap();
    world.remove("anna", 40).unwrap();
    world.close_pool(60, true);
    world.submit("t3", General).unwrap();
    world.crash();
    world.expect("t1", "cancelled on anna, attempt 1");
    world.pass(60.0);
    world.expect("t2", "cancelled on eve, attempt 1");
    world.expect_attempts("t2", "interrupted on eve");
    world.expect("t3", "pending: pool_empty");
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

#[test]
fn a_removed_agent_is_gone_and_its_task_is_requeued() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.submit("t1", General).unwrap();
    world.remove("anna", 0).unwrap();
    world.expect_agent("anna", "gone");
    world.expect("t1", "in_progress on bert, attempt 2");
    world.expect_attempts("t1", "interrupted on anna, open on bert");
    assert_eq!(world.remove("anna", 0), Err(Refusal::AgentNotFound));
}

#[test]
fn an_idle_process_agent_is_asked_to_end_and_gets_nothing_meanwhile() {
    let mut world = World::with_agents(["anna"]);
    world.deaths = Deaths::ByHand;
    world.remove("anna", 60).unwrap();
    assert_eq!(world.wanted(|effect| matches!(effect, Effect::StopAgent { .. })), 1);
    world.expect_agent("anna", "degraded (leaving)");
    world.submit("t1", General).unwrap();
    world.expect("t1", "pending: no_idle_agent");
    world.tree_gone("anna");
    world.actor_gone("anna");
    world.expect_agent("anna", "gone");
    assert_eq!(world.wanted(|effect| matches!(effect, Effect::AgentLost { .. })), 0);
}

#[test]
fn a_leaving_agent_may_end_its_run_within_the_drain() {
    for ends in [true, false] {
        let mut world = World::with_agents(["anna"]);
        world.submit("t1", General).unwrap();
        world.submit("t2", General).unwrap();
        world.remove("anna", 5).unwrap();
        world.pass(4.9);
        world.expect("t1", "in_progress on anna, attempt 1");
        if ends {
            world.finish("anna", super::world::success());
            world.expect("t1", "completed on anna, attempt 1");
        } else {
            world.pass(0.1);
            world.expect("t1", "pending: pool_empty, attempt 1");
        }
        world.expect_agent("anna", "gone");
        world.expect("t2", "pending: pool_empty");
    }
}

#[test]
fn of_two_removals_the_earlier_end_holds() {
    let mut world = World::new();
    world.join("eve");
    world.submit("t1", General).unwrap();
    world.remove("eve", 60).unwrap();
    world.remove("eve", 90).unwrap();
    world.remove("eve", 2).unwrap();
    world.remove("eve", 5).unwrap();
    world.pass(1.9);
    world.expect_agent("eve", "analyzing t1");
    world.pass(0.1);
    world.expect_agent("eve", "gone");
}

/// In the reference implementation a pool shutdown deleted every task.
#[test]
fn a_shutdown_of_the_pool_loses_no_task() {
    let mut world = World::with_agents(["anna"]);
    world.join("eve");
    for what in ["t1", "t2", "t3"] {
        world.submit(what, General).unwrap();
    }
    world.close_pool(0, false);
    let expected = PoolClosed { agents_stopped: 2, tasks_requeued: 2, tasks_pending: 3 };
    assert_eq!(closed(&world), expected);
    world.expect("t1", "pending: pool_empty, attempt 1");
    world.spawn("bert");
    world.expect("t1", "in_progress on bert, attempt 2");
}

#[test]
fn what_one_agent_gives_back_at_a_shutdown_does_not_go_to_the_next() {
    let mut world = World::new();
    world.join("eve");
    world.submit("t1", General).unwrap();
    world.join("finn");
    world.close_pool(0, false);
    world.expect("t1", "pending: pool_empty, attempt 1");
}

#[test]
fn a_shutdown_waits_for_what_drains_and_a_second_call_joins_it() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.submit("t1", General).unwrap();
    world.close_pool(5, false);
    world.expect_agent("bert", "gone");
    world.close_pool(0, true);
    world.expect("t1", "in_progress on anna, attempt 1");
    world.pass(1.0);
    world.finish("anna", super::world::success());
    let expected = PoolClosed { agents_stopped: 2, tasks_requeued: 0, tasks_pending: 0 };
    assert_eq!(closed(&world), expected);
    world.close_pool(0, false);
    assert_eq!(closed(&world), PoolClosed::default(), "an empty pool closes at once");
}

#[test]
fn a_draining_daemon_takes_and_gives_nothing_and_lets_runs_end() {
    let mut world = World::with_agents(["anna"]);
    world.join("eve");
    for what in ["t1", "t2", "t3"] {
        world.submit(what, General).unwrap();
    }
    world.drain();
    assert_eq!(world.drained, 0);
    assert_eq!(world.submit("t4", General), Err(Refusal::Draining));
    world.finish("anna", super::world::success());
    assert_eq!(world.drained, 1);
    world.expect("t3", "pending: no_idle_agent");
    assert_eq!(world.fetch("eve"), Ok(Some(("t2".into(), 1))), "external agents go on");
    assert_eq!(world.complete("t2", None, error(true)), Ok(TaskStatus::Pending));
    world.pass(60.0);
    world.expect("t2", "pending: no_idle_agent, attempt 1, failures 1");
}

#[test]
fn a_stopping_daemon_interrupts_what_its_processes_run_and_nothing_else() {
    let mut world = World::with_agents(["anna"]);
    world.join("eve");
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    world.drain();
    world.stop_process_runs();
    world.expect_attempts("t1", "interrupted on anna");
    world.expect("t1", "pending: no_idle_agent, attempt 1");
    world.expect_attempts("t2", "open on eve");
    assert_eq!(world.drained, 1);
}

#[test]
fn an_idle_daemon_has_drained_at_once() {
    let mut world = World::with_agents(["anna"]);
    world.drain();
    world.drain();
    assert_eq!(world.drained, 1);
}
