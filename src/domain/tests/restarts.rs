//! The daemon ends and begins again: what comes back, and how. After each start the world checks
//! by itself that nothing was lost and no deadline grew.

use super::world::{World, agent, error, name, seconds, success, task};
use crate::domain::TaskType::{General, Research};
use crate::domain::{
    Attempt, Failing, GateSpec, Incarnation, Launcher, Outcome, Refusal, TaskStatus, TaskTypes,
};

#[test]
fn tasks_come_back_in_their_places_with_all_that_is_known_of_them() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.submit_at("t1", 0).unwrap();
    world.lose("anna");
    world.lose("bert");
    world.expect("t1", "pending: excluded_everywhere, attempt 2, failures 2, excludes anna bert");
    for (what, priority) in [("t2", 5), ("t3", 0), ("t4", 5)] {
        world.submit_at(what, priority).unwrap();
    }
    let before = world.view("t1");
    world.crash();
    for (what, position) in [("t2", 1), ("t4", 2), ("t1", 3), ("t3", 4)] {
        assert_eq!(world.view(what).summary.waiting.unwrap().position, Some(position), "{what}");
    }
    world.expect("t1", "pending: excluded_everywhere, attempt 2, failures 2, excludes anna bert");
    world.expect_attempts("t1", "agent_failed on anna, agent_failed on bert");
    let after = world.view("t1");
    assert_eq!(after.attempts[1].decision, before.attempts[1].decision);
    assert_eq!(after.summary.created.wall_us, before.summary.created.wall_us);
    assert_eq!(after.summary.trace, before.summary.trace);
}

#[test]
fn what_was_submitted_still_counts_with_the_queue_and_what_came_back_does_not() {
    let mut world = World::with(|limits| limits.max_depth = 2, Vec::new());
    world.spawn("anna");
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    world.crash();
    assert_eq!(world.metrics().queue_length, 2);
    assert_eq!(world.scheduler.room(), 1, "the one that was cut off counts nowhere");
    world.submit("t3", General).unwrap();
    assert!(matches!(world.submit("t4", General), Err(Refusal::QueueFull { .. })));
}

#[test]
fn numbers_of_submissions_go_on_past_those_that_ended() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.finish("anna", success());
    world.crash();
    assert_eq!(world.metrics().tasks_total, 0, "counters begin with the daemon");
    assert_eq!(world.scheduler.status_here(task("t1")), None, "what has ended stays on disk");
    world.submit("t2", General).unwrap();
    assert!(world.view("t2").summary.seq > world.view("t1").summary.seq);
}

#[test]
fn agents_keep_their_ids_and_their_incarnations_go_on() {
    let mut world = World::with_agents(["anna"]);
    world.join("eve");
    world.set_target(2);
    world.lose("anna");
    world.restart("anna");
    let eve = world.scheduler.agent_view(agent("eve")).unwrap();
    world.crash();
    assert_eq!(world.disk.target, Some(2));
    world.expect_agent("anna", "degraded (restarting)");
    world.expect_agent("eve", "idle");
    assert_eq!(world.scheduler.agent_view(agent("eve")).unwrap().ids, eve.ids);
    world.submit("t1", General).unwrap();
    world.expect("t1", "in_progress on eve, attempt 1");
    world.restart("anna");
    assert_eq!(world.life("anna"), Incarnation::new(3));
    world.expect_agent("anna", "idle");
}

#[test]
fn the_launcher_of_a_process_is_on_disk_until_its_next_life() {
    let mut world = World::with_agents(["anna"]);
    let launcher = |world: &World| world.disk.agents[&agent("anna")].launcher;
    assert_eq!(launcher(&world), Some(Launcher { pid: 1, start_ticks: 1 }));
    world.crash();
    world.crash();
    assert_eq!(launcher(&world), Some(Launcher { pid: 1, start_ticks: 1 }), "to be killed again");
    world.begin_life("anna");
    assert_eq!(launcher(&world), None);
    world.ready("anna");
    assert_eq!(launcher(&world), Some(Launcher { pid: 1, start_ticks: 2 }));
}

#[test]
fn an_attempt_on_a_process_is_interrupted_and_counts_from_the_third_crash_in_a_row() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    for (crash, words) in [
        (1, "pending: no_idle_agent, attempt 1"),
        (2, "pending: no_idle_agent, attempt 2"),
        (3, "pending: no_idle_agent, attempt 3, failures 1"),
        (4, "pending: no_idle_agent, attempt 4, failures 2"),
        (5, "failed on anna, attempt 5, failures 3"),
    ] {
        world.start("anna");
        world.crash();
        world.expect("t1", words);
        let end = world.view("t1").attempts[crash - 1].end.clone().unwrap();
        assert_eq!(end.outcome, Outcome::Interrupted);
        assert_eq!(end.failure.unwrap().cause, "daemon_crashed");
        world.restart("anna"); // which nothing excludes
    }
    assert_eq!(world.scheduler.status_here(task("t1")), None, "it ended with the start");
    assert_eq!(world.view("t1").summary.error.unwrap().code, "daemon_crashed");
}

#[test]
fn an_orderly_stop_is_no_crash() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    for n in 1..=5 {
        world.stop();
        world.crash();
        world.restart("anna");
        world.expect("t1", &format!("in_progress on anna, attempt {}", n + 1));
    }
    let end = world.view("t1").attempts[0].end.clone().unwrap();
    assert_eq!((end.outcome, &*end.failure.unwrap().cause), (Outcome::Interrupted, "stopped"));
    assert!(world.submit("t2", General).is_ok(), "and the drain is over");
}

#[test]
fn what_is_left_of_the_processes_is_said() {
    for left in [true, false] {
        let mut world = World::with_agents(["anna"]);
        world.join("eve");
        world.submit_to("t1", "anna").unwrap();
        world.submit_to("t2", "eve").unwrap();
        world.crash_for(1.0, left);
        let overlap = if left { " (overlap possible)" } else { "" };
        world.expect_attempts("t1", &format!("interrupted on anna{overlap}"));
        world.expect_attempts("t2", "open on eve");
    }
}

#[test]
fn an_attempt_on_an_unknown_agent_is_interrupted() {
    let mut world = World::new();
    world.join("eve");
    world.submit("t1", General).unwrap();
    world.disk.agents.clear();
    world.crash();
    world.expect_attempts("t1", "interrupted on eve");
    world.expect("t1", "pending: pool_empty, attempt 1");
}

#[test]
fn an_agent_on_its_way_out_is_gone_unless_it_is_an_external_one_at_work() {
    let mut world = World::with_agents(["anna"]);
    world.join("eve");
    world.teach("eve", Research, 1.0);
    for (what, who) in [("t1", "anna"), ("t2", "eve")] {
        world.submit_to(what, who).unwrap();
        world.remove(who, 60).unwrap();
    }
    world.crash_for(20.0, false);
    world.expect_agent("anna", "gone");
    world.expect("t1", "pending: no_idle_agent, attempt 1");
    world.expect_agent("eve", "analyzing t2");
    assert!(world.scheduler.agent_view(agent("eve")).unwrap().leaving);
    world.pass(39.9);
    world.expect("t2", "in_progress on eve, attempt 1");
    world.pass(0.1);
    world.expect_agent("eve", "gone");
    world.expect("t2", "pending: pool_empty, attempt 1");
    assert!(world.disk.agents.is_empty() && world.disk.lessons.is_empty());
    let cause = |what| world.view(what).attempts[0].end.clone().unwrap().failure.unwrap().cause;
    assert_eq!((&*cause("t1"), &*cause("t2")), ("daemon_crashed", "stopped"));
}

#[test]
fn of_a_drain_the_rest_is_left_and_never_more_than_all_of_it() {
    for (down_s, left_s) in [(60.0, 0.0), (-3_600.0, 20.0)] {
        let mut world = World::new();
        world.join("eve");
        world.submit("t1", General).unwrap();
        world.remove("eve", 20).unwrap();
        world.pass(5.0);
        world.crash_for(down_s, false);
        if left_s > 0.0 {
            world.pass(left_s - 0.001);
            world.expect("t1", "in_progress on eve, attempt 1");
            world.pass(0.001);
        }
        world.expect_agent("eve", "gone");
    }
}

