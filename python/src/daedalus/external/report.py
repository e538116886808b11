"""What became of a function, as the daemon is told it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from daedalus.client.errors import ApiError
from daedalus.errors import TaskError
from daedalus.external.context import Cancelled
from daedalus.worker.safe_json import NotJson, cut, require_json

#: What the daemon takes, in bytes; cutting says so and needs some room for that.
CODE_BYTES = 128
MESSAGE_BYTES = 4096
_ROOM_BYTES = 40
_BYTES_PER_CHAR = 4


@dataclass(frozen=True)
class Returned:
    """The function returned."""

    value: Any


@dataclass(frozen=True)
class Raised:
    """The function raised."""

    error: BaseException

    @property
    def is_cancelled(self) -> bool:
        """Whether it gave up because it was told to."""
        return isinstance(self.error, Cancelled | asyncio.CancelledError)


@dataclass(frozen=True)
class Report:
    """A result, or an error when there is one."""

    result: Any = None
    error: dict[str, Any] | None = None


def report(outcome: Returned | Raised) -> Report:
    """Say how the function ended. A result is never changed: what is no JSON is an error."""
    if isinstance(outcome, Returned):
        try:
            return Report(result=require_json(outcome.value, "result"))
        except NotJson as why:
            return failure("result_not_json", str(why))
    error = outcome.error
    if outcome.is_cancelled:
        return failure("cancelled", str(error) or "the function stopped because it was told to", retryable=True)
    if isinstance(error, TaskError):
        return failure(error.code, str(error), retryable=error.retryable)
    if isinstance(error, MemoryError):
        return failure("MEMORY", "the function ran out of memory", retryable=True)
    return failure(type(error).__name__, str(error))


def refused(refusal: ApiError) -> Report:
    """What to say instead of a result that the daemon did not take."""
    too_large = refusal.status == 413
    return failure("result_too_large" if too_large else "result_not_json", refusal.detail)


def failure(code: str, message: str, *, retryable: bool = False) -> Report:
    """An error that fits what the daemon takes."""
    fitting = {"code": _fit(code, CODE_BYTES) or "TASK_ERROR", "message": _fit(message, MESSAGE_BYTES)}
    return Report(error={**fitting, "retryable": retryable})


def _fit(text: str, limit: int) -> str:
    clean = cut(text, len(text)) or ""
    if len(clean.encode()) <= limit:
        return clean
    return cut(clean, (limit - _ROOM_BYTES) // _BYTES_PER_CHAR) or ""
