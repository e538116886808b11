//! Tasks that hand out others: whose end is whose, and that they never lock the pool up.

use super::world::{Deaths, World, agent, error, name, plain_spec, success, task};
use crate::domain::TaskType::General;
use crate::domain::{
    Accepted, AgentId, Attempt, Caller, ChildOf, Effect, Fingerprint, IdempotencyKey, Incarnation,
    MAX_CHILDREN, Preference, Priority, Refusal, TaskSpec, TaskStatus, TaskTypes,
};

impl World {
    /// Somebody outside hands out a task for another one.
    pub(super) fn child(&mut self, what: &str, parent: &str) -> Result<Accepted, Refusal> {
        self.child_with(what, parent, |_, _| {})
    }

    pub(super) fn detached(&mut self, what: &str, parent: &str) -> Result<Accepted, Refusal> {
        self.child_with(what, parent, |_, of| of.detach = true)
    }

    pub(super) fn child_with(
        &mut self,
        what: &str,
        parent: &str,
        change: impl FnOnce(&mut TaskSpec, &mut ChildOf),
    ) -> Result<Accepted, Refusal> {
        let mut spec = plain_spec(General);
        let mut of =
            ChildOf { parent: task(parent), detach: false, inherits_priority: true, caller: None };
        change(&mut spec, &mut of);
        self.call(|s, now, fx| s.submit_child(task(what), spec, of, now, fx))
    }

    /// For storms.
    pub(super) fn some_child(
        &mut self,
        what: &str,
        parent: &str,
        how: u8,
        preferred: Option<Result<AgentId, Preference>>,
    ) -> Result<Accepted, Refusal> {
        self.child_with(what, parent, |spec, of| {
            of.detach = how.is_multiple_of(4);
            of.inherits_priority = how % 8 < 6;
            spec.priority = Priority::new(i64::from(how / 64)).unwrap();
            spec.preferred = preferred;
        })
    }

    /// The agent that has the parent hands out a task, in this life and as this attempt.
    fn child_by(
        &mut self,
        what: &str,
        (parent, who, life, attempt): (&str, &str, u32, u32),
    ) -> Result<Accepted, Refusal> {
        let (life, attempt) = (Incarnation::new(life), Attempt::new(attempt));
        let caller = Caller { agent: agent(who), incarnation: life, attempt };
        self.child_with(what, parent, |_, of| of.caller = Some(caller))
    }

    /// What processes are asked to stop, and why.
    fn asked_to_stop(&self) -> Vec<(String, &'static str)> {
        let asked = self.effects.iter().filter_map(|effect| match effect {
            Effect::CancelRun { task_id, reason, .. } => Some((name(task_id), *reason)),
            _ => None,
        });
        asked.collect()
    }
}

#[test]
fn a_child_says_whose_it_is_and_takes_the_priority_of_its_parent() {
    let mut world = World::with_agents(["anna", "bert", "carl"]);
    world.submit_at("t1", 7).unwrap();
    let accepted = world.child("c1", "t1").unwrap();
    assert_eq!(
        (accepted.status, accepted.assigned_agent_id.map(name)),
        (TaskStatus::InProgress, Some("bert".into()))
    );
    world
        .child_with("c2", "t1", |spec, of| {
            spec.priority = Priority::new(-3).unwrap();
            of.inherits_priority = false;
        })
        .unwrap();
    let shown = |what| {
        let summary = world.view(what).summary;
        (summary.parent.map(name), summary.priority.get())
    };
    assert_eq!(shown("t1"), (None, 7));
    assert_eq!(shown("c1"), (Some("t1".into()), 7));
    assert_eq!(shown("c2"), (Some("t1".into()), -3));
    assert_eq!(world.metrics().waiting_parents, 1);
}

#[test]
fn only_a_task_that_is_with_an_agent_has_children() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    assert_eq!(world.detached("c1", "nobody"), Err(Refusal::ParentNotFound));
    assert_eq!(world.detached("c1", "t2"), Err(Refusal::ParentNotRunning));
    world.cancel("t1").unwrap();
    let (status, finished_by) = (TaskStatus::Cancelled, Some(Attempt::new(1)));
    let ended = Refusal::ParentEnded { status, finished_by };
    assert_eq!(world.detached("c1", "t1"), Err(ended));
    assert_eq!(world.metrics().tasks_rejected, 3);
}

