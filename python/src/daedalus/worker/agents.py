"""Builds a fresh smolagents agent for one task."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import smolagents.agents
from smolagents import (
    ActionStep,
    ChatMessage,
    CodeAgent,
    LogLevel,
    MessageRole,
    MultiStepAgent,
    PlanningStep,
    ToolCallingAgent,
)

from daedalus.worker.bridge import Bridge
from daedalus.worker.config import AgentConfig, ConfigError, Style
from daedalus.worker.jobs import AgentJob, PlainJob, job
from daedalus.worker.models import build_model, load
from daedalus.worker.pool_tools import INSTRUCTIONS, pool_tools
from daedalus.worker.protocol import Task

if TYPE_CHECKING:
    from smolagents import Model, Tool

StepCallback = Callable[..., None]


class AgentFactory:
    """Holds what outlives a task: the configuration and the model's client."""

    def __init__(self, config: AgentConfig, bridge: Bridge) -> None:
        self.config = config
        self._bridge = bridge
        self._model: Model | None = None
        smolagents.agents.ThreadPoolExecutor = InlineExecutor

    def model(self) -> Model:
        """The model, made when it is first needed."""
        if self._model is None:
            self._model = build_model(self.config.model)
        return self._model

    def forget_model(self) -> None:
        """Make a new model next time: this one may have been left half-way through a call."""
        self._model = None

    def check(self) -> None:
        """Build one agent of each kind in use, so that a mistake shows before the first task."""
        for style in {self.config.style, *self.config.types.values()}:
            self._build(style, lambda step, agent=None: None, AgentJob("", {}))

    def job(self, task: Task, room: int) -> AgentJob | PlainJob:
        """What the task is; a result may have `room` bytes."""
        return job(task, self.config.discovery, self._bridge, room)

    def build(self, task_type: str, on_step: StepCallback, job: AgentJob) -> MultiStepAgent:
        """Make the agent for one task: memory, variables and interpreter are new."""
        return self._build(self.config.style_for(task_type), on_step, job)

    def _build(self, style: Style, on_step: StepCallback, job: AgentJob) -> MultiStepAgent:
        common: dict[str, Any] = {
            "tools": [*self._tools(), *job.tools],
            "final_answer_checks": [job.check] if job.check else None,
            "model": self.model(),
            "max_steps": style.max_steps,
            "instructions": self._instructions(style),
            "verbosity_level": LogLevel.OFF,
            "step_callbacks": {ActionStep: on_step, PlanningStep: on_step},
        }
        agent: MultiStepAgent
        if style.kind == "tool_calling":
            agent = ToolCallingAgent(**common, max_tool_threads=1)
        else:
            # Without a time-out of its own the interpreter runs on this thread, where a signal can stop it.
            agent = CodeAgent(
                **common,
                additional_authorized_imports=list(self.config.imports),
                executor_kwargs={"timeout_seconds": None},
            )
        # smolagents would pay for one more model call and return a guess as if it were the answer.
        agent.provide_final_answer = _no_answer
        return agent

    def _tools(self) -> list[Tool]:
        tools = load(self.config.tools)()
        if not isinstance(tools, list):
            raise ConfigError(f"agent.tools: {self.config.tools} must return a list of tools")
        if self.config.coordination_tools:
            tools = [*tools, *pool_tools(self._bridge)]
        return tools

    def _instructions(self, style: Style) -> str | None:
        own = INSTRUCTIONS if self.config.coordination_tools else None
        return "\n".join(part for part in (style.instructions, own) if part) or None


def _no_answer(_task: str) -> ChatMessage:
    return ChatMessage(role=MessageRole.ASSISTANT, content="")


class InlineExecutor:
    """Runs parallel tool calls one after another on the calling thread, where a cancel can reach them.

    Stands in for the thread pool of smolagents' tool-calling agent: work on a pool's thread would go on after
    the task has ended.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        self._max_workers = max_workers

    def __enter__(self) -> InlineExecutor:
        return self

    def __exit__(self, *_exc: object) -> None:
        return None

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run it now; only an `Exception` waits for `result()`, a cancel goes straight up."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future
