"""Errors that a model or a tool raises to say what should become of the task."""

from __future__ import annotations


class TaskError(Exception):
    """Ends the task with a code of its own; trying again helps only when `retryable` says so."""

    code = "TASK_ERROR"
    retryable = False
