"""Runs one attempt from `started` to its one terminal frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from daedalus.worker.failure import Failure, classify
from daedalus.worker.gate import Cancelled, Gate, Raised
from daedalus.worker.heartbeat import Pulse
from daedalus.worker.jobs import AgentJob, BadPayload, PlainJob
from daedalus.worker.meter import NOTE_CHARS, Meter
from daedalus.worker.protocol import Task
from daedalus.worker.safe_json import NotJson, cut, require_json
from daedalus.worker.wire import FrameTooLarge, Wire

#: How often work without an agent says how far it is.
PROGRESS_S = 5.0


class Agents(Protocol):
    """What a run needs of `AgentFactory`; the tests give a faster one."""

    def model(self) -> Any:
        """The model of this process."""

    def forget_model(self) -> None:
        """Make a new model next time."""

    def job(self, task: Task, room: int) -> AgentJob | PlainJob:
        """What the task is; a result may have `room` bytes."""

    def build(self, task_type: str, on_step: Callable[..., None], job: AgentJob) -> Any:
        """A fresh agent."""


class Run:
    """One attempt at one task."""

    def __init__(self, task: Task, agents: Agents, wire: Wire, pulse: Pulse, gate: Gate) -> None:
        self._task, self._agents, self._wire, self._pulse, self._gate = task, agents, wire, pulse, gate
        self._meter = Meter(wire, pulse, task)
        self._max_steps_reached = False

    def run(self, release: Callable[[], None]) -> None:
        """Run the task. `release` is called when nothing of it runs any more, before its terminal frame: the
        daemon may send the next task as soon as it has read that frame.
        """
        began = time.monotonic()
        self._pulse.begin(self._task.task_id)
        self._wire.send("started", task_id=self._task.task_id, attempt=self._task.attempt)
        type_, fields = self._outcome()
        self._pulse.rest()
        release()
        self._finish(type_, fields, round(time.monotonic() - began, 3))

    def _outcome(self) -> tuple[str, dict[str, Any]]:
        problem = self._bad_task()
        if problem is not None:
            return "error", problem.fields()
        verdict = self._gate.run(self._work)
        if isinstance(verdict, Cancelled):
            self._agents.forget_model()
            return "cancelled", {"reason": cut(verdict.reason, NOTE_CHARS)}
        if isinstance(verdict, Raised):
            self._agents.forget_model()
            return "error", classify(verdict.error).fields()
        if self._max_steps_reached:
            message = f"no final answer within {self._pulse.step} steps"
            return "error", Failure("agent", "MAX_STEPS", message, False).fields()
        try:
            return "result", {"output": require_json(verdict.value)}
        except NotJson as error:
            return "error", Failure("task", "result_not_json", str(error), False).fields()

    def _bad_task(self) -> Failure | None:
        if self._task.session != "fresh":
            message = f"this worker runs each task in a fresh session; session {self._task.session!r} is not supported"
            return Failure("task", "session_unsupported", message, False)
        try:
            require_json(self._task.payload, "payload")
        except NotJson as error:
            return Failure("task", "bad_payload", str(error), False)
        return None

    def _work(self) -> Any:
        # Half of a frame: a task that shows its result must fit into one, too.
        job = self._agents.job(self._task, self._wire.max_frame_bytes // 2)
        if not isinstance(job, AgentJob):
            with self._pulse.during("scan"):
                return job(self._progress())
        agent = self._agents.build(self._task.task_type, self._on_step, job)
        taken = sorted(job.arguments.keys() & agent.tools.keys())
        if taken:
            # A variable of that name would hide the tool from the agent's code.
            raise BadPayload(f"payload.{taken[0]} has the name of a tool")
        self._meter.watch_model(self._agents.model())
        self._meter.watch_tools(agent.tools)
        return agent.run(job.prompt, additional_args=dict(job.arguments) or None, max_steps=self._task.max_steps)

    def _progress(self) -> Callable[[int], None]:
        told = time.monotonic()

        def tell(files: int) -> None:
            nonlocal told
            if time.monotonic() - told >= PROGRESS_S:
                told = time.monotonic()
                self._wire.send("log", task_id=self._task.task_id, level="info", text=f"discovery: at file {files}")

        return tell

    def _finish(self, type_: str, fields: dict[str, Any], duration_s: float) -> None:
        steps, usage = self._pulse.step, self._meter.usage()
        ending = {"usage": usage, "steps": steps, "duration_s": duration_s}
        base = {"task_id": self._task.task_id, "attempt": self._task.attempt}
        if type_ == "result":
            try:
                self._wire.send_whole("result", **base, **fields, **ending)
                return
            except FrameTooLarge as error:
                failure = Failure("task", "result_too_large", f"the result's frame would have {error}", False)
                type_, fields = "error", failure.fields()
        self._wire.send(type_, **base, **fields, **ending)

    def _on_step(self, step: Any, agent: Any = None) -> None:
        error = getattr(step, "error", None)
        if type(error).__name__ == "AgentMaxStepsError":
            # Not a step: how smolagents notes that there was none left.
            self._max_steps_reached = True
            return
        self._pulse.step = getattr(step, "step_number", None) or self._pulse.step
        usage = getattr(step, "token_usage", None)
        self._wire.send(
            "step",
            task_id=self._task.task_id,
            attempt=self._task.attempt,
            step=self._pulse.step,
            kind=type(step).__name__,
            duration_s=step.timing.duration,
            tools=[cut(call.name, 200) for call in getattr(step, "tool_calls", None) or []][:50],
            code=cut(getattr(step, "code_action", None), NOTE_CHARS),
            observation=cut(getattr(step, "observations", None), NOTE_CHARS),
            error=cut(str(error), NOTE_CHARS) if error else None,
            usage={"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens} if usage else None,
            is_final=getattr(step, "is_final_answer", False),
        )
