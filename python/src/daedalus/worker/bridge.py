"""Calls of the daemon's tools, from the agent on the main thread to the answer that the reader gets."""

from __future__ import annotations

import itertools
import queue
from dataclasses import dataclass
from typing import Any

from daedalus.worker.protocol import Frame, ToolResult, parse_tool_result
from daedalus.worker.safe_json import NotJson, require_json
from daedalus.worker.wire import FrameTooLarge, Wire


class ToolRefused(Exception):
    """The daemon did not do what a tool was asked; the model sees code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass
class Bridge:
    """Carries calls to the daemon, one at a time."""

    wire: Wire
    #: The task that calls; the session sets it before the agent can.
    task_id: str | None = None

    def __post_init__(self) -> None:
        # Never used twice in the life of a process: an answer that comes late is nobody's.
        self._numbers = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[ToolResult]] = {}

    def call(self, name: str, args: dict[str, Any]) -> Any:
        """Call a tool and wait for its answer, unless the run is cancelled meanwhile."""
        number, box = next(self._numbers), queue.SimpleQueue[ToolResult]()
        self._waiting[number] = box
        try:
            # What the model leaves out is not sent: the daemon knows its own defaults.
            said = require_json({key: value for key, value in args.items() if value is not None}, name)
            self.wire.send_whole("tool_call", task_id=self.task_id, call_id=number, name=name, args=said)
            answer = box.get()
        except NotJson as error:
            raise ToolRefused("validation_failed", str(error)) from None
        except FrameTooLarge as error:
            raise ToolRefused("body_too_large", f"the call's frame would have {error}") from None
        finally:
            self._waiting.pop(number, None)
        if not answer.ok:
            raise ToolRefused(answer.code, answer.message)
        return answer.value

    def receive(self, frame: Frame) -> None:
        """Pass an answer on; called by the reader."""
        answer = parse_tool_result(frame)
        box = self._waiting.get(answer.call_id)
        if box is not None:
            box.put(answer)
