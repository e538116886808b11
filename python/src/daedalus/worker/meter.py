"""Counts what a run uses, tells the daemon about each model call, and ends a run that is over its budget."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from daedalus.worker.heartbeat import Pulse
from daedalus.worker.safe_json import cut
from daedalus.worker.wire import Wire

if TYPE_CHECKING:
    from smolagents import Model, Tool

    from daedalus.worker.protocol import Task

NOTE_CHARS = 2000


class BudgetExceeded(BaseException):
    """A limit of the task is passed; not an `Exception`, so that no agent retries over it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Meter:
    """The usage of one attempt."""

    def __init__(self, wire: Wire, pulse: Pulse, task: Task) -> None:
        self._wire, self._pulse, self._task = wire, pulse, task
        self._input_tokens = self._output_tokens = self._model_calls = self._tool_calls = 0
        # A model without counts: the sums are a lower bound then, and say so.
        self._unmetered_calls = 0

    def usage(self) -> dict[str, int]:
        """What was used so far; failed calls count as calls."""
        usage = {
            "input_tokens": self._input_tokens,
            "output_tokens": self._output_tokens,
            "model_calls": self._model_calls,
            "steps": self._pulse.step,
        }
        return usage | {"unmetered_calls": self._unmetered_calls} if self._unmetered_calls else usage

    def watch_model(self, model: Model) -> None:
        """Count every call of this model from now on, also those that no step of the agent shows."""
        # Always from the class: the model outlives the run, the meter does not.
        generate = type(model).generate.__get__(model)

        def metered(*args: Any, **kwargs: Any) -> Any:
            reply, error, began = None, None, time.monotonic()
            try:
                with self._pulse.during("model"):
                    reply = generate(*args, **kwargs)
            except BaseException as failure:
                error = f"{type(failure).__name__}: {failure}"
                raise
            finally:
                self._count(reply, error, time.monotonic() - began)
            self._check_tokens()
            return reply

        model.generate = metered

    def watch_tools(self, tools: dict[str, Tool]) -> None:
        """Count the calls of these tools; the final answer is not one."""
        for name, tool in tools.items():
            if name != "final_answer":
                self._watch_tool(name, tool)

    def _watch_tool(self, name: str, tool: Tool) -> None:
        forward, limit = tool.forward, self._task.max_tool_calls

        def metered(*args: Any, **kwargs: Any) -> Any:
            if limit is not None and self._tool_calls >= limit:
                raise BudgetExceeded("TOOL_CALL_BUDGET", f"the task may call tools {limit} times")
            self._tool_calls += 1
            with self._pulse.during(f"tool:{name}"):
                return forward(*args, **kwargs)

        tool.forward = metered

    def _count(self, reply: Any, error: str | None, seconds: float) -> None:
        counted = getattr(reply, "token_usage", None)
        tokens_in, tokens_out = (counted.input_tokens, counted.output_tokens) if counted else (0, 0)
        self._input_tokens += tokens_in
        self._output_tokens += tokens_out
        self._model_calls += 1
        self._unmetered_calls += int(reply is not None and counted is None)
        self._wire.send(
            "model_call",
            task_id=self._task.task_id,
            attempt=self._task.attempt,
            step=self._pulse.step,
            ms=round(seconds * 1000, 1),
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            error=cut(error, NOTE_CHARS),
        )

    def _check_tokens(self) -> None:
        limit, used = self._task.max_tokens, self._input_tokens + self._output_tokens
        if limit is not None and used > limit:
            raise BudgetExceeded("TOKEN_BUDGET", f"the task may use {limit} tokens and has used {used}")
