"""What may come from the daemon, checked once, so that the rest of the worker can trust it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

PROTO_MIN = PROTO_MAX = 1
#: Until `init` says otherwise; also the largest `init`.
FIRST_FRAME_BYTES = 1 << 20
#: The daemon never allows less: its own limit for a body plus 64 KiB.
LEAST_FRAME_BYTES = 64 << 10
#: Python refuses to convert longer ones; no payload that passes the worker's own check has such a number.
LONGEST_INTEGER = 4300

Frame = dict[str, Any]


class ProtocolError(Exception):
    """The daemon sent something that this version of the protocol does not have."""


@dataclass(frozen=True)
class Init:
    """How this process serves: sent once, after `hello`."""

    agent_id: str
    heartbeat_s: float
    max_frame_bytes: int
    agent: object


@dataclass(frozen=True)
class Task:
    """One attempt at one task."""

    task_id: str
    attempt: int
    task_type: str
    payload: dict[str, Any]
    max_steps: int | None
    max_tokens: int | None
    max_tool_calls: int | None
    session: str


@dataclass(frozen=True)
class ToolResult:
    """The daemon's answer to one call of a tool."""

    call_id: int
    ok: bool
    value: Any
    code: str
    message: str


@dataclass(frozen=True)
class CanaryHints:
    """Where the other agents are, for one that looks for their secrets."""

    pids: tuple[int, ...] = ()
    workdirs: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    #: The names of abstract Unix sockets.
    sockets: tuple[str, ...] = ()


@dataclass(frozen=True)
class CanaryOrder:
    """One step of the canary."""

    run: str
    #: `plant`, `look` or `clear`.
    step: str
    secret: str
    hints: CanaryHints


def parse_frame(line: bytes) -> Frame:
    """Read one line. A number too long for Python becomes infinity, which no payload may hold."""
    try:
        frame = json.loads(
            line, parse_int=lambda digits: int(digits) if len(digits) <= LONGEST_INTEGER else float("inf")
        )
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not a JSON line: {error}") from error
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise ProtocolError("a frame must be an object with a type")
    return frame


def parse_init(frame: Frame) -> Init:
    """Check an `init` frame."""
    if frame["type"] != "init":
        raise ProtocolError(f"expected init, got {frame['type']}")
    proto = frame.get("proto")
    if not isinstance(proto, int) or not PROTO_MIN <= proto <= PROTO_MAX:
        raise ProtocolError(f"init.proto is {proto!r}; this worker speaks {PROTO_MIN} to {PROTO_MAX}")
    heartbeat = frame.get("heartbeat_s", 5)
    if isinstance(heartbeat, bool) or not isinstance(heartbeat, (int, float)) or not 0 < heartbeat < float("inf"):
        raise ProtocolError("init.heartbeat_s must be a number above 0")
    limit = _count(frame, "max_frame_bytes", LEAST_FRAME_BYTES)
    if limit is None:
        limit = FIRST_FRAME_BYTES
    return Init(_text(frame, "agent_id"), float(heartbeat), limit, frame.get("agent", {}))


def parse_task(frame: Frame) -> Task:
    """Check a `task` frame. What is inside of the payload is the task's own matter."""
    payload = frame.get("payload")
    if not isinstance(payload, dict):
        raise ProtocolError("task.payload must be an object")
    attempt = _count(frame, "attempt", 1)
    if attempt is None:
        raise ProtocolError("task.attempt is missing")
    task_type = frame.get("task_type")
    return Task(
        task_id=_text(frame, "task_id"),
        attempt=attempt,
        task_type="general" if task_type is None else _text(frame, "task_type"),
        payload=payload,
        max_steps=_count(frame, "max_steps", 1),
        max_tokens=_count(frame, "max_tokens", 1),
        max_tool_calls=_count(frame, "max_tool_calls", 0),
        session="fresh" if frame.get("session") is None else _text(frame, "session"),
    )


def parse_tool_result(frame: Frame) -> ToolResult:
    """Check a `tool_result` frame."""
    call_id, ok = _count(frame, "call_id", 1), frame.get("ok")
    if call_id is None or not isinstance(ok, bool):
        raise ProtocolError("tool_result needs call_id and ok")
    if ok:
        return ToolResult(call_id, ok, frame.get("value"), "", "")
    return ToolResult(call_id, ok, None, _text(frame, "code"), _text(frame, "message"))


def parse_canary(frame: Frame) -> CanaryOrder:
    """Check a `canary_plant`, `canary_look` or `canary_clear` frame."""
    step = frame["type"].removeprefix("canary_")
    secret, hints = "", CanaryHints()
    if step == "plant":
        secret = _text(frame, "secret")
    elif step == "look":
        pids, workdirs, ports, sockets = (
            _all_of(frame, key, kind)
            for key, kind in (("pids", int), ("workdirs", str), ("ports", int), ("sockets", str))
        )
        hints = CanaryHints(pids, workdirs, ports, sockets)
    return CanaryOrder(_text(frame, "run"), step, secret, hints)


def _all_of(frame: Frame, key: str, kind: type) -> tuple[Any, ...]:
    values = frame.get(key)
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise ProtocolError(f"{frame['type']}.{key} must be a list of {kind.__name__}")
    return tuple(values)


def _text(frame: Frame, key: str) -> str:
    value = frame.get(key)
    if not isinstance(value, str) or not value:
        raise ProtocolError(f"{frame['type']}.{key} must be a text")
    return value


def _count(frame: Frame, key: str, least: int) -> int | None:
    value = frame.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ProtocolError(f"{frame['type']}.{key} must be an integer from {least} up")
    return value
