//! What process agents report of their runs.

use super::children::deadlocked;
use super::end::AttemptEnd;
use super::{Jitter, Scheduler};
use crate::domain::agent::{Agent, Ending, Run};
use crate::domain::attempt::{Failure, Outcome};
use crate::domain::effect::{Effect, Event};
use crate::domain::follow_up::FollowUpPlan;
use crate::domain::ids::{AgentId, Attempt, Incarnation, TaskId};
use crate::domain::limits::Limits;
use crate::domain::metrics::Counters;
use crate::domain::report::{Report, TaskError, Usage};
use crate::domain::task::{Task, TaskStatus};
use crate::domain::time::Now;
use crate::domain::timers::Timer;

impl Scheduler {
    /// A fact: the agent says that it started the attempt.
    pub fn task_started(
        &mut self,
        agent_id: AgentId,
        incarnation: Incarnation,
        task_id: TaskId,
        attempt: Attempt,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if self.runs(agent_id, incarnation, task_id, attempt) {
            self.mark_started(agent_id, now, effects);
        }
    }

    /// Notes the start of the agent's run, once.
    pub(super) fn mark_started(&mut self, agent_id: AgentId, now: Now, effects: &mut Vec<Effect>) {
        let Some(agent) = self.agents.get_mut(&agent_id) else { return };
        let Some(run) = agent.run.as_mut().filter(|run| !run.started) else { return };
        run.started = true;
        let seq = run.task;
        let Some(task) = self.tasks.get_mut(&seq) else { return };
        let Some(record) = task.open_attempt() else { return };
        record.started = Some(now);
        self.unsaved.touch(seq);
        let closed_us = self.gates.closed_us(task.spec.kind, now);
        let latency_us = note_first_start(task, now, closed_us, &self.limits, &mut self.counters);
        let over_target =
            latency_us.is_some_and(|us| us > self.limits.assignment_latency_target_us);
        effects.push(Effect::Event(Event::TaskStarted {
            task_id: task.id,
            trace: task.spec.trace.clone(),
            agent: agent_id,
            attempt: task.attempt,
            assignment_latency_ms: latency_us.map(|us| us as f64 / 1e3),
            over_target,
        }));
    }

    /// A fact: the process agent's run of this attempt ended, and how. What comes of a run that is
    /// not the present one is dropped.
    #[expect(clippy::too_many_arguments, reason = "a fact with its fence, its time and its dice")]
    pub fn task_ended(
        &mut self,
        agent_id: AgentId,
        incarnation: Incarnation,
        task_id: TaskId,
        attempt: Attempt,
        report: Report,
        now: Now,
        jitter: Jitter,
        effects: &mut Vec<Effect>,
    ) {
        let follow_ups = Vec::new();
        self.task_ended_with(
            agent_id,
            incarnation,
            task_id,
            attempt,
            report,
            follow_ups,
            now,
            jitter,
            effects,
        );
    }

    /// The same for a run whose result rules have looked at: if it completes the task, these tasks
    /// come of it in the same turn.
    #[expect(clippy::too_many_arguments, reason = "a fact with its fence, its time and its dice")]
    pub fn task_ended_with(
        &mut self,
        agent_id: AgentId,
        incarnation: Incarnation,
        task_id: TaskId,
        attempt: Attempt,
        report: Report,
        follow_ups: Vec<FollowUpPlan>,
        now: Now,
        jitter: Jitter,
        effects: &mut Vec<Effect>,
    ) {
        if !self.runs(agent_id, incarnation, task_id, attempt) {
            return;
        }
        let Some(run) = self.agents.get(&agent_id).and_then(|agent| agent.run.as_ref()) else {
            return;
        };
        if run.failed_by_client {
            return; // its process is being killed because a client does not trust it
        }
        let seq = run.task;
        let end = end_of(run.ending.as_ref(), report, follow_ups);
        if let Some(end) = end {
            self.close_attempt(seq, agent_id, end, now, jitter, effects);
        }
        self.run_over(agent_id, now, effects);
        self.dispatch(now, effects);
    }

    /// Whether this is the present run of the present life of the agent.
    pub(super) fn runs(
        &self,
        agent_id: AgentId,
        incarnation: Incarnation,
        task_id: TaskId,
        attempt: Attempt,
    ) -> bool {
        let agent = self.agents.get(&agent_id).filter(|agent| agent.incarnation == incarnation);
        let run = agent.and_then(|agent| agent.run.as_ref());
        run.is_some_and(|run| run.task_id == task_id && run.attempt == attempt)
    }

