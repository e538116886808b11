"""What can go wrong with a call: the daemon refused, or there was no answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KNOWN = frozenset({"type", "title", "status", "detail", "code", "trace_id"})


class DaedalusError(Exception):
    """A call that was not answered as it should be."""


class ApiError(DaedalusError):
    """The daemon refused, and nothing was changed (but see `maybe_done`).

    `code` is stable and for programs, `detail` a sentence for people, `extra` has the further members of the
    problem, such as `newest_attempt`.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        self.status = status
        self.code = str(problem.get("code", "unknown"))
        self.detail = str(problem.get("detail", ""))
        self.trace_id = str(problem.get("trace_id", ""))
        self.retry_after_s = retry_after_s
        self.extra = {name: value for name, value in problem.items() if name not in _KNOWN}
        super().__init__(f"{self.code}: {self.detail}" if self.detail else f"{self.code} (HTTP status {status})")

    def __reduce__(self) -> tuple[Any, ...]:
        problem = {"code": self.code, "detail": self.detail, "trace_id": self.trace_id, **self.extra}
        return (type(self), (self.status, problem, self.retry_after_s))

    @property
    def maybe_done(self) -> bool:
        """Whether the call may have taken effect all the same: the daemon, or what stands before it, gave up."""
        return self.code in ("no_answer", "unavailable", "internal") or (self.code == "unknown" and self.status >= 500)


class QueueFull(ApiError):
    """As many tasks wait as may; `retry_after_s` says when to try again."""


class GateBacklogFull(QueueFull):
    """As many tasks wait for a dependency that is down as may; `extra` has the `gate`. Others are accepted."""


class PoolFull(ApiError):
    """The pool has as many agents as it may have."""


class TaskNotFound(ApiError):
    """There is no such task, or none any more."""


class AgentNotFound(ApiError):
    """There is no such agent."""


class GateNotFound(ApiError):
    """There is no gate of this name."""


class ScheduleNotFound(ApiError):
    """There is no recurring job of this name."""


class ValidationFailed(ApiError):
    """A value is not allowed; `detail` says which, what is allowed and what was found."""


class Conflict(ApiError):
    """Things are not so that this could be done; `code` says how they are."""


class AlreadyFinished(Conflict):
    """The task has ended; `extra` has `task_status` and `finished_by_attempt`."""


class StaleIncarnation(Conflict):
    """That life of the agent has ended."""


class _NoAnswer(DaedalusError):
    def __init__(self, message: str, maybe_done: bool = False) -> None:
        self.maybe_done = maybe_done
        super().__init__(message, maybe_done)

    def __str__(self) -> str:
        return f"{self.args[0]}; the call may have taken effect" if self.maybe_done else str(self.args[0])


class Unreachable(_NoAnswer, ConnectionError):
    """There is no daemon at the address, or the connection broke. `maybe_done`: after the call was sent."""


class Timeout(_NoAnswer, TimeoutError):
    """The answer did not come in time. `maybe_done`: after the call was sent."""


_BY_CODE: dict[str, type[ApiError]] = {
    "queue_full": QueueFull,
    "gate_backlog_full": GateBacklogFull,
    "pool_full": PoolFull,
    "task_not_found": TaskNotFound,
    "agent_not_found": AgentNotFound,
    "gate_not_found": GateNotFound,
    "schedule_not_found": ScheduleNotFound,
    "validation_failed": ValidationFailed,
    "already_finished": AlreadyFinished,
    "stale_incarnation": StaleIncarnation,
}


def refusal(status: int, problem: Mapping[str, Any], retry_after_s: float | None) -> ApiError:
    """The error of this answer, of the class that fits."""
    fitting = _BY_CODE.get(str(problem.get("code")), Conflict if status == 409 else ApiError)
    return fitting(status, problem, retry_after_s)
