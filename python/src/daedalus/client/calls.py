"""Every call of the API as data: what is sent, what comes back, and whether it may be sent twice."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast
from urllib.parse import quote

from daedalus.client import answers
from daedalus.client.errors import AgentNotFound, AlreadyFinished, ApiError
from daedalus.client.wire import Response

T = TypeVar("T")

#: What a new agent may take to be ready, with some room: `worker.start_timeout_s` is 30 by default.
START_S = 60.0
#: What the end of a process tree may take at most.
END_S = 35.0
#: What the agents may take to hide a secret, look for those of the others and remove it.
CANARY_S = 45.0
#: What the daemon lets a call wait, and a task drain. It refuses more at once, so there is nothing more to wait for.
WAIT_MOST_S = 60.0
DRAIN_MOST_S = 86_400.0
#: What a run that is stopped may take to end: the most that `worker.cancel_grace_s` may be. Nobody tells the client.
GRACE_MOST_S = 3_600.0


class Repeat(enum.Enum):
    """When a call may be sent again."""

    #: One try.
    NEVER = enum.auto()
    #: When the daemon certainly did not get it, or refused it for now: doing it twice would do harm.
    UNSENT = enum.auto()
    #: Also when the answer was lost: sent twice, it is done once.
    ALWAYS = enum.auto()


@dataclass(frozen=True)
class Call(Generic[T]):
    """One call, with the type of its answer."""

    method: str
    path: str
    repeat: Repeat
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    #: How long the daemon itself may wait before it answers.
    patience_s: float = 0.0
    #: After a lost answer: what the refusal of the second try says about the first, if that was done.
    settled: Callable[[ApiError], T | None] | None = None

    def read(self, response: Response) -> T:
        """The answer of a call that was done."""
        return cast(T, response.json())


def initialize(size: int | None) -> Call[answers.Initialized]:
    return Call("POST", "/pool/initialize", Repeat.ALWAYS, body=_given(size=size), patience_s=START_S)


def shutdown(drain_s: float | None, discard: bool) -> Call[answers.ShutDown]:
    # Sent again it could end the pool that somebody has begun meanwhile.
    query = _query(drain_s=drain_s, discard=discard or None)
    return Call("DELETE", "/pool", Repeat.UNSENT, query, patience_s=_stop_s(drain_s))


def spawn(
    kind: answers.AgentKind | None, lease_s: float | None, task_types: Iterable[str] | None
) -> Call[answers.Started]:
    types = None if task_types is None else list(task_types)
    body = _given(kind=kind, lease_s=lease_s, task_types=types)
    return Call("POST", "/agents", Repeat.UNSENT, body=body, patience_s=START_S)


def agents() -> Call[list[answers.Agent]]:
    return Call("GET", "/agents", Repeat.ALWAYS)


def agent(agent_id: str) -> Call[answers.Agent]:
    return Call("GET", f"/agents/{_id(agent_id)}", Repeat.ALWAYS)


def remove(agent_id: str, drain_s: float | None) -> Call[answers.Removed]:
    def settled(refusal: ApiError) -> answers.Removed | None:
        gone = isinstance(refusal, AgentNotFound)
        return {"agent_id": agent_id, "status": "removed", "task_id": None} if gone else None

    query = _query(drain_s=drain_s)
    path = f"/agents/{_id(agent_id)}"
    return Call("DELETE", path, Repeat.ALWAYS, query, patience_s=_stop_s(drain_s), settled=settled)


def fail(agent_id: str, reason: str | None) -> Call[answers.Failed]:
    # Sent again it would fail the agent's next life, too.
    path = f"/agents/{_id(agent_id)}/fail"
    return Call("POST", path, Repeat.UNSENT, body=_given(reason=reason), patience_s=END_S)


def recover(agent_id: str) -> Call[answers.Started]:
    return Call("POST", f"/agents/{_id(agent_id)}/recover", Repeat.UNSENT, patience_s=START_S)


def submit(
    payload: Mapping[str, Any],
    *,
    task_type: str | None,
    preferred_agent_id: str | None,
    priority: int | None,
    timeout_s: float | None,
    idempotency_key: str | None,
    parent_task_id: str | None,
    detach: bool | None,
) -> Call[answers.Submitted]:
    body = _given(
        payload=payload,
        task_type=task_type,
        preferred_agent_id=preferred_agent_id,
        priority=priority,
        timeout_s=timeout_s,
        idempotency_key=uuid.uuid4().hex if idempotency_key is None else idempotency_key,
        parent_task_id=parent_task_id,
        detach=detach,
    )
    return Call("POST", "/tasks", Repeat.ALWAYS, body=body)


def task(task_id: str, wait_s: float) -> Call[answers.Task]:
    path = f"/tasks/{_id(task_id)}"
    return Call("GET", path, Repeat.ALWAYS, _query(wait_s=wait_s or None), patience_s=_within(wait_s, WAIT_MOST_S))


def page(status: str | None, task_type: str | None, limit: int | None, cursor: str | None) -> Call[answers.Page]:
    query = _query(status=status, task_type=task_type, limit=limit, cursor=cursor)
    return Call("GET", "/tasks", Repeat.ALWAYS, query)


def complete(
    task_id: str, result: Any, error: Mapping[str, Any] | None, success: bool, attempt: int | None
) -> Call[answers.Changed]:
    def settled(refusal: ApiError) -> answers.Changed | None:
        mine = attempt is None or refusal.extra.get("finished_by_attempt") == attempt
        status = "completed" if success else "failed"
        if isinstance(refusal, AlreadyFinished) and mine and refusal.extra.get("task_status") == status:
            return {"task_id": task_id, "status": "completed" if success else "failed"}
        return None

    body = _given(result=result, error=error)
    query = _query(success=None if success else False, attempt=attempt)
    return Call("POST", f"/tasks/{_id(task_id)}/complete", Repeat.ALWAYS, query, body, settled=settled)


def cancel(task_id: str) -> Call[answers.Changed]:
    def settled(refusal: ApiError) -> answers.Changed | None:
        cancelled = isinstance(refusal, AlreadyFinished) and refusal.extra.get("task_status") == "cancelled"
        return {"task_id": task_id, "status": "cancelled"} if cancelled else None

    return Call("POST", f"/tasks/{_id(task_id)}/cancel", Repeat.ALWAYS, settled=settled)


def retry(task_id: str) -> Call[answers.Changed]:
    # Sent again it would run once more what failed again meanwhile.
    return Call("POST", f"/tasks/{_id(task_id)}/retry", Repeat.UNSENT)


def retry_all(status: str | None, task_type: str | None) -> Call[answers.RetriedAll]:
    return Call("POST", "/tasks/retry", Repeat.UNSENT, _query(status=status, task_type=task_type))


def schedules() -> Call[list[answers.Schedule]]:
    return Call("GET", "/schedules", Repeat.ALWAYS)


def run_schedule(name: str) -> Call[answers.Submitted]:
    # Sent again it would run twice.
    return Call("POST", f"/schedules/{_id(name)}/run", Repeat.UNSENT)


def pause_schedule(name: str) -> Call[answers.Schedule]:
    return Call("POST", f"/schedules/{_id(name)}/pause", Repeat.ALWAYS)


def resume_schedule(name: str) -> Call[answers.Schedule]:
    return Call("POST", f"/schedules/{_id(name)}/resume", Repeat.ALWAYS)


def assignment(agent_id: str, wait_s: float, incarnation: int | None) -> Call[answers.Assignment | None]:
    # Sent again it is answered with the same attempt.
    path = f"/agents/{_id(agent_id)}/assignment"
    query = _query(wait_s=wait_s or None, incarnation=incarnation)
    return Call("GET", path, Repeat.ALWAYS, query, patience_s=_within(wait_s, WAIT_MOST_S))


def heartbeat(agent_id: str, incarnation: int | None) -> Call[answers.Beat]:
    return Call("POST", f"/agents/{_id(agent_id)}/heartbeat", Repeat.ALWAYS, _query(incarnation=incarnation))


def gates() -> Call[list[answers.Gate]]:
    return Call("GET", "/gates", Repeat.ALWAYS)


def order_gate(name: str, order: str) -> Call[answers.Gate]:
    return Call("POST", f"/gates/{_id(name)}/{order}", Repeat.ALWAYS)


def metrics() -> Call[answers.Metrics]:
    return Call("GET", "/metrics", Repeat.ALWAYS)


def isolation_report() -> Call[answers.IsolationReport]:
    return Call("GET", "/isolation-report", Repeat.ALWAYS)


def check_isolation() -> Call[answers.CanaryReport]:
    # Sent again it waits for the end of the first, and is another one.
    return Call("POST", "/isolation-report/canary", Repeat.ALWAYS, patience_s=CANARY_S)


def ready() -> Call[dict[str, Any]]:
    return Call("GET", "/readyz", Repeat.NEVER)


def _id(text: str) -> str:
    # A dot is a step in a path, not an id.
    return quote(text, safe="").replace(".", "%2E")


def _within(seconds: float | None, most_s: float) -> float:
    return min(max(seconds or 0.0, 0.0), most_s)


def _stop_s(drain_s: float | None) -> float:
    return END_S + GRACE_MOST_S + _within(drain_s, DRAIN_MOST_S)


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _query(**fields: Any) -> dict[str, str]:
    def text(value: Any) -> str:
        return str(value).lower() if isinstance(value, bool) else str(value)

    return {name: text(value) for name, value in fields.items() if value is not None}
