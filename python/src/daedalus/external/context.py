"""What a function knows of the attempt that it works on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from daedalus.client.answers import Assignment


class Cancelled(Exception):
    """The function stopped because it was told to."""


@dataclass(frozen=True)
class Context:
    """One attempt of one task."""

    task_id: str
    #: Grows with each assignment of the task; a good part of a name for what must not be done twice.
    attempt: int
    task_type: str
    agent_id: str
    trace_id: str
    #: How long the attempt may take in all.
    timeout_s: float
    #: Why the attempt before did not complete.
    previous_failure: str | None
    #: Set when nobody waits for the result any more: the task was cancelled, took too long, went to another agent,
    #: or this worker must end.
    cancelled: threading.Event = field(default_factory=threading.Event, compare=False)
    _on_cancel: list[Callable[[], object]] = field(default_factory=list, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @classmethod
    def of(cls, work: Assignment, agent_id: str) -> Context:
        """The context of an assignment."""
        return cls(
            task_id=work["task_id"],
            attempt=work["attempt"],
            task_type=work["task_type"],
            agent_id=agent_id,
            trace_id=work["trace_id"],
            timeout_s=work["timeout_s"],
            previous_failure=work["previous_failure"],
        )

    def raise_if_cancelled(self) -> None:
        """Raise `Cancelled` when `cancelled` is set: for functions that work step by step."""
        if self.cancelled.is_set():
            raise Cancelled(f"attempt {self.attempt} of the task {self.task_id} is not wanted any more")

    def _cancel(self) -> None:
        with self._lock:
            self.cancelled.set()
            hooks, self._on_cancel[:] = list(self._on_cancel), []
        for hook in hooks:
            hook()

    def _when_cancelled(self, hook: Callable[[], object]) -> None:
        with self._lock:
            if not self.cancelled.is_set():
                self._on_cancel.append(hook)
                return
        hook()
