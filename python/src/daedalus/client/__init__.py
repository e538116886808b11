"""A client of the daemon's HTTP API, blocking (`Client`) and for asyncio (`AsyncClient`), on the standard library.

No call hangs: connecting, one answer and all tries together have limits. What a lost answer leaves open is tried
again only where doing it twice does no harm. A daemon that restarts is waited for, up to the deadline.
"""

from daedalus.client.asynchronous import AsyncClient
from daedalus.client.blocking import Client
from daedalus.client.errors import (
    AgentNotFound,
    AlreadyFinished,
    ApiError,
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
from daedalus.client.policy import Policy

__all__ = [
    "AgentNotFound",
    "AlreadyFinished",
    "ApiError",
    "AsyncClient",
    "Client",
    "Conflict",
    "DaedalusError",
    "GateBacklogFull",
    "GateNotFound",
    "Policy",
    "PoolFull",
    "QueueFull",
    "ScheduleNotFound",
    "StaleIncarnation",
    "TaskNotFound",
    "Timeout",
    "Unreachable",
    "ValidationFailed",
]