#[test]
fn an_attempt_on_an_external_agent_outlives_the_daemon() {
    let mut world = World::new();
    world.join("eve");
    world.submit_with("t1", General, |spec| spec.timeout_us = Some(seconds(60.0))).unwrap();
    assert_eq!(world.fetch("eve"), Ok(Some(("t1".into(), 1))));
    world.pass(20.0);
    world.crash_for(10.0, true);
    world.expect("t1", "in_progress on eve, attempt 1");
    world.expect_agent("eve", "executing t1");
    assert_eq!(world.fetch("eve"), Ok(Some(("t1".into(), 1))), "the same attempt");
    world.pass(29.9);
    assert!(!world.heartbeat("eve").unwrap().cancel_requested);
    world.pass(0.1);
    assert!(world.heartbeat("eve").unwrap().cancel_requested, "60 s since its assignment");
    assert_eq!(world.complete("t1", Some(1), success()), Ok(TaskStatus::Completed));
    assert_eq!(world.metrics().avg_task_duration, Some(60.0));
}

#[test]
fn an_attempt_that_was_not_fetched_is_fetched_after_the_start() {
    let mut world = World::new();
    world.join("eve");
    world.submit("t1", General).unwrap();
    world.crash();
    world.expect_agent("eve", "analyzing t1");
    assert_eq!(world.fetch("eve"), Ok(Some(("t1".into(), 1))));
    world.expect_agent("eve", "executing t1");
    assert_eq!(world.complete("t1", None, success()), Ok(TaskStatus::Completed));
}

#[test]
fn a_time_out_in_its_grace_gets_its_grace_again() {
    let mut world = World::new();
    world.join("eve");
    world.submit_with("t1", General, |spec| spec.timeout_us = Some(seconds(1.0))).unwrap();
    world.pass(5.9);
    world.crash();
    assert!(world.heartbeat("eve").unwrap().cancel_requested);
    world.pass(4.9);
    world.expect("t1", "in_progress on eve, attempt 1");
    world.pass(0.1);
    world.expect_attempts("t1", "timed_out on eve (overlap possible)");
}

#[test]
fn a_lease_begins_again_at_full_length() {
    let mut world = World::new();
    world.join_leased("eve", 10);
    world.submit("t1", General).unwrap();
    world.fetch("eve").unwrap();
    world.pass(9.9);
    world.crash_for(600.0, false);
    world.pass(9.9);
    world.expect_agent("eve", "executing t1");
    world.pass(0.1);
    world.expect_agent("eve", "degraded (lease_lost)");
    world.expect("t1", "pending: excluded_everywhere, attempt 1, failures 1, excludes eve");
}

#[test]
fn an_idle_agent_with_a_lease_gets_nothing_until_it_calls() {
    let mut world = World::new();
    world.join_leased("eve", 10);
    world.heartbeat("eve").unwrap();
    world.crash();
    world.submit("t1", General).unwrap();
    world.expect("t1", "pending: no_idle_agent");
    assert_eq!(world.heartbeat_as("eve", Some(1)).unwrap().incarnation.get(), 1, "the same life");
    world.expect("t1", "in_progress on eve, attempt 1");
}

#[test]
fn an_external_agent_that_was_failed_or_lost_stays_so() {
    let mut world = World::new();
    world.join("eve");
    world.join_leased("finn", 1);
    world.heartbeat("finn").unwrap();
    assert_eq!(world.fail("eve"), Ok(Failing::Done(None)));
    world.pass(1.0);
    world.crash();
    world.expect_agent("eve", "degraded (failed)");
    world.expect_agent("finn", "degraded (lease_lost)");
    assert_eq!(world.fetch("eve"), Err(Refusal::AgentFailed));
    world.recover("eve").unwrap();
    assert_eq!(world.heartbeat("eve").unwrap().incarnation.get(), 2);
    assert!(matches!(world.heartbeat_as("finn", Some(1)), Err(Refusal::StaleIncarnation { .. })));
    assert_eq!(world.heartbeat("finn").unwrap().incarnation.get(), 2);
}

