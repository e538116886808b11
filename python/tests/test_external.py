"""The worker loop against the real daemon."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
import time
from typing import Any

import pytest
from external_side import ended, running
from fake_server import FakeServer, answer, problem, silent
from real_daemon import until

from daedalus import AgentNotFound, Client, Context, TaskError, ValidationFailed, Worker


def test_a_function_is_an_agent_for_its_types(daemon):
    worker = Worker(daemon.url)
    contexts: list[Context] = []

    @worker.task("research")
    def research(payload: dict[str, Any], context: Context) -> Any:
        contexts.append(context)
        return {"answer": payload["question"].upper()}

    @worker.task("ingest", "general")
    async def ingest(payload: dict[str, Any], context: Context) -> Any:
        await asyncio.sleep(0.01)
        return [context.task_type, payload]

    with running(worker):
        task = ended(daemon, {"question": "why"}, task_type="research")
        assert (task["status"], task["result"]) == ("completed", {"answer": "WHY"})
        assert ended(daemon, {"n": 1}, task_type="ingest")["result"] == ["ingest", {"n": 1}]
        (agent,) = daemon.client.agents()
        assert (agent["agent"]["kind"], agent["agent"]["lease_s"]) == ("external", 30.0)
        assert sorted(agent["agent"]["task_types"]) == ["general", "ingest", "research"]
        (context,) = contexts
        assert (context.task_id, context.attempt, context.trace_id) == (task["task_id"], 1, task["trace_id"])
        assert (context.agent_id, context.previous_failure) == (agent["agent"]["agent_id"], None)
    assert daemon.client.agents() == [], "it took its agent with it"


def test_what_a_function_raises_is_the_tasks_error(daemon):
    worker = Worker(daemon.url)
    tries: list[str | None] = []

    @worker.task("general")
    def fail(payload: dict[str, Any], context: Context) -> Any:
        if payload["how"] == "task":
            raise TaskError("no such page", code="not_there")
        if payload["how"] == "again":
            tries.append(context.previous_failure)
            if len(tries) < 3:
                raise TaskError("the index is rebuilt", code="busy", retryable=True)
            return len(tries)
        if payload["how"] == "exit":
            sys.exit(3)
        if payload["how"] == "long":
            raise ValueError("ä" * 9000)
        if payload["how"] == "large":
            return "x" * (2 << 20)
        return {"key": {1, 2}} if payload["how"] == "set" else {1: "a key that is no text"}

    with running(worker):

        def error_of(how: str) -> Any:
            task = ended(daemon, {"how": how})
            assert (task["status"], task["attempt_count"]) == ("failed", 1)
            return task["error"]

        assert error_of("task") == {"code": "not_there", "message": "no such page", "retryable": False}
        assert error_of("exit") == {"code": "SystemExit", "message": "3", "retryable": False}
        long = error_of("long")
        assert long["code"] == "ValueError" and 900 < len(long["message"]) < 4096
        assert error_of("set")["code"] == "result_not_json"
        assert error_of("keys")["code"] == "result_not_json"
        assert error_of("large")["code"] == "result_too_large"
        task = ended(daemon, {"how": "again"})
        assert (task["result"], task["attempt_count"], task["failures"]) == (3, 3, 2)
        assert tries == [None, "busy: the index is rebuilt", "busy: the index is rebuilt"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_cancel_reaches_the_function_and_frees_the_agent(daemon, is_async):
    worker = Worker(daemon.url)
    began, told = threading.Event(), threading.Event()

    def plain(payload: dict[str, Any], context: Context) -> Any:
        began.set()
        if "seconds" in payload:
            context.cancelled.wait(payload["seconds"])
            told.set()
            context.raise_if_cancelled()
        return "done"

    async def cancellable(payload: dict[str, Any], context: Context) -> Any:
        began.set()
        try:
            await asyncio.sleep(payload.get("seconds", 0))
        except asyncio.CancelledError:
            told.set()
            raise
        return "done"

    worker.task("general")(cancellable if is_async else plain)
    with running(worker):
        task_id = daemon.client.submit({"seconds": 60})["task_id"]
        assert began.wait(20)
        daemon.client.cancel(task_id)
        assert told.wait(10)
        task = ended(daemon, {})
        assert task["result"] == "done"
        attempt = daemon.client.task(task_id)["attempts"][0]
        assert (attempt["outcome"], attempt["overlap_possible"]) == ("cancelled", False)


def test_a_time_out_is_one_and_not_the_functions_error(daemon):
    worker = Worker(daemon.url)

    @worker.task("general")
    def slow(payload: dict[str, Any], context: Context) -> Any:
        if context.attempt == 1:
            context.cancelled.wait(60)
            context.raise_if_cancelled()
        return context.previous_failure

    with running(worker):
        task = ended(daemon, {}, timeout_s=0.5)
        assert [attempt["outcome"] for attempt in task["attempts"]] == ["timed_out", "completed"]


def test_work_that_was_taken_away_is_dropped_and_the_worker_goes_on(daemon):
    worker = Worker(daemon.url)
    began, go = threading.Event(), threading.Event()
    results: list[bool] = []

    @worker.task("general")
    def slow(payload: dict[str, Any], context: Context) -> Any:
        if payload.get("slow") and context.attempt == 1:
            began.set()
            assert go.wait(60)
            results.append(context.cancelled.wait(20))
        return context.attempt

    with running(worker):
        task_id = daemon.client.submit({"slow": True})["task_id"]
        assert began.wait(20)
        (agent,) = daemon.client.agents()
        agent_id = agent["agent"]["agent_id"]
        daemon.client.fail(agent_id, "an operator said so")
        go.set()
        until("the function was told", lambda: bool(results))
        assert results == [True]
        assert daemon.client.task(task_id)["status"] == "pending"
        daemon.client.recover(agent_id)
        task = daemon.client.wait(task_id, timeout_s=30)
        assert (task["result"], task["attempts"][0]["failure"]["cause"]) == (2, "failed_by_client")


def test_an_agent_that_was_removed_is_made_anew(daemon):
    worker = Worker(daemon.url)
    worker.task("general")(lambda payload, context: "done")
    with running(worker):
        (agent,) = until("the agent is there", daemon.client.agents)
        daemon.client.remove(agent["agent"]["agent_id"])
        assert ended(daemon, {})["result"] == "done"


def test_a_worker_joins_an_agent_that_is_there(daemon):
    agent_id = daemon.external(lease_s=1.0, task_types=["general", "ingest"])
    worker = Worker(daemon.url, agent_id=agent_id)

    @worker.task("general")
    def slow(payload: dict[str, Any], context: Context) -> Any:
        time.sleep(payload["seconds"])
        return context.agent_id

    with running(worker):
        task = ended(daemon, {"seconds": 2.5})
        assert (task["result"], task["attempt_count"]) == (agent_id, 1), "it kept the agent's lease"
        error = ended(daemon, {}, task_type="ingest")["error"]
        assert "no function for ingest, only for general" in error["message"]
    assert daemon.client.agent(agent_id)["agent"]["status"] in ("idle", "degraded"), "not its own: it stays"


def test_what_waiting_cannot_heal_is_raised(daemon):
    nobody = Worker(daemon.url, agent_id="00000000-0000-4000-8000-000000000000")
    nobody.task("general")(lambda payload, context: None)
    with pytest.raises(AgentNotFound):
        nobody.run()
    odd = Worker(daemon.url)
    odd.task("cooking")(lambda payload, context: None)
    with pytest.raises(ValidationFailed, match="cooking"):
        odd.run()


def test_a_worker_without_functions_or_with_two_for_a_type_is_refused():
    worker = Worker("http://127.0.0.1:1")
    with pytest.raises(ValueError, match="nothing to run"):
        worker.run()
    worker.task("general")(lambda payload, context: None)
    with pytest.raises(ValueError, match="'general' already"):
        worker.task("general")
    with pytest.raises(TypeError, match="name the types"):
        worker.task(lambda payload, context: None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lease_s"):
        Worker("http://127.0.0.1:1", lease_s=0.5)


@pytest.mark.parametrize("clean", [True, False])
def test_a_restart_of_the_daemon_in_the_middle_of_a_task_costs_nothing(daemon, clean):
    worker = Worker(daemon.url)
    began, go = threading.Event(), threading.Event()

    @worker.task("general")
    def slow(payload: dict[str, Any], context: Context) -> Any:
        began.set()
        assert go.wait(60)
        return context.attempt

    with running(worker):
        task_id = daemon.client.submit({})["task_id"]
        assert began.wait(20)
        daemon.stop() if clean else daemon.kill()
        go.set()  # It is done while there is no daemon.
        time.sleep(0.5)
        daemon.start()
        task = daemon.client.wait(task_id, timeout_s=30)
        assert (task["status"], task["result"], task["attempt_count"]) == ("completed", 1, 1)
        assert ended(daemon, {})["attempt_count"] == 1, "and it goes on with the same agent"
        assert len(daemon.client.agents()) == 1


def test_a_worker_may_start_before_the_daemon(daemon):
    daemon.stop()
    worker = Worker(daemon.url)
    worker.task("general")(lambda payload, context: "done")
    with running(worker):
        time.sleep(0.3)
        daemon.start()
        assert ended(daemon, {})["result"] == "done"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_stop_is_obeyed_though_the_daemon_is_gone_or_stands_still(daemon, number):
    worker = Worker(daemon.url, stop_grace_s=0.5)
    began = threading.Event()

    @worker.task("general")
    def slow(payload: dict[str, Any], context: Context) -> Any:
        began.set()
        time.sleep(0.2)

    with running(worker) as thread:
        daemon.client.submit({})
        assert began.wait(20)
        daemon.signal(number)
        begun = time.monotonic()
        worker.stop()
        thread.join(30)
        assert not thread.is_alive()
        assert time.monotonic() - begun < 15


def test_serving_can_be_cancelled_and_the_task_goes_back(daemon):
    worker = Worker(daemon.url)
    began, told = threading.Event(), threading.Event()

    @worker.task("general")
    def slow(payload: dict[str, Any], context: Context) -> Any:
        began.set()
        if context.cancelled.wait(60):
            told.set()

    async def story(payload: dict[str, Any] | None) -> None:
        serving = asyncio.create_task(worker.serve())
        if payload is None:
            await asyncio.to_thread(until, "the agent is there", daemon.client.agents)
        else:
            await asyncio.to_thread(daemon.client.submit, payload)
            assert await asyncio.to_thread(began.wait, 20)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others

    asyncio.run(story(None))
    asyncio.run(story({}))
    assert told.wait(10)
    (task,) = daemon.client.tasks()
    assert (task["status"], task["failures"]) == ("pending", 0)
    assert daemon.client.agents() == []


WORK = {
    "task_id": "t",
    "attempt": 1,
    "incarnation": 1,
    "task_type": "general",
    "payload": {},
    "trace_id": "x",
    "timeout_s": 60.0,
    "previous_failure": None,
}


def test_an_answer_is_repeated_until_the_daemon_took_or_refused_it():
    with FakeServer() as server:
        server.acts = [
            answer(200, {"agent_id": "a", "incarnation": 1}),
            answer(200, WORK),
            problem(503, "unavailable", "0"),
            problem(504, "no_answer"),
            problem(409, "stale_attempt", newest_attempt=2),
            answer(200, WORK | {"task_id": "u"}),
            answer(200, {"task_id": "u", "status": "completed"}),
        ]
        server.last = answer(204)
        worker = Worker(server.url)
        worker.task("general")(lambda payload, context: "r")
        with running(worker):
            until("it has asked again", lambda: [s for s in server.seen if s.path.startswith("/tasks/u/")])
        told = [seen.path for seen in server.seen if seen.path.startswith("/tasks/")]
        assert told == ["/tasks/t/complete?attempt=1"] * 3 + ["/tasks/u/complete?attempt=1"]
        assert server.seen[-1].method == "DELETE"


def test_an_agent_that_comes_while_the_worker_leaves_is_removed():
    def late(connection: socket.socket, seen: Any) -> None:
        time.sleep(0.5)
        answer(200, {"agent_id": "a", "incarnation": 1})(connection, seen)

    with FakeServer() as server:
        server.acts = [late, answer(200, {})]
        worker = Worker(server.url)
        worker.task("general")(lambda payload, context: "r")
        with running(worker):
            until("it has asked for a place", lambda: server.seen)
        assert [(seen.method, seen.path) for seen in server.seen] == [("POST", "/agents"), ("DELETE", "/agents/a")]


def test_a_task_that_comes_while_the_worker_leaves_is_given_back():
    beat = {"status": "executing", "incarnation": 1, "task_id": "t", "attempt": 3, "cancel_requested": False}
    with FakeServer() as server:
        server.acts = [answer(200, {"agent": {"lease_s": 5.0}}), silent, answer(200, beat), answer(200, {})]
        worker = Worker(server.url, agent_id="a")
        worker.task("general")(lambda payload, context: "r")
        with running(worker):
            until("it polls", lambda: len(server.seen) == 2)
        told = server.seen[3]
        assert told.path == "/tasks/t/complete?success=false&attempt=3"
        assert (told.body["error"]["code"], told.body["error"]["retryable"]) == ("worker_stopped", True)
        assert len(server.seen) == 4, "an agent that is not its own is not removed"


def test_a_daemon_that_stands_still_longer_than_the_lease_costs_nothing(daemon_with):
    # It notices that it stood still when that took longer than a heartbeat.
    daemon = daemon_with("[worker]\nheartbeat_s = 0.5\n")
    worker = Worker(daemon.url, lease_s=1.0)
    began = threading.Event()

    @worker.task("general")
    def slow(payload: dict[str, Any], context: Context) -> Any:
        began.set()
        time.sleep(payload["seconds"])
        return context.attempt

    with running(worker):
        task_id = daemon.client.submit({"seconds": 4.0})["task_id"]
        assert began.wait(20)
        daemon.signal(signal.SIGSTOP)
        time.sleep(2.5)
        daemon.signal(signal.SIGCONT)
        task = daemon.client.wait(task_id, timeout_s=30)
        assert (task["result"], task["failures"]) == (1, 0)


def test_a_worker_runs_in_an_event_loop_of_the_callers(daemon):
    worker = Worker(daemon.url)
    worker.task("general")(lambda payload, context: "done")

    async def story() -> Any:
        serving = asyncio.create_task(worker.serve())
        task = await asyncio.to_thread(ended, daemon, {})
        worker.stop()
        await serving
        return task["result"]

    assert asyncio.run(story()) == "done"
    assert isinstance(daemon.client, Client) and daemon.client.agents() == []
