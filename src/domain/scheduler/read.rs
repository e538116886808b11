//! What readers ask.

use std::cell::LazyCell;

use super::Scheduler;
use crate::domain::agent::{Agent, AgentStatus, Health};
use crate::domain::ids::{AgentId, TaskId};
use crate::domain::limits::EXACT_POSITIONS;
use crate::domain::metrics::{
    AgentCounts, GateMetrics, IsolationMetrics, Metrics, OldestWait, StoreMetrics,
};
use crate::domain::priority::Place;
use crate::domain::refusal::Refusal;
use crate::domain::task::{Hold, Task, TaskState, Wait};
use crate::domain::time::{Now, SECOND_US};
use crate::domain::view::{AgentView, PendingReason, TaskSummary, TaskView, Waiting};

impl Scheduler {
    /// A task, whole.
    ///
    /// # Errors
    /// `TaskNotFound`.
    pub fn task(&self, id: TaskId, now: Now) -> Result<TaskView, Refusal> {
        let task = self.task_by_id(id)?;
        Ok(task.view(self.waiting(task, now)))
    }

    /// Whether the task is known and has not ended.
    #[must_use]
    pub fn is_live_task(&self, id: TaskId) -> bool {
        self.task_by_id(id).is_ok_and(|task| !task.status().is_terminal())
    }

    /// These tasks in short, as far as they are here: those that have not ended.
    #[must_use]
    pub fn summaries(&self, ids: &[TaskId], now: Now) -> Vec<TaskSummary> {
        // The head of the queue, walked once for all and not for each of its tasks.
        let head = LazyCell::new(|| self.queue.iter().take(EXACT_POSITIONS).collect::<Vec<_>>());
        let turns = LazyCell::new(|| self.turns(head.iter().copied()).collect::<Vec<_>>());
        let here = ids.iter().filter_map(|&id| self.task_by_id(id).ok());
        here.map(|task| {
            let pending = matches!(task.state, TaskState::Pending(_));
            let index = pending.then(|| head.binary_search(&task.place()).ok()).flatten();
            let (position, turn) = (index.map(|n| n + 1), index.map(|n| turns[n]));
            task.summary(self.waiting_at(task, position, turn, now))
        })
        .collect()
    }

    fn waiting(&self, task: &Task, now: Now) -> Option<Waiting> {
        let pending = matches!(task.state, TaskState::Pending(_));
        let position = pending.then(|| self.queue.position(task.place())).flatten();
        let turn = if self.gates.closed().is_empty() {
            position
        } else {
            position.and_then(|position| self.turns(self.queue.iter().take(position)).last())
        };
        self.waiting_at(task, position, turn, now)
    }

    /// For each of these places, from the head of the queue on, how many tasks up to there wait for
    /// no closed gate.
    fn turns(&self, head: impl Iterator<Item = Place>) -> impl Iterator<Item = usize> {
        let closed = self.gates.closed();
        head.scan(0, move |turn, place| {
            let waits = || {
                let task = self.tasks.get(&place.seq());
                task.is_some_and(|task| closed.contains(task.spec.kind))
            };
            *turn += usize::from(closed.is_empty() || !waits());
            Some(*turn)
        })
    }

    /// Why a pending task waits, at which position, and for how long, when it is its `turn` among
    /// those that wait for no closed gate.
    fn waiting_at(
        &self,
        task: &Task,
        position: Option<usize>,
        turn: Option<usize>,
        now: Now,
    ) -> Option<Waiting> {
        let TaskState::Pending(wait) = task.state else { return None };
        let reason = self.pending_reason(task, wait);
        let eta_us = self.eta_us(task, wait, turn, now);
        Some(Waiting { reason, position, eta_us })
    }

    /// When a pending task is likely to start: all tasks before it that wait for no closed gate, and
    /// itself, take as long as tasks of its type do, and the agents that take the type, and are there and stay, share them. Not
    /// before its backoff ends, nor before its exclusions do when they are about all those agents.
    /// `None` when its gate is closed, nobody takes it, or nobody knows how long it takes.
    fn eta_us(&self, task: &Task, wait: Wait, turn: Option<usize>, now: Now) -> Option<u64> {
        let kind = task.spec.kind;
        if self.gates.closed_for(kind).is_some() {
            return None;
        }
        let stays = |agent: &Agent| agent.health == Health::Fit && agent.leaving.is_none();
        let serves = |agent: &&Agent| {
            let here = agent.is_candidate() || (agent.run.is_some() && stays(agent));
            here && agent.types.contains(kind)
        };
        let excluded = |agent: &Agent| task.failed_on.contains(&agent.id);
        let all_excluded = self.agents.values().filter(serves).all(excluded);
        let agents = u64::try_from(self.agents.values().filter(serves).count()).ok()?;
        let turn = u64::try_from(turn?).ok()?;
        let mean_us = self.learned.mean_ns(kind)? / 1_000;
        let in_turn_us = (mean_us.saturating_mul(turn)).checked_div(agents)?;
        let held_until_us = match wait.hold {
            Hold::Backoff { until_us } => Some(until_us),
            Hold::Excluding { until_us } => until_us.filter(|_| all_excluded),
            Hold::Relaxed => None,
        };
        Some(
            in_turn_us
                .max(held_until_us.map_or(0, |until_us| until_us.saturating_sub(now.mono_us))),
        )
    }

