"""Says of an exception whose fault it is, and whether another try can help."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import Any

from daedalus.errors import TaskError
from daedalus.worker.meter import BudgetExceeded
from daedalus.worker.safe_json import cut

#: The request itself is wrong, or this client may not make it: the same again gets the same answer.
FINAL_STATUSES = frozenset({400, 401, 403, 404})
MESSAGE_CHARS = 8000
TRACEBACK_CHARS = 4000


@dataclass(frozen=True)
class Failure:
    """What an `error` frame says."""

    cls: str
    code: str
    message: str
    retryable: bool
    extra: dict[str, Any] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """The fields of the frame."""
        message = cut(self.message, MESSAGE_CHARS)
        return {"cls": self.cls, "code": self.code, "message": message, "retryable": self.retryable, **self.extra}


def classify(error: BaseException) -> Failure:
    """Judge what a run raised."""
    if isinstance(error, BudgetExceeded):
        return Failure("budget", error.code, str(error), False)
    if isinstance(error, MemoryError):
        return Failure("worker", "MEMORY", "the worker ran out of memory", True)
    # smolagents wraps what the model's client raised, and keeps it only here. A `TaskError` may have a cause, too.
    cause = error if isinstance(error, TaskError) else error.__cause__ or error
    extra: dict[str, Any] = {"traceback": _traceback(error)}
    if isinstance(cause, TaskError):
        return Failure("task", cause.code, str(cause), cause.retryable)
    if type(error).__name__ == "AgentGenerationError":
        status = getattr(cause, "status_code", None)
        if isinstance(status, int):
            extra["http_status"] = status
        return Failure("model", type(cause).__name__, str(error), status not in FINAL_STATUSES, extra)
    return Failure("agent", type(error).__name__, str(error), False, extra)


def _traceback(error: BaseException) -> str | None:
    text = "".join(traceback.format_exception(error))
    # The end of a traceback says more than its beginning.
    if len(text) > TRACEBACK_CHARS:
        text = f"[{len(text) - TRACEBACK_CHARS} characters left out]...{text[-TRACEBACK_CHARS:]}"
    return cut(text, len(text))
