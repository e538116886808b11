//! What always holds, each as a function of its own, found by brute force: none of them asks the
//! queue, the index of idle agents or the timers for anything but to compare it with the truth.

use std::collections::{BTreeMap, BTreeSet};

use super::deadlines;
use super::disk::Disk;
use super::durability;
use super::families;
use super::gating;
use super::stops::{self, Stopping};
use super::world::{World, name};
use crate::domain::agent::{Agent, Ending, Health};
use crate::domain::attempt::{AttemptRecord, Outcome};
use crate::domain::scheduler::Inside;
use crate::domain::task::{Hold, Task, TaskState, Wait};
use crate::domain::{AgentId, AgentKind, Attempt, Effect, Event, TaskId, TaskStatus, TaskType};

/// What is remembered of the moment before a verb.
#[derive(Default)]
pub(super) struct Before {
    waits: BTreeMap<TaskId, Wait>,
    /// Runs of external agents whose task was cancelled.
    pub cancelled_runs: BTreeMap<AgentId, (TaskId, Attempt)>,
    attempts: BTreeMap<TaskId, Attempt>,
    idle_since: BTreeMap<AgentId, u64>,
    /// Runs that were being stopped.
    stopping: Stopping,
}

impl Before {
    pub(super) fn of(world: &World) -> Self {
        let inside = world.inside();
        let mut waits = BTreeMap::new();
        let mut attempts = BTreeMap::new();
        for task in all_tasks(world, inside) {
            attempts.insert(task.id, task.attempt);
            if let TaskState::Pending(wait) = task.state {
                waits.insert(task.id, wait);
            }
        }
        let candidates = inside.agents.values().filter(|agent| is_candidate(agent));
        let since = |agent: &Agent| (agent.id, world.idle_since.get(&agent.id).copied());
        let idle_since = candidates.map(since).map(|(id, at)| (id, at.expect("is idle"))).collect();
        let cancelled = |agent: &Agent| {
            let run = agent.run.as_ref().filter(|run| run.ending == Some(Ending::Cancelled))?;
            (agent.kind != AgentKind::Process).then(|| (agent.id, durability::key(run)))
        };
        let cancelled_runs = inside.agents.values().filter_map(cancelled).collect();
        let stopping = Stopping::of(inside);
        Self { waits, cancelled_runs, attempts, idle_since, stopping }
    }

    /// The moment before a start: what waited goes on waiting, and nobody was idle.
    pub(super) fn of_disk(world: &World, disk: &Disk) -> Self {
        let attempts = disk.all().map(|task| (task.id, task.attempt)).collect();
        let wait = |task: &Task| {
            let TaskState::Pending(mut wait) = task.state else { return None };
            wait.since_us = wait.since_us.min(world.now.mono_us);
            if !matches!(wait.hold, Hold::Backoff { .. }) && !task.failed_on.is_empty() {
                let until_us = wait.since_us + world.limits.exclusion_relax_us;
                wait.hold = Hold::Excluding { until_us: Some(until_us) };
            }
            Some((task.id, wait))
        };
        let waits = disk.live().filter_map(wait).collect();
        Self { waits, attempts, ..Self::default() }
    }
}

/// Checks everything after one call of the scheduler, which wanted `effects`.
pub(super) fn check(world: &mut World, before: &Before, effects: &[Effect]) {
    remember_who_became_idle(world, before);
    let inside = world.inside();
    every_accepted_task_is_known(world, inside);
    every_task_is_in_exactly_one_place(inside);
    the_queue_offers_what_may_run(inside);
    counters_equal_a_recount(world, inside);
    attempt_numbers_grow_by_one(world, inside, before, effects);
    only_the_newest_attempt_of_a_running_task_is_open(world, inside);
    a_run_and_its_task_name_each_other(inside);
    a_live_task_has_budget_left(inside);
    failures_and_exclusions_follow_from_the_attempts(world, inside);
    ended_tasks_never_change(world, inside);
    the_idle_index_holds_the_candidates(world, inside);
    deadlines::check(world, inside);
    assignments_follow_the_rules(world, inside, before, effects);
    no_agent_idles_beside_work(world, inside);
    families::check(world, inside);
    gating::check(world, inside);
    stops::check(world, inside, &before.stopping);
}

