"""The tools in smolagents: every one called directly, and used by agents with a model that follows a script."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp_daemon import BUILTIN, EXTERNAL, Daemon
from scripted import call, code
from smolagents import CodeAgent, MCPClient, Tool, ToolCallingAgent
from smolagents.agents import AgentError
from smolagents.models import ChatMessage, ChatMessageToolCall, MessageRole, Model
from smolagents.monitoring import TokenUsage
from test_mcp_official import TOOLS

Line = str | list[ChatMessageToolCall]
Step = Line | Callable[[str], Line]


class Script(Model):
    """Says the steps in order; a step that is a function sees what the last one has shown."""

    def __init__(self, *steps: Step) -> None:
        super().__init__(model_id="script")
        self.steps = list(steps)

    def generate(self, messages: list[ChatMessage], *_: Any, **__: Any) -> ChatMessage:
        step = self.steps.pop(0)
        if callable(step):
            step = step(text(messages[-1]))
        usage = TokenUsage(input_tokens=1, output_tokens=1)
        said, calls = (step, None) if isinstance(step, str) else (None, step)
        return ChatMessage(role=MessageRole.ASSISTANT, content=said, tool_calls=calls, token_usage=usage)


def text(message: ChatMessage) -> str:
    content = message.content
    return "".join(part.get("text", "") for part in content) if isinstance(content, list) else content or ""


def seen(observation: str) -> Any:
    """What a tool answered, as a ToolCallingAgent is shown it."""
    return ast.literal_eval(observation[observation.index("{") : observation.rindex("}") + 1])


@contextlib.contextmanager
def tools_of(daemon: Daemon) -> Iterator[dict[str, Tool]]:
    """The tools of the daemon by name."""
    with MCPClient(
        {"url": daemon.url, "transport": "streamable-http"},
        # A float: an integer is silently no time-out at all.
        adapter_kwargs={"connect_timeout": 10, "client_session_timeout_seconds": 90.0},
        structured_output=True,
    ) as tools:
        yield {tool.name: tool for tool in tools}


@pytest.fixture
def external(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path, EXTERNAL)
    yield daemon
    daemon.close()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon with its built-in workers, and no pool yet."""
    daemon = Daemon(tmp_path, BUILTIN)
    yield daemon
    daemon.close()


def test_every_tool_is_called_directly(external: Daemon) -> None:
    with tools_of(external) as tools:
        assert set(tools) == TOOLS
        pool = tools["initialize_pool"](size=2)
        agent = pool["agent_ids"][0]
        assert tools["spawn_coordination_agent"]()["status"] == "idle"
        task = tools["submit_coordination_task"](payload={"n": 1}, preferred_agent_id=agent)["task_id"]
        assert tools["get_coordination_task"](task_id=task, wait_s=0.1)["status"] == "in_progress"
        assert tools["fail_coordination_agent"](agent_id=agent)["task_reassigned"] is True
        done = tools["complete_coordination_task"](task_id=task, attempt=2, result={"ok": 1})
        assert done == {"task_id": task, "status": "completed"}
        other = tools["submit_coordination_task"](payload={}, task_type=None, priority=None)["task_id"]
        assert tools["cancel_coordination_task"](task_id=other)["status"] == "cancelled"
        assert tools["coordination_metrics"]()["tasks_completed"] == 1
        assert tools["isolation_report"]()["breaches_detected"] == 0
        with pytest.raises(Exception, match="already_finished: "):
            tools["cancel_coordination_task"](task_id=task)
        assert tools["shutdown_pool"](discard=True)["status"] == "shutdown_completed"


def test_optional_arguments_are_optional_and_required_ones_are_not(external: Daemon) -> None:
    with tools_of(external) as tools:
        for name, required in [
            ("submit_coordination_task", {"payload"}),
            ("get_coordination_task", {"task_id"}),
            ("complete_coordination_task", {"task_id"}),
            ("cancel_coordination_task", {"task_id"}),
            ("fail_coordination_agent", {"agent_id"}),
        ]:
            inputs = tools[name].inputs
            assert {name for name, said in inputs.items() if not said.get("nullable")} == required
        for name in TOOLS - {"fail_coordination_agent"} - {name for name in TOOLS if name.endswith("_task")}:
            assert all(said.get("nullable") for said in tools[name].inputs.values())


