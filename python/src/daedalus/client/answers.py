"""The answers of the API, as types. docs/api.md says what the fields mean."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

TaskType = Literal["discovery", "migration", "heartbeat", "ingest", "research", "general"]
TaskStatus = Literal["pending", "in_progress", "completed", "failed", "cancelled"]
AgentStatus = Literal["idle", "analyzing", "executing", "degraded"]
AgentKind = Literal["process", "external"]
GateState = Literal["open", "closed", "unknown"]
GateMode = Literal["auto", "open", "closed"]

#: The statuses in which a task does not change any more, unless it is retried.
TERMINAL: frozenset[str] = frozenset({"completed", "failed", "cancelled"})


class Initialized(TypedDict):
    """The pool after `initialize`."""

    status: str
    pool_size: int
    spawned_agents: int
    agent_ids: list[str]


class ShutDown(TypedDict):
    """What a shutdown of the pool left."""

    status: str
    agents_stopped: int
    tasks_requeued: int
    tasks_pending: int


class Started(TypedDict):
    """An agent that was spawned or recovered."""

    agent_id: str
    context_window_id: str
    status: AgentStatus
    incarnation: int


class AgentState(TypedDict):
    """Who an agent is and what it does."""

    agent_id: str
    context_window_id: str
    status: AgentStatus
    status_reason: str | None
    status_detail: str | None
    current_task_id: str | None
    kind: AgentKind
    incarnation: int
    pid: int | None
    task_types: list[TaskType]
    lease_s: float | None


class AgentHealth(TypedDict):
    """What its process uses."""

    memory_usage: float | None
    cpu_usage: float | None
    rss_bytes: int | None
    phase: str | None
    phase_s: float | None


class TypePerformance(TypedDict):
    """What an agent did of one type."""

    tasks_completed: int
    average_task_time: float | None


class AgentPerformance(TypedDict):
    """What an agent did."""

    tasks_completed: int
    tasks_failed: int
    average_task_time: float | None
    context_switches: int
    by_type: dict[str, TypePerformance]


class AgentIsolation(TypedDict):
    """Whether an agent shares what it must not."""

    shared_state_detected: bool
    notes: list[str]


class Agent(TypedDict):
    """An agent of the pool."""

    agent: AgentState
    health: AgentHealth
    performance: AgentPerformance
    isolation: AgentIsolation


class Removed(TypedDict):
    """An agent that is no more, and the task that it had."""

    agent_id: str
    status: str
    task_id: str | None


class Failed(TypedDict):
    """An agent that was failed, and what became of its task."""

    agent_id: str
    status: str
    task_reassigned: bool
    reassigned_task_id: str | None
    task_failed_permanently: bool


class Submitted(TypedDict):
    """A task that was accepted."""

    task_id: str
    status: TaskStatus
    assigned_agent_id: str | None
    queue_position: int | None


class Changed(TypedDict):
    """A task after a change."""

    task_id: str
    status: TaskStatus


class Usage(TypedDict):
    """What an attempt used of a model."""

    input_tokens: int
    output_tokens: int
    model_calls: int
    steps: int


class Error(TypedDict):
    """Why a task failed."""

    code: str
    message: str
    retryable: bool


class Failure(TypedDict):
    """Why an attempt did not complete."""

    cause: str
    detail: str


class Stop(TypedDict):
    """How a run was brought to its end, with the time of each step that it came to."""

    reason: str
    asked_at: float | None
    signalled_at: float | None
    killed_at: float | None
    over_at: float | None


class Attempt(TypedDict):
    """One assignment of a task to an agent."""

    attempt: int
    agent_id: str
    incarnation: int
    decision: dict[str, Any]
    assigned_at: float
    started_at: float | None
    ended_at: float | None
    outcome: str | None
    failure: Failure | None
    usage: Usage | None
    overlap_possible: bool
    stop: Stop | None


class _WithParent(TypedDict, total=False):
    parent_task_id: str | None


class TaskSummary(_WithParent):
    """A task as lists show it."""

    task_id: str
    task_type: TaskType
    status: TaskStatus
    priority: int
    assigned_agent_id: str | None
    attempt_count: int
    failures: int
    failed_agent_ids: list[str]
    created_at: float
    started_at: float | None
    completed_at: float | None
    assignment_latency_ms: float | None
    error: Error | None
    usage: Usage | None
    pending_reason: str | None
    queue_position: int | None
    eta_s: float | None
    trace_id: str


class FollowUps(TypedDict):
    """What became of the items of a result."""

    created: int
    skipped: int
    invalid: int


class Task(TaskSummary):
    """A task, whole."""

    payload: dict[str, Any]
    result: Any
    follow_ups: FollowUps | None
    attempts: list[Attempt]


class Page(TypedDict):
    """Some tasks, and where the next ones are."""

    tasks: list[TaskSummary]
    next_cursor: str | None


class RetriedAll(TypedDict):
    """How many tasks are tried again, and how many could be."""

    retried: int
    remaining: int


class Skip(TypedDict):
    """A run of a recurring job that was not made."""

    at: float
    reason: str


class Schedule(TypedDict):
    """A recurring job: how it is configured, and what came of it."""

    name: str
    task_type: TaskType
    payload: dict[str, Any]
    priority: int
    every_s: float | None
    cron: str | None
    jitter_s: float
    overlap: Literal["skip", "queue"]
    paused: bool
    next_run_at: float | None
    last_run_at: float | None
    last_task_id: str | None
    runs: int
    skipped: int
    last_skip: Skip | None


class ScheduleCounts(TypedDict):
    """What a recurring job did."""

    name: str
    runs: int
    skipped: dict[str, int]


class Assignment(_WithParent):
    """What an external agent is to do."""

    task_id: str
    attempt: int
    incarnation: int
    task_type: TaskType
    payload: dict[str, Any]
    trace_id: str
    timeout_s: float
    previous_failure: str | None


class Beat(TypedDict):
    """What a heartbeat is answered."""

    status: AgentStatus
    incarnation: int
    task_id: str | None
    attempt: int | None
    cancel_requested: bool


class IsolationDetail(TypedDict):
    """What was measured of one agent."""

    agent_id: str
    incarnation: int
    context_window_id: str
    tool_session_id: str
    memory_handle_id: str
    isolated: bool
    issues: list[str]
    measured: dict[str, Any] | None


class MissingGuard(TypedDict):
    """Something that nothing keeps an agent from."""

    guard: str
    why: str


class IsolationReport(TypedDict):
    """Whether agents share what they must not."""

    timestamp: float
    total_agents: int
    breaches_detected: int
    not_enforced: list[MissingGuard]
    details: list[IsolationDetail]


class CanaryAgent(TypedDict):
    """How far an agent came that was to hide a secret and to look for those of others."""

    agent_id: str
    incarnation: int
    #: `checked`, `skipped`, `unsupported`, `no_answer` or `gone`.
    outcome: str
    planted: list[str]
    tried: list[str]


#: A secret that reached another agent. One of the names is a word of Python.
CanaryLeak = TypedDict("CanaryLeak", {"from": str, "to": str, "way": str, "where": str})


class CanaryReport(TypedDict):
    """Whether a secret of one agent reaches another one, tried out."""

    timestamp: float
    run: str
    agents: list[CanaryAgent]
    leaks: list[CanaryLeak]
    leaked: bool
    #: How many agents were checked.
    checked: int


class Gate(TypedDict):
    """A dependency that some task types need, and what waits for it."""

    name: str
    task_types: list[TaskType]
    state: GateState
    mode: GateMode
    since_at: float
    last_error: str | None
    held_until_at: float | None
    tasks_waiting: int
    backlog: int
    max_depth: int
    closures: int
    health_url: str | None
    interval_s: float | None


class GateNumbers(TypedDict):
    """A gate in the numbers of the daemon."""

    name: str
    state: GateState
    tasks_waiting: int
    closures: int


class Metrics(TypedDict):
    """The numbers of the daemon; there may be more than these."""

    agents: dict[str, int]
    tasks_total: int
    tasks_pending: int
    tasks_in_progress: int
    tasks_completed: int
    tasks_failed: int
    tasks_cancelled: int
    tasks_rejected: int
    tasks_requeued: int
    assignments: int
    follow_ups_created: int
    follow_ups_skipped: int
    follow_ups_invalid: int
    active_coordinations: int
    queue_length: int
    oldest_wait: list[dict[str, float]]
    avg_task_duration: float | None
    avg_assignment_latency_ms: float | None
    assignment_latency_over_target: int
    utilization: float
    input_tokens: int
    output_tokens: int
    gates: list[GateNumbers]
    schedules: list[ScheduleCounts]
    store: dict[str, int]
    isolation: dict[str, int]