#[test]
fn an_agent_speaks_only_for_the_attempt_that_it_runs_now() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.submit("t1", General).unwrap();
    let stale = |given, newest| {
        Err(Refusal::StaleAttempt { given: Attempt::new(given), newest: Attempt::new(newest) })
    };
    assert_eq!(world.child_by("c1", ("t1", "bert", 1, 1)), stale(1, 1), "that is anna's");
    assert_eq!(world.child_by("c1", ("t1", "anna", 2, 1)), stale(1, 1), "of another life");
    assert_eq!(world.child_by("c1", ("t1", "anna", 1, 2)), stale(2, 1), "that has not begun");
    world.child_by("c1", ("t1", "anna", 1, 1)).unwrap();
    world.lose("anna");
    world.restart("anna");
    world.expect("t1", "pending: no_idle_agent, attempt 1, failures 1, excludes anna");
    assert_eq!(world.child_by("c2", ("t1", "anna", 1, 1)), stale(1, 1), "its attempt has ended");
    world.finish("bert", success());
    world.expect("t1", "in_progress on bert, attempt 2, failures 1, excludes anna");
    assert_eq!(world.child_by("c2", ("t1", "anna", 1, 1)), stale(1, 2), "another has it");
    world.finish("bert", success());
    let answer = world.child_by("c2", ("t1", "bert", 1, 2));
    assert_eq!(answer, Err(Refusal::ParentNotFound), "it is the store's");
}

#[test]
fn children_end_with_an_attempt_that_does_not_complete() {
    for retryable in [true, false] {
        let mut world = World::with_agents(["anna", "bert", "carl"]);
        world.submit("t1", General).unwrap();
        world.child("c1", "t1").unwrap();
        world.detached("d1", "t1").unwrap();
        world.child("c2", "t1").unwrap();
        world.expect("c2", "pending: no_idle_agent");
        world.finish("anna", error(retryable));
        world.expect("c1", "cancelled on bert, attempt 1");
        world.expect("c2", "cancelled");
        world.expect("d1", "in_progress on carl, attempt 1");
        assert_eq!(world.asked_to_stop(), [("c1".into(), "cancelled")]);
        assert_eq!(world.metrics().waiting_parents, 0);
        world.finish("carl", success());
        world.expect("d1", "completed on carl, attempt 1");
    }
}

#[test]
fn every_end_but_a_result_ends_children_and_children_of_children() {
    type Ends = fn(&mut World);
    let ends: [(&str, Ends); 5] = [
        ("it is cancelled", |world| drop(world.cancel("t1"))),
        ("it times out", |world| {
            world.pass(2.0);
            world.finish("anna", error(true));
        }),
        ("its agent is lost", |world| world.lose("anna")),
        ("its agent is failed", |world| drop(world.fail("anna"))),
        ("its agent is removed", |world| drop(world.remove("anna", 0))),
    ];
    for (what, end) in ends {
        let mut world = World::with_agents(["anna", "bert", "carl", "dora"]);
        world.submit_with("t1", General, |spec| spec.timeout_us = Some(1_000_000)).unwrap();
        world.child("c1", "t1").unwrap();
        world.child("cc1", "c1").unwrap();
        world.child("ccc1", "cc1").unwrap();
        world.child("ccc2", "cc1").unwrap();
        assert_eq!(world.metrics().waiting_parents, 3, "{what}");
        end(&mut world);
        for (child, who) in [("c1", "bert"), ("cc1", "carl"), ("ccc1", "dora")] {
            world.expect(child, &format!("cancelled on {who}, attempt 1"));
        }
        assert_eq!(world.view("ccc2").summary.status, TaskStatus::Cancelled, "{what}");
        assert_eq!(world.metrics().waiting_parents, 0, "{what}");
    }
}

#[test]
fn children_of_a_completed_attempt_go_on() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.submit("t1", General).unwrap();
    world.child("c1", "t1").unwrap();
    world.child("c2", "t1").unwrap();
    world.finish("anna", success());
    world.expect("t1", "completed on anna, attempt 1");
    world.expect("c1", "in_progress on bert, attempt 1");
    world.expect("c2", "in_progress on anna, attempt 1");
    world.crash();
    world.expect("c1", "pending: no_idle_agent, attempt 1");
    world.restart("anna");
    world.restart("bert");
    world.finish("anna", success());
    world.finish("bert", success());
    world.expect("c1", "completed on anna, attempt 2");
}

#[test]
fn a_family_is_at_most_three_deep() {
    let mut world = World::with_agents(["anna", "bert", "carl", "dora", "eve"]);
    world.submit("t1", General).unwrap();
    for (child, parent) in [("c1", "t1"), ("c2", "c1"), ("c3", "c2")] {
        world.child(child, parent).unwrap();
    }
    assert_eq!(world.child("c4", "c3"), Err(Refusal::TooDeep));
    assert_eq!(world.detached("c4", "c3"), Err(Refusal::TooDeep), "that would be no end either");
}

