//! Completions become work: what the pool makes of the plans of rules.

use serde_json::Value;

use super::follow_up_plans::{item, of_items, rule};
use super::world::{World, agent, error, name, plain_spec, success, task};
use crate::domain::{
    Accepted, Attempt, ChildOf, Effect, Event, Fingerprint, FollowUpPlan, FollowUpRule, FollowUps,
    IdempotencyKey, Jitter, Now, Priority, Refusal, Report, Task, TaskId, TaskState, TaskStatus,
    TaskType,
};

impl World {
    /// What the rule wants of these items; the tasks are called as `prefix` and the ids are, and
    /// their keys were looked up.
    fn plan(&self, rule: &FollowUpRule, prefix: &str, items: &[Value]) -> FollowUpPlan {
        let mut plan = rule.plan(Some(&of_items(items)), Priority::default(), || task("?"));
        for planned in &mut plan.tasks {
            let name = &*planned.key.name;
            let id = name.rsplit(':').next().unwrap();
            planned.id = task(&format!("{prefix}{id}"));
            planned.known = self.disk.task_of_key(name).map(|task| task.status());
        }
        plan
    }

    /// The agent completes its discovery, of which these plans are made.
    fn discover(&mut self, who: &str, plans: Vec<FollowUpPlan>) {
        let (task_id, attempt) = self.run_of(who).expect("a run");
        let (life, who) = (self.life(who), agent(who));
        let report = success();
        self.call(|s, now, fx| {
            let jitter = Jitter::FULL;
            s.task_ended_with(who, life, task_id, attempt, report, plans, now, jitter, fx);
        });
    }

    fn follow_ups(&self, what: &str) -> Option<FollowUps> {
        self.disk.task(task(what)).expect("a task").follow_ups
    }
}

fn numbers(created: u64, skipped: u64, invalid: u64) -> Option<FollowUps> {
    Some(FollowUps { created, skipped, invalid })
}

/// A pool whose agent `anna` is at the discovery `d1`.
fn discovering() -> World {
    let mut world = World::with_agents(["anna"]);
    world.submit("d1", TaskType::Discovery).unwrap();
    world
}

/// Another discovery that finds the same items.
fn discover_again(world: &mut World, what: &str, prefix: &str, items: &[Value]) {
    world
        .submit_with(what, TaskType::Discovery, |spec| {
            spec.priority = Priority::new(100).unwrap();
        })
        .unwrap();
    world.expect(what, "in_progress on anna, attempt 1");
    let plan = world.plan(&rule(), prefix, items);
    world.discover("anna", vec![plan]);
}

#[test]
fn a_completed_discovery_becomes_migrations_in_one_turn() {
    let mut world = discovering();
    let plan = world.plan(&rule(), "m", &[item("a", 1), item("b", 2), item(Value::Null, 3)]);
    world.discover("anna", vec![plan]);
    // The disk was given all of it by one verb.
    assert_eq!(world.follow_ups("d1"), numbers(2, 0, 1));
    world.expect("mb", "in_progress on anna, attempt 1");
    world.expect("ma", "pending: no_idle_agent");
    let made = world.disk.task(task("ma")).unwrap();
    let parent = made.parent.unwrap();
    assert_eq!((parent.task_id, parent.attempt, parent.depth), (task("d1"), Attempt::new(1), 1));
    assert!(parent.detach && parent.follow_up);
    assert_eq!(made.spec.kind, TaskType::Migration);
    assert_eq!(made.spec.trace, world.disk.task(task("d1")).unwrap().spec.trace);
    let said = world.effects.iter().filter_map(|effect| match effect {
        Effect::Event(Event::FollowUpsCreated { task_id, rule, numbers, .. }) => {
            Some((name(task_id), rule.to_string(), *numbers))
        }
        _ => None,
    });
    let numbers = FollowUps { created: 2, skipped: 0, invalid: 1 };
    assert_eq!(said.collect::<Vec<_>>(), [("d1".into(), "migrate".into(), numbers)]);
    let submitted = |effect: &&Effect| matches!(effect, Effect::Event(Event::TaskSubmitted { .. }));
    assert_eq!(world.effects.iter().filter(submitted).count(), 2);
    let metrics = world.scheduler.metrics(world.now);
    assert_eq!((metrics.follow_ups_created, metrics.follow_ups_invalid), (2, 1));
    assert_eq!(metrics.tasks_total, 3);
}

