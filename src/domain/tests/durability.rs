//! What always holds between memory and disk, after every call: a daemon that ended here and
//! began again would go on where this one is.

use std::collections::BTreeMap;

use super::disk::{Disk, Stored, as_read};
use super::families;
use super::invariants::Before;
use super::world::{World, name};
use crate::domain::agent::{Agent, Ending, Health, Leaving, Run};
use crate::domain::scheduler::Inside;
use crate::domain::{
    AgentKind, AgentRecord, Change, Hold, Launcher, Lesson, Outcome, Task, TaskState, TaskStatus,
    TaskType,
};

/// Checks everything after one call of the scheduler whose changes were applied to the disk.
pub(super) fn check(world: &World) {
    let inside = world.inside();
    the_disk_has_every_task_of_memory_as_it_is(world, inside);
    the_live_tasks_are_those_of_the_disk(world, inside);
    the_disk_has_every_agent_as_it_is_and_none_other(world, inside);
    the_disk_has_what_was_learned(world, inside);
    a_key_names_one_task(world, inside);
}

/// A refused request changed nothing; but a late answer is one sign of the end of a run.
pub(super) fn refused(world: &World, before: &Before, changes: &[Change]) {
    let ended = |(id, run): (&_, &_)| {
        world.inside().agents.get(id).and_then(|agent| agent.run.as_ref()).map(key) != Some(*run)
    };
    let ended_late = before.cancelled_runs.iter().any(ended);
    assert!(changes.is_empty() || ended_late, "a refused request changed {changes:?}");
}

/// The task and the attempt of a run.
pub(super) fn key(run: &Run) -> (crate::domain::TaskId, crate::domain::Attempt) {
    (run.task_id, run.attempt)
}

fn the_disk_has_every_task_of_memory_as_it_is(world: &World, inside: Inside<'_>) {
    for task in inside.tasks.values() {
        let stored = world.disk.tasks.get(&task.seq);
        let stored = stored.unwrap_or_else(|| panic!("{} is not on disk", name(task.id)));
        same(world, task, stored);
    }
}

/// The task and its image; deadlines are times of day there, as they looked when it was written.
fn same(world: &World, task: &Task, Stored { task: image, at }: &Stored) {
    let same_clocks = at.mono_us == at.wall_us;
    if task == image && (same_clocks || task.status() != TaskStatus::Pending) {
        return;
    }
    let what = name(task.id);
    let (mut here, mut there) = (as_read(task), as_read(image));
    if let (TaskState::Pending(wait), TaskState::Pending(stored)) = (task.state, image.state) {
        let since_us = stored.since_us.min(at.wall_us);
        assert_eq!(at.wall_of(wait.since_us), since_us, "since when {what} waits");
        assert_eq!(wait.counted, stored.counted, "whether {what} counts with the queue");
        let full_us = backoff_us(world, task);
        let ends_us = |until_us: u64| until_us.min(at.wall_us + full_us);
        let now_us = at.wall_of(world.now.mono_us);
        match (wait.hold, stored.hold) {
            (Hold::Backoff { until_us }, Hold::Backoff { until_us: stored_us }) => {
                let apart_us = at.wall_of(until_us).abs_diff(ends_us(stored_us));
                assert!(apart_us <= world.stood_still_us, "when {what} is tried again");
            }
            (Hold::Excluding { .. } | Hold::Relaxed, Hold::Backoff { until_us }) => {
                assert!(ends_us(until_us) <= now_us, "{what} is offered before its backoff ends");
            }
            (Hold::Excluding { .. } | Hold::Relaxed, Hold::Excluding { until_us: None }) => {}
            (here, there) => panic!("{what} waits as {here:?}, and on disk as {there:?}"),
        }
        (here.state, there.state) = (task.state, task.state);
    }
    assert_eq!(here, there, "{what} in memory and on disk");
}

/// The longest wait before the next try (rule 7).
pub(super) fn backoff_us(world: &World, task: &Task) -> u64 {
    let limits = world.inside().limits;
    let doubled = limits.backoff_first_us << task.failures.saturating_sub(1).min(20);
    doubled.min(limits.backoff_max_us)
}

fn the_live_tasks_are_those_of_the_disk(world: &World, inside: Inside<'_>) {
    let here = inside.tasks.values().filter(|task| !task.status().is_terminal());
    let (here, there) = (here.map(|task| task.id), world.disk.live().map(|task| task.id));
    assert!(here.eq(there), "the live tasks in memory are not those on disk");
}

fn the_disk_has_every_agent_as_it_is_and_none_other(world: &World, inside: Inside<'_>) {
    let ids = inside.agents.keys();
    assert!(ids.eq(world.disk.agents.keys()), "the agents in memory are not those on disk");
    for (agent, stored) in inside.agents.values().zip(world.disk.agents.values()) {
        assert_eq!(&record(agent, stored), stored, "{} in memory and on disk", name(agent.id));
    }
}