/// Whether the agent may be given a task, as rules 2, 3 and 9 say.
fn is_candidate(agent: &Agent) -> bool {
    let there = match agent.kind {
        AgentKind::Process => agent.alive && agent.dying.is_none(),
        AgentKind::External { lease_us: None } => true,
        AgentKind::External { lease_us: Some(_) } => {
            (agent.lease.until_us.is_some() && !agent.lease.unheard) || agent.lease.open_calls > 0
        }
    };
    there && agent.health == Health::Fit && agent.run.is_none() && agent.leaving.is_none()
}

fn remember_who_became_idle(world: &mut World, before: &Before) {
    let candidates = world.inside().agents.values().filter(|agent| is_candidate(agent));
    let since =
        |agent: &Agent| before.idle_since.get(&agent.id).copied().unwrap_or(world.now.mono_us);
    world.idle_since = candidates.map(|agent| (agent.id, since(agent))).collect();
}

fn every_accepted_task_is_known(world: &World, inside: Inside<'_>) {
    for id in &world.accepted {
        let here = inside.ids.get(id).and_then(|seq| inside.tasks.get(seq));
        let known = here.or_else(|| world.disk.ended(*id));
        assert!(known.is_some_and(|task| task.id == *id), "{} was lost", name(id));
    }
    assert_eq!(inside.ids.len(), inside.tasks.len(), "an id without its task was left behind");
}

fn every_task_is_in_exactly_one_place(inside: Inside<'_>) {
    let mut pending: Vec<_> = Vec::new();
    for (seq, task) in inside.tasks {
        match task.state {
            TaskState::Pending(_) => pending.push(task.place()),
            TaskState::InProgress { agent } => {
                let run = inside.agents.get(&agent).and_then(|agent| agent.run.as_ref());
                assert!(
                    run.is_some_and(|run| run.task == *seq && run.attempt == task.attempt),
                    "{} is in progress on {}, which runs something else",
                    name(task.id),
                    name(agent)
                );
            }
            TaskState::Ended { .. } => {
                let runs = |agent: &Agent| agent.run.as_ref().is_some_and(|run| run.task == *seq);
                let goes_on = inside.agents.values().any(runs);
                assert!(goes_on, "{} has ended, no run of it is left, and it stays", name(task.id));
            }
        }
    }
    pending.sort_unstable();
    let queued: Vec<_> = inside.queue.iter().collect();
    assert_eq!(queued, pending, "the queue is not the pending tasks in order");
    assert_eq!(inside.queue.len(), pending.len(), "the depth of the queue is not a recount");
}

fn the_queue_offers_what_may_run(inside: Inside<'_>) {
    let mut expected = BTreeSet::new();
    for task in inside.tasks.values() {
        let TaskState::Pending(wait) = task.state else { continue };
        let mut excluded = task.failed_on.clone();
        excluded.sort_unstable();
        match wait.hold {
            Hold::Backoff { .. } => continue,
            Hold::Relaxed => excluded.clear(),
            Hold::Excluding { until_us } => {
                assert_eq!(until_us.is_some(), !excluded.is_empty(), "an exclusion without an end");
            }
        }
        expected.insert((task.spec.kind, excluded, task.place()));
    }
    let offered: BTreeSet<_> = inside.queue.ready().collect();
    assert_eq!(offered, expected, "the lanes are not the tasks that wait for nothing but an agent");
    inside.queue.check_heads();
}

/// Every task: those in memory, and those that have left it for the disk.
fn all_tasks<'a>(world: &'a World, inside: Inside<'a>) -> impl Iterator<Item = &'a Task> {
    let on_disk = world.disk.all();
    let left = on_disk.filter(move |task| !inside.tasks.contains_key(&task.seq));
    inside.tasks.values().chain(left)
}

