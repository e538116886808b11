//! What the members of answers are, where their type and name do not say it.

use utoipa::openapi::{RefOr, Schema};

/// The schema, the member, and what it is.
pub(super) const SAYS: &[(&str, &str, &str)] = &[
    ("AcceptedTask", "assigned_agent_id", "The agent that has it already."),
    ("AcceptedTask", "queue_position", "Its place in the queue while it waits, 1 for the next."),
    ("RemovedAgent", "task_id", "The task that the agent ran when the call came."),
    ("TaskPage", "next_cursor", "Leads to the next page; `null` after the last one."),
    ("TaskPage", "tasks", "The newest submission first."),
    ("Task", "payload", "The work itself."),
    ("Task", "result", "What the agent found."),
    (
        "Task",
        "follow_ups",
        "What became of the items of its result; `null` when no `[[follow_up]]` looked at it.",
    ),
    ("Task", "attempts", "The oldest first."),
    ("TaskSummary", "assigned_agent_id", "The agent that has it, or had it last."),
    ("TaskSummary", "attempt_count", "The number of its newest attempt; 0 before the first."),
    ("TaskSummary", "failures", "How many attempts counted against it."),
    ("TaskSummary", "failed_agent_ids", "The agents on which it failed, the oldest failure first."),
    ("TaskSummary", "created_at", "In Unix seconds."),
    ("TaskSummary", "started_at", "Its first start since the submit or the last retry."),
    ("TaskSummary", "completed_at", "When it ended, in Unix seconds."),
    ("TaskSummary", "assignment_latency_ms", "From the submit or the last retry to that start."),
    ("TaskSummary", "error", "Why it failed."),
    ("TaskSummary", "usage", "What the last attempt that said so used."),
    (
        "TaskSummary",
        "pending_reason",
        "Why it waits: `gate_closed:<name>`, `retry_backoff`, `pool_empty`, `no_agent_for_type`, \
         `excluded_everywhere` or `no_idle_agent`.",
    ),
    ("TaskSummary", "queue_position", "Its place, 1 for the next; `null` far behind."),
    ("TaskSummary", "eta_s", "In how many seconds it is likely to start."),
    ("AttemptRecord", "decision", "Why that agent."),
    ("AttemptRecord", "assigned_at", "In Unix seconds."),
    ("AttemptRecord", "started_at", "When the agent said that it started."),
    ("AttemptRecord", "ended_at", "`null` while it is open."),
    ("AttemptRecord", "failure", "Why it did not complete."),
    ("AttemptRecord", "usage", "What it used, when the agent said so."),
    (
        "AttemptRecord",
        "overlap_possible",
        "Whether its run may still act although the attempt has ended.",
    ),
    (
        "AttemptRecord",
        "stop",
        "How it was brought to its end; `null` when nobody stopped it. It may go on after the \
         attempt has ended.",
    ),
    ("Stop", "reason", "The first that anybody had."),
    ("Stop", "asked_at", "When its agent was asked to end it; `null` when it was killed at once."),
    ("Stop", "signalled_at", "When the process group of its worker got SIGTERM."),
    ("Stop", "killed_at", "When the kill of its whole process tree was ordered."),
    (
        "Stop",
        "over_at",
        "When nothing of it could act any more; `null` while it goes on, or when that was not seen \
         (the daemon may have ended before).",
    ),
    ("Assignment", "timeout_s", "How long the attempt may take, from its assignment."),
    ("Heartbeat", "task_id", "The task that the agent has."),
    ("Heartbeat", "attempt", "The attempt that the agent has."),
    ("Agent", "status_reason", "Why it is degraded."),
    ("Agent", "status_detail", "The same as a sentence."),
    ("Agent", "current_task_id", "The task that it has."),
    ("Agent", "pid", "The process; `null` for an external agent."),
    ("Agent", "task_types", "What it takes."),
    ("Agent", "lease_s", "How long an external agent counts as there after a call."),
    ("AgentHealth", "memory_usage", "A share of the memory of the machine, 0 to 1."),
    ("AgentHealth", "cpu_usage", "The share of a core since somebody asked last, 0 to 1."),
    ("AgentHealth", "rss_bytes", "Resident memory of all its processes."),
    ("AgentHealth", "phase", "What it does for its task, by its last heartbeat."),
    ("AgentHealth", "phase_s", "For how long it has been in that phase."),
    ("AgentPerformance", "context_switches", "Fresh contexts that it began: assignments."),
    ("AgentSharing", "notes", "What it shares or has and must not, a sentence each."),
    ("AgentIsolation", "issues", "What it shares or has and must not, a sentence each."),
    ("AgentIsolation", "measured", "What the operating system says of its processes."),
    ("CanaryReport", "timestamp", "When it ended, in Unix seconds."),
    ("CanaryReport", "run", "The number of this run."),
    ("CanaryReport", "agents", "Every process agent."),
    ("CanaryReport", "leaks", "Secrets that reached another agent; at most 1000 are told."),
    ("IsolationReport", "timestamp", "When it was measured, in Unix seconds."),
    ("IsolationReport", "breaches_detected", "How many issues there are of all agents."),
    (
        "IsolationReport",
        "not_enforced",
        "The guards that some agent is without, each reason once; that is no breach.",
    ),
    ("Schedule", "payload", "The payload of its tasks."),
    ("Schedule", "every_s", "The time between two runs; `null` when it has a pattern."),
    ("Schedule", "cron", "The pattern of its times, in UTC; `null` when it has an interval."),
    ("Schedule", "jitter_s", "By how much a run is late at most, at random."),
    ("Schedule", "next_run_at", "In Unix seconds; `null` while it is paused."),
    ("Schedule", "last_run_at", "In Unix seconds."),
    ("Schedule", "last_task_id", "The task of its last run."),
    ("Schedule", "last_skip", "The last time that it was due and did not run."),
    ("InitializedPool", "pool_size", "How many agents there are."),
    ("InitializedPool", "agent_ids", "All of them."),
    ("Gate", "name", "What the configuration calls it."),
    ("Gate", "task_types", "The types that wait while it is closed."),
    ("Gate", "state", "Whether their tasks may run."),
    ("Gate", "mode", "Whether that is by order, or what is known of the dependency decides."),
    ("Gate", "since_at", "Since when it is in this state, in Unix seconds."),
    ("Gate", "last_error", "Why it is closed, or what went wrong last."),
    (
        "Gate",
        "held_until_at",
        "Until when it stays closed because a task said that the dependency is down.",
    ),
    ("Gate", "tasks_waiting", "Pending tasks of its types."),
    ("Gate", "backlog", "How many of them count against `max_depth`."),
    ("Gate", "max_depth", "How many submitted tasks may wait for it: `queue.max_depth`."),
    ("Gate", "closures", "How often it was closed since the start of the daemon."),
    ("Gate", "health_url", "What is asked how the dependency is; `null`: nobody asks."),
    ("Gate", "interval_s", "How often."),
];

/// Adds to a schema what its members are.
pub(super) fn describe(name: &str, schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(object)) => {
            for (_, member, says) in SAYS.iter().filter(|(of, _, _)| *of == name) {
                if let Some(member) = object.properties.get_mut(*member) {
                    say(member, says);
                }
            }
        }
        RefOr::T(Schema::AllOf(all)) => all.items.iter_mut().for_each(|item| describe(name, item)),
        RefOr::T(_) | RefOr::Ref(_) => {}
    }
}

fn say(member: &mut RefOr<Schema>, says: &str) {
    let description = match member {
        RefOr::Ref(elsewhere) => return says.clone_into(&mut elsewhere.description),
        RefOr::T(Schema::Object(object)) => &mut object.description,
        RefOr::T(Schema::Array(array)) => &mut array.description,
        RefOr::T(Schema::OneOf(one_of)) => &mut one_of.description,
        RefOr::T(_) => return,
    };
    *description = Some(says.to_owned());
}
