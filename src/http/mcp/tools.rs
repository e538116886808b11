//! The tools: their names, what a model is told of them, and the hints for clients.

use std::borrow::Cow;
use std::sync::Arc;

use rmcp::model::{Tool, ToolAnnotations};

use super::{inputs, outputs};
use crate::http::server::HttpSettings;

/// A tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    InitializePool,
    ShutdownPool,
    SpawnCoordinationAgent,
    SubmitCoordinationTask,
    GetCoordinationTask,
    CompleteCoordinationTask,
    CancelCoordinationTask,
    FailCoordinationAgent,
    CoordinationMetrics,
    IsolationReport,
}

/// What a tool does to the pool.
struct Hints {
    read_only: bool,
    destructive: bool,
    idempotent: bool,
    /// Whether it makes agents work, who may reach anything.
    open_world: bool,
}

const READS: Hints =
    Hints { read_only: true, destructive: false, idempotent: true, open_world: false };
const ADDS: Hints =
    Hints { read_only: false, destructive: false, idempotent: false, open_world: false };
const ENDS: Hints =
    Hints { read_only: false, destructive: true, idempotent: true, open_world: false };

impl Name {
    pub(super) const ALL: [Self; 10] = [
        Self::InitializePool,
        Self::ShutdownPool,
        Self::SpawnCoordinationAgent,
        Self::SubmitCoordinationTask,
        Self::GetCoordinationTask,
        Self::CompleteCoordinationTask,
        Self::CancelCoordinationTask,
        Self::FailCoordinationAgent,
        Self::CoordinationMetrics,
        Self::IsolationReport,
    ];

    /// The tool of this name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.row().0 == name)
    }

    /// The name on the wire.
    pub(super) const fn as_str(self) -> &'static str {
        self.row().0
    }

    const fn row(self) -> (&'static str, &'static str, Hints, &'static str) {
        match self {
            Self::InitializePool => (
                "initialize_pool",
                "Initialize the pool",
                Hints { idempotent: true, ..ADDS },
                "Makes sure that the pool has at least `size` agents and answers with the ids of \
                 all of them when the new ones are ready (or could not start; this can take half a \
                 minute). It never makes the pool smaller, and calling it again is harmless. Call \
                 it first when tasks stay pending with pending_reason `pool_empty`.",
            ),
            Self::ShutdownPool => (
                "shutdown_pool",
                "Shut the pool down",
                ENDS,
                "Ends every agent of the pool, for every user of it. Tasks are kept: running ones \
                 go back to the queue and wait for the next initialize_pool, unless `discard` is \
                 true, which cancels everything that is pending or running. Give `drain_s` to let \
                 running tasks finish first; the call then answers that much later.",
            ),
            Self::SpawnCoordinationAgent => (
                "spawn_coordination_agent",
                "Add one agent",
                ADDS,
                "Adds one agent to the pool and answers with its agent_id when it is ready. Use it \
                 for one more agent, or for one of another sort: kind `external` is an agent that \
                 you or another program plays, which gets tasks but no process. To have a pool at \
                 all, use initialize_pool.",
            ),
            Self::SubmitCoordinationTask => (
                "submit_coordination_task",
                "Submit a task",
                Hints { open_world: true, ..ADDS },
                "Hands one task to the pool and answers at once with its task_id; it does not wait \
                 for the result. Then ask get_coordination_task with this task_id, best with \
                 wait_s, until the status is `completed`, `failed` or `cancelled`. Agents that run \
                 models read `payload.prompt`. When an answer was lost, the same call with the \
                 same idempotency_key answers with the first task instead of making a second one. \
                 Refused with `queue_full` when too much waits: try later.",
            ),
            Self::GetCoordinationTask => (
                "get_coordination_task",
                "Look at a task",
                READS,
                "Shows one task: its status (`pending`, `in_progress`, `completed`, `failed`, \
                 `cancelled`; the last three are final), the `result` of a completed one, the \
                 `error` of a failed one, why a pending one waits (`pending_reason`), and every \
                 attempt. With wait_s it answers as soon as the task has ended, at latest after so \
                 many seconds; call it again while the status is not final.",
            ),
            Self::CompleteCoordinationTask => (
                "complete_coordination_task",
                "Report the end of a task",
                Hints { destructive: false, idempotent: false, ..ENDS },
                "Reports the result of a task that is with an `external` agent. Only for whoever \
                 plays that agent: other tasks end by themselves. Without `success` it means \
                 success, with an optional `result`; a failure says success=false with error_code \
                 and error_message, and retryable=true when another try may help. Give `attempt` \
                 as it was in the assignment; it may be left out while there was only one.",
            ),
            Self::CancelCoordinationTask => (
                "cancel_coordination_task",
                "Cancel a task",
                ENDS,
                "Cancels a task that is pending or running, for good; the agent that runs it is \
                 stopped. Refused with `already_finished` when the task has ended.",
            ),
            Self::FailCoordinationAgent => (
                "fail_coordination_agent",
                "Give an agent up",
                Hints { idempotent: false, ..ENDS },
                "Says that an agent is no good (stuck, wrong, gone). Its process is killed and \
                 started anew, and its task, if it has one, goes to another agent; this counts as \
                 a failure of the task. To stop only the task, use cancel_coordination_task.",
            ),
            Self::CoordinationMetrics => (
                "coordination_metrics",
                "Numbers of the pool",
                READS,
                "Shows how the pool does: agents by status, tasks pending, running, completed, \
                 failed and cancelled since the start, the longest waits, mean durations and \
                 utilization. Use it to see whether the pool is busy or stuck.",
            ),
            Self::IsolationReport => (
                "isolation_report",
                "Isolation of the agents",
                READS,
                "Measures whether the agents share anything that they must not (context ids, \
                 processes, directories, memory), agent by agent. It takes longer than the other \
                 reads; `breaches_detected` is 0 when all is well.",
            ),
        }
    }
}

/// Every tool, as clients list it.
pub(super) fn list(settings: &HttpSettings) -> Vec<Tool> {
    Name::ALL.into_iter().map(|name| tool(name, settings)).collect()
}

fn tool(name: Name, settings: &HttpSettings) -> Tool {
    let (wire, title, hints, description) = name.row();
    let annotations = ToolAnnotations::with_title(title)
        .read_only(hints.read_only)
        .destructive(hints.destructive)
        .idempotent(hints.idempotent)
        .open_world(hints.open_world);
    Tool::new(wire, Cow::Borrowed(description), Arc::new(inputs::of(name, settings)))
        .with_title(title)
        .with_raw_output_schema(Arc::new(outputs::of(name)))
        .with_annotations(annotations)
}
