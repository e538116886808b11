//! What always holds of parents and children, found by brute force.

use std::collections::{BTreeMap, BTreeSet};

use super::disk::Disk;
use super::world::{World, name};
use crate::domain::agent::{Agent, Health};
use crate::domain::scheduler::Inside;
use crate::domain::{
    AgentKind, MAX_CHILDREN, MAX_DEPTH, Seq, StatusReason, Task, TaskId, TaskState, TaskStatus,
};

pub(super) fn check(world: &World, inside: Inside<'_>) {
    children_are_those_of_open_attempts(inside);
    live_agents_equal_a_recount(world, inside);
    somebody_is_left_to_run_children(inside);
    an_attempt_that_did_not_complete_left_no_children(world, inside);
    families_stay_within_their_limits(world, inside);
}

/// The parents that wait for unfinished children, and for which.
fn children_are_those_of_open_attempts(inside: Inside<'_>) {
    let mut expected: BTreeMap<Seq, BTreeSet<Seq>> = BTreeMap::new();
    for task in inside.tasks.values().filter(|task| !task.status().is_terminal()) {
        let Some(parent) = task.parent.filter(|parent| !parent.detach) else { continue };
        let of = inside.ids.get(&parent.task_id).map(|seq| &inside.tasks[seq]);
        let waits = |of: &&Task| {
            of.attempt == parent.attempt && matches!(of.state, TaskState::InProgress { .. })
        };
        if let Some(of) = of.filter(waits) {
            expected.entry(of.seq).or_default().insert(task.seq);
        }
    }
    assert_eq!(inside.family.children(), &expected, "the index of children is not the children");
}

/// Whether the agent is being started, or will be by itself.
fn is_coming(agent: &Agent) -> bool {
    use StatusReason::{Failed, Restarting, Starting};
    let Health::Degraded { reason: Starting | Restarting | Failed, .. } = agent.health else {
        return false;
    };
    agent.kind == AgentKind::Process && agent.leaving.is_none()
}

fn is_live(world: &World, agent: &Agent) -> bool {
    if is_coming(agent) {
        let due_us = agent.due_us.expect("an agent that comes is due some time");
        let longest_us = world.now.mono_us + world.inside().limits.start_timeout_us;
        assert!(due_us <= longest_us, "{} is waited for longer than that", name(agent.id));
        return due_us > world.now.mono_us;
    }
    let lease = agent.lease;
    let is_heard = (lease.until_us.is_some() && !lease.unheard) || lease.open_calls > 0;
    let is_leased = matches!(agent.kind, AgentKind::External { lease_us: Some(_) });
    agent.health == Health::Fit && agent.leaving.is_none() && (is_heard || !is_leased)
}

fn live_agents_equal_a_recount(world: &World, inside: Inside<'_>) {
    let mut live = 0;
    let mut waiting = BTreeSet::new();
    for agent in inside.agents.values() {
        assert_eq!(agent.due_us.is_some(), is_coming(agent), "whether {} is due", name(agent.id));
        let counts = is_live(world, agent);
        assert_eq!(agent.is_live, counts, "whether {} is live", name(agent.id));
        live += usize::from(counts);
        let run = agent.run.as_ref().filter(|run| counts && run.ending.is_none());
        let parent = |seq: &Seq| inside.family.children().contains_key(seq);
        waiting.extend(run.map(|run| run.task).filter(parent));
    }
    assert_eq!(inside.family.balance(), (waiting.len(), live), "waiting tasks and live agents");
    assert_eq!(inside.family.waiting(), &waiting, "the waiting tasks");
}

/// The pool cannot be locked up: while a task on a live agent waits for children, another live agent
/// does not.
fn somebody_is_left_to_run_children(inside: Inside<'_>) {
    let (waiting, live) = inside.family.balance();
    assert!(waiting == 0 || waiting < live || inside.draining, "{waiting} of {live} agents wait");
}

fn an_attempt_that_did_not_complete_left_no_children(world: &World, inside: Inside<'_>) {
    for task in inside.tasks.values().filter(|task| !task.status().is_terminal()) {
        let Some(parent) = task.parent.filter(|parent| !parent.detach) else { continue };
        if world.retried_at.contains_key(&task.id) {
            continue; // by order, whatever became of its parent
        }
        let here = inside.ids.get(&parent.task_id).map(|seq| &inside.tasks[seq]);
        let of = here.or_else(|| world.disk.task(parent.task_id)).expect("a child has a parent");
        let record = &of.attempts[parent.attempt.get() as usize - 1];
        let outcome = record.end.as_ref().map_or("open", |end| end.outcome.name());
        let goes_on = matches!(outcome, "open" | "completed");
        assert!(goes_on, "{} goes on, and its parent's attempt {outcome}", name(task.id));
    }
}

fn families_stay_within_their_limits(world: &World, inside: Inside<'_>) {
    let on_disk = world.disk.all().filter(|task| !inside.tasks.contains_key(&task.seq));
    let all: BTreeMap<TaskId, &Task> =
        inside.tasks.values().chain(on_disk).map(|task| (task.id, task)).collect();
    let mut made: BTreeMap<_, u32> = BTreeMap::new();
    for task in all.values() {
        let Some(parent) = task.parent else { continue };
        let of = all[&parent.task_id];
        assert_eq!(task.depth(), of.depth() + 1, "{}", name(task.id));
        assert!(task.seq > of.seq);
        if parent.follow_up {
            let it_completed = of.status() == TaskStatus::Completed;
            assert!(it_completed && of.follow_ups.is_some(), "{} follows", name(task.id));
            continue; // the limits are for what agents hand out
        }
        *made.entry((parent.task_id, parent.attempt)).or_default() += 1;
        assert!(task.depth() <= MAX_DEPTH);
    }
    for task in all.values() {
        for record in &task.attempts {
            let made = made.get(&(task.id, record.attempt)).copied().unwrap_or(0);
            assert_eq!(record.children, made, "children of {}", name(task.id));
            assert!(made <= MAX_CHILDREN);
        }
    }
}

/// Whether a start cancels this task, because the attempt that handed it out was cut off or the same
/// became of its parent.
pub(super) fn falls_at_start(before: &Disk, task: &Task) -> bool {
    let Some(parent) = task.parent.filter(|parent| !parent.detach) else { return false };
    let Some(of) = before.task(parent.task_id) else { return false };
    let TaskState::InProgress { agent } = of.state else { return false };
    let goes_on = before.agents.get(&agent).is_some_and(|record| record.kind != AgentKind::Process);
    of.attempt == parent.attempt && (!goes_on || falls_at_start(before, of))
}

/// What became of a task that a start owed to cancel.
pub(super) fn fell(world: &World, task: &Task) {
    let here = world.inside().tasks.get(&task.seq);
    let now = here.or_else(|| world.disk.ended(task.id)).expect("no task is lost");
    // It may have had no more tries by itself.
    let ended = matches!(now.status(), TaskStatus::Cancelled | TaskStatus::Failed);
    assert!(ended, "{} is {}", name(task.id), now.status().name());
}