fn counters_equal_a_recount(world: &World, inside: Inside<'_>) {
    let count = |is_it: &dyn Fn(&Task) -> bool| {
        all_tasks(world, inside).filter(|&task| is_it(task)).count() as u64
    };
    let status = |status| count(&|task| task.status() == status);
    let counters = inside.counters;
    let counted = |task: &Task| matches!(task.state, TaskState::Pending(wait) if wait.counted);
    for task in inside.tasks.values().filter(|&task| counted(task)) {
        let submitted_at = world.retried_at.get(&task.id).copied().unwrap_or(0);
        assert_eq!(task.attempts.len(), submitted_at, "only what was never placed counts");
    }
    assert_eq!(counters.in_progress, status(TaskStatus::InProgress), "tasks in progress");
    let base = &world.base;
    let ends = |of| base.since(of, status(of));
    assert_eq!(counters.completed, ends(TaskStatus::Completed), "completed tasks");
    assert_eq!(counters.failed, ends(TaskStatus::Failed), "failed tasks");
    assert_eq!(counters.cancelled, ends(TaskStatus::Cancelled), "cancelled tasks");
    let submitted = world.accepted.len() - base.accepted + base.undone.len();
    assert_eq!(counters.submitted, submitted as u64, "accepted and retried tasks");
    let attempts: usize = all_tasks(world, inside).map(|task| task.attempts.len()).sum();
    assert_eq!(counters.assigned, (attempts - base.attempts) as u64, "assignments");
    let histograms = &counters.histograms;
    assert_eq!(histograms.queue_wait.count(), counters.assigned, "waits in buckets");
    assert_eq!(histograms.assignment_latency.count(), counters.first_starts, "starts in buckets");
    let runs = |agent: &&Agent| agent.is_process() && agent.run.is_some();
    let process_runs = inside.agents.values().filter(runs).count();
    assert_eq!(inside.process_runs, process_runs, "runs of process agents");
}

fn attempt_numbers_grow_by_one(
    world: &World,
    inside: Inside<'_>,
    before: &Before,
    effects: &[Effect],
) {
    let mut expected = before.attempts.clone();
    for (task, _) in assignments(effects) {
        let attempt = expected.entry(task).or_default();
        *attempt = attempt.next();
    }
    for task in all_tasks(world, inside) {
        let newest = expected.get(&task.id).copied().unwrap_or_default();
        assert_eq!(task.attempt, newest, "attempt of {}", name(task.id));
        let numbers = task.attempts.iter().map(|record| record.attempt.get());
        assert!(numbers.eq(1..=newest.get()), "{} has a gap in its attempts", name(task.id));
    }
}

fn only_the_newest_attempt_of_a_running_task_is_open(world: &World, inside: Inside<'_>) {
    for task in all_tasks(world, inside) {
        let open: Vec<_> = task.attempts.iter().filter(|record| record.end.is_none()).collect();
        match task.state {
            TaskState::InProgress { agent } => {
                assert_eq!(open.len(), 1, "open attempts of {}", name(task.id));
                assert_eq!(open[0].attempt, task.attempt, "an older attempt is open");
                assert_eq!(open[0].agent, agent, "the open attempt is with somebody else");
            }
            TaskState::Pending(_) | TaskState::Ended { .. } => {
                assert!(open.is_empty(), "{} has an open attempt and no agent", name(task.id));
            }
        }
    }
}

/// Rule 9: while a run can act, its task has not moved to anybody else.
fn a_run_and_its_task_name_each_other(inside: Inside<'_>) {
    for agent in inside.agents.values() {
        let Some(run) = &agent.run else { continue };
        let who = name(agent.id);
        let task = inside.tasks.get(&run.task);
        let task = task.unwrap_or_else(|| panic!("{who} runs what does not exist or moved"));
        assert_eq!(run.task_id, task.id, "the run of {who} has two names for its task");
        assert_eq!(run.attempt, task.attempt, "the run of {who} is not the newest attempt");
        match task.state {
            TaskState::InProgress { agent: holder } => {
                assert_eq!(holder, agent.id, "two agents run {}", name(task.id));
                assert_ne!(run.ending, Some(Ending::Cancelled), "cancelled and in progress");
            }
            TaskState::Ended { status: TaskStatus::Cancelled, .. } => {
                assert!(run.ending.is_some(), "a cancelled run of {who} that nobody ends");
            }
            TaskState::Pending(_) | TaskState::Ended { .. } => {
                panic!("{} moved although {who} still runs it", name(task.id))
            }
        }
    }
}

fn a_live_task_has_budget_left(inside: Inside<'_>) {
    for task in inside.tasks.values().filter(|task| !task.status().is_terminal()) {
        assert!(task.failures < inside.limits.max_attempts, "{} should be over", name(task.id));
    }
}