    /// Whether the run cost its agent a task that goes on elsewhere or was given up.
    fn was_taken_away(&self, run: &Run) -> bool {
        let last = self.tasks.get(&run.task).and_then(|task| task.attempts.last());
        let end = last.and_then(|record| record.end.as_ref());
        end.is_some_and(|end| !matches!(end.outcome, Outcome::Completed | Outcome::Cancelled))
    }

    /// The agent's run is over: nothing of it can act any more. The agent is free again, or goes
    /// on with leaving.
    pub(super) fn run_over(&mut self, agent_id: AgentId, now: Now, effects: &mut Vec<Effect>) {
        let Some(agent) = self.agents.get_mut(&agent_id) else { return };
        let Some(run) = agent.run.take() else { return };
        let (leaving, kind) = (agent.leaving.is_some(), agent.kind);
        self.timers.clear(run.deadline_us, Timer::RunTimeout(agent_id));
        if let Some(grace_us) = run.grace_us {
            self.timers.clear(grace_us, Timer::Grace(agent_id));
        }
        self.note_over(&run, now);
        self.gates.end_run(run.gates);
        if run.is_remembered(kind) {
            self.touch_agent(agent_id);
        }
        if run.failed_by_client {
            let task_id = self.was_taken_away(&run).then_some(run.task_id);
            effects.push(Effect::FailedOver { agent: agent_id, task_id });
        }
        if self.agents.get(&agent_id).is_some_and(Agent::is_process) {
            self.process_runs -= 1;
            self.say_when_drained(effects);
        }
        let task = self.tasks.get(&run.task);
        if task.is_some_and(|task| task.status() == TaskStatus::Cancelled) {
            // Somebody may wait to try it again.
            effects.push(Effect::TaskLeft { task_id: run.task_id });
        }
        self.retire_if_ended(run.task);
        if leaving {
            self.leave_without_run(agent_id, effects);
        } else {
            if self.stopping {
                self.stop_idle(agent_id, effects);
            }
            self.offer(agent_id, now);
        }
    }
}

/// How a report ends the attempt; `None` when its task was cancelled before. After a time-out, a
/// deadlock or an order to stop only a result still counts, because a failure may come of the request to stop.
pub(super) fn end_of(
    ending: Option<&Ending>,
    report: Report,
    follow_ups: Vec<FollowUpPlan>,
) -> Option<AttemptEnd> {
    Some(match (ending, report) {
        (Some(Ending::Cancelled), _) => return None,
        (_, Report::Completed { result, usage }) => {
            AttemptEnd::Completed { result, usage, follow_ups }
        }
        (Some(Ending::TimedOut), Report::Failed { usage, .. } | Report::Cancelled { usage }) => {
            AttemptEnd::TimedOut(usage)
        }
        (Some(Ending::Deadlocked), Report::Failed { usage, .. } | Report::Cancelled { usage }) => {
            deadlocked(usage)
        }
        (Some(Ending::Stopped), Report::Failed { usage, .. } | Report::Cancelled { usage }) => {
            stopped(usage)
        }
        (_, Report::Failed { error, usage }) => AttemptEnd::Failed { error, usage },
        (None | Some(Ending::FailedByClient), Report::Cancelled { usage }) => {
            let message = "the worker cancelled the attempt although nobody asked".to_owned();
            let code = "cancelled_by_worker".to_owned();
            let error = TaskError { code, message, retryable: true };
            AttemptEnd::Failed { error, usage }
        }
    })
}

/// The end of an attempt that was stopped by order, with what it used, if it said so.
pub(super) fn stopped(usage: Option<Usage>) -> AttemptEnd {
    let detail = "its agent was removed, or the pool or the daemon stopped";
    AttemptEnd::Interrupted { failure: Failure::new("stopped", detail), by_order: true, usage }
}

/// Notes when the first attempt of the task started since it was last asked for, if this is it, and
/// answers the time between the two in microseconds, but for what the gates of its type were closed:
/// by then `closed_us` in all.
pub(super) fn note_first_start(
    task: &mut Task,
    started: Now,
    closed_us: u64,
    limits: &Limits,
    counters: &mut Counters,
) -> Option<u64> {
    if task.first_started.is_some() {
        return None;
    }
    task.first_started = Some(started);
    task.gated_us = closed_us.saturating_sub(task.gated_us);
    let latency_us = started.since(task.asked.mono_us).saturating_sub(task.gated_us);
    counters.assignment_latency_us += latency_us;
    counters.first_starts += 1;
    counters.histograms.assignment_latency.add(latency_us);
    counters.over_latency_target += u64::from(latency_us > limits.assignment_latency_target_us);
    Some(latency_us)
}
