"""The Python side of the Daedalus daemon: a client, tools for agents, and workers of both kinds.

Importing this package must print nothing and import nothing heavy: the worker takes its wire first. So the names
below are loaded when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daedalus.client import (
        AgentNotFound,
        AlreadyFinished,
        ApiError,
        AsyncClient,
        Client,
        Conflict,
        DaedalusError,
        GateBacklogFull,
        GateNotFound,
        PoolFull,
        QueueFull,
        ScheduleNotFound,
        StaleIncarnation,
        TaskNotFound,
        Timeout,
        Unreachable,
        ValidationFailed,
    )
    from daedalus.errors import TaskError
    from daedalus.external import Cancelled, Context, Worker

__version__ = "0.1.0"

__all__ = [
    "AgentNotFound",
    "AlreadyFinished",
    "ApiError",
    "AsyncClient",
    "Cancelled",
    "Client",
    "Conflict",
    "Context",
    "DaedalusError",
    "GateBacklogFull",
    "GateNotFound",
    "PoolFull",
    "QueueFull",
    "ScheduleNotFound",
    "StaleIncarnation",
    "TaskError",
    "TaskNotFound",
    "Timeout",
    "Unreachable",
    "ValidationFailed",
    "Worker",
]

_ELSEWHERE = {"Cancelled": "daedalus.external", "Context": "daedalus.external", "Worker": "daedalus.external"}
_ELSEWHERE["TaskError"] = "daedalus.errors"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_ELSEWHERE.get(name, "daedalus.client")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
