"""The tools with the official client of the protocol: list and call every one of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, McpError
from mcp.client.streamable_http import streamable_http_client
from mcp_daemon import EXTERNAL, Daemon

TOOLS = {
    "initialize_pool",
    "shutdown_pool",
    "spawn_coordination_agent",
    "submit_coordination_task",
    "get_coordination_task",
    "complete_coordination_task",
    "cancel_coordination_task",
    "fail_coordination_agent",
    "coordination_metrics",
    "isolation_report",
}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path, EXTERNAL)
    yield daemon
    daemon.close()


def with_session(daemon: Daemon, test: Callable[[ClientSession], Awaitable[None]]) -> None:
    """Run the test with a client that has initialized."""

    async def run() -> None:
        async with streamable_http_client(daemon.url) as (reads, writes, session_id):
            async with ClientSession(reads, writes) as session:
                answer = await session.initialize()
                assert answer.protocolVersion == "2025-11-25"
                assert answer.serverInfo.name == "daedalus"
                assert session_id() is None
                await test(session)

    asyncio.run(run())


async def call(session: ClientSession, name: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool; the client itself checks the answer against the output schema."""
    answer = await session.call_tool(name, arguments)
    assert not answer.isError
    assert answer.structuredContent == json.loads(answer.content[0].text)
    return answer.structuredContent


def test_every_tool_is_listed_and_called(daemon: Daemon) -> None:
    async def test(session: ClientSession) -> None:
        await session.send_ping()
        tools = (await session.list_tools()).tools
        assert {tool.name for tool in tools} == TOOLS
        assert all(tool.outputSchema and tool.annotations for tool in tools)

        pool = await call(session, "initialize_pool", size=2)
        spawned = await call(session, "spawn_coordination_agent", kind="external", task_types=["research"])
        task = await call(session, "submit_coordination_task", payload={"n": 1}, preferred_agent_id=pool["agent_ids"][0])
        assert task["status"] == "in_progress"
        shown = await call(session, "get_coordination_task", task_id=task["task_id"])
        assert shown["payload"] == {"n": 1} and shown["result"] is None
        failed = await call(session, "fail_coordination_agent", agent_id=pool["agent_ids"][0], reason="a test")
        assert failed["reassigned_task_id"] == task["task_id"]
        done = await call(session, "complete_coordination_task", task_id=task["task_id"], attempt=2, result={"ok": 1})
        assert done["status"] == "completed"
        shown = await call(session, "get_coordination_task", task_id=task["task_id"], wait_s=0.1)
        assert shown["result"] == {"ok": 1} and len(shown["attempts"]) == 2
        other = await call(session, "submit_coordination_task", payload={}, priority=-1, idempotency_key="k")
        assert await call(session, "cancel_coordination_task", task_id=other["task_id"])
        metrics = await call(session, "coordination_metrics")
        assert metrics["agents"]["total"] == 3 and metrics["tasks_completed"] == 1
        report = await call(session, "isolation_report")
        assert spawned["agent_id"] in {agent["agent_id"] for agent in report["details"]}
        assert (await call(session, "shutdown_pool"))["agents_stopped"] == 3

    with_session(daemon, test)


def test_a_refusal_is_raised_with_code_and_data(daemon: Daemon) -> None:
    async def test(session: ClientSession) -> None:
        for name, arguments, code in [
            ("get_coordination_task", {"task_id": "none"}, "task_not_found"),
            ("submit_coordination_task", {"payload": {}, "surprise": 1}, "validation_failed"),
            ("nothing_of_this_name", {}, "unknown_tool"),
        ]:
            with pytest.raises(McpError) as raised:
                await session.call_tool(name, arguments)
            error = raised.value.error
            assert error.message.startswith(f"{code}: ")
            assert error.data["code"] == code and error.data["retryable"] is False
        assert (await call(session, "coordination_metrics"))["tasks_total"] == 0

    with_session(daemon, test)


def test_resources_are_listed_and_read(daemon: Daemon) -> None:
    async def test(session: ClientSession) -> None:
        task = await call(session, "submit_coordination_task", payload={"n": 1})
        resources = (await session.list_resources()).resources
        uris = [str(resource.uri) for resource in resources]
        assert uris == ["daedalus://metrics", "daedalus://isolation-report"]
        templates = (await session.list_resource_templates()).resourceTemplates
        assert [template.uriTemplate for template in templates] == ["daedalus://tasks/{id}"]
        for uri, name, value in [
            (f"daedalus://tasks/{task['task_id']}", "payload", {"n": 1}),
            ("daedalus://metrics", "tasks_total", 1),
            ("daedalus://isolation-report", "breaches_detected", 0),
        ]:
            contents = (await session.read_resource(uri)).contents  # type: ignore[arg-type]
            assert contents[0].mimeType == "application/json"
            assert json.loads(contents[0].text)[name] == value
        with pytest.raises(McpError):
            await session.read_resource("daedalus://nothing")  # type: ignore[arg-type]

    with_session(daemon, test)