#[test]
fn follow_ups_get_the_priority_of_the_discovery() {
    let mut world = World::with_agents(["anna"]);
    world.submit_at("first", 0).unwrap();
    world
        .submit_with("d1", TaskType::Discovery, |spec| spec.priority = Priority::new(5).unwrap())
        .unwrap();
    world.submit_at("low", 4).unwrap();
    world.finish("anna", success());
    let plan = world.plan(&rule(), "m", &[item("a", 1)]);
    world.discover("anna", vec![plan]);
    world.expect("ma", "in_progress on anna, attempt 1");
    assert_eq!(world.disk.task(task("ma")).unwrap().spec.priority.get(), 5);
}

#[test]
fn two_hundred_follow_ups_fit_into_a_full_queue_and_count_nowhere() {
    let mut world = World::with(|limits| limits.max_depth = 3, Vec::new());
    world.spawn("anna");
    world.submit("d1", TaskType::Discovery).unwrap();
    for what in ["t1", "t2", "t3"] {
        world.submit(what, TaskType::General).unwrap();
    }
    assert!(matches!(world.submit("t4", TaskType::General), Err(Refusal::QueueFull { .. })));
    world.call(|s, _, _| s.set_store_full(Some(64)));
    world.drain();
    let items: Vec<_> = (0..200).map(|number| item(number, number)).collect();
    let plan = world.plan(&FollowUpRule { top: 200, ..rule() }, "m", &items);
    world.discover("anna", vec![plan]);
    assert_eq!(world.follow_ups("d1"), numbers(200, 0, 0));
    assert_eq!(world.scheduler.metrics(world.now).tasks_pending, 203);
    let counts = |task: &&Task| match task.state {
        TaskState::Pending(wait) => wait.counted,
        _ => false,
    };
    assert_eq!(world.disk.live().filter(counts).count(), 3);
}

#[test]
fn a_deep_discovery_makes_follow_ups_all_the_same() {
    let mut world = World::with_agents(["anna", "bert", "carl", "dora"]);
    world.submit_to("t0", "anna").unwrap();
    for (parent, child, kind) in [
        ("t0", "t1", TaskType::General),
        ("t1", "t2", TaskType::General),
        ("t2", "d1", TaskType::Discovery),
    ] {
        let of =
            ChildOf { parent: task(parent), detach: true, inherits_priority: false, caller: None };
        let spec = plain_spec(kind);
        let made: Result<Accepted, Refusal> =
            world.call(|s, now, fx| s.submit_child(task(child), spec, of, now, fx));
        made.unwrap();
    }
    let who = world.disk.task(task("d1")).unwrap().attempts[0].agent;
    let items: Vec<_> = (0..30).map(|number| item(number, 1)).collect();
    let plan = world.plan(&FollowUpRule { top: 30, ..rule() }, "m", &items);
    world.discover(&name(who), vec![plan]);
    assert_eq!(world.follow_ups("d1"), numbers(30, 0, 0), "more than an attempt may hand out");
    assert_eq!(world.disk.task(task("m0")).unwrap().parent.unwrap().depth, 4);
}

#[test]
fn a_known_key_is_skipped_unless_its_task_failed_or_was_cancelled() {
    let mut world = discovering();
    let items = ["done", "failed", "gone", "runs", "waits"].map(|id| item(id, 1));
    let plan = world.plan(&rule(), "m", &items);
    world.discover("anna", vec![plan]);
    world.finish("anna", success()); // mdone
    world.finish("anna", error(false)); // mfailed
    world.expect("mgone", "in_progress on anna, attempt 1");
    world.cancel("mgone").unwrap();
    world.finish("anna", Report::Cancelled { usage: None });
    world.expect("mruns", "in_progress on anna, attempt 1");
    world.expect("mwaits", "pending: no_idle_agent");

    world.spawn_for("bert", [TaskType::Discovery].into_iter().collect());
    world.submit("d2", TaskType::Discovery).unwrap();
    let plan = world.plan(&rule(), "n", &items);
    world.discover("bert", vec![plan]);
    assert_eq!(world.follow_ups("d2"), numbers(2, 3, 0));
    for (key, whose) in [
        ("done", "mdone"),
        ("failed", "nfailed"),
        ("gone", "ngone"),
        ("runs", "mruns"),
        ("waits", "mwaits"),
    ] {
        let owner = world.disk.task_of_key(&format!("follow_up:migrate:{key}")).unwrap();
        assert_eq!(name(owner.id), whose);
    }
}

