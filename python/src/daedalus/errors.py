"""Errors that a model, a tool or a function raises to say what should become of the task."""

from __future__ import annotations


class TaskError(Exception):
    """Ends the task with a code of its own; trying again helps only when `retryable` says so.

    Both can be the class's, or one error's: `TaskError("the index is rebuilt", code="busy", retryable=True)`.
    """

    code = "TASK_ERROR"
    retryable = False

    def __init__(self, *args: object, code: str | None = None, retryable: bool | None = None) -> None:
        super().__init__(*args)
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable
