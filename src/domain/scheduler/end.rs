//! The end of an attempt and what follows for its task: the table of rule 7.

use super::report::note_first_start;
use super::{Jitter, Scheduler};
use crate::domain::attempt::{AttemptEnded, AttemptRecord, Failure, Outcome};
use crate::domain::change::Lesson;
use crate::domain::cut::cut;
use crate::domain::effect::{Effect, Event};
use crate::domain::follow_up::FollowUpPlan;
use crate::domain::ids::AgentId;
use crate::domain::json::Json;
use crate::domain::priority::Seq;
use crate::domain::report::{MAX_MESSAGE_BYTES, TaskError, Usage};
use crate::domain::task::{Hold, Task, TaskState, TaskStatus, Wait};
use crate::domain::time::Now;
use crate::domain::timers::Timer;

/// From this many interruptions in a row on, each counts against the task.
const INTERRUPTIONS_FREE: u32 = 2;

/// How an attempt ended, with what the table of rule 7 needs to know.
#[derive(Debug)]
pub(super) enum AttemptEnd {
    Completed { result: Option<Json>, usage: Option<Usage>, follow_ups: Vec<FollowUpPlan> },
    Failed { error: TaskError, usage: Option<Usage> },
    AgentFailed(Failure),
    TimedOut(Option<Usage>),
    Cancelled,
    Interrupted { failure: Failure, by_order: bool, usage: Option<Usage> },
}

impl Scheduler {
    /// Closes the open attempt of the task, which is with `agent_id`, and moves the task on:
    /// to its end, or back into the queue. The exclusion is recorded before the task is requeued.
    pub(super) fn close_attempt(
        &mut self,
        seq: Seq,
        agent_id: AgentId,
        end: AttemptEnd,
        now: Now,
        jitter: Jitter,
        effects: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get_mut(&seq) else { return };
        if !matches!(task.state, TaskState::InProgress { .. }) {
            return;
        }
        // An answer without a fetch before: the assignment counts as the start.
        if matches!(end, AttemptEnd::Completed { .. } | AttemptEnd::Failed { .. })
            && let Some(record) = task.open_attempt().filter(|record| record.started.is_none())
        {
            let assigned = record.assigned;
            record.started = Some(assigned);
            let run = self.agents.get(&agent_id).and_then(|agent| agent.run.as_ref());
            let closed_us = run.map_or(0, |run| run.closed_us);
            note_first_start(task, assigned, closed_us, &self.limits, &mut self.counters);
        }
        let end = self.end_by_gate(seq, end, now, effects);
        let Some(task) = self.tasks.get_mut(&seq) else { return };
        let run = self.agents.get(&agent_id).and_then(|agent| agent.run.as_ref());
        let overdue = run.and_then(|run| run.overdue.clone());
        let timeout = || {
            let took_too_long =
                || Failure::new("timed_out", "the attempt took longer than its timeout_s");
            overdue.unwrap_or_else(took_too_long)
        };
        let (outcome, failure, usage) = match &end {
            AttemptEnd::Completed { usage, .. } => (Outcome::Completed, None, *usage),
            AttemptEnd::Failed { error, usage } => {
                let failure = Failure::new(&*error.code, &*error.message);
                (Outcome::Failed, Some(failure), *usage)
            }
            AttemptEnd::AgentFailed(failure) => (Outcome::AgentFailed, Some(failure.clone()), None),
            AttemptEnd::TimedOut(usage) => (Outcome::TimedOut, Some(timeout()), *usage),
            AttemptEnd::Cancelled => (Outcome::Cancelled, None, None),
            AttemptEnd::Interrupted { failure, usage, .. } => {
                (Outcome::Interrupted, Some(failure.clone()), *usage)
            }
        };
        if let Some(usage) = usage {
            // What a worker counts is not ours to trust.
            let counters = &mut self.counters;
            counters.input_tokens = counters.input_tokens.saturating_add(usage.input_tokens);
            counters.output_tokens = counters.output_tokens.saturating_add(usage.output_tokens);
        }
        self.unsaved.touch(seq);
        self.counters.in_progress -= 1;
        task.interruptions = match end {
            AttemptEnd::Interrupted { by_order: false, .. } => task.interruptions + 1,
            AttemptEnd::Interrupted { by_order: true, .. } => task.interruptions,
            AttemptEnd::Completed { .. }
            | AttemptEnd::Failed { .. }
            | AttemptEnd::AgentFailed(_)
            | AttemptEnd::TimedOut(_)
            | AttemptEnd::Cancelled => 0,
        };
        let counts = match &end {
            AttemptEnd::AgentFailed(_) | AttemptEnd::TimedOut(_) => true,
            AttemptEnd::Failed { error, .. } => error.retryable,
            AttemptEnd::Interrupted { by_order, .. } => {
                !by_order && task.interruptions > INTERRUPTIONS_FREE
            }
            AttemptEnd::Completed { .. } | AttemptEnd::Cancelled => false,
        };
        task.failures += u32::from(counts);
        if let Some(record) = task.open_attempt() {
            let began = record.started.unwrap_or(record.assigned);
            self.counters.histograms.attempts[outcome.index()].add(now.since(began.mono_us));
            record.end = Some(AttemptEnded { at: now, outcome, counted: counts, failure, usage });
        }
        if matches!(end, AttemptEnd::AgentFailed(_) | AttemptEnd::TimedOut(_)) {
            task.failed_on.retain(|&failed| failed != agent_id);
            task.failed_on.push(agent_id); // the newest failure last
        }
        let exhausted = counts && task.failures >= self.limits.max_attempts;
        match end {
            AttemptEnd::Completed { result, follow_ups, .. } => {
                task.result = result;
                if self.gates.completed(task.spec.kind) {
                    self.unsaved.touch_gates();
                }
                self.learn(seq, agent_id, now);
                self.end_task(seq, TaskStatus::Completed, now, effects);
                self.follow_up(seq, follow_ups, now, effects);
            }
            AttemptEnd::Cancelled => self.end_task(seq, TaskStatus::Cancelled, now, effects),
            AttemptEnd::Failed { error, .. } if !error.retryable => {
                task.error = Some(error);
                self.end_task(seq, TaskStatus::Failed, now, effects);
            }
            _ if exhausted => {
                task.error = Some(exhausted_error(task));
                self.end_task(seq, TaskStatus::Failed, now, effects);
            }
            AttemptEnd::Failed { .. } => {
                let until_us = now.mono_us + self.backoff_us(seq, jitter);
                self.requeue(seq, agent_id, Hold::Backoff { until_us }, now, effects);
            }
            AttemptEnd::AgentFailed(_)
            | AttemptEnd::TimedOut(_)
            | AttemptEnd::Interrupted { .. } => {
                self.requeue(seq, agent_id, Hold::Excluding { until_us: None }, now, effects);
            }
        }
        if outcome != Outcome::Completed
            && let Some(agent) = self.agents.get_mut(&agent_id)
        {
            let failed = !matches!(outcome, Outcome::Cancelled | Outcome::Interrupted);
            agent.stats.failed += u64::from(failed);
        }
        self.part_from_children(seq, outcome == Outcome::Completed, now, effects);
    }

    /// Puts a task back from this agent in its old place of the queue, held as `hold` says;
    /// exclusions are lifted after a while (rule 8). A pool that is shut down with `discard` cancels
    /// it instead (rule 17).
    fn requeue(
        &mut self,
        seq: Seq,
        from: AgentId,
        hold: Hold,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let leaving = self.agents.get(&from).and_then(|agent| agent.leaving);
        if leaving.is_some_and(|leaving| leaving.discard) {
            self.end_task(seq, TaskStatus::Cancelled, now, effects);
            return;
        }
        let Some(task) = self.tasks.get_mut(&seq) else { return };
        task.state = TaskState::Pending(Wait { since_us: now.mono_us, counted: false, hold });
        self.put_in_queue(seq);
        let Some(task) = self.tasks.get(&seq) else { return };
        self.counters.requeued += 1;
        if let Some(closing) = &mut self.closing {
            closing.requeued += 1;
        }
        if let Some(record) = task.attempts.last()
            && let Some(end) = &record.end
        {
            effects.push(Effect::Event(Event::TaskRequeued {
                task_id: task.id,
                trace: task.spec.trace.clone(),
                agent: record.agent,
                attempt: record.attempt,
                outcome: end.outcome,
                cause: end
                    .failure
                    .as_ref()
                    .map(|failure| failure.cause.clone())
                    .unwrap_or_default(),
                failures: task.failures,
            }));
        }
        match hold {
            Hold::Backoff { until_us } => self.timers.set(until_us, Timer::Backoff(seq)),
            Hold::Excluding { .. } | Hold::Relaxed => self.release_hold(seq, now),
        }
    }

    /// Offers a pending task that nothing but its exclusions holds back any more.
    pub(super) fn release_hold(&mut self, seq: Seq, now: Now) {
        let Some(task) = self.tasks.get_mut(&seq) else { return };
        let TaskState::Pending(wait) = &mut task.state else { return };
        let relax_us = wait.since_us.saturating_add(self.limits.exclusion_relax_us);
        wait.hold = if task.failed_on.is_empty() {
            Hold::Excluding { until_us: None }
        } else if relax_us <= now.mono_us {
            Hold::Relaxed
        } else {
            self.timers.set(relax_us, Timer::Relax(seq));
            Hold::Excluding { until_us: Some(relax_us) }
        };
        self.queue.make_ready(task.place(), task.spec.kind, &task.exclusions());
    }