#[test]
fn a_key_is_known_whatever_its_content() {
    let mut world = discovering();
    let key = IdempotencyKey { name: "follow_up:migrate:a".into(), content: Fingerprint([0; 32]) };
    world.submit_with("mine", TaskType::Research, |spec| spec.key = Some(key)).unwrap();
    let plan = world.plan(&rule(), "m", &[item("a", 1), item("b", 1)]);
    world.discover("anna", vec![plan]);
    assert_eq!(world.follow_ups("d1"), numbers(1, 1, 0));
    assert!(world.disk.task(task("ma")).is_none());
}

#[test]
fn the_same_item_twice_is_one_task() {
    let mut world = discovering();
    let plan = world.plan(&rule(), "m", &[item("a", 1), item("a", 2), item("b", 1)]);
    world.discover("anna", vec![plan]);
    assert_eq!(world.follow_ups("d1"), numbers(2, 1, 0));
}

#[test]
fn a_cancelled_follow_up_whose_run_goes_on_leaves_its_key() {
    let mut world = discovering();
    let items = [item("a", 1)];
    let plan = world.plan(&rule(), "m", &items);
    world.discover("anna", vec![plan]);
    world.expect("ma", "in_progress on anna, attempt 1");
    world.cancel("ma").unwrap();
    world.spawn("bert");
    world.submit_to("d2", "bert").unwrap();
    let plan = world.plan(&rule(), "n", &items);
    world.discover("bert", vec![plan]);
    assert_eq!(world.follow_ups("d2"), numbers(1, 0, 0));
    world.expect("na", "in_progress on bert, attempt 1");
    world.finish("anna", Report::Cancelled { usage: None });
    let owner = world.disk.task_of_key("follow_up:migrate:a").unwrap();
    assert_eq!(name(owner.id), "na", "the end of the old run left it alone");
    assert_eq!(world.inside().keys.len(), 1);
}

#[test]
fn a_failed_follow_up_comes_back_without_the_key_that_another_has() {
    let mut world = discovering();
    let items = [item("a", 1)];
    let plan = world.plan(&rule(), "m", &items);
    world.discover("anna", vec![plan]);
    world.finish("anna", error(false));
    let seen = world.disk.task(task("ma")).unwrap().clone();
    assert!(seen.spec.key.is_some());
    discover_again(&mut world, "d2", "n", &items);
    world.expect("na", "in_progress on anna, attempt 1");
    // Who tries it again had read it before it lost its key.
    let retried: Result<TaskStatus, Refusal> = world.call(|s, now, fx| s.retry(seen, now, fx));
    assert_eq!(retried, Ok(TaskStatus::Pending));
    assert_eq!(world.disk.task(task("ma")).unwrap().spec.key, None);
    discover_again_is_skipped(&mut world, &items);
}

fn discover_again_is_skipped(world: &mut World, items: &[Value]) {
    world.spawn("bert");
    world.finish("bert", success()); // the one that came back
    world.submit_to("d3", "bert").unwrap();
    let plan = world.plan(&rule(), "o", items);
    world.discover("bert", vec![plan]);
    assert_eq!(world.follow_ups("d3"), numbers(0, 1, 0));
}