/// What should be on disk of an agent. A launcher may stay there until the next life, in case that
/// something of it is left.
fn record(agent: &Agent, stored: &AgentRecord) -> AgentRecord {
    let is_external = agent.kind != AgentKind::Process;
    let degraded = match &agent.health {
        Health::Degraded { reason, detail } if is_external => Some((*reason, detail.clone())),
        _ => None,
    };
    let launcher = agent.process.as_ref().map(|process| Launcher {
        pid: process.launcher_pid,
        start_ticks: process.launcher_start_ticks,
    });
    let cancelled = |run: &&Run| is_external && run.ending == Some(Ending::Cancelled);
    // A time of day there, as it looked when it was written.
    let until_us = stored.leaving.and_then(|leaving| leaving.until_us);
    let drains = agent.leaving.is_some_and(|leaving| leaving.until_us.is_some());
    assert!(!is_external || drains == until_us.is_some(), "the drain of {}", name(agent.id));
    AgentRecord {
        id: agent.id,
        kind: agent.kind,
        types: agent.types,
        incarnation: agent.incarnation,
        ids: agent.ids,
        degraded,
        leaving: agent.leaving.map(|leaving| Leaving { until_us, ..leaving }),
        launcher: if agent.alive { launcher } else { stored.launcher },
        cancelled_run: agent.run.as_ref().filter(cancelled).map(key),
    }
}

fn the_disk_has_what_was_learned(world: &World, inside: Inside<'_>) {
    let window = inside.limits.affinity_window;
    let mut lessons: BTreeMap<_, Vec<Lesson>> = BTreeMap::new();
    for lesson in world.disk.lessons.values() {
        lessons.entry((lesson.agent, lesson.kind)).or_default().push(*lesson);
    }
    for lesson in lessons.values_mut() {
        lesson.sort_by_key(|lesson| lesson.number);
    }
    for agent in inside.agents.values() {
        for kind in TaskType::ALL {
            let of = (agent.id, kind);
            let there = lessons.remove(&of).unwrap_or_default();
            let newest = &there[there.len().saturating_sub(window)..];
            let (count, here) = agent.affinity.learned(kind);
            let latencies = newest.iter().map(|lesson| lesson.latency_us);
            assert!(latencies.eq(here.iter().copied()), "what {} learned", name(agent.id));
            let next = newest.last().map_or(0, |lesson| lesson.number + 1);
            assert_eq!(next, count, "how often {} completed {kind:?}", name(agent.id));
            let known = world.learned.get(&of).map_or(0, Vec::len);
            assert_eq!(count, known as u64, "successes of {}", name(agent.id));
        }
    }
    assert!(lessons.is_empty(), "the disk remembers what nobody learned: {lessons:?}");
}

fn a_key_names_one_task(world: &World, inside: Inside<'_>) {
    let key = |task: &Task| Some((task.spec.key.as_ref()?.name.clone(), task.seq));
    let here: BTreeMap<_, _> = inside.tasks.values().filter_map(key).collect();
    assert_eq!(inside.keys, &here, "the keys in memory are not those of its tasks");
    let mut all = BTreeMap::new();
    for (name, seq) in world.disk.all().filter_map(key) {
        assert_eq!(all.insert(name, seq), None, "a key names two tasks");
    }
}

/// What a start owes to everything that the disk had `before`.
pub(super) fn after_start(world: &World, before: &Disk, overlap_possible: bool) {
    for record in before.agents.values() {
        an_agent_comes_back(world, record);
    }
    for task in before.live() {
        if families::falls_at_start(before, task) {
            families::fell(world, task);
            continue;
        }
        let mut cut_off = false;
        if let TaskState::InProgress { agent } = task.state {
            let record = before.agents.get(&agent);
            if let Some(record) = record.filter(|record| record.kind != AgentKind::Process) {
                an_external_attempt_goes_on(world, task, record);
                continue;
            }
            cut_off = true;
            if record.and_then(|record| record.leaving).is_some_and(|leaving| leaving.discard) {
                assert!(world.disk.ended(task.id).is_some(), "{} is discarded", name(task.id));
            }
        }
        a_task_comes_back(world, task, cut_off, overlap_possible);
    }
}

