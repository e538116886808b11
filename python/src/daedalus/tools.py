"""The pool as tools of a smolagents agent: `coordination_tools(url)`.

They call the HTTP API through `daedalus.Client`, so each is bounded in time and a daemon that restarts is waited for.
A refusal is raised as `code: sentence`, which smolagents shows to the model. The names and the arguments are those of
the daemon's MCP tools.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smolagents import Tool

from daedalus.client import Client

#: A model that waits for a tool does nothing else meanwhile.
DEADLINE_S = 30.0
_TYPES = "discovery, migration, heartbeat, ingest, research or general"


def coordination_tools(url: str, *, deadline_s: float = DEADLINE_S) -> list[Tool]:
    """The ten tools, for the daemon at `url`; a call takes at most `deadline_s` and what it asks the daemon to wait."""
    client = Client(url, timeout_s=deadline_s, deadline_s=deadline_s)
    return [tool(client) for tool in _TOOLS]


def _input(kind: str, description: str) -> dict[str, Any]:
    return {"type": kind, "description": description}


def _optional(kind: str, description: str) -> dict[str, Any]:
    return {"type": kind, "description": description, "nullable": True}


_TASK_ID = _input("string", "The task_id that submit_coordination_task answered.")
_AGENT_ID = _input("string", "The agent_id, as initialize_pool answered it.")


class _PoolTool(Tool):
    """A tool that is one call of the client."""

    output_type = "object"

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client


class InitializePool(_PoolTool):
    """Starts agents."""

    name = "initialize_pool"
    description = (
        "Makes sure that the pool has at least `size` agents and waits until they are ready. Safe to call again: "
        "it never shrinks the pool. Returns pool_size, spawned_agents and agent_ids."
    )
    inputs = {"size": _optional("integer", "How many agents the pool shall have at least; left out: as configured.")}

    def forward(self, size: int | None = None) -> dict[str, Any]:
        return dict(self._client.initialize(size))


class ShutdownPool(_PoolTool):
    """Ends all agents."""

    name = "shutdown_pool"
    description = (
        "Ends every agent of the pool. Tasks that run go back to the queue, where they and the pending ones wait for "
        "the next initialize_pool. Returns agents_stopped, tasks_requeued and tasks_pending."
    )
    inputs = {
        "drain_s": _optional("number", "Seconds that running tasks get to finish first."),
        "discard": _optional("boolean", "Whether to cancel the running and pending tasks instead of keeping them."),
    }

    def forward(self, drain_s: float | None = None, discard: bool | None = None) -> dict[str, Any]:
        return dict(self._client.shutdown(drain_s=drain_s, discard=bool(discard)))


class SpawnCoordinationAgent(_PoolTool):
    """Adds an agent."""

    name = "spawn_coordination_agent"
    description = "Adds one agent to the pool. Returns agent_id, status and incarnation."
    inputs = {
        "kind": _optional("string", "'process' (the daemon runs it) or 'external' (it fetches its work over HTTP)."),
        "lease_s": _optional("number", "Only for external agents: seconds without a call after which it is lost."),
        "task_types": _optional("array", f"The types that it takes, of {_TYPES}; left out: all."),
    }

    def forward(
        self, kind: str | None = None, lease_s: float | None = None, task_types: list[str] | None = None
    ) -> dict[str, Any]:
        return dict(self._client.spawn(kind, lease_s=lease_s, task_types=task_types))  # type: ignore[arg-type]


class SubmitCoordinationTask(_PoolTool):
    """Hands out work."""

    name = "submit_coordination_task"
    description = (
        "Gives the pool a task and returns at once, with task_id and status. The task runs in the background: ask for "
        "its result with get_coordination_task."
    )
    inputs = {
        "payload": _input("object", "What the agent is given; agents that run a model read 'prompt' in it."),
        "task_type": _optional("string", f"One of {_TYPES}; left out: general."),
        "preferred_agent_id": _optional("string", "An agent that gets the task if it is idle."),
        "priority": _optional("integer", "-100 to 100, higher ones first; left out: 0."),
        "timeout_s": _optional("number", "Seconds that one attempt may take."),
        "idempotency_key": _optional("string", "The same key with the same content is the same task, submitted once."),
        "parent_task_id": _optional("string", "The task that this one is a part of."),
        "detach": _optional("boolean", "Whether it goes on when its parent ends without completing."),
    }

    def forward(
        self,
        payload: dict[str, Any],
        task_type: str | None = None,
        preferred_agent_id: str | None = None,
        priority: int | None = None,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
        parent_task_id: str | None = None,
        detach: bool | None = None,
    ) -> dict[str, Any]:
        submitted = self._client.submit(
            payload,
            task_type=task_type,
            preferred_agent_id=preferred_agent_id,
            priority=priority,
            timeout_s=timeout_s,
            idempotency_key=idempotency_key,
            parent_task_id=parent_task_id,
            detach=detach,
        )
        return dict(submitted)


class GetCoordinationTask(_PoolTool):
    """Reads a task."""

    name = "get_coordination_task"
    description = (
        "Returns a task: status (pending, in_progress, completed, failed or cancelled), result or error, its attempts, "
        "and why it waits while it is pending."
    )
    inputs = {
        "task_id": _TASK_ID,
        "wait_s": _optional("number", "Seconds to wait for its end, at most 60; left out: answer at once."),
    }

    def forward(self, task_id: str, wait_s: float | None = None) -> dict[str, Any]:
        return dict(self._client.task(task_id, wait_s=wait_s or 0.0))


class CompleteCoordinationTask(_PoolTool):
    """Ends a task."""

    name = "complete_coordination_task"
    description = (
        "Says how a task on an external agent went: with its result, or with success=false and an error. Refused for "
        "tasks on process agents, which report for themselves."
    )
    inputs = {
        "task_id": _TASK_ID,
        "attempt": _optional("integer", "Which attempt this is about; needed when the task has had several."),
        "success": _optional("boolean", "Whether it was done; left out: true."),
        "result": _optional("any", "The result, any JSON; only with success."),
        "error_code": _optional("string", "Only without success: a short name of what went wrong."),
        "error_message": _optional("string", "Only without success: a sentence about it."),
        "retryable": _optional("boolean", "Only without success: whether another try can help; left out: false."),
    }

    def forward(
        self,
        task_id: str,
        attempt: int | None = None,
        success: bool | None = None,
        result: Any = None,
        error_code: str | None = None,
        error_message: str | None = None,
        retryable: bool | None = None,
    ) -> dict[str, Any]:
        said = {"code": error_code, "message": error_message, "retryable": retryable}
        error = {name: value for name, value in said.items() if value is not None} or None
        done = success is None or success
        return dict(self._client.complete(task_id, result, error=error, success=done, attempt=attempt))


class CancelCoordinationTask(_PoolTool):
    """Cancels a task."""

    name = "cancel_coordination_task"
    description = "Cancels a task, whether it waits or runs. Refused when it has ended. Returns task_id and status."
    inputs = {"task_id": _TASK_ID}

    def forward(self, task_id: str) -> dict[str, Any]:
        return dict(self._client.cancel(task_id))


class FailCoordinationAgent(_PoolTool):
    """Takes an agent out of work."""

    name = "fail_coordination_agent"
    description = (
        "Says that an agent is broken: its task moves to another agent, and a process agent is killed and started "
        "again. Returns what became of the task."
    )
    inputs = {"agent_id": _AGENT_ID, "reason": _optional("string", "Why, for the log and the next agent.")}

    def forward(self, agent_id: str, reason: str | None = None) -> dict[str, Any]:
        return dict(self._client.fail(agent_id, reason))


class CoordinationMetrics(_PoolTool):
    """Reads the numbers."""

    name = "coordination_metrics"
    description = (
        "Returns the numbers of the pool: agents by status, tasks by status, the length of the queue, the utilization "
        "and mean times."
    )
    inputs: dict[str, Any] = {}

    def forward(self) -> dict[str, Any]:
        return dict(self._client.metrics())


class IsolationReport(_PoolTool):
    """Reads the isolation."""

    name = "isolation_report"
    description = "Measures whether agents share what they must not. Returns breaches_detected and details per agent."
    inputs: dict[str, Any] = {}

    def forward(self) -> dict[str, Any]:
        return dict(self._client.isolation_report())


_TOOLS: tuple[Callable[[Client], Tool], ...] = (
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
)