/// An external agent whose task is cancelled while it runs, before the daemon ends.
fn cancelled() -> World {
    let mut world = World::new();
    world.join("eve");
    world.submit("t1", General).unwrap();
    world.fetch("eve").unwrap();
    world.cancel("t1").unwrap();
    world.submit("t2", General).unwrap();
    world.pass(4.9);
    world.crash();
    world
}

#[test]
fn a_cancelled_run_is_remembered_until_its_grace_is_over() {
    let mut world = cancelled();
    let heartbeat = world.heartbeat("eve").unwrap();
    assert!(heartbeat.cancel_requested);
    assert_eq!(heartbeat.run.map(|(id, _)| name(id)).as_deref(), Some("t1"));
    assert_eq!(world.fetch("eve"), Ok(None), "there is nothing to do for it");
    world.pass(4.9);
    world.expect("t2", "pending: no_idle_agent");
    world.pass(0.1);
    world.expect("t2", "in_progress on eve, attempt 1");
    world.expect_attempts("t1", "cancelled on eve (overlap possible)");
}

#[test]
fn the_refused_answer_to_a_cancelled_run_ends_it_after_a_start_too() {
    let finished = |by| {
        let (status, by) = (TaskStatus::Cancelled, Some(Attempt::new(by)));
        Err(Refusal::AlreadyFinished { status, finished_by: by })
    };
    let mut world = cancelled();
    assert_eq!(world.complete("t1", Some(2), success()), finished(1), "of another attempt");
    world.expect("t2", "pending: no_idle_agent");
    assert_eq!(world.complete("t1", None, success()), finished(1));
    world.expect("t2", "in_progress on eve, attempt 1");
}

#[test]
fn a_cancelled_task_is_not_tried_again_while_its_run_goes_on_after_a_start() {
    let mut world = cancelled();
    world.join("finn");
    world.expect("t2", "in_progress on finn, attempt 1");
    world.join("gina");
    assert_eq!(world.retry("t1"), Ok(None));
    assert_eq!(world.retry_all(TaskStatus::Cancelled), Ok(0));
    world.expect("t1", "cancelled on eve, attempt 1");
    world.pass(5.0);
    world.expect("t1", "in_progress on gina, attempt 2");
}

#[test]
fn a_cancel_in_the_grace_of_a_time_out_is_remembered() {
    let mut world = World::new();
    world.join("eve");
    world.submit_with("t1", General, |spec| spec.timeout_us = Some(seconds(1.0))).unwrap();
    world.pass(2.0);
    world.cancel("t1").unwrap();
    world.crash();
    world.submit("t2", General).unwrap();
    world.expect("t2", "pending: no_idle_agent");
}

#[test]
fn of_a_backoff_the_rest_is_left_and_never_more_than_all_of_it() {
    for (down_s, left_s) in [(0.0, 3.0), (1.0, 2.0), (60.0, 0.0), (-3_600.0, 4.0)] {
        let mut world = World::with(|limits| limits.max_attempts = 9, Vec::new());
        world.join("eve");
        world.submit("t1", General).unwrap();
        for (attempt, wait_s) in [(1, 1.0), (2, 2.0), (3, 1.0)] {
            world.complete("t1", Some(attempt), error(true)).unwrap();
            world.pass(wait_s);
        }
        world.crash_for(down_s, false);
        if left_s > 0.0 {
            world.pass(left_s - 0.001);
            world.expect("t1", "pending: retry_backoff, attempt 3, failures 3");
            world.pass(0.001);
        }
        world.expect("t1", "in_progress on eve, attempt 4, failures 3");
    }
}

#[test]
fn of_an_exclusion_the_rest_is_left_and_never_more_than_all_of_it() {
    for (down_s, left_s) in [(0.0, 6.0), (1.0, 5.0), (60.0, 0.0), (-3_600.0, 10.0)] {
        let mut world = World::with_agents(["anna"]);
        world.submit("t1", General).unwrap();
        world.lose("anna");
        world.pass(4.0);
        world.crash_for(down_s, false);
        world.restart("anna");
        if left_s > 0.0 {
            world.pass(left_s - 0.001);
            let waits = "pending: excluded_everywhere, attempt 1, failures 1, excludes anna";
            world.expect("t1", waits);
            world.pass(0.001);
        }
        world.expect("t1", "in_progress on anna, attempt 2, failures 1, excludes anna");
        assert!(world.view("t1").attempts[1].decision.relaxed);
    }
}

