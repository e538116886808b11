//! Who gets a task: rule 5.

use super::world::{World, error, success};
use crate::domain::TaskType::{General, Ingest, Migration, Research};
use crate::domain::{Preference, TaskTypes};

#[test]
fn the_one_idle_longest_gets_the_task_and_the_smaller_id_decides_a_tie() {
    let mut world = World::with_agents(["carl"]);
    world.pass(1.0);
    world.spawn("bert");
    world.spawn("anna");
    for (what, who) in [("t1", "carl"), ("t2", "anna"), ("t3", "bert")] {
        world.submit(what, General).unwrap();
        world.expect(what, &format!("in_progress on {who}, attempt 1"));
    }
    world.expect_decision("t1", "longest_idle: carl anna bert, of 3");
}

#[test]
fn the_lowest_mean_latency_wins_per_type_and_one_success_is_enough() {
    let mut world = World::with_agents(["anna", "bert", "carl"]);
    world.teach("anna", Research, 2.0);
    world.teach("bert", Research, 1.0);
    world.submit("t1", Research).unwrap();
    world.expect_decision("t1", "affinity: bert(1000) anna(2000) carl, of 3");
    world.submit("t2", Ingest).unwrap();
    world.expect_decision("t2", "longest_idle: carl anna, of 2");
}

#[test]
fn equal_means_are_a_tie_that_the_smaller_id_decides() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.teach("bert", Research, 1.0);
    world.teach("anna", Research, 1.0);
    world.submit("t1", Research).unwrap();
    world.expect("t1", "in_progress on anna, attempt 1");
}

/// Mean latency with few samples misrouted, and the fastest-failing agent won.
#[test]
fn an_agent_that_fails_fast_is_not_taken_for_a_fast_one() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.teach("bert", Research, 5.0);
    world
        .submit_with("t1", Research, |spec| {
            spec.preferred = Some(Ok(super::world::agent("anna")));
        })
        .unwrap();
    world.start("anna");
    world.finish("anna", error(false));
    world.submit("t2", Research).unwrap();
    world.expect_decision("t2", "affinity: bert(5000) anna, of 2");
}

#[test]
fn only_the_newest_successes_of_the_window_count() {
    let mut world = World::with(|limits| limits.affinity_window = 2, Vec::new());
    world.spawn("anna");
    world.spawn("bert");
    for took_s in [100.0, 1.0, 2.0] {
        world.teach("anna", General, took_s);
    }
    world.teach("bert", General, 2.0);
    world.submit("t1", General).unwrap();
    world.expect_decision("t1", "affinity: anna(1500) bert(2000), of 2");
}

#[test]
fn a_preference_wins_over_affinity_when_the_agent_is_idle() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.teach("anna", General, 1.0);
    world.submit_to("t1", "bert").unwrap();
    world.expect_decision("t1", "preferred: bert anna(1000), of 2, preference used");
}

/// A preference never waits, and rules compose: sticky routing silently switched labels off.
#[test]
fn a_preference_that_cannot_be_met_is_skipped_and_the_decision_says_why() {
    let mut world = World::with_agents(["anna"]);
    world.spawn_for("bert", [Ingest].into_iter().collect());
    world.submit_to("t1", "bert").unwrap();
    world.expect_decision("t1", "longest_idle: anna, of 1, preference does not take the type");
    world.spawn("carl");
    world.submit_to("t2", "anna").unwrap();
    world.expect_decision("t2", "longest_idle: carl, of 1, preference not idle");
    world.finish("anna", success());
    world.submit_to("t3", "nobody").unwrap();
    world.expect_decision("t3", "affinity: anna(0), of 1, preference unknown");
    world.finish("anna", success());
    let no_id =
        |spec: &mut crate::domain::TaskSpec| spec.preferred = Some(Err(Preference::Unknown));
    world.submit_with("t4", General, no_id).unwrap();
    world.expect_decision("t4", "affinity: anna(0), of 1, preference unknown");
}

#[test]
fn a_preferred_agent_on_which_the_task_failed_is_excluded_like_any_other() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.restarts = true;
    world.submit_to("t1", "anna").unwrap();
    world.lose("anna");
    world.expect_decision("t1", "longest_idle: bert, of 1, excludes anna, preference excluded");
    world.expect_agent("anna", "idle");
    world.lose("bert");
    world.expect("t1", "pending: excluded_everywhere, attempt 2, failures 2, excludes anna bert");
}

#[test]
fn agents_get_only_the_types_that_they_take() {
    let mut world = World::new();
    world.spawn_for("anna", [Ingest, Migration].into_iter().collect());
    world.submit("t1", Research).unwrap();
    world.submit("t2", Ingest).unwrap();
    world.expect("t1", "pending: no_agent_for_type");
    world.expect("t2", "in_progress on anna, attempt 1");
    world.spawn_for("bert", TaskTypes::ALL);
    world.expect("t1", "in_progress on bert, attempt 1");
}

#[test]
fn a_decision_names_five_agents_at_most_and_counts_all() {
    let mut world = World::with_agents(["a", "b", "c", "d", "e", "f", "g"]);
    world.teach("g", General, 1.0);
    world.submit("t1", General).unwrap();
    world.expect_decision("t1", "affinity: g(1000) a b c d, of 7");
}

#[test]
fn what_was_learned_survives_a_restart_of_the_agent() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.teach("bert", General, 1.0);
    world.lose("bert");
    world.restart("bert");
    world.submit("t1", General).unwrap();
    world.expect_decision("t1", "affinity: bert(1000) anna, of 2");
}