    /// Ends the task for good. It leaves memory when no run of it is left.
    pub(super) fn end_task(
        &mut self,
        seq: Seq,
        status: TaskStatus,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get_mut(&seq) else { return };
        task.state = TaskState::Ended { status, at: now };
        match status {
            TaskStatus::Completed => self.counters.completed += 1,
            TaskStatus::Failed => self.counters.failed += 1,
            TaskStatus::Cancelled | TaskStatus::Pending | TaskStatus::InProgress => {
                self.counters.cancelled += 1;
            }
        }
        let last = task.attempts.last();
        let end = last.and_then(|record| record.end.as_ref());
        let start = last.map(|record| record.started.unwrap_or(record.assigned));
        effects.push(Effect::Event(Event::TaskEnded {
            task_id: task.id,
            trace: task.spec.trace.clone(),
            status,
            agent: last.map(|record| record.agent),
            attempt: task.attempt,
            duration_ms: start.map(|start| now.since(start.mono_us) as f64 / 1e3),
            cause: (task.error.as_ref().map(|error| error.code.clone()))
                .or_else(|| Some(end?.failure.as_ref()?.cause.clone())),
        }));
        effects.push(Effect::TaskEnded { task_id: task.id });
        self.unsaved.touch(seq);
        self.leave_parent(seq, now);
    }

    /// Learns how fast the agent completed the task.
    fn learn(&mut self, seq: Seq, agent_id: AgentId, now: Now) {
        let (Some(task), Some(agent)) = (self.tasks.get(&seq), self.agents.get_mut(&agent_id))
        else {
            return;
        };
        let Some(record) = task.attempts.last() else { return };
        let kind = task.spec.kind;
        let (count, time_us) = &mut agent.stats.by_type[kind.index()];
        *count += 1;
        agent.stats.completed += 1;
        let started_us = record.started.unwrap_or(record.assigned).mono_us;
        if started_us > now.mono_us {
            return; // before the last start of the daemon, and the clock was turned back since
        }
        // What is longer says more of the clock, or of the daemon's absence, than of the agent.
        let longest_us = self.limits.timeout_of(task).saturating_add(self.limits.cancel_grace_us);
        let latency_us = now.since(started_us).min(longest_us);
        let window = self.limits.affinity_window;
        let number = agent.affinity.learn(kind, latency_us, window);
        self.learned.learn(kind, latency_us, window);
        let slot = usize::try_from(number).unwrap_or_default() % window.max(1);
        self.unsaved.learned(Lesson { agent: agent_id, kind, number, slot, latency_us });
        agent.stats.busy_us += latency_us;
        *time_us += latency_us;
        self.counters.duration_us += latency_us;
    }

    /// min(longest, first x 2^(failures - 1)), shortened by up to half (rule 7).
    pub(super) fn backoff_us(&self, seq: Seq, jitter: Jitter) -> u64 {
        let failures = self.tasks.get(&seq).map_or(1, |task| task.failures);
        let doublings = failures.saturating_sub(1).min(32);
        let full_us = self.limits.backoff_first_us.saturating_mul(1 << doublings);
        jitter.apply(full_us.min(self.limits.backoff_max_us))
    }
}

/// Why a task was given up: the code of the last failure, and the reason of each one that counted
/// since the task was last asked for.
fn exhausted_error(task: &Task) -> TaskError {
    let failure = |record: &AttemptRecord| {
        let end = record.end.as_ref().filter(|end| end.counted)?;
        let Failure { cause, detail } = end.failure.as_ref()?;
        let (attempt, agent, outcome) = (record.attempt, record.agent, end.outcome.name());
        let reason = format!("attempt {attempt} on {agent}: {outcome} ({cause}: {detail})");
        Some((cause.clone(), reason))
    };
    let newest = task.attempts.iter().rev().filter_map(failure);
    let mut failures: Vec<_> = newest.take(task.failures as usize).collect();
    let code = failures.first().map_or_else(String::new, |(cause, _)| cause.clone());
    failures.reverse();
    let reasons: Vec<_> = failures.into_iter().map(|(_, reason)| reason).collect();
    let message = format!("given up after {} failures; {}", task.failures, reasons.join("; "));
    TaskError { code, message: cut(message, MAX_MESSAGE_BYTES), retryable: true }
}
