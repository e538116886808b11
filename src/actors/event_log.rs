//! The log lines of what happened in the pool (events are data until here).

use std::time::Duration;

use slog::{Logger, info, warn};

use super::clock::Clock;
use crate::domain::{AgentId, AgentStatus, Event, FollowUps, OVERLAP, TaskId, TaskStatus, TraceId};

/// A start later than the target is warned of at most so often.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Writes one line for each event.
#[derive(Debug)]
pub(super) struct EventLog {
    log: Logger,
    clock: Clock,
    warned_at_us: Option<u64>,
}

impl EventLog {
    pub(super) const fn new(log: Logger, clock: Clock) -> Self {
        Self { log, clock, warned_at_us: None }
    }

    /// Writes the line of an event, which happened at this time of day: it may have waited for the
    /// disk since then.
    pub(super) fn write(&mut self, event: &Event, at_us: u64) {
        let log = &self.log;
        let ts = i64::try_from(at_us).unwrap_or(i64::MAX);
        match event {
            Event::PoolInitialized { target, pool_size, spawned } => {
                info!(log, "pool_initialized";
                    "ts" => ts, "target" => target, "pool_size" => pool_size, "spawned" => spawned);
            }
            Event::AgentSpawned { agent, kind } => {
                info!(log, "agent_spawned"; "ts" => ts, "agent_id" => %agent, "kind" => kind);
            }
            Event::AgentRestarted { agent, incarnation } => {
                info!(log, "agent_restarted";
                    "ts" => ts, "agent_id" => %agent, "incarnation" => incarnation.get());
            }
            Event::AgentStatusChanged { agent, incarnation, status, reason, detail } => {
                let reason = reason.map_or("", |reason| reason.name());
                if *status == AgentStatus::Degraded.name() {
                    warn!(log, "agent_status_changed";
                        "ts" => ts, "agent_id" => %agent, "incarnation" => incarnation.get(),
                        "status" => status, "reason" => reason, "detail" => detail);
                } else {
                    info!(log, "agent_status_changed";
                        "ts" => ts, "agent_id" => %agent, "incarnation" => incarnation.get(),
                        "status" => status);
                }
            }
            Event::AgentFailed { agent, incarnation, failure } => {
                warn!(log, "agent_failed";
                    "ts" => ts, "agent_id" => %agent, "incarnation" => incarnation.get(),
                    "cause" => &failure.cause, "detail" => &failure.detail);
            }
            Event::AgentRemoved { agent } => {
                info!(log, "agent_removed"; "ts" => ts, "agent_id" => %agent);
            }
            Event::TaskSubmitted { task_id, trace, kind, parent } => match parent {
                Some(parent) => info!(log, "task_submitted";
                    "ts" => ts, "trace_id" => %trace, "task_id" => %task_id,
                    "parent_task_id" => %parent, "task_type" => kind.name()),
                None => info!(log, "task_submitted";
                    "ts" => ts, "trace_id" => %trace, "task_id" => %task_id,
                    "task_type" => kind.name()),
            },
            Event::TaskQueued { task_id, trace, queue_length } => {
                info!(log, "task_queued";
                    "ts" => ts, "trace_id" => %trace, "task_id" => %task_id, "queue_length" => queue_length);
            }
            Event::TaskRejected { trace, reason } => {
                warn!(log, "task_rejected"; "ts" => ts, "trace_id" => %trace, "reason" => reason);
            }
            Event::TaskRetried { task_id, trace } => {
                info!(log, "task_retried"; "ts" => ts, "trace_id" => %trace, "task_id" => %task_id);
            }
            Event::TaskAssigned {
                task_id,
                trace,
                agent,
                incarnation,
                attempt,
                rule,
                waited_ms,
            } => {
                info!(log, "task_assigned";
                    "ts" => ts, "trace_id" => %trace, "task_id" => %task_id, "agent_id" => %agent,
                    "incarnation" => incarnation.get(), "attempt" => attempt.get(),
                    "rule" => rule.name(), "waited_ms" => waited_ms);
            }
            Event::TaskStarted {
                task_id,
                trace,
                agent,
                attempt,
                assignment_latency_ms,
                over_target,
            } => {
                info!(log, "task_started";
                    "ts" => ts, "trace_id" => %trace, "task_id" => %task_id, "agent_id" => %agent,
                    "attempt" => attempt.get(),
                    "assignment_latency_ms" => assignment_latency_ms);
                if *over_target {
                    self.warn_of_latency(
                        *task_id,
                        trace,
                        assignment_latency_ms.unwrap_or_default(),
                    );
                }
            }
            Event::TaskRequeued { task_id, trace, agent, attempt, outcome, cause, failures } => {
                warn!(log, "task_requeued";
                    "ts" => ts, "trace_id" => %trace, "task_id" => %task_id, "agent_id" => %agent,
                    "attempt" => attempt.get(), "outcome" => outcome.name(), "cause" => cause,
                    "failures" => failures);
            }
            Event::TaskEnded { task_id, trace, status, agent, attempt, duration_ms, cause } => {
                let agent = agent.map(Shown);
                match status {
                    TaskStatus::Completed => {
                        info!(log, "task_completed";
                            "ts" => ts, "trace_id" => %trace, "task_id" => %task_id,
                            "agent_id" => agent, "attempt" => attempt.get(),
                            "duration_ms" => duration_ms, "cause" => cause);
                    }
                    TaskStatus::Failed => {
                        warn!(log, "task_failed";
                            "ts" => ts, "trace_id" => %trace, "task_id" => %task_id,
                            "agent_id" => agent, "attempt" => attempt.get(),
                            "duration_ms" => duration_ms, "cause" => cause);
                    }
                    TaskStatus::Cancelled | TaskStatus::Pending | TaskStatus::InProgress => {
                        info!(log, "task_cancelled";
                            "ts" => ts, "trace_id" => %trace, "task_id" => %task_id,
                            "agent_id" => agent, "attempt" => attempt.get(),
                            "duration_ms" => duration_ms, "cause" => cause);
                    }
                }
            }
            Event::FollowUpsCreated { task_id, trace, rule, numbers } => {
                let FollowUps { created, skipped, invalid } = numbers;
                if *invalid > 0 {
                    warn!(log, "follow_ups_created";
                        "ts" => ts, "trace_id" => %trace, "task_id" => %task_id, "rule" => &**rule,
                        "created" => created, "skipped" => skipped, "invalid" => invalid);
                } else {
                    info!(log, "follow_ups_created";
                        "ts" => ts, "trace_id" => %trace, "task_id" => %task_id, "rule" => &**rule,
                        "created" => created, "skipped" => skipped, "invalid" => invalid);
                }
            }
            Event::GateChanged { gate, open, waiting, cause } => {
                let gate = &**gate;
                if *open {
                    info!(log, "gate_opened"; "ts" => ts, "gate" => gate, "tasks_waiting" => waiting);
                } else {
                    warn!(log, "gate_closed";
                        "ts" => ts, "gate" => gate, "tasks_waiting" => waiting, "cause" => cause);
                }
            }
            Event::ScheduleRan { schedule, task_id, trace } => {
                info!(log, "schedule_ran";
                    "ts" => ts, "trace_id" => %trace, "schedule" => &**schedule,
                    "task_id" => %task_id);
            }
            // What its own last run still works at is no news.
            Event::ScheduleSkipped { schedule, trace, reason: OVERLAP } => {
                info!(log, "schedule_skipped";
                    "ts" => ts, "trace_id" => %trace, "schedule" => &**schedule,
                    "reason" => OVERLAP);
            }
            Event::ScheduleSkipped { schedule, trace, reason } => {
                warn!(log, "schedule_skipped";
                    "ts" => ts, "trace_id" => %trace, "schedule" => &**schedule,
                    "reason" => reason);
            }
            Event::SchedulePaused { schedule } => {
                info!(log, "schedule_paused"; "ts" => ts, "schedule" => &**schedule);
            }
            Event::ScheduleResumed { schedule } => {
                info!(log, "schedule_resumed"; "ts" => ts, "schedule" => &**schedule);
            }
            Event::PoolShutdown(closed) => {
                info!(log, "pool_shutdown";
                    "ts" => ts, "agents_stopped" => closed.agents_stopped,
                    "tasks_requeued" => closed.tasks_requeued,
                    "tasks_pending" => closed.tasks_pending);
            }
        }
    }

    fn warn_of_latency(&mut self, task_id: TaskId, trace: &TraceId, latency_ms: f64) {
        let now_us = self.clock.mono_us();
        let every_us = u64::try_from(WARN_EVERY.as_micros()).unwrap_or(u64::MAX);
        if self.warned_at_us.is_none_or(|at_us| now_us - at_us >= every_us) {
            self.warned_at_us = Some(now_us);
            warn!(self.log, "assignment_latency_over_target";
                "trace_id" => %trace, "task_id" => %task_id,
                "assignment_latency_ms" => latency_ms);
        }
    }
}

/// Writes an id that may be absent without making a text of it before it is known to be written.
#[derive(Clone, Copy)]
struct Shown(AgentId);

impl slog::Value for Shown {
    fn serialize(
        &self,
        _record: &slog::Record<'_>,
        key: slog::Key,
        serializer: &mut dyn slog::Serializer,
    ) -> slog::Result {
        serializer.emit_arguments(key, &format_args!("{}", self.0))
    }
}
