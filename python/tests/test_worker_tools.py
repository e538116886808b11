"""The daemon's tools in the hands of an agent of the pool; the test is the daemon."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import SCRIPTED_AGENT
from daemon_sim import SCRIPTED, WorkerProcess

from daedalus.worker.agents import AgentFactory
from daedalus.worker.config import parse
from daedalus.worker.jobs import AgentJob
from daedalus.worker.pool_tools import INSTRUCTIONS

WITH_TOOLS = {**SCRIPTED_AGENT, "coordination_tools": True}
NAMES = {"submit_coordination_task", "get_coordination_task", "coordination_metrics", "isolation_report"}


@pytest.fixture
def worker(start) -> WorkerProcess:
    worker = start(SCRIPTED)
    assert worker.init(WITH_TOOLS)["type"] == "ready"
    return worker


def answer(worker: WorkerProcess, name: str, args: dict[str, Any], **answer: Any) -> None:
    """The next call must be this one, and is answered so."""
    call = worker.expect("tool_call")
    assert (call["task_id"], call["name"], call["args"]) == ("t", name, args)
    worker.send(type="tool_result", call_id=call["call_id"], **answer)


def test_a_code_agent_hands_out_a_task_and_looks_at_it(worker):
    attempt = worker.start_task({"prompt": "delegate"})
    submit = {"payload": {"prompt": "part"}, "priority": 3, "detach": False}
    answer(worker, "submit_coordination_task", submit, ok=True, value={"task_id": "c", "status": "pending"})
    for status in ("pending", "completed"):
        answer(worker, "get_coordination_task", {"task_id": "c"}, ok=True, value={"status": status, "result": [7]})
    assert worker.end(attempt)["output"] == {"result": [7]}


def test_a_tool_calling_agent_has_them_too(worker):
    attempt = worker.start_task({"prompt": "pool"}, task_type="research")
    answer(worker, "coordination_metrics", {}, ok=True, value={"queue_length": 0})
    answer(worker, "isolation_report", {}, ok=True, value={"breaches_detected": 0})
    assert worker.end(attempt)["output"] == "seen"


@pytest.mark.parametrize("prompt", ["alone", "alone_calls"])
def test_a_refusal_is_raised_to_the_model_with_code_and_message(worker, prompt):
    attempt = worker.start_task({"prompt": prompt}, task_type="research" if prompt == "alone_calls" else "general")
    refusal = {"ok": False, "code": "would_deadlock", "message": "one must stay free"}
    answer(worker, "submit_coordination_task", {"payload": {"prompt": "part"}}, **refusal)
    step = worker.expect("step")
    assert "would_deadlock: one must stay free" in step["error"]
    assert worker.end(attempt)["output"] == "alone"


def test_what_cannot_be_sent_is_refused_here(start):
    worker = start(SCRIPTED)
    assert worker.init(WITH_TOOLS, max_frame_bytes=64 << 10)["type"] == "ready"
    attempt = worker.start_task({"prompt": "unsendable", "size": 100_000})
    assert "body_too_large: " in worker.expect("step")["error"]
    assert "validation_failed: submit_coordination_task.payload.x: nan" in worker.expect("step")["error"]
    assert worker.end(attempt)["output"] == "sent nothing"
    assert not [frame for frame in worker.seen if frame["type"] == "tool_call"]


def test_a_call_without_an_answer_can_be_cancelled_and_its_answer_comes_too_late(worker):
    attempt = worker.start_task({"prompt": "delegate"})
    call = worker.expect("tool_call")
    worker.cancel(attempt, reason="enough")
    end = worker.end(attempt)
    assert (end["type"], end["reason"]) == ("cancelled", "enough")
    worker.send(type="tool_result", call_id=call["call_id"], ok=True, value={"task_id": "late"})
    attempt = worker.start_task({"prompt": "delegate"})
    again = worker.expect("tool_call")
    assert again["call_id"] != call["call_id"]
    worker.send(type="tool_result", call_id=call["call_id"], ok=True, value={"task_id": "late"})
    worker.send(type="tool_result", call_id=again["call_id"], ok=True, value={"task_id": "c", "status": "pending"})
    answer(worker, "get_coordination_task", {"task_id": "c"}, ok=True, value={"status": "completed", "result": 1})
    assert worker.end(attempt)["output"] == {"result": 1}


def test_calls_count_and_can_be_limited(worker):
    attempt = worker.start_task({"prompt": "delegate"}, max_tool_calls=0)
    assert worker.end(attempt)["code"] == "TOOL_CALL_BUDGET"


def test_without_the_key_no_agent_has_them(scripted):
    end = scripted.run("delegate", max_steps=1)
    assert (end["type"], end["code"]) == ("error", "MAX_STEPS")


@pytest.mark.parametrize("kind", ["code", "tool_calling"])
def test_the_model_is_told_how_to_use_them(kind):
    raw = {"kind": kind, "instructions": "Be brief.", "model": {"provider": "offline"}}
    bridge: Any = None
    job = AgentJob("", {})
    with_tools = AgentFactory(parse({**raw, "coordination_tools": True}, {}), bridge).build("general", print, job)
    assert with_tools.instructions == f"Be brief.\n{INSTRUCTIONS}"
    assert with_tools.tools.keys() > NAMES
    without = AgentFactory(parse(raw, {}), bridge).build("general", print, job)
    assert without.instructions == "Be brief."
    assert not NAMES & without.tools.keys()