#[test]
fn an_attempt_hands_out_at_most_sixteen_tasks_and_the_next_attempt_as_many_again() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.join("eve");
    world.submit_to("t1", "eve").unwrap();
    for n in 0..MAX_CHILDREN {
        let what = format!("c{n}");
        if n % 2 == 0 { world.child(&what, "t1") } else { world.detached(&what, "t1") }.unwrap();
        // What has ended counts as well, also after a start.
        world.cancel(&what).unwrap();
        world.crash();
    }
    assert_eq!(world.child("c16", "t1"), Err(Refusal::TooManyChildren));
    assert_eq!(world.detached("c16", "t1"), Err(Refusal::TooManyChildren));
    world.complete("t1", Some(1), error(true)).unwrap();
    world.pass(1.0);
    world.expect("t1", "in_progress on eve, attempt 2, failures 1");
    world.child("c16", "t1").unwrap();
}

#[test]
fn one_live_agent_never_waits() {
    let mut world = World::with_agents(["anna", "bert", "carl"]);
    for n in 1..=3 {
        world.submit(&format!("t{n}"), General).unwrap();
    }
    world.child("c1", "t1").unwrap();
    world.child("c2", "t2").unwrap();
    let refusal = Refusal::WouldDeadlock { waiting: 2, live: 3 };
    assert_eq!(world.child("c3", "t3"), Err(refusal.clone()));
    assert!(refusal.to_string().starts_with("2 of 3 live agents wait"));
    world.child("c4", "t1").unwrap(); // it waits already
    world.detached("d1", "t3").unwrap(); // nobody waits for this
    assert_eq!(world.metrics().waiting_parents, 2);
    world.cancel("c2").unwrap();
    assert_eq!(world.metrics().waiting_parents, 1);
    world.child("c3", "t3").unwrap();
    world.finish("anna", success());
    world.expect("t1", "completed on anna, attempt 1");
    assert_eq!(world.metrics().waiting_parents, 1, "whose children go on does not wait");
}

#[test]
fn a_single_agent_hands_out_only_what_it_does_not_wait_for() {
    let mut world = World::with_agents(["anna"]);
    world.submit("t1", General).unwrap();
    let refusal = Refusal::WouldDeadlock { waiting: 0, live: 1 };
    assert_eq!(world.child("c1", "t1"), Err(refusal));
    world.detached("c1", "t1").unwrap();
    world.finish("anna", error(false));
    world.expect("c1", "in_progress on anna, attempt 1");
}

#[test]
fn when_lost_agents_leave_nobody_to_work_the_youngest_waiting_task_is_interrupted() {
    let mut world = World::with_agents(["anna", "bert", "carl"]);
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    world.child("c1", "t1").unwrap();
    world.child("c2", "t2").unwrap();
    world.remove("carl", 0).unwrap();
    let expected = [("c1".into(), "interrupted"), ("t2".into(), "interrupted")];
    assert_eq!(world.asked_to_stop(), expected, "the one that carl had, and the youngest");
    world.expect("t2", "in_progress on bert, attempt 1");
    world.finish("bert", error(false));
    world.expect("c2", "cancelled");
    world.expect_attempts("t2", "interrupted on bert, open on bert");
}

#[test]
fn an_agent_that_is_being_started_counts_until_it_takes_too_long() {
    let mut world = World::with_agents(["anna"]);
    world.spawn_starting("bert", TaskTypes::ALL);
    world.submit("t1", General).unwrap();
    world.child("c1", "t1").unwrap();
    world.pass(29.9);
    assert_eq!(world.asked_to_stop(), []);
    world.pass(0.1);
    assert_eq!(world.asked_to_stop(), [("t1".into(), "interrupted")]);
    world.finish("anna", success());
    world.expect("t1", "completed on anna, attempt 1"); // it was quicker
    world.expect("c1", "in_progress on anna, attempt 1");
}

#[test]
fn an_agent_between_two_lives_counts_unless_it_is_given_up() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.submit("t1", General).unwrap();
    world.child("c1", "t1").unwrap();
    world.lose("bert");
    assert_eq!(world.asked_to_stop(), []);
    world.restart("bert");
    world.lose("bert");
    world.pass(29.0);
    world.begin_life("bert"); // the wait goes on from the loss
    assert_eq!(world.asked_to_stop(), []);
    world.lose("bert");
    world.give_up("bert");
    assert_eq!(world.asked_to_stop(), [("t1".into(), "interrupted")]);
    world.deaths = Deaths::ActorFirst;
    world.lose("anna"); // it did not hear
    world.expect("c1", "cancelled on bert, attempt 1, failures 1, excludes bert");
    world.expect_attempts("t1", "interrupted on anna");
}

