//! Every request of the API: the table of the document. A test holds it to the table of routes.

use super::operation::{Operation, Part, Query, Reach, Shows};
use super::words;
use crate::http::problem::Code;

const WAIT: Query =
    Query { name: "wait_s", schema: words::wait_s, says: "How many seconds the call may wait." };
const INCARNATION: Query = Query {
    name: "incarnation",
    schema: words::counter,
    says: "The life of the agent that asks; an older one is refused.",
};
const TASK_TYPE: Query =
    Query { name: "task_type", schema: words::task_type, says: "Only tasks of this type." };

/// Every request but the page, which is for people.
pub(super) fn operations() -> Vec<Operation> {
    use crate::http::{
        agent_show, agents, canary, complete, external, gates, health, isolation, pool, retry,
        schedules, task_show, tasks,
    };
    use Shows::{List, Metrics, One, Status};

    const GATE: Part = Part::of::<gates::GateShown<'_>>();

    vec![
        Operation {
            says: "On disk before the answer. With an `idempotency_key` it is safe to repeat.",
            body: Some((Part::of::<tasks::SubmitBody<'_>>(), true)),
            done: "Accepted, or accepted earlier with this key.",
            leads: Some(("/tasks/{id}", "task_id")),
            refusals: &[
                Code::QueueFull,
                Code::GateBacklogFull,
                Code::IdempotencyConflict,
                Code::TaskNotFound,
                Code::AlreadyFinished,
                Code::NotRunning,
                Code::TooDeep,
                Code::TooManyChildren,
                Code::WouldDeadlock,
                Code::Draining,
                Code::StoreFull,
            ],
            ..Operation::post(
                "/tasks",
                "submit_task",
                "Submit a task",
                One(Part::of::<tasks::Submitted>()),
            )
        },
        Operation {
            says: "The newest submission first, ended tasks included.",
            query: &[
                Query { name: "status", schema: words::status, says: "Only tasks of this status." },
                TASK_TYPE,
                Query { name: "limit", schema: words::limit, says: "At most so many." },
                Query {
                    name: "cursor",
                    schema: words::cursor,
                    says: "The `next_cursor` of an earlier page.",
                },
            ],
            ..Operation::get(
                "/tasks",
                "list_tasks",
                "List tasks",
                One(Part::of::<task_show::PageShown<'_>>()),
            )
        },
        Operation {
            says: "The oldest first, as far as there is room in the queue.",
            query: &[
                Query {
                    name: "status",
                    schema: words::retried_status,
                    says: "Which tasks are tried again.",
                },
                TASK_TYPE,
            ],
            refusals: &[Code::QueueFull, Code::GateBacklogFull, Code::Draining, Code::StoreFull],
            ..Operation::post(
                "/tasks/retry",
                "retry_tasks",
                "Try all failed or cancelled tasks again",
                One(Part::of::<retry::Retried>()),
            )
        },
        Operation {
            says: "With `wait_s` the answer comes when the task has ended, at latest then.",
            query: &[WAIT],
            refusals: &[Code::TaskNotFound],
            ..Operation::get(
                "/tasks/{id}",
                "get_task",
                "Get a task",
                One(Part::of::<task_show::TaskShown<'_>>()),
            )
        },
        Operation {
            says: "For tasks on external agents. An `error` needs `success=false`, a `result` must \
                   not have it.",
            query: &[
                Query { name: "success", schema: words::flag, says: "Default true." },
                Query {
                    name: "attempt",
                    schema: words::counter,
                    says: "Its number; may be left out while the task has had only one.",
                },
            ],
            body: Some((Part::of::<complete::CompleteBody<'_>>(), false)),
            refusals: &[
                Code::TaskNotFound,
                Code::AlreadyFinished,
                Code::StaleAttempt,
                Code::AttemptRequired,
                Code::NotRunning,
                Code::NotExternal,
            ],
            ..Operation::post(
                "/tasks/{id}/complete",
                "complete_task",
                "End an attempt",
                One(Part::of::<tasks::Changed>()),
            )
        },
        Operation {
            says: "At once; its agent gets nothing new before that run is over.",
            refusals: &[Code::TaskNotFound, Code::AlreadyFinished],
            ..Operation::post(
                "/tasks/{id}/cancel",
                "cancel_task",
                "Cancel a task",
                One(Part::of::<tasks::Changed>()),
            )
        },
        Operation {
            says: "Its failures begin anew; it counts as a submit.",
            refusals: &[
                Code::TaskNotFound,
                Code::NotRetryable,
                Code::QueueFull,
                Code::GateBacklogFull,
                Code::Draining,
                Code::StoreFull,
            ],
            ..Operation::post(
                "/tasks/{id}/retry",
                "retry_task",
                "Try a failed or cancelled task again",
                One(Part::of::<tasks::Changed>()),
            )
        },
        Operation {
            says: "The pool grows to this size and never shrinks; saying it again makes nothing.",
            body: Some((Part::of::<pool::InitializeBody<'_>>(), false)),
            done: "Every new agent is idle or failed.",
            refusals: &[Code::PoolFull, Code::PoolClosing, Code::Draining, Code::StoreFull],
            ..Operation::post(
                "/pool/initialize",
                "initialize_pool",
                "Start the pool",
                One(Part::of::<pool::Initialized>()),
            )
        },
        Operation {
            says: "Running tasks are stopped and go back to the queue.",
            query: &[
                Query {
                    name: "drain_s",
                    schema: words::drain_s,
                    says: "How many seconds running tasks may go on; default `pool.drain_s`.",
                },
                Query {
                    name: "discard",
                    schema: words::flag,
                    says: "Cancel what runs and what is pending. Default false.",
                },
            ],
            ..Operation::delete(
                "/pool",
                "close_pool",
                "Shut the pool down",
                One(Part::of::<pool::Closed>()),
            )
        },
        Operation::get(
            "/agents",
            "list_agents",
            "List the agents",
            List(Part::of::<agent_show::AgentShown<'_>>()),
        ),
        Operation {
            body: Some((Part::of::<agents::SpawnBody<'_>>(), false)),
            leads: Some(("/agents/{id}", "agent_id")),
            refusals: &[Code::PoolFull, Code::PoolClosing, Code::Draining, Code::StoreFull],
            ..Operation::post(
                "/agents",
                "spawn_agent",
                "Add an agent",
                One(Part::of::<agents::Started>()),
            )
        },
        Operation {
            refusals: &[Code::AgentNotFound],
            ..Operation::get(
                "/agents/{id}",
                "get_agent",
                "Get an agent",
                One(Part::of::<agent_show::AgentShown<'_>>()),
            )
        },
        Operation {
            says: "It is not replaced; its task goes back to the queue.",
            query: &[Query {
                name: "drain_s",
                schema: words::drain_s,
                says: "How many seconds its task may go on; default 0.",
            }],
            refusals: &[Code::AgentNotFound],
            ..Operation::delete(
                "/agents/{id}",
                "remove_agent",
                "Remove an agent",
                One(Part::of::<agents::Removed>()),
            )
        },
        Operation {
            says: "Its task is taken away and goes elsewhere; a process is killed and started again.",
            body: Some((Part::of::<agents::FailBody<'_>>(), false)),
            refusals: &[Code::AgentNotFound],
            ..Operation::post(
                "/agents/{id}/fail",
                "fail_agent",
                "Fail an agent",
                One(Part::of::<agents::Failed>()),
            )
        },
        Operation {
            refusals: &[Code::AgentNotFound, Code::NotDegraded],
            ..Operation::post(
                "/agents/{id}/recover",
                "recover_agent",
                "Let a degraded agent work again",
                One(Part::of::<agents::Started>()),
            )
        },
        Operation {
            says: "Shows that the agent is there, and begins its attempt. The answer is the same \
                   until the attempt ends.",
            query: &[WAIT, INCARNATION],
            nothing: Some("There is nothing to do."),
            leads: Some(("/tasks/{id}/complete", "task_id")),
            refusals: &[
                Code::AgentNotFound,
                Code::NotExternal,
                Code::StaleIncarnation,
                Code::AgentFailed,
            ],
            ..Operation::get(
                "/agents/{id}/assignment",
                "get_assignment",
                "Fetch the work of an external agent",
                One(Part::of::<external::Assigned>()),
            )
        },
        Operation {
            query: &[INCARNATION],
            refusals: &[Code::AgentNotFound, Code::NotExternal, Code::StaleIncarnation],
            ..Operation::post(
                "/agents/{id}/heartbeat",
                "send_heartbeat",
                "Show that an external agent is there",
                One(Part::of::<external::Beat>()),
            )
        },
        Operation::get(
            "/schedules",
            "list_schedules",
            "List the recurring jobs",
            List(Part::of::<schedules::ScheduleShown<'_>>()),
        ),
        Operation {
            says: "A submit, whatever its last task does and whether or not it is paused; when it is \
                   due next stays as it is.",
            leads: Some(("/tasks/{id}", "task_id")),
            refusals: &[
                Code::ScheduleNotFound,
                Code::QueueFull,
                Code::GateBacklogFull,
                Code::Draining,
                Code::StoreFull,
            ],
            ..Operation::post(
                "/schedules/{name}/run",
                "run_schedule",
                "Run a recurring job now",
                One(Part::of::<tasks::Submitted>()),
            )
        },
        Operation {
            says: "Nothing of it is due until it is resumed, also after a restart.",
            refusals: &[Code::ScheduleNotFound],
            ..Operation::post(
                "/schedules/{name}/pause",
                "pause_schedule",
                "Pause a recurring job",
                One(Part::of::<schedules::ScheduleShown<'_>>()),
            )
        },
        Operation {
            says: "It goes on from now; nothing is made up.",
            refusals: &[Code::ScheduleNotFound],
            ..Operation::post(
                "/schedules/{name}/resume",
                "resume_schedule",
                "Resume a recurring job",
                One(Part::of::<schedules::ScheduleShown<'_>>()),
            )
        },
        Operation {
            says: "In the order of the configuration.",
            ..Operation::get("/gates", "list_gates", "List the gates", List(GATE))
        },
        Operation {
            says: "Its tasks wait from now on, whatever is known of the dependency; those that run \
                   go on.",
            refusals: &[Code::GateNotFound],
            ..Operation::post("/gates/{name}/close", "close_gate", "Close a gate", One(GATE))
        },
        Operation {
            says: "Its tasks may run from now on, whatever is known of the dependency.",
            refusals: &[Code::GateNotFound],
            ..Operation::post("/gates/{name}/open", "open_gate", "Open a gate", One(GATE))
        },
        Operation {
            says: "What is known of the dependency decides again; a gate whose dependency nobody \
                   asks is open.",
            refusals: &[Code::GateNotFound],
            ..Operation::post(
                "/gates/{name}/auto",
                "auto_gate",
                "Let the dependency decide about a gate",
                One(GATE),
            )
        },
        Operation {
            says: "As Prometheus text or OpenMetrics when `Accept` asks for it.",
            ..Operation::get(
                "/metrics",
                "get_metrics",
                "Get the numbers",
                Metrics(Part::of::<crate::domain::Metrics>()),
            )
        },
        Operation::get(
            "/isolation-report",
            "get_isolation_report",
            "Measure how far the agents are kept apart",
            One(Part::of::<isolation::Report<'_>>()),
        ),
        Operation {
            says: "Idle process agents hide a secret each, and look for those of the others in every \
                   way that they have; busy ones are left alone. A task that comes meanwhile waits \
                   for the end of the look, 2 s at most.",
            done: "Every agent has looked, or it is said why not.",
            refusals: &[Code::CanaryRunning],
            ..Operation::post(
                "/isolation-report/canary",
                "check_isolation",
                "Try whether a secret of one agent reaches another one",
                One(Part::of::<canary::Report<'_>>()),
            )
        },
        Operation {
            done: "The daemon lives.",
            reach: Reach::Nowhere,
            ..Operation::get("/healthz", "get_health", "Whether the daemon lives", Status("ok"))
        },
        Operation {
            says: "While a gate is closed it is `degraded`: its tasks wait, and `reasons` say why; \
                   all others run.",
            done: "Some agent can work, or will when it is free.",
            refusals: &[Code::NotReady],
            ..Operation::get(
                "/readyz",
                "get_readiness",
                "Whether the pool can work",
                One(Part::of::<health::Ready>()),
            )
        },
        Operation {
            reach: Reach::Edge,
            ..Operation::get("/openapi.json", "get_openapi", "This document", Shows::Document)
        },
    ]
}