/// The table of rule 7, from the history of each task.
fn failures_and_exclusions_follow_from_the_attempts(world: &World, inside: Inside<'_>) {
    for task in all_tasks(world, inside) {
        let (mut failures, mut interruptions) = (0, 0);
        let mut failed_on = Vec::new();
        let forgotten = world.retried_at.get(&task.id).copied().unwrap_or(0);
        for record in &task.attempts[forgotten..] {
            let Some(end) = &record.end else { continue };
            let cause = end.failure.as_ref().map_or("", |failure| &*failure.cause);
            let counts = match end.outcome {
                Outcome::Completed | Outcome::Cancelled => false,
                Outcome::AgentFailed | Outcome::TimedOut => {
                    failed_on.retain(|&agent| agent != record.agent);
                    failed_on.push(record.agent);
                    true
                }
                Outcome::Failed => task.error.as_ref().is_none_or(|error| error.retryable),
                Outcome::Interrupted if cause == "stopped" => false,
                Outcome::Interrupted => interruptions >= 2,
            };
            interruptions = match end.outcome {
                Outcome::Interrupted => interruptions + u32::from(cause != "stopped"),
                _ => 0,
            };
            failures += u32::from(counts);
        }
        let last = task.attempts.last().and_then(|record| record.end.as_ref());
        if task.error.as_ref().is_some_and(|error| !error.retryable) {
            assert_eq!(last.map(|end| end.outcome), Some(Outcome::Failed));
            let earlier = task.attempts[forgotten..].iter().rev().skip(1);
            let failed = |record: &&AttemptRecord| {
                record.end.as_ref().is_some_and(|end| end.outcome == Outcome::Failed)
            };
            failures += u32::try_from(earlier.filter(failed).count()).expect("few attempts");
        }
        assert_eq!(task.failures, failures, "failures of {}", name(task.id));
        let ends = task.attempts[forgotten..].iter().filter_map(|record| record.end.as_ref());
        let counted = ends.filter(|end| end.counted).count();
        assert_eq!(task.failures as usize, counted, "counted ends of {}", name(task.id));
        assert_eq!(task.failed_on, failed_on, "exclusions of {}", name(task.id));
        assert_eq!(task.interruptions, interruptions, "interruptions of {}", name(task.id));
    }
}

fn ended_tasks_never_change(world: &World, inside: Inside<'_>) {
    for (id, status) in &world.ended {
        let here = inside.ids.get(id).and_then(|seq| inside.tasks.get(seq));
        let task = here.or_else(|| world.disk.task(*id)).expect("an ended task is somewhere");
        assert_eq!(task.status(), *status, "{} ended and changed", name(id));
    }
}

fn the_idle_index_holds_the_candidates(world: &World, inside: Inside<'_>) {
    let index: BTreeMap<_, _> = inside.idle.all().collect();
    assert_eq!(index, world.idle_since, "the index of idle agents is not the idle agents");
}

fn assignments(effects: &[Effect]) -> impl Iterator<Item = (TaskId, AgentId)> {
    effects.iter().filter_map(|effect| match effect {
        Effect::Event(Event::TaskAssigned { task_id, agent, .. }) => Some((*task_id, *agent)),
        _ => None,
    })
}

/// Whether rules 8 and 12 let this agent run the waiting task, apart from whether it is idle.
fn may_run(world: &World, task: &Task, relaxed: bool, agent: AgentId) -> bool {
    let (inside, kind) = (world.inside(), task.spec.kind);
    world.gating.is_open(kind)
        && inside.agents[&agent].types.contains(kind)
        && (relaxed || !task.failed_on.contains(&agent))
}

/// Rules 4, 5, 8 and 12: goes back to the moment before the assignments of this verb and repeats them
/// by looking at every task and every agent.
fn assignments_follow_the_rules(
    world: &World,
    inside: Inside<'_>,
    before: &Before,
    effects: &[Effect],
) {
    let made: Vec<_> = assignments(effects).collect();
    if made.is_empty() {
        return;
    }
    assert!(!inside.draining, "a draining daemon gave a task to an agent");
    let mut idle = world.idle_since.clone();
    for (_, agent) in &made {
        let since_us = before.idle_since.get(agent).copied().unwrap_or(world.now.mono_us);
        idle.insert(*agent, since_us);
    }
    let mut waiting: Vec<(&Task, bool)> = Vec::new();
    for task in inside.tasks.values() {
        match task.state {
            TaskState::Pending(Wait { hold: Hold::Excluding { .. }, .. }) => {
                waiting.push((task, false));
            }
            TaskState::Pending(Wait { hold: Hold::Relaxed, .. }) => waiting.push((task, true)),
            TaskState::InProgress { .. } if made.iter().any(|(id, _)| *id == task.id) => {
                waiting.push((task, was_relaxed(world, inside, before, task)));
            }
            TaskState::Pending(_) | TaskState::InProgress { .. } | TaskState::Ended { .. } => {}
        }
    }
    waiting.sort_by_key(|(task, _)| (-i64::from(task.spec.priority.get()), task.seq));
    for ((task_id, agent_id), over) in made.into_iter().zip(&world.gating.over) {
        let placeable = |(task, relaxed): &(&Task, bool)| {
            idle.keys().any(|&agent| may_run(world, task, *relaxed, agent))
        };
        // What has its share of the agents comes after all others (rule 12).
        let has_room = |task: &Task| !over.contains(task.spec.kind);
        let first = waiting.iter().position(|item| has_room(item.0) && placeable(item));
        let first = first.or_else(|| waiting.iter().position(placeable));
        let first = first.expect("something was placeable");
        let (task, relaxed) = waiting.remove(first);
        assert_eq!(name(task_id), name(task.id), "not the first placeable task was given away");
        let chosen = chosen_by_rule_5_and_8(world, inside, task, relaxed, &idle);
        assert_eq!(name(agent_id), name(chosen), "{} went to the wrong agent", name(task_id));
        idle.remove(&agent_id);
    }
}