fn an_agent_comes_back(world: &World, record: &AgentRecord) {
    let Some(agent) = world.inside().agents.get(&record.id) else {
        assert!(record.leaving.is_some(), "{} is gone", name(record.id));
        return;
    };
    let now_us = world.now.mono_us;
    if let Some(leaving) = record.leaving {
        assert!(agent.run.is_some(), "{} was on its way out", name(record.id));
        let until_us = leaving.until_us.map(|at_us| at_us.min(now_us + leaving.drain_us));
        assert_eq!(agent.leaving, Some(Leaving { until_us, ..leaving }), "the rest of its drain");
    }
    assert_eq!((agent.incarnation, agent.ids), (record.incarnation, record.ids));
    assert!(!agent.alive, "{} lives before its life begins", name(record.id));
    match (agent.kind, &record.degraded) {
        (AgentKind::Process, _) => assert!(matches!(agent.health, Health::Degraded { .. })),
        (AgentKind::External { .. }, None) => assert_eq!(agent.health, Health::Fit),
        (AgentKind::External { .. }, Some((was, _))) => {
            assert!(matches!(&agent.health, Health::Degraded { reason, .. } if reason == was));
        }
    }
    if let Some(cancelled) = record.cancelled_run {
        let run = agent.run.as_ref().expect("a cancelled run goes on");
        assert_eq!((key(run), run.ending.clone()), (cancelled, Some(Ending::Cancelled)));
        let grace_us = world.inside().limits.cancel_grace_us;
        assert_eq!(run.grace_us, Some(now_us + grace_us), "its grace begins anew");
    }
}

fn an_external_attempt_goes_on(world: &World, before: &Task, record: &AgentRecord) {
    let (inside, what) = (world.inside(), name(before.id));
    let task = &inside.tasks[&before.seq];
    let (mut is, was) = (as_read(task), as_read(before));
    let (new, old) = (is.attempts.last_mut(), was.attempts.last());
    let (new, old) = new.zip(old).expect("an open attempt");
    if old.stop.is_none() && new.stop.is_some_and(|stop| stop.asked == Some(world.now)) {
        new.stop = None; // the start itself had to make room
    }
    assert_eq!(is, was, "{what} is as it was");
    let agent = &inside.agents[&record.id];
    let run = agent.run.as_ref().expect("the agent still has it");
    assert_eq!(key(run), (task.id, task.attempt), "the number of the attempt of {what}");
    let open = task.attempts.last().expect("an open attempt");
    assert_eq!(run.started, open.started.is_some(), "whether {what} was fetched");
    let timeout_us = inside.limits.timeout_of(task);
    let spent_us = world.now.wall_us.saturating_sub(open.assigned.wall_us).min(timeout_us);
    let ends_us = world.now.mono_us + timeout_us - spent_us;
    assert_eq!(run.deadline_us, ends_us, "the rest of the time of {what}");
    let lease_us = agent.kind.lease_us().map(|lease_us| world.now.mono_us + lease_us);
    assert_eq!(agent.lease.until_us, lease_us, "a lease at full length");
}

/// A task that waited, or whose attempt was cut off, by order or not.
fn a_task_comes_back(world: &World, before: &Task, cut_off: bool, overlap_possible: bool) {
    let what = name(before.id);
    let inside = world.inside();
    let here = inside.tasks.get(&before.seq);
    let task = here.or_else(|| world.disk.ended(before.id)).expect("no task is lost");
    let mut interruptions = before.interruptions;
    let mut failures = before.failures;
    if cut_off {
        interruptions += 1;
        failures += u32::from(interruptions > 2);
        let record = &task.attempts[before.attempts.len() - 1];
        let end = record.end.as_ref().expect("what was cut off is closed");
        assert_eq!(end.outcome, Outcome::Interrupted);
        assert_eq!(record.overlap_possible, overlap_possible, "{what}");
    }
    assert_eq!(task.interruptions, interruptions, "interruptions of {what}");
    assert_eq!(task.failures, failures, "failures of {what}");
    assert_eq!(task.failed_on, before.failed_on, "exclusions of {what}");
    let was_open = usize::from(cut_off);
    let closed = before.attempts.len() - was_open;
    let (now, then) = (as_read(task), as_read(before));
    assert_eq!(now.attempts[..closed], then.attempts[..closed], "the history of {what}");
    let again = usize::from(task.status() == TaskStatus::InProgress);
    assert_eq!(task.attempts.len(), before.attempts.len() + again, "attempts of {what}");
    assert_eq!(task.status() == TaskStatus::Failed, failures >= inside.limits.max_attempts);
    if let (TaskState::Pending(wait), TaskState::Pending(was)) = (task.state, before.state) {
        assert_eq!(wait.counted, was.counted, "{what} counts as before");
        let now_us = world.now.mono_us;
        assert!(wait.since_us <= now_us, "{what} waits since a moment that has not come");
        let longest_us = match wait.hold {
            Hold::Backoff { until_us } => until_us - now_us.min(until_us),
            Hold::Excluding { until_us: Some(until_us) } => until_us - now_us.min(until_us),
            Hold::Excluding { until_us: None } | Hold::Relaxed => 0,
        };
        let full_us = match wait.hold {
            Hold::Backoff { .. } => backoff_us(world, task),
            Hold::Excluding { .. } | Hold::Relaxed => inside.limits.exclusion_relax_us,
        };
        assert!(longest_us <= full_us, "{what} is held longer than at first");
    }
}