#[test]
fn a_clock_that_was_turned_while_the_daemon_ran_moves_no_stored_deadline() {
    let mut world = World::with_agents(["anna"]);
    world.turn_clock(-86_400.0);
    world.submit("t1", General).unwrap();
    world.lose("anna");
    world.pass(4.0);
    world.crash();
    world.restart("anna");
    world.pass(5.999);
    world.expect("t1", "pending: excluded_everywhere, attempt 1, failures 1, excludes anna");
    world.pass(0.001);
    world.expect("t1", "in_progress on anna, attempt 2, failures 1, excludes anna");
}

#[test]
fn an_attempt_never_gets_more_than_its_full_time_after_the_clock_was_turned_back() {
    let mut world = World::new();
    world.join("eve");
    world.submit_with("t1", General, |spec| spec.timeout_us = Some(seconds(60.0))).unwrap();
    world.pass(50.0);
    world.crash_for(-3_600.0, false);
    world.pass(59.9);
    assert!(!world.heartbeat("eve").unwrap().cancel_requested);
    world.pass(0.1);
    assert!(world.heartbeat("eve").unwrap().cancel_requested);
}

#[test]
fn what_was_learned_comes_back_as_far_as_the_window_reaches() {
    for (window, words) in [
        (20, "affinity: bert(2000) anna(3000), of 2"),
        (2, "affinity: anna(1500) bert(2000), of 2"),
        (1, "affinity: anna(1000) bert(2000), of 2"),
    ] {
        let mut world = World::new();
        world.join("anna");
        world.join("bert");
        for took_s in [6.0, 2.0, 1.0] {
            world.teach("anna", General, took_s);
        }
        world.teach("bert", General, 2.0);
        world.configure(|limits| limits.affinity_window = window);
        world.crash();
        world.submit("t1", General).unwrap();
        world.expect_decision("t1", words);
        world.submit("t2", General).unwrap();
        world.complete("t1", None, success()).unwrap();
        world.complete("t2", None, success()).unwrap();
    }
}

#[test]
fn a_turn_that_was_not_on_disk_did_not_happen() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.start("anna");
    world.lost_after = Some(0);
    world.finish("anna", success());
    let _unheard = world.submit("t2", General);
    world.crash();
    world.expect("t1", "pending: no_idle_agent, attempt 1");
    world.expect_attempts("t1", "interrupted on anna");
    world.expect("t2", "unknown");
    assert!(world.disk.lessons.is_empty());
}

#[test]
fn a_start_that_was_not_on_disk_is_the_same_again() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.lost_after = Some(0);
    world.crash();
    world.expect("t1", "pending: no_idle_agent, attempt 1");
    assert_eq!(world.view("t1").attempts.len(), 1, "one crash of an attempt, not two");
}

#[test]
fn a_task_behind_a_closed_gate_waits_on() {
    let types: TaskTypes = [Research].into_iter().collect();
    let gate = GateSpec { is_probed: true, ..GateSpec::new("web", types) };
    let mut world = World::with(|_| {}, vec![gate]);
    world.join("eve");
    world.submit("t1", Research).unwrap();
    world.crash();
    world.expect("t1", "pending: gate_closed:web");
    world.gate("web", true);
    world.expect("t1", "in_progress on eve, attempt 1");
}

#[test]
fn tasks_that_wait_are_given_away_at_the_start() {
    let mut world = World::with_agents(["anna"]);
    world.join("eve");
    world.submit_to("t1", "eve").unwrap();
    world.submit("t2", General).unwrap();
    world.submit("t3", General).unwrap();
    world.lost_after = Some(0);
    let _unheard = world.complete("t1", None, success());
    world.crash();
    world.expect("t1", "in_progress on eve, attempt 1");
    assert_eq!(world.complete("t1", None, success()), Ok(TaskStatus::Completed));
    world.expect("t2", "in_progress on eve, attempt 2");
}