/// Whether the exclusions of a task that was just assigned had been lifted before that.
fn was_relaxed(world: &World, inside: Inside<'_>, before: &Before, task: &Task) -> bool {
    let now_us = world.now.mono_us;
    let relax_us = inside.limits.exclusion_relax_us;
    let lifted = match before.waits.get(&task.id) {
        None => relax_us == 0,
        Some(wait) => match wait.hold {
            Hold::Relaxed => true,
            Hold::Excluding { until_us } => until_us.is_some_and(|at_us| at_us <= now_us),
            Hold::Backoff { until_us } => {
                assert!(until_us <= now_us, "{} did not wait", name(task.id));
                wait.since_us + relax_us <= now_us
            }
        },
    };
    lifted && !task.failed_on.is_empty()
}

fn chosen_by_rule_5_and_8(
    world: &World,
    inside: Inside<'_>,
    task: &Task,
    relaxed: bool,
    idle: &BTreeMap<AgentId, u64>,
) -> AgentId {
    let able = |agent: &AgentId| may_run(world, task, relaxed, *agent);
    let able: Vec<AgentId> = idle.keys().copied().filter(able).collect();
    let clean: Vec<AgentId> =
        able.iter().copied().filter(|agent| !task.failed_on.contains(agent)).collect();
    if clean.is_empty() {
        let oldest = task.failed_on.iter().find(|agent| able.contains(agent));
        return *oldest.expect("somebody may run it");
    }
    if let Some(Ok(preferred)) = task.spec.preferred
        && clean.contains(&preferred)
    {
        return preferred;
    }
    let fastest = clean.iter().filter_map(|&agent| {
        let (sum, count) = mean(world, inside, agent, task.spec.kind)?;
        Some((agent, sum, count))
    });
    // a / b < c / d without division; the first of equals is the smaller id
    let fastest = fastest.min_by(|&(_, a, b), &(_, c, d)| (a * d).cmp(&(c * b)));
    match fastest {
        Some((agent, ..)) => agent,
        None => clean.into_iter().min_by_key(|agent| (idle[agent], *agent)).expect("not empty"),
    }
}

/// The sum and the number of the last latencies of an agent.
fn mean(world: &World, inside: Inside<'_>, agent: AgentId, kind: TaskType) -> Option<(u64, u64)> {
    let latencies = world.learned.get(&(agent, kind))?;
    let window = latencies.len().saturating_sub(inside.limits.affinity_window);
    let window = &latencies[window..];
    Some((window.iter().sum(), window.len() as u64))
}

fn no_agent_idles_beside_work(world: &World, inside: Inside<'_>) {
    if inside.draining {
        return;
    }
    for task in inside.tasks.values() {
        let TaskState::Pending(wait) = task.state else { continue };
        if matches!(wait.hold, Hold::Backoff { .. }) {
            continue;
        }
        let relaxed = wait.hold == Hold::Relaxed;
        let idler = inside
            .agents
            .values()
            .find(|agent| is_candidate(agent) && may_run(world, task, relaxed, agent.id));
        assert!(
            idler.is_none(),
            "{} idles although {} waits",
            idler.map(|agent| name(agent.id)).unwrap_or_default(),
            name(task.id)
        );
    }
}
