"""The pool's tools: with agents that follow a script, against the real daemon and against none."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from real_daemon import until
from scripted import Scripted, code
from smolagents import CodeAgent, Tool, ToolCallingAgent
from smolagents.models import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole
from smolagents.monitoring import LogLevel, TokenUsage

from daedalus import TaskNotFound, Unreachable, ValidationFailed
from daedalus.tools import coordination_tools

#: The contract: the names, with the arguments, those that may be left out with a question mark.
CONTRACT = """
initialize_pool size?
shutdown_pool drain_s? discard?
spawn_coordination_agent kind? lease_s? task_types?
submit_coordination_task payload task_type? preferred_agent_id? priority? timeout_s? idempotency_key? parent_task_id? detach?
get_coordination_task task_id wait_s?
complete_coordination_task task_id attempt? success? result? error_code? error_message? retryable?
cancel_coordination_task task_id
fail_coordination_agent agent_id reason?
coordination_metrics
isolation_report
"""  # noqa: E501


def tools_of(url: str, deadline_s: float = 20.0) -> dict[str, Tool]:
    return {tool.name: tool for tool in coordination_tools(url, deadline_s=deadline_s)}


class Calls(Scripted):
    """Makes one tool call after the other; a function makes one from what was observed so far."""

    def __init__(self, *calls: tuple[str, dict[str, Any] | Callable[[list[str]], dict[str, Any]]]) -> None:
        super().__init__()
        self.calls = calls
        self.observed: list[str] = []

    def generate(self, messages: list[ChatMessage], *_args: Any, **_kwargs: Any) -> ChatMessage:
        texts = [message.content for message in messages if message.role == MessageRole.TOOL_RESPONSE]
        self.observed = ["".join(part["text"] for part in text) for text in texts if isinstance(text, list)]
        name, arguments = self.calls[len(self.observed)]
        made = arguments(self.observed) if callable(arguments) else arguments
        function = ChatMessageToolCallFunction(name=name, arguments=made)
        calls = [ChatMessageToolCall(id=f"c{len(self.observed)}", type="function", function=function)]
        usage = TokenUsage(input_tokens=1, output_tokens=1)
        return ChatMessage(role=MessageRole.ASSISTANT, content=None, tool_calls=calls, token_usage=usage)


class Says(Scripted):
    """Writes one piece of code after the other."""

    def __init__(self, *pieces: str) -> None:
        super().__init__()
        self.pieces = pieces

    def generate(self, messages: list[ChatMessage], *_args: Any, **_kwargs: Any) -> ChatMessage:
        done = sum(message.role == MessageRole.ASSISTANT for message in messages)
        usage = TokenUsage(input_tokens=1, output_tokens=1)
        return ChatMessage(role=MessageRole.ASSISTANT, content=code(self.pieces[done]), token_usage=usage)


def test_the_tools_are_those_of_the_contract():
    shown = []
    for tool in coordination_tools("http://127.0.0.1:1"):
        inputs = [name + "?" * bool(about.get("nullable")) for name, about in tool.inputs.items()]
        shown.append(" ".join([tool.name, *inputs]))
        assert tool.output_type == "object"
        assert tool.description.endswith((".", "times.")) and all(
            about["description"] for about in tool.inputs.values()
        )
    assert shown == CONTRACT.strip().splitlines()


def test_each_tool_is_the_call_of_its_name(daemon):
    tools = tools_of(daemon.url)
    agent_id = tools["spawn_coordination_agent"](kind="external", lease_s=30, task_types=["ingest"])["agent_id"]
    daemon.client.heartbeat(agent_id)
    arguments = {"payload": {"a": 1}, "task_type": "ingest", "priority": 5, "timeout_s": 9.5, "idempotency_key": "k"}
    submitted = tools["submit_coordination_task"](**arguments, preferred_agent_id=agent_id)
    task_id = submitted["task_id"]
    assert submitted["status"] == "in_progress"
    assert tools["complete_coordination_task"](task_id=task_id, result={"b": [2]}, attempt=1)["status"] == "completed"
    task = tools["get_coordination_task"](task_id=task_id, wait_s=5)
    assert (task["result"], task["priority"], task["payload"]) == ({"b": [2]}, 5, {"a": 1})
    failing = tools["submit_coordination_task"](payload={}, task_type="ingest")["task_id"]
    said = {"success": False, "error_code": "no", "error_message": "not today", "retryable": True}
    assert tools["complete_coordination_task"](task_id=failing, **said)["status"] == "pending"
    assert tools["get_coordination_task"](task_id=failing)["attempts"][0]["failure"]["cause"] == "no"
    assert tools["cancel_coordination_task"](task_id=failing)["status"] == "cancelled"
    assert tools["fail_coordination_agent"](agent_id=agent_id, reason="tired")["status"] == "degraded"
    assert tools["coordination_metrics"]()["tasks_total"] == 2
    assert tools["isolation_report"]()["total_agents"] == 1
    assert tools["initialize_pool"](size=2)["pool_size"] == 2
    assert tools["shutdown_pool"](drain_s=0, discard=True)["status"] == "shutdown_completed"
    assert tools["initialize_pool"]()["status"] == "initialized"


def test_an_agent_that_writes_code_uses_the_pool_and_reads_refusals(daemon):
    model = Says(
        "pool = initialize_pool(size=2)\nprint(pool['pool_size'])",
        "get_coordination_task(task_id='nobody')",
        "tasks = [submit_coordination_task(payload={'action': 'digest', 'text': t}) for t in ['a', 'b', 'c']]",
        "results = [get_coordination_task(task_id=t['task_id'], wait_s=20)['result'] for t in tasks]\n"
        "shutdown_pool()\nfinal_answer([r['sha256'][:4] for r in results])",
    )
    agent = CodeAgent(tools=coordination_tools(daemon.url), model=model, verbosity_level=LogLevel.OFF)
    assert agent.run("Use the pool.") == ["ca97", "3e23", "2e7d"]
    errors = [str(step.error) for step in agent.memory.steps if getattr(step, "error", None)]
    assert len(errors) == 1 and "task_not_found: there is no task with this id" in errors[0]
    assert daemon.client.agents() == []


def test_an_agent_that_calls_tools_uses_the_pool_and_reads_refusals(daemon):
    def the_task(observed: list[str]) -> dict[str, Any]:
        (task_id,) = {task["task_id"] for task in daemon.client.tasks()}
        assert task_id in observed[2]
        return {"task_id": task_id, "wait_s": 20}

    model = Calls(
        ("initialize_pool", {"size": 1}),
        ("submit_coordination_task", {"payload": {}, "priority": 1000}),
        ("submit_coordination_task", {"payload": {"action": "digest", "text": "a"}, "timeout_s": 30}),
        ("get_coordination_task", the_task),
        ("coordination_metrics", {}),
        ("shutdown_pool", {}),
        ("final_answer", lambda observed: {"answer": observed[3]}),
    )
    agent = ToolCallingAgent(tools=coordination_tools(daemon.url), model=model, verbosity_level=LogLevel.OFF)
    answer = agent.run("Use the pool.")
    assert hashlib.sha256(b"a").hexdigest() in answer
    assert any("validation_failed: `priority` must be an integer from -100 to 100" in text for text in model.observed)
    assert daemon.client.agents() == []


def test_tools_survive_a_restart_of_the_daemon_between_and_during_calls(daemon):
    tools = tools_of(daemon.url, deadline_s=30.0)
    agent_id = tools["spawn_coordination_agent"](kind="external")["agent_id"]
    daemon.kill()
    daemon.start()
    task_id = tools["submit_coordination_task"](payload={})["task_id"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(tools["get_coordination_task"], task_id=task_id, wait_s=30)
        # So long that the call has reached it.
        time.sleep(0.3)
        daemon.kill()
        time.sleep(0.5)
        assert not waiting.done()
        daemon.start()
        daemon.client.assignment(agent_id)
        tools["complete_coordination_task"](task_id=task_id, result="late")
        assert waiting.result(60)["result"] == "late"


def test_tools_of_a_daemon_that_is_gone_raise_in_time_and_work_when_it_is_back(daemon):
    tools = tools_of(daemon.url, deadline_s=0.5)
    daemon.stop()
    begun = time.monotonic()
    for name in ("coordination_metrics", "initialize_pool", "shutdown_pool"):
        with pytest.raises(Unreachable, match="cannot be reached"):
            tools[name]()
    assert time.monotonic() - begun < 5
    daemon.start()
    until("the tools work again", lambda: tools["coordination_metrics"]()["queue_length"] == 0)


def test_an_agent_goes_on_when_a_tool_could_not_reach_the_daemon(daemon):
    back = threading.Event()

    def start(observed: list[str]) -> dict[str, Any]:
        assert "Unreachable" in observed[0] or "cannot be reached" in observed[0]
        daemon.start()
        back.set()
        return {}

    model = Calls(
        ("coordination_metrics", {}),
        ("coordination_metrics", start),
        ("final_answer", lambda observed: {"answer": "tasks_total" in observed[1]}),
    )
    daemon.kill()
    tools = coordination_tools(daemon.url, deadline_s=0.5)
    assert ToolCallingAgent(tools=tools, model=model, verbosity_level=LogLevel.OFF).run("Look.") is True
    assert back.is_set()


def test_refusals_are_raised_with_their_code(daemon):
    tools = tools_of(daemon.url)
    with pytest.raises(TaskNotFound, match="^task_not_found: "):
        tools["cancel_coordination_task"](task_id="nobody")
    with pytest.raises(ValidationFailed, match="^validation_failed: .*error.*contradicts"):
        task_id = tools["submit_coordination_task"](payload={})["task_id"]
        tools["complete_coordination_task"](task_id=task_id, error_code="no")
    with pytest.raises(ValidationFailed, match="contradicts success=false"):
        tools["complete_coordination_task"](task_id=task_id, success=False, result=1)