#[test]
fn several_rules_look_at_one_result_and_their_numbers_are_summed() {
    let mut world = discovering();
    let other = FollowUpRule { name: "study".into(), task_type: TaskType::Research, ..rule() };
    let items = [item("a", 1), item("b", 1), item(1.5, 1)];
    let plans = vec![world.plan(&rule(), "m", &items), world.plan(&other, "s", &items)];
    world.discover("anna", plans);
    assert_eq!(world.follow_ups("d1"), numbers(4, 0, 2));
    let said = |effect: &&Effect| matches!(effect, Effect::Event(Event::FollowUpsCreated { .. }));
    assert_eq!(world.effects.iter().filter(said).count(), 2);
    assert_eq!(world.disk.task(task("sa")).unwrap().spec.kind, TaskType::Research);
}

#[test]
fn a_result_without_items_says_so_and_one_that_nobody_looked_at_does_not() {
    let mut world = discovering();
    let plan = world.plan(&rule(), "m", &[]);
    world.discover("anna", vec![plan]);
    assert_eq!(world.follow_ups("d1"), numbers(0, 0, 0));
    world.submit("d2", TaskType::Discovery).unwrap();
    world.discover("anna", Vec::new());
    assert_eq!(world.follow_ups("d2"), None);
}

#[test]
fn a_follow_up_is_not_followed() {
    let mut world = discovering();
    assert_eq!(
        world.scheduler.may_be_followed(task("d1")),
        Some((TaskType::Discovery, Priority::default()))
    );
    let again = FollowUpRule { task_type: TaskType::Discovery, ..rule() };
    let plan = world.plan(&again, "m", &[item("a", 1)]);
    world.discover("anna", vec![plan]);
    assert_eq!(world.scheduler.may_be_followed(task("d1")), None, "it has ended");
    world.expect("ma", "in_progress on anna, attempt 1");
    assert_eq!(world.scheduler.may_be_followed(task("ma")), None, "a rule made it");
    world.submit("d2", TaskType::Discovery).unwrap();
    assert_eq!(world.scheduler.may_be_followed(task("d2")), None, "it has not begun");
}

#[test]
fn a_plan_that_comes_too_late_makes_nothing() {
    for what in ["cancelled", "dead"] {
        let mut world = discovering();
        let plan = world.plan(&rule(), "m", &[item("a", 1)]);
        let (task_id, attempt) = world.run_of("anna").unwrap();
        let life = world.life("anna");
        match what {
            "cancelled" => drop(world.cancel("d1").unwrap()),
            _ => world.lose("anna"),
        }
        world.call(|s, now, fx| {
            let (who, report, jitter) = (agent("anna"), success(), Jitter::FULL);
            let plans = vec![plan];
            s.task_ended_with(who, life, task_id, attempt, report, plans, now, jitter, fx);
        });
        assert!(world.disk.task(task("ma")).is_none(), "{what}");
        assert_eq!(world.follow_ups("d1"), None);
    }
}

#[test]
fn a_second_completion_makes_no_second_set() {
    let mut world = World::new();
    world.join("ext");
    world.submit("d1", TaskType::Discovery).unwrap();
    world.fetch("ext").unwrap();
    let complete = |world: &mut World, prefix: &str| {
        let plans = vec![world.plan(&rule(), prefix, &[item("a", 1)])];
        world.call(|s, now: Now, fx| {
            let (id, attempt) = (task("d1"), Some(Attempt::new(1)));
            s.complete_with(id, attempt, success(), plans, now, Jitter::FULL, fx)
        })
    };
    assert_eq!(complete(&mut world, "m"), Ok(TaskStatus::Completed));
    assert_eq!(complete(&mut world, "n"), Err(Refusal::TaskNotFound), "the store has it");
    assert!(world.disk.task(task("na")).is_none());
    assert_eq!(world.follow_ups("d1"), numbers(1, 0, 0));
}

#[test]
fn follow_ups_outlive_the_daemon() {
    let mut world = discovering();
    let plan = world.plan(&rule(), "m", &[item("a", 2), item("b", 1)]);
    world.discover("anna", vec![plan]);
    world.crash();
    world.expect("mb", "pending: no_idle_agent");
    assert_eq!(world.follow_ups("d1"), numbers(2, 0, 0));
    let of: Vec<TaskId> =
        world.disk.live().filter_map(|task| task.parent).map(|parent| parent.task_id).collect();
    assert_eq!(of, [task("d1"), task("d1")]);
}
