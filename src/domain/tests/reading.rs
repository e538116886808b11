//! What stays in memory, and counters.

use super::world::{World, error, success, task};
use crate::domain::TaskType::{General, Ingest};
use crate::domain::{Effect, Outcome, Report, TaskStatus, Usage};

/// The history of every task stayed in memory for ever.
#[test]
fn ended_tasks_leave_memory() {
    let mut world = World::with_agents(["anna"]);
    for n in 1..=4 {
        world.submit(&format!("t{n}"), General).unwrap();
    }
    world.finish("anna", success());
    world.finish("anna", error(false));
    world.cancel("t4").unwrap();
    world.expect("t1", "completed on anna, attempt 1");
    world.expect("t2", "failed on anna, attempt 1");
    world.expect("t4", "cancelled");
    for what in ["t1", "t2", "t4"] {
        assert_eq!(world.scheduler.status_here(task(what)), None, "{what}");
        assert!(!world.scheduler.is_live_task(task(what)), "{what}");
    }
    assert!(world.scheduler.is_live_task(task("t3")));
}

#[test]
fn a_cancelled_task_leaves_memory_when_its_run_is_over() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    let left = |effect: &Effect| matches!(effect, Effect::TaskLeft { .. });
    world.cancel("t1").unwrap();
    assert_eq!(world.wanted(left), 0);
    assert_eq!(world.scheduler.status_here(task("t1")), Some(TaskStatus::Cancelled));
    assert!(!world.scheduler.is_live_task(task("t1")), "nobody need wait for its end");
    world.finish("anna", success());
    assert_eq!(world.wanted(left), 1, "whoever waits to try it again hears of it");
    assert_eq!(world.scheduler.status_here(task("t1")), None);
    world.expect("t1", "cancelled on anna, attempt 1");
}

/// The metrics query was the load: counters are kept, never computed by scanning.
#[test]
fn counters_outlive_the_tasks_that_they_count() {
    let mut world = World::with_agents(["anna"]);
    let usage = Some(Usage { input_tokens: 7, output_tokens: 3, ..Usage::default() });
    for (what, report) in
        [("t1", Report::Completed { result: None, usage }), ("t2", success()), ("t3", error(false))]
    {
        world.submit(what, General).unwrap();
        world.pass(0.25);
        world.start("anna");
        world.pass(2.0);
        world.finish("anna", report);
    }
    world.submit("t4", General).unwrap();
    world.submit("t5", General).unwrap();
    let metrics = world.metrics();
    assert_eq!((metrics.tasks_total, metrics.tasks_completed, metrics.tasks_failed), (5, 2, 1));
    assert_eq!((metrics.tasks_pending, metrics.tasks_in_progress, metrics.assignments), (1, 1, 4));
    assert_eq!((metrics.input_tokens, metrics.output_tokens), (7, 3));
    assert_eq!(metrics.avg_task_duration, Some(2.0));
    assert_eq!(metrics.avg_assignment_latency_ms, Some(250.0));
    assert_eq!(metrics.assignment_latency_over_target, 0);
    assert_eq!(metrics.utilization, 1.0);
}

#[test]
fn waits_latencies_and_attempts_are_counted_in_buckets() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    world.pass(0.25);
    world.start("anna");
    world.pass(2.0);
    world.finish("anna", success());
    world.start("anna");
    world.pass(0.5);
    world.finish("anna", error(false));
    let histograms = world.metrics().histograms;
    let waits = histograms.queue_wait;
    assert_eq!((waits.count(), waits.sum_us()), (2, 2_250_000), "one at once, one behind it");
    assert_eq!(waits.counts()[0], 1);
    let latencies = histograms.assignment_latency;
    assert_eq!((latencies.count(), latencies.sum_us()), (2, 2_500_000));
    let of = |outcome: Outcome| histograms.attempts[outcome.index()];
    assert_eq!((of(Outcome::Completed).count(), of(Outcome::Completed).sum_us()), (1, 2_000_000));
    assert_eq!((of(Outcome::Failed).count(), of(Outcome::Failed).sum_us()), (1, 500_000));
    assert_eq!(of(Outcome::Cancelled).count(), 0);
}

#[test]
fn agents_are_counted_by_status_and_cancelled_runs_still_coordinate() {
    let mut world = World::with_agents(["anna", "bert", "carl"]);
    world.spawn_starting("dora", crate::domain::TaskTypes::ALL);
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    world.start("bert");
    world.cancel("t1").unwrap();
    let metrics = world.metrics();
    let agents = metrics.agents;
    assert_eq!((agents.total, agents.idle, agents.analyzing), (4, 1, 1));
    assert_eq!((agents.executing, agents.degraded), (1, 1));
    assert_eq!((metrics.active_coordinations, metrics.tasks_in_progress), (2, 1));
}

#[test]
fn a_start_later_than_the_target_is_counted_once_per_task() {
    let mut world = World::new();
    world.submit("t1", General).unwrap();
    world.pass(0.501);
    world.spawn("anna");
    world.start("anna");
    world.finish("anna", error(true));
    world.pass(2.0);
    world.start("anna");
    let metrics = world.metrics();
    assert_eq!(metrics.assignment_latency_over_target, 1);
    assert_eq!(metrics.avg_assignment_latency_ms, Some(501.0));
}

#[test]
fn the_oldest_wait_is_known_per_priority() {
    let mut world = World::new();
    for (what, priority) in [("t1", 0), ("t2", 0), ("t3", 9)] {
        world.submit_at(what, priority).unwrap();
        world.pass(1.0);
    }
    let waits = world.metrics().oldest_wait;
    let waits: Vec<_> = waits.iter().map(|wait| (wait.priority, wait.wait_s)).collect();
    assert_eq!(waits, [(9, 1.0), (0, 3.0)]);
}

#[test]
fn an_agent_knows_what_it_did() {
    let mut world = World::with_agents(["anna"]);
    world.teach("anna", Ingest, 2.0);
    world.submit("t1", General).unwrap();
    world.finish("anna", error(false));
    let stats = world.scheduler.agent_view(super::world::agent("anna")).unwrap().stats;
    assert_eq!((stats.completed, stats.failed, stats.contexts), (1, 1, 2));
    assert_eq!(stats.by_type[Ingest.index()], (1, 2_000_000));
}

#[test]
fn absurd_token_counts_of_a_worker_break_nothing() {
    let mut world = World::new();
    world.join("eve");
    for what in ["t1", "t2"] {
        world.submit(what, General).unwrap();
        let usage = Some(Usage { input_tokens: u64::MAX, ..Default::default() });
        let report = Report::Completed { result: None, usage };
        world.complete(what, None, report).unwrap();
    }
    assert_eq!(world.metrics().input_tokens, u64::MAX);
}