#[test]
fn external_agents_count_while_they_are_there() {
    let mut world = World::new();
    world.join_leased("eve", 10);
    world.join_leased("finn", 60);
    world.heartbeat("finn").unwrap();
    world.submit("t1", General).unwrap();
    let refusal = Refusal::WouldDeadlock { waiting: 0, live: 1 };
    assert_eq!(world.child("c1", "t1"), Err(refusal), "eve never called");
    world.heartbeat("eve").unwrap();
    world.child("c1", "t1").unwrap();
    world.expect("c1", "in_progress on eve, attempt 1");
    world.pass(10.0);
    assert!(world.heartbeat("finn").unwrap().cancel_requested, "the lease of eve ended");
    world.complete("t1", None, error(true)).unwrap();
    world.expect_attempts("t1", "interrupted on finn, open on finn");
    assert_eq!(world.view("c1").summary.status, TaskStatus::Cancelled);
}

#[test]
fn an_external_agent_that_does_not_make_room_loses_its_task_after_the_grace() {
    let mut world = World::with_agents(["anna"]);
    world.join("eve");
    world.submit_to("t1", "eve").unwrap();
    world.child("c1", "t1").unwrap();
    world.remove("anna", 0).unwrap();
    world.pass(5.0);
    world.expect_attempts("t1", "interrupted on eve (overlap possible), open on eve");
    world.expect("c1", "cancelled on anna, attempt 1");
}

#[test]
fn the_third_deadlock_in_a_row_counts_against_the_task() {
    let mut world = World::new();
    world.join("eve");
    world.submit("t1", General).unwrap();
    for round in 0..5 {
        world.join("finn");
        world.child(&format!("c{round}"), "t1").unwrap();
        world.remove("finn", 0).unwrap();
        world.complete("t1", Some(round + 1), error(true)).unwrap();
    }
    world.expect("t1", "failed on eve, attempt 5, failures 3");
}

#[test]
fn a_crash_cancels_the_children_of_what_it_cut_off_and_of_nothing_else() {
    let mut world = World::with_agents(["anna", "bert", "carl"]);
    world.join("eve");
    world.submit_to("t1", "anna").unwrap();
    world.submit_to("t2", "eve").unwrap();
    world.child_with("c1", "t1", |spec, _| spec.preferred = Some(Ok(agent("bert")))).unwrap();
    world.child("cc1", "c1").unwrap();
    world.detached("d1", "t1").unwrap();
    world.child("c2", "t2").unwrap();
    world.crash();
    world.expect("t1", "pending: no_idle_agent, attempt 1");
    world.expect("c1", "cancelled on bert, attempt 1");
    world.expect("cc1", "cancelled on carl, attempt 1");
    world.expect("t2", "in_progress on eve, attempt 1");
    world.expect("c2", "pending: no_idle_agent");
    world.expect("d1", "pending: no_idle_agent");
    assert_eq!(world.metrics().waiting_parents, 1, "eve still waits");
    world.complete("t2", Some(1), error(false)).unwrap();
    world.expect("c2", "cancelled");
}

#[test]
fn a_child_that_is_tried_again_is_waited_for_only_if_that_is_safe() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.submit("t1", General).unwrap();
    world.submit("t2", General).unwrap();
    world.child("c1", "t1").unwrap();
    world.cancel("c1").unwrap();
    world.child("c2", "t2").unwrap();
    let refusal = Refusal::WouldDeadlock { waiting: 1, live: 2 };
    assert_eq!(world.retry("c1"), Err(refusal));
    assert_eq!(world.retry_all(TaskStatus::Cancelled), Ok(0));
    world.cancel("c2").unwrap();
    world.retry("c1").unwrap();
    assert_eq!(world.metrics().waiting_parents, 1);
    world.finish("anna", error(false));
    world.expect("c1", "cancelled");
    world.retry("c1").unwrap();
    world.expect("c1", "in_progress on anna, attempt 1");
    assert_eq!(world.metrics().waiting_parents, 0, "who handed it out has ended");
}

#[test]
fn a_repeated_key_answers_the_same_child() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.submit("t1", General).unwrap();
    let key = IdempotencyKey { name: "k".into(), content: Fingerprint([1; 32]) };
    world.child_with("c1", "t1", |spec, _| spec.key = Some(key.clone())).unwrap();
    let known = world.scheduler.repeated(&key).unwrap().unwrap();
    assert_eq!(known.task_id, task("c1"));
}

#[test]
fn a_leaving_agent_and_what_waits_on_it_count_on_neither_side() {
    let mut world = World::with_agents(["anna", "bert"]);
    world.submit("t1", General).unwrap();
    world.child("c1", "t1").unwrap();
    world.remove("anna", 60).unwrap();
    assert_eq!(world.asked_to_stop(), [], "bert is free to run what t1 waits for");
    assert_eq!(world.metrics().waiting_parents, 1);
    world.finish("bert", success());
    world.submit("t2", General).unwrap();
    let refusal = Refusal::WouldDeadlock { waiting: 0, live: 1 };
    assert_eq!(world.child("c2", "t2"), Err(refusal));
}
