"""The conversation with the daemon: `hello`, `init`, `ready`, then one task at a time."""

from __future__ import annotations

import os
import platform
import queue
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from daedalus.worker import exits
from daedalus.worker.bridge import Bridge
from daedalus.worker.canary import Canary
from daedalus.worker.config import ConfigError
from daedalus.worker.gate import Gate
from daedalus.worker.heartbeat import Pulse
from daedalus.worker.protocol import (
    PROTO_MAX,
    PROTO_MIN,
    CanaryOrder,
    Frame,
    Init,
    ProtocolError,
    Task,
    parse_canary,
    parse_init,
    parse_task,
)
from daedalus.worker.run import Agents, Run
from daedalus.worker.safe_json import cut
from daedalus.worker.wire import Wire

BuildAgents = Callable[[Init, Bridge], Agents]


class Session:
    """One process's life. The reader runs on a thread of its own, the agent on the main thread."""

    def __init__(self, wire: Wire, build_agents: BuildAgents) -> None:
        self._wire = wire
        self._build_agents = build_agents
        self._inbox: queue.Queue[Task | CanaryOrder | Frame] = queue.Queue()
        self._pulse = Pulse()
        self._gate = Gate()
        self._bridge = Bridge(wire)
        # The task between its frame and its terminal frame. Reader and main thread both change it.
        self._lease: Task | None = None
        self._lock = threading.Lock()

    def serve(self) -> int:
        """Talk until the end; returns the exit code."""
        # A terminal's Ctrl-C goes to the whole group; the daemon decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._hello()
        threading.Thread(target=self._read, name="wire-in", daemon=True).start()
        try:
            init = parse_init(self._first_frame())
        except ProtocolError as error:
            self._wire.fatal(str(error))
        except EOFError:
            return exits.OK
        self._wire.max_frame_bytes = init.max_frame_bytes
        try:
            agents = self._build_agents(init, self._bridge)
        except Exception as error:
            sentence = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
            self._wire.send("init_error", message=cut(sentence, 2000))
            self._wire.flush_and_stop()
            return exits.CONFIG
        self._pulse.start(self._wire, init.heartbeat_s)
        self._wire.send("ready", agent_id=init.agent_id)
        return self._serve_tasks(agents)

    def _hello(self) -> None:
        began = time.monotonic()
        import smolagents

        self._wire.send(
            "hello",
            proto=[PROTO_MIN, PROTO_MAX],
            features=["canary"],
            pid=os.getpid(),
            python=platform.python_version(),
            smolagents=smolagents.__version__,
            import_s=round(time.monotonic() - began, 2),
        )

    def _first_frame(self) -> Frame:
        first = self._inbox.get()
        if isinstance(first, Task | CanaryOrder):
            raise ProtocolError(f"expected init, got {'task' if isinstance(first, Task) else 'canary'}")
        if first["type"] == "shutdown":
            self._say_bye(first)
            raise EOFError
        return first

    def _serve_tasks(self, agents: Agents) -> int:
        canary = Canary(agents, self._wire.max_frame_bytes)
        while True:
            item = self._inbox.get()
            if isinstance(item, CanaryOrder):
                type_, fields = canary.obey(item)
                self._wire.send(type_, **fields)
            elif isinstance(item, Task):
                canary.clear()
                Run(item, agents, self._wire, self._pulse, self._gate).run(self._release)
            elif item["type"] == "shutdown":
                canary.clear()
                self._say_bye(item)
                return exits.OK
            else:
                self._wire.fatal(f"a second {item['type']} frame")

    def _say_bye(self, frame: Frame) -> None:
        self._wire.send("bye", reason=cut(str(frame.get("reason", "")), 200))
        self._wire.flush_and_stop()

    def _release(self) -> None:
        with self._lock:
            self._lease = self._bridge.task_id = None
            self._gate.reset()

    def _read(self) -> None:
        try:
            for frame in self._wire.frames():
                self._receive(frame)
        except ProtocolError as error:
            self._wire.fatal(str(error))
        except BaseException as error:
            # Without its reader the worker would be deaf and look alive.
            self._wire.send("fatal", message=cut(f"reader: {type(error).__name__}: {error}", 500))
            self._wire.flush_and_stop()
            exits.leave(exits.BUG)
        with self._lock:
            if self._lease is not None:
                exits.leave(exits.ORPHANED)
        self._inbox.put({"type": "shutdown", "reason": "the daemon closed the pipe"})

    def _receive(self, frame: Frame) -> None:
        type_ = frame["type"]
        if type_ == "task":
            task = parse_task(frame)
            with self._lock:
                if self._lease is not None:
                    raise ProtocolError(f"a task while {self._lease.task_id} is not finished")
                # Taken here and not by the main thread: a cancel right behind it must find it.
                self._lease, self._bridge.task_id = task, task.task_id
            self._inbox.put(task)
        elif type_ in ("canary_plant", "canary_look", "canary_clear"):
            self._canary(parse_canary(frame))
        elif type_ == "cancel":
            self._cancel(frame)
        elif type_ == "tool_result":
            self._bridge.receive(frame)
        elif type_ == "ping":
            self._wire.send("pong", nonce=_echo(frame.get("nonce")))
        elif type_ in ("init", "shutdown"):
            self._inbox.put(frame)
        else:
            raise ProtocolError(f"unknown frame type {cut(type_, 100)!r}")

    def _canary(self, order: CanaryOrder) -> None:
        with self._lock:
            busy = self._lease is not None
        if busy:
            self._wire.send("canary_busy", run=order.run)
        else:
            self._inbox.put(order)

    def _cancel(self, frame: Frame) -> None:
        with self._lock:
            lease = self._lease
            current = (lease.task_id, lease.attempt) if lease else (None, None)
            if current == (frame.get("task_id"), frame.get("attempt")) and lease is not None:
                self._gate.cancel(str(frame.get("reason") or "cancelled"))
                return
        self._wire.send(
            "cancel_ignored",
            task_id=_echo(frame.get("task_id")),
            attempt=_echo(frame.get("attempt")),
            current=current[0],
        )


def _echo(value: Any) -> Any:
    """Give back a short plain value as it came; anything else is not worth a frame."""
    if isinstance(value, str):
        return cut(value, 200)
    return value if value is None or (isinstance(value, int) and abs(value) < 2**63) else None
