"""The clients against the real daemon: every call, and a daemon that restarts, is slow, full and gone."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from real_daemon import until

from daedalus import (
    AgentNotFound,
    AlreadyFinished,
    ApiError,
    AsyncClient,
    Client,
    Conflict,
    GateBacklogFull,
    GateNotFound,
    PoolFull,
    QueueFull,
    ScheduleNotFound,
    StaleIncarnation,
    TaskNotFound,
    Timeout,
    Unreachable,
    ValidationFailed,
)

NOBODY = "00000000-0000-4000-8000-000000000000"


class Awaited:
    """An `AsyncClient` that is used like a `Client`, so that one story is for both."""

    def __init__(self, url: str, **limits: float) -> None:
        self._client = AsyncClient(url, **limits)

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            async def run() -> Any:
                answer = getattr(self._client, name)(*args, **kwargs)
                return [item async for item in answer] if name == "tasks" else await answer

            return asyncio.run(run())

        return call


@pytest.fixture(params=[Client, Awaited])
def kind(request):
    return request.param


@pytest.mark.parametrize("base_path", ["", "/api/coordination"])
def test_every_call_has_its_answer(daemon_with, kind, base_path):
    daemon = daemon_with(f'[http]\nbase_path = "{base_path}"\n' if base_path else "", base_path=base_path)
    client = kind(daemon.url)
    assert client.ready() is False, "there is no agent yet"
    agent = client.spawn("external", task_types=["research", "general"])["agent_id"]
    assert client.ready() is True
    assert [entry["agent"]["agent_id"] for entry in client.agents()] == [agent]
    assert client.agent(agent)["agent"]["task_types"] == ["research", "general"]
    assert client.assignment(agent, wait_s=0.1) is None

    task = client.submit({"q": "ä"}, task_type="research", priority=3, preferred_agent_id=agent)
    assert task["status"] == "in_progress"
    work = client.assignment(agent, wait_s=5, incarnation=1)
    assert (work["task_id"], work["payload"], work["attempt"]) == (task["task_id"], {"q": "ä"}, 1)
    assert client.heartbeat(agent, incarnation=1)["cancel_requested"] is False
    assert client.complete(task["task_id"], {"a": [1, None]}, attempt=1)["status"] == "completed"
    done = client.wait(task["task_id"], timeout_s=5)
    assert (done["result"], done["attempts"][0]["outcome"]) == ({"a": [1, None]}, "completed")

    failing = client.submit({})["task_id"]
    error = {"code": "no", "message": "cannot be done", "retryable": False}
    assert client.complete(failing, error=error)["status"] == "failed"
    assert client.task(failing)["error"]["code"] == "no"
    assert client.retry(failing)["status"] == "in_progress"
    assert client.cancel(failing)["status"] == "cancelled"
    assert client.heartbeat(agent)["cancel_requested"] is True
    with pytest.raises(AlreadyFinished) as ended:
        client.complete(failing, attempt=2)
    assert ended.value.extra["task_status"] == "cancelled"
    assert client.retry_all(status="cancelled") == {"retried": 1, "remaining": 0}
    assert {task["task_id"] for task in client.tasks(page_size=1)} == {task["task_id"], failing}
    assert [task["task_id"] for task in client.tasks(status="completed")] == [task["task_id"]]

    failed = client.fail(agent, "it smokes")
    assert (failed["reassigned_task_id"], failed["task_reassigned"]) == (failing, False)
    assert client.recover(agent)["incarnation"] == 2
    assert client.metrics()["tasks_completed"] == 1
    assert client.isolation_report()["total_agents"] == 1
    checked = client.check_isolation()
    assert (checked["agents"], checked["leaked"]) == ([], False), "an external agent has no process to look into"
    assert client.remove(agent)["status"] == "removed"
    assert client.initialize(2)["spawned_agents"] == 2
    assert client.shutdown(discard=True)["agents_stopped"] == 2
    assert client.task(failing)["status"] in ("failed", "cancelled"), "the built-in worker does not know it"


def test_gates_are_seen_and_ordered(daemon_with, kind):
    gate = '[[gate]]\nname = "discovery"\ntask_types = ["discovery", "migration"]\n'
    daemon = daemon_with(f"max_depth = 1\n{gate}")
    client = kind(daemon.url)
    client.spawn("external")
    (first,) = client.gates()
    assert (first["name"], first["task_types"]) == ("discovery", ["discovery", "migration"])
    assert (first["state"], first["mode"]) == ("open", "auto")
    assert client.close_gate("discovery")["state"] == "closed"
    waits = client.submit({}, task_type="migration")["task_id"]
    assert client.task(waits)["pending_reason"] == "gate_closed:discovery"
    with pytest.raises(GateBacklogFull) as full:
        kind(daemon.url, deadline_s=0.5).submit({}, task_type="discovery")
    assert full.value.extra == {"gate": "discovery", "max_depth": 1}
    assert full.value.retry_after_s is not None
    expected = [{"name": "discovery", "state": "closed", "tasks_waiting": 1, "closures": 1}]
    assert client.metrics()["gates"] == expected
    assert client.ready() is True, "all other work goes on"
    assert client.open_gate("discovery")["mode"] == "open"
    assert client.task(waits)["status"] == "in_progress"
    assert client.auto_gate("discovery")["mode"] == "auto"
    with pytest.raises(GateNotFound):
        client.close_gate("nothing")


def test_recurring_jobs_are_listed_run_paused_and_resumed(daemon_with, kind):
    job = '[[schedule]]\nname = "job"\nevery = "1h"\ntask_type = "ingest"\npayload = { source = "a" }\n'
    client = kind(daemon_with(job).url)
    (shown,) = client.schedules()
    assert (shown["every_s"], shown["cron"], shown["payload"], shown["runs"]) == (3600.0, None, {"source": "a"}, 0)
    task = client.run_schedule("job")
    assert client.task(task["task_id"])["payload"] == {"source": "a"}
    assert client.pause_schedule("job")["next_run_at"] is None
    resumed = client.resume_schedule("job")
    assert (resumed["paused"], resumed["runs"], resumed["last_task_id"]) == (False, 1, task["task_id"])
    assert client.metrics()["schedules"] == [{"name": "job", "runs": 1, "skipped": {}}]
    for call in (client.run_schedule, client.pause_schedule, client.resume_schedule):
        with pytest.raises(ScheduleNotFound):
            call("nothing")


def test_refusals_are_errors_to_branch_on(daemon_with, kind):
    daemon = daemon_with()
    client = kind(daemon.url, deadline_s=3.0)
    agent = client.spawn("external")["agent_id"]
    for refused, call in [
        (TaskNotFound, lambda: client.task(NOBODY)),
        (TaskNotFound, lambda: client.cancel("no id")),
        (AgentNotFound, lambda: client.agent(NOBODY)),
        (ValidationFailed, lambda: client.submit([])),
        (ValidationFailed, lambda: client.spawn("robot")),
        (StaleIncarnation, lambda: client.heartbeat(agent, incarnation=7)),
        (Conflict, lambda: client.recover(agent)),
    ]:
        with pytest.raises(refused) as raised:
            call()
        assert raised.value.trace_id
    client.submit({"n": 1}, idempotency_key="k")
    with pytest.raises(Conflict, match="idempotency_conflict"):
        client.submit({"n": 2}, idempotency_key="k")


def test_a_pool_that_is_full_says_so_at_once(daemon_with, kind):
    daemon = daemon_with("[worker]\nkind = 'external'\n")
    client = kind(daemon.url)
    client.initialize(16)
    begun = time.monotonic()
    with pytest.raises(PoolFull) as full:
        client.spawn("external")
    assert full.value.extra == {"max_size": 16}
    assert time.monotonic() - begun < 5


def test_a_body_that_is_too_large_is_refused_and_not_taken_for_a_lost_connection(daemon, kind):
    client = kind(daemon.url)
    for megabytes in (2, 20):
        with pytest.raises(ApiError) as refused:
            client.submit({"text": "x" * (megabytes << 20)})
        assert refused.value.code == "body_too_large"


def test_a_full_queue_is_waited_for_and_each_task_is_there_once(daemon_with, kind):
    daemon = daemon_with("max_depth = 2\n")
    client = kind(daemon.url)
    for number in range(2):
        client.submit({"n": number})
    with pytest.raises(QueueFull) as full:
        kind(daemon.url, deadline_s=0.5).submit({"n": 2})
    assert full.value.retry_after_s is not None
    with ThreadPoolExecutor(4) as pool:
        late = [pool.submit(client.submit, {"n": number}) for number in range(2, 6)]
        agent = daemon.external()
        for _ in range(6):
            work = until("there is work", lambda: daemon.client.assignment(agent, wait_s=1))
            daemon.client.complete(work["task_id"], attempt=work["attempt"])
        ids = {future.result()["task_id"] for future in late}
    assert len(ids) == 4
    assert sorted(daemon.client.task(task["task_id"])["payload"]["n"] for task in daemon.client.tasks()) == [*range(6)]


def test_a_restart_costs_no_task_and_makes_none_twice(daemon_with, kind):
    daemon = daemon_with("max_depth = 10000\n")
    client = kind(daemon.url, deadline_s=30.0)
    accepted: list[str] = []
    stop = threading.Event()

    def submit(writer: int) -> None:
        number = 0
        while not stop.wait(0.005):
            accepted.append(client.submit({"id": f"{writer}-{number}"})["task_id"])
            number += 1

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(submit, writer) for writer in range(4)]
        try:
            for _ in range(4):
                more = len(accepted) + 20
                until("something is accepted", lambda more=more: len(accepted) > more)
                daemon.kill()
                time.sleep(0.1)
                daemon.start()
        finally:
            stop.set()
    for writer in writers:
        writer.result()
    stored = [daemon.client.task(task["task_id"]) for task in daemon.client.tasks()]
    assert sorted(task["task_id"] for task in stored) == sorted(accepted), "a submit was lost or done twice"
    assert len({task["payload"]["id"] for task in stored}) == len(stored)


def test_a_daemon_that_is_stopped_for_a_while_is_slow_and_nothing_more(daemon, kind):
    client = kind(daemon.url, timeout_s=0.5, deadline_s=20.0)
    daemon.signal(signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client.submit, {"n": 1})
        time.sleep(1.3)
        assert not slow.done()
        daemon.signal(signal.SIGCONT)
        task_id = slow.result(20)["task_id"]
    assert [task["task_id"] for task in daemon.client.tasks()] == [task_id]


def test_a_daemon_that_never_answers_is_given_up(daemon, kind):
    daemon.signal(signal.SIGSTOP)
    begun = time.monotonic()
    with pytest.raises(Timeout):
        kind(daemon.url, timeout_s=0.3, deadline_s=1.0).submit({})
    with pytest.raises(Timeout):
        kind(daemon.url, timeout_s=0.3, deadline_s=1.0).task(NOBODY, wait_s=1)
    assert time.monotonic() - begun < 8


def test_waiting_goes_on_over_a_restart(daemon, kind):
    agent = daemon.external()
    task_id = daemon.client.submit({})["task_id"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(kind(daemon.url).wait, task_id, timeout_s=60)
        assert daemon.stop() == 0
        assert not waiting.done()
        daemon.start()
        assert daemon.client.assignment(agent)["task_id"] == task_id
        daemon.client.complete(task_id, "late", attempt=1)
        assert waiting.result(30)["result"] == "late"


def test_a_daemon_that_is_gone_is_given_up_at_the_deadline(daemon, kind):
    daemon.kill()
    begun = time.monotonic()
    for call in (
        lambda client: client.submit({}),
        lambda client: client.agents(),
        lambda client: client.wait(NOBODY, timeout_s=60),
        lambda client: client.spawn(),
    ):
        with pytest.raises(Unreachable) as gone:
            call(kind(daemon.url, deadline_s=0.5))
        assert not gone.value.maybe_done
    assert time.monotonic() - begun < 8
