"""The tools by which an agent of the pool hands out work of its own and looks at the pool."""

from __future__ import annotations

from typing import Any

from smolagents import Tool

from daedalus.worker.bridge import Bridge

#: Added to the instructions of an agent that has these tools.
INSTRUCTIONS = (
    "You can hand out parts of the work: submit_coordination_task gives a task to another agent, and "
    "get_coordination_task says at once how it is; it does not wait. While the status is pending or in_progress, do "
    "other work, and look again after a pause (time.sleep(1) in code), or finish without it rather than look for ever. "
    "Tasks that you submit are cancelled when you fail, unless detach is true. When a submit is refused with "
    "would_deadlock, do that part yourself. Submit again only what was refused."
)


def pool_tools(bridge: Bridge) -> list[Tool]:
    """A new set, for one agent."""
    return [SubmitTask(bridge), GetTask(bridge), PoolMetrics(bridge), IsolationReport(bridge)]


class _PoolTool(Tool):
    """A tool that the daemon answers."""

    output_type = "object"

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge


class SubmitTask(_PoolTool):
    """Hands out a task."""

    name = "submit_coordination_task"
    description = (
        "Submits a task to the pool, for another agent, and returns at once: task_id, status, assigned_agent_id, "
        "queue_position. It is a child of your own task. Refused with would_deadlock when too many agents wait for "
        "tasks already, too_many_children after 16 in one task, too_deep below three levels, queue_full when too many "
        "tasks wait."
    )
    inputs = {
        "payload": {
            "type": "object",
            "description": 'What the other agent gets: {"prompt": "what it shall do"}, and whatever else it needs.',
        },
        "task_type": {
            "type": "string",
            "description": "One of discovery, migration, heartbeat, ingest, research, general (the default).",
            "nullable": True,
        },
        "preferred_agent_id": {
            "type": "string",
            "description": "The agent that gets it if it is idle.",
            "nullable": True,
        },
        "priority": {
            "type": "integer",
            "description": "-100 to 100, the highest first; by default that of your own task.",
            "nullable": True,
        },
        "timeout_s": {
            "type": "number",
            "description": "How many seconds one attempt at it may take.",
            "nullable": True,
        },
        "idempotency_key": {
            "type": "string",
            "description": "Makes a repetition of the same submit answer with the same task.",
            "nullable": True,
        },
        "detach": {
            "type": "boolean",
            "description": "Whether it goes on when you fail. Do not wait for such a task. By default it does not.",
            "nullable": True,
        },
    }

    def forward(
        self,
        payload: dict[str, Any],
        task_type: str | None = None,
        preferred_agent_id: str | None = None,
        priority: int | None = None,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
        detach: bool | None = None,
    ) -> Any:
        return self._bridge.call(
            self.name,
            {
                "payload": payload,
                "task_type": task_type,
                "preferred_agent_id": preferred_agent_id,
                "priority": priority,
                "timeout_s": timeout_s,
                "idempotency_key": idempotency_key,
                "detach": detach,
            },
        )


class GetTask(_PoolTool):
    """Looks at a task."""

    name = "get_coordination_task"
    description = (
        "Returns a task as it is now, without waiting: status (pending, in_progress, completed, failed, cancelled), "
        "result, error, pending_reason, attempts and more."
    )
    inputs = {"task_id": {"type": "string", "description": "Its id, from the submit."}}

    def forward(self, task_id: str) -> Any:
        return self._bridge.call(self.name, {"task_id": task_id})


class PoolMetrics(_PoolTool):
    """Looks at the pool."""

    name = "coordination_metrics"
    description = "Returns the numbers of the pool: agents by status, tasks by status, waits and latencies."
    inputs: dict[str, dict[str, Any]] = {}

    def forward(self) -> Any:
        return self._bridge.call(self.name, {})


class IsolationReport(_PoolTool):
    """Looks at how far agents are kept apart."""

    name = "isolation_report"
    description = "Returns what the operating system says of how far the agents are kept apart, and every issue."
    inputs: dict[str, dict[str, Any]] = {}

    def forward(self) -> Any:
        return self._bridge.call(self.name, {})