    fn pending_reason(&self, task: &Task, wait: Wait) -> PendingReason {
        let kind = task.spec.kind;
        if let Some(gate) = self.gates.closed_for(kind) {
            return PendingReason::GateClosed(gate.clone());
        }
        if matches!(wait.hold, Hold::Backoff { .. }) {
            return PendingReason::RetryBackoff;
        }
        if self.agents.is_empty() {
            return PendingReason::PoolEmpty;
        }
        let mut takers = self.agents.values().filter(|agent| agent.types.contains(kind)).peekable();
        if takers.peek().is_none() {
            return PendingReason::NoAgentForType;
        }
        let excluded = |agent: &Agent| task.failed_on.contains(&agent.id);
        if wait.hold != Hold::Relaxed && takers.all(excluded) {
            return PendingReason::ExcludedEverywhere;
        }
        PendingReason::NoIdleAgent
    }

    /// An agent.
    ///
    /// # Errors
    /// `AgentNotFound`.
    pub fn agent_view(&self, id: AgentId) -> Result<AgentView, Refusal> {
        self.agent(id).map(view)
    }

    /// Every agent, by id.
    #[must_use]
    pub fn agent_views(&self) -> Vec<AgentView> {
        self.agents.values().map(view).collect()
    }

    /// The longest wait among these tasks of one priority, which are in the order of their submission:
    /// whatever comes after one that was not tried again waits less than that.
    fn oldest_wait(&self, places: impl Iterator<Item = Place>, now: Now) -> Option<OldestWait> {
        let mut longest = None;
        for task in places.filter_map(|place| self.tasks.get(&place.seq())) {
            let wait_s = now.since(task.asked.mono_us) as f64 / SECOND_US as f64;
            let wait = OldestWait { priority: task.spec.priority.get(), wait_s };
            longest = longest.filter(|other: &OldestWait| other.wait_s >= wait_s).or(Some(wait));
            if task.asked == task.created {
                break;
            }
        }
        longest
    }

    /// The pool at this moment. Looks at each agent once, and at tasks only for the longest waits.
    #[must_use]
    pub fn metrics(&self, now: Now) -> Metrics {
        let mut agents = AgentCounts::default();
        let mut runs = 0;
        for agent in self.agents.values() {
            agents.total += 1;
            runs += u64::from(agent.run.is_some());
            *match agent.status() {
                AgentStatus::Idle => &mut agents.idle,
                AgentStatus::Analyzing => &mut agents.analyzing,
                AgentStatus::Executing => &mut agents.executing,
                AgentStatus::Degraded => &mut agents.degraded,
            } += 1;
        }
        let busy = agents.analyzing + agents.executing;
        let counters = &self.counters;
        let mean = |sum: u64, count: u64| (count > 0).then(|| sum as f64 / count as f64);
        let waits = |places| self.oldest_wait(places, now);
        let pending = self.queue.len() as u64;
        Metrics {
            agents,
            tasks_total: counters.submitted,
            tasks_pending: pending,
            tasks_in_progress: counters.in_progress,
            tasks_completed: counters.completed,
            tasks_failed: counters.failed,
            tasks_cancelled: counters.cancelled,
            tasks_rejected: counters.rejected,
            tasks_requeued: counters.requeued,
            assignments: counters.assigned,
            follow_ups_created: counters.follow_ups.created,
            follow_ups_skipped: counters.follow_ups.skipped,
            follow_ups_invalid: counters.follow_ups.invalid,
            active_coordinations: runs,
            waiting_parents: self.family.parents() as u64,
            queue_length: pending,
            oldest_wait: self.queue.by_priority().filter_map(waits).collect(),
            avg_task_duration: mean(counters.duration_us, counters.completed)
                .map(|us| us / SECOND_US as f64),
            avg_assignment_latency_ms: mean(counters.assignment_latency_us, counters.first_starts)
                .map(|us| us / 1e3),
            assignment_latency_over_target: counters.over_latency_target,
            utilization: mean(busy, busy + agents.idle).unwrap_or(0.0),
            input_tokens: counters.input_tokens,
            output_tokens: counters.output_tokens,
            gates: self.gate_views(now).into_iter().map(GateMetrics::from).collect(),
            store: StoreMetrics::default(),
            isolation: IsolationMetrics::default(),
            schedules: self.schedule_counts(),
            histograms: counters.histograms,
        }
    }
}

fn view(agent: &Agent) -> AgentView {
    AgentView {
        id: agent.id,
        kind: agent.kind,
        incarnation: agent.incarnation,
        ids: agent.ids,
        status: agent.status(),
        reason: agent.status_reason().map(|(reason, detail)| (reason, detail.to_owned())),
        run: agent.run.as_ref().map(|run| (run.task_id, run.attempt)),
        leaving: agent.leaving.is_some(),
        types: agent.types,
        process: agent.process.clone(),
        stats: agent.stats,
    }
}