def test_a_tool_calling_agent_works_a_task_off(external: Daemon) -> None:
    """It calls tools with and without their optional arguments, and is told of a refusal as of an error."""
    told: dict[str, str] = {}

    def look(observation: str) -> Line:
        told["task"] = seen(observation)["task_id"]
        return [call("get_coordination_task", task_id=told["task"])]

    def refuse(observation: str) -> Line:
        assert "completed" in observation
        return [call("cancel_coordination_task", task_id=told["task"])]

    def finish(observation: str) -> Line:
        assert "already_finished" in observation
        return [call("final_answer", answer=told["task"])]

    with tools_of(external) as tools:
        model = Script(
            [call("coordination_metrics")],
            [call("initialize_pool")],
            [call("submit_coordination_task", payload={"prompt": "count"})],
            look,
            lambda _: [call("complete_coordination_task", task_id=told["task"], result={"n": 5})],
            refuse,
            finish,
        )
        agent = ToolCallingAgent(list(tools.values()), model, max_steps=10, verbosity_level=0)
        task = agent.run("Work one task off.")
        assert tools["get_coordination_task"](task_id=task)["result"] == {"n": 5}
        errors = [step.error for step in agent.memory.steps if getattr(step, "error", None)]
        assert len(errors) == 1 and isinstance(errors[0], AgentError) and "already_finished" in str(errors[0])


def test_a_code_agent_works_a_task_off(external: Daemon) -> None:
    with tools_of(external) as tools:
        model = Script(
            code("pool = initialize_pool(size=1)\nprint(pool)"),
            code(
                "task = submit_coordination_task(payload={'n': 1}, task_type='research')['task_id']\n"
                "complete_coordination_task(task_id=task, result={'n': 2})\n"
                "shown = get_coordination_task(task_id=task, wait_s=1)\nprint(shown['status'])"
            ),
            code("cancel_coordination_task(task_id=task)"),
            lambda observation: code(f"final_answer([shown['result'], {'already_finished' in observation}])"),
        )
        agent = CodeAgent(list(tools.values()), model, max_steps=6, verbosity_level=0)
        assert agent.run("Work one task off.") == [{"n": 2}, True]


def test_an_agent_runs_a_pool_from_its_start_to_its_end(workers: Daemon) -> None:
    """It initializes the pool, submits three tasks, polls them, reports and shuts the pool down."""
    with tools_of(workers) as tools:
        model = Script(
            code("pool = initialize_pool(size=2)\nprint(pool['pool_size'])"),
            code(
                "ids = []\n"
                "for n in range(3):\n"
                "    payload = {'action': 'echo', 'value': n}\n"
                "    task = submit_coordination_task(payload=payload, idempotency_key=f'task-{n}')\n"
                "    ids.append(task['task_id'])\n"
                "print(ids)"
            ),
            code(
                "states = {}\n"
                "for _ in range(20):\n"
                "    for id in ids:\n"
                "        shown = get_coordination_task(task_id=id, wait_s=10)\n"
                "        states[id] = shown['status']\n"
                "    if all(state == 'completed' for state in states.values()):\n"
                "        break\n"
                "print(states)"
            ),
            code("metrics = coordination_metrics()\nreport = isolation_report()\nclosed = shutdown_pool(drain_s=5)"),
            code(
                "final_answer({'states': list(states.values()), 'completed': metrics['tasks_completed'],\n"
                "    'breaches': report['breaches_detected'], 'stopped': closed['agents_stopped']})"
            ),
        )
        agent = CodeAgent(list(tools.values()), model, max_steps=8, verbosity_level=0)
        answer = agent.run("Start a pool, give it three tasks, wait for them, report, and shut it down.")
        assert answer == {"states": ["completed"] * 3, "completed": 3, "breaches": 0, "stopped": 2}
        assert tools["coordination_metrics"]()["agents"]["total"] == 0
