"""The clients against a server that loses, delays and refuses: both keep the same promises."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import pickle
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_server import LOST, FakeServer, answer, drip, problem, raw, silent

from daedalus import (
    ApiError,
    AsyncClient,
    Client,
    Conflict,
    GateBacklogFull,
    QueueFull,
    TaskNotFound,
    Timeout,
    Unreachable,
)
from daedalus.client import calls
from daedalus.client.errors import AlreadyFinished, refusal
from daedalus.client.policy import Lost, Pause, Policy, tries
from daedalus.client.wire import Response

#: Makes a client and calls one of its methods: `call(url, "submit", {...}, deadline_s=...)`.
Caller = Callable[..., Any]


def blocking(url: str, method: str, *args: Any, limits: dict[str, float] | None = None, **kwargs: Any) -> Any:
    return getattr(Client(url, **(limits or {})), method)(*args, **kwargs)


def awaited(url: str, method: str, *args: Any, limits: dict[str, float] | None = None, **kwargs: Any) -> Any:
    async def call() -> Any:
        return await getattr(AsyncClient(url, **(limits or {})), method)(*args, **kwargs)

    return asyncio.run(call())


@pytest.fixture(params=[blocking, awaited])
def call(request: pytest.FixtureRequest) -> Caller:
    return request.param


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


def test_a_submit_is_repeated_with_one_key_until_there_is_an_answer(server, call):
    server.acts = [LOST, problem(504, "no_answer"), problem(503, "unavailable", "0"), problem(429, "queue_full", "0")]
    assert call(server.url, "submit", {"n": 1}, task_type="ingest")["task_id"] == "t"
    keys = {seen.body.pop("idempotency_key") for seen in server.seen}
    assert len(server.seen) == 5
    assert len(keys) == 1 and len(keys.pop()) >= 32
    assert all(seen.body == {"payload": {"n": 1}, "task_type": "ingest"} for seen in server.seen)
    call(server.url, "submit", {"n": 1})
    assert server.seen[-1].body["idempotency_key"] not in keys


def test_only_what_was_given_is_sent(server, call):
    given = {"priority": 0, "timeout_s": 1.5, "idempotency_key": "k", "parent_task_id": "p", "detach": False}
    call(server.url, "submit", {}, **given)
    assert server.seen[0].body == {"payload": {}, **given}
    call(server.url, "shutdown")
    call(server.url, "shutdown", drain_s=2, discard=True)
    call(server.url, "complete", "t", {"a": 1}, attempt=2)
    call(server.url, "complete", "t", error={"code": "c"})
    call(server.url, "initialize")
    call(server.url, "task", "a/../b")
    assert [(seen.method, seen.path, seen.body) for seen in server.seen[1:]] == [
        ("DELETE", "/pool", None),
        ("DELETE", "/pool?drain_s=2&discard=true", None),
        ("POST", "/tasks/t/complete?attempt=2", {"result": {"a": 1}}),
        ("POST", "/tasks/t/complete?success=false", {"error": {"code": "c"}}),
        ("POST", "/pool/initialize", {}),
        ("GET", "/tasks/a%2F%2E%2E%2Fb", None),
    ]


@pytest.mark.parametrize("method", ["spawn", "shutdown", "retry_all"])
@pytest.mark.parametrize(
    ("act", "error"),
    [(LOST, Unreachable), (problem(503, "unavailable", "0"), ApiError), (problem(504, "no_answer"), ApiError)],
)
def test_what_would_do_harm_twice_is_not_repeated_after_a_lost_answer(server, call, method, act, error):
    server.acts = [act]
    with pytest.raises(error) as raised:
        call(server.url, method)
    assert raised.value.maybe_done
    assert len(server.seen) == 1


def test_a_job_is_run_once_and_paused_and_resumed_however_often(server, call):
    server.acts = [LOST]
    with pytest.raises(Unreachable):
        call(server.url, "run_schedule", "nightly ingest")
    server.acts = [LOST]
    call(server.url, "pause_schedule", "a/b")
    server.acts = [LOST]
    call(server.url, "resume_schedule", "a")
    call(server.url, "schedules")
    assert [(seen.method, seen.path, seen.body) for seen in server.seen] == [
        ("POST", "/schedules/nightly%20ingest/run", None),
        *2 * [("POST", "/schedules/a%2Fb/pause", None)],
        *2 * [("POST", "/schedules/a/resume", None)],
        ("GET", "/schedules", None),
    ]


def test_what_the_daemon_certainly_did_not_do_is_repeated(server, call):
    server.acts = [problem(503, "overloaded", "0"), problem(503, "draining", "0")]
    call(server.url, "spawn", "external")
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (problem(409, "idempotency_conflict", task_id="other"), Conflict),
        (problem(404, "task_not_found"), TaskNotFound),
        (problem(422, "validation_failed"), ApiError),
        (problem(500, "internal"), ApiError),
    ],
)
def test_a_refusal_stands_and_says_what_it_is(server, call, act, kind):
    server.acts = [act]
    with pytest.raises(kind) as raised:
        call(server.url, "submit", {})
    assert len(server.seen) == 1
    assert str(raised.value) == f"{raised.value.code}: it is {raised.value.code}"


def test_a_full_queue_is_told_at_once_when_there_will_be_no_room_in_time(server, call):
    server.last = problem(429, "queue_full", "30", max_depth=7)
    begun = time.monotonic()
    with pytest.raises(QueueFull) as raised:
        call(server.url, "submit", {}, limits={"deadline_s": 5.0})
    assert time.monotonic() - begun < 3
    refused = raised.value
    assert (refused.status, refused.retry_after_s, refused.extra) == (429, 30.0, {"max_depth": 7})


def test_a_full_backlog_of_a_gate_is_waited_for_up_to_the_deadline_and_no_longer(server, call):
    server.acts = [problem(429, "gate_backlog_full", "0", gate="discovery", max_depth=7)]
    assert call(server.url, "submit", {})["task_id"] == "t"
    server.last = problem(429, "gate_backlog_full", "0.1", gate="discovery", max_depth=7)
    begun = time.monotonic()
    with pytest.raises(GateBacklogFull) as raised:
        call(server.url, "submit", {}, limits={"deadline_s": 0.5})
    assert time.monotonic() - begun < 5
    assert isinstance(raised.value, QueueFull), "who waits for room in the queue waits for this, too"
    assert raised.value.extra == {"gate": "discovery", "max_depth": 7}


@pytest.mark.parametrize(
    ("lost", "raised"),
    [
        (Lost("timed out", sent=False, timed_out=True), QueueFull),
        (Lost("timed out", sent=True, timed_out=True), Timeout),
        (Lost("refused", sent=False), Unreachable),
    ],
)
def test_without_the_time_to_send_it_again_a_refusal_stands(lost, raised):
    steps = tries(calls.metrics(), Policy(timeout_s=30, connect_timeout_s=5, deadline_s=0.3))
    next(steps)
    body = json.dumps({"code": "queue_full", "detail": "full"}).encode()
    assert isinstance(steps.send(Response(429, {"Retry-After": "0"}, body)), Pause)
    until = steps.send(None).until
    while time.monotonic() < until:
        time.sleep(0.01)
    with pytest.raises(raised):
        steps.send(lost)


def test_orders_to_gates_are_repeated_after_a_lost_answer(server, call):
    for method, path in [("close_gate", "close"), ("open_gate", "open"), ("auto_gate", "auto")]:
        server.acts = [LOST]
        call(server.url, method, "some.gate/x")
        assert server.seen[-1].path == f"/gates/some%2Egate%2Fx/{path}"
        assert server.seen[-1].body is None
    call(server.url, "gates")
    assert [(seen.method, seen.path) for seen in server.seen[-1:]] == [("GET", "/gates")]
    assert len(server.seen) == 7


def test_the_daemons_pause_is_kept(server, call):
    server.acts = [problem(429, "queue_full", "0.5")]
    begun = time.monotonic()
    call(server.url, "submit", {})
    assert time.monotonic() - begun >= 0.5


@pytest.mark.parametrize("act", [silent, drip])
def test_a_server_that_never_ends_its_answer_is_given_up(server, call, act):
    server.last = act
    begun = time.monotonic()
    with pytest.raises(Timeout) as raised:
        call(server.url, "agents", limits={"timeout_s": 0.3, "deadline_s": 1.0})
    assert raised.value.maybe_done
    assert 0.9 < time.monotonic() - begun < 3
    assert len(server.seen) > 1, "reading again does no harm"


def test_a_connection_that_nobody_takes_is_given_up(call):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        # Until the kernel answers no more.
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        begun = time.monotonic()
        with pytest.raises(Timeout) as raised:
            call(f"http://127.0.0.1:{address[1]}", "spawn", limits={"connect_timeout_s": 0.2, "deadline_s": 0.6})
        assert not raised.value.maybe_done
        assert time.monotonic() - begun < 3
        for one in waiting:
            one.close()


def test_a_daemon_that_is_not_there_is_waited_for_until_the_deadline(call):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        begun = time.monotonic()
        with pytest.raises(Unreachable) as raised:
            call(url, "submit", {}, limits={"deadline_s": 0.6})
        assert 0.3 < time.monotonic() - begun < 3
        assert not raised.value.maybe_done
        assert isinstance(raised.value, OSError)
        assert call(url, "ready") is False


CUT = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"task_id": '


def test_the_time_that_a_call_waits_in_the_daemon_is_not_the_deadlines(server, call):
    def breaks_off_late(connection: socket.socket, _seen: Any) -> None:
        time.sleep(0.8)

    server.acts = [breaks_off_late]
    assert call(server.url, "task", "t", wait_s=2, limits={"deadline_s": 0.5})["task_id"] == "t"
    server.last = silent
    begun = time.monotonic()
    with pytest.raises(Timeout):
        call(server.url, "task", "t", wait_s=0.5, limits={"deadline_s": 0.5})
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("data", [CUT, b"HTTP/1.1 200 OK\r\n", b"\x00\x01\x02 nonsense\r\n\r\n"])
def test_half_an_answer_is_none(server, call, data):
    server.acts = [raw(data)]
    assert call(server.url, "submit", {})["task_id"] == "t"
    assert len(server.seen) == 2


def test_an_answer_without_a_length_and_one_in_chunks_are_read(server, call):
    server.acts = [raw(b'HTTP/1.1 200 OK\r\n\r\n{"status": "a"}')]
    assert call(server.url, "metrics") == {"status": "a"}
    server.acts = [raw(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n')]
    assert call(server.url, "metrics") == {"a": 1}


def test_an_answer_with_a_length_is_taken_though_the_connection_stays(server, call):
    def keep(connection: socket.socket, seen: Any) -> None:
        answer(200, {"a": 1})(connection, seen)
        silent(connection, seen)

    server.acts = [keep]
    begun = time.monotonic()
    assert call(server.url, "metrics") == {"a": 1}
    assert time.monotonic() - begun < 5


def test_another_program_at_the_address_is_named(server, call):
    server.last = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>")
    with pytest.raises(Unreachable, match="no Daedalus daemon: '<html></html>'"):
        call(server.url, "agents")
    server.last = raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\noh no")
    with pytest.raises(ApiError, match="unknown: oh no"):
        call(server.url, "agents")


def test_what_a_lost_answer_said_is_seen_from_the_second_refusal(server, call):
    ended = {"task_status": "cancelled", "finished_by_attempt": None}
    server.acts = [LOST, problem(409, "already_finished", **ended)]
    assert call(server.url, "cancel", "t") == {"task_id": "t", "status": "cancelled"}
    server.acts = [LOST, problem(404, "agent_not_found")]
    assert call(server.url, "remove", "a") == {"agent_id": "a", "status": "removed", "task_id": None}
    mine = {"task_status": "completed", "finished_by_attempt": 2}
    server.acts = [LOST, problem(409, "already_finished", **mine)]
    assert call(server.url, "complete", "t", 1, attempt=2) == {"task_id": "t", "status": "completed"}
    server.acts = [LOST, problem(409, "already_finished", **mine)]
    with pytest.raises(AlreadyFinished):
        call(server.url, "complete", "t", 1, attempt=1)


def test_a_first_refusal_is_nobodys_lost_answer(server, call):
    server.acts = [problem(409, "already_finished", task_status="cancelled")]
    with pytest.raises(AlreadyFinished):
        call(server.url, "cancel", "t")


def test_pages_follow_each_other(server):
    pages = [({"tasks": [{"task_id": "1"}, {"task_id": "2"}], "next_cursor": "7"}), {"tasks": [], "next_cursor": "5"}]
    pages.append({"tasks": [{"task_id": "3"}], "next_cursor": None})

    async def collect() -> list[str]:
        return [task["task_id"] async for task in AsyncClient(server.url).tasks(status="failed", page_size=2)]

    def collect_blocking() -> list[str]:
        return [task["task_id"] for task in Client(server.url).tasks(status="failed", page_size=2)]

    for look in (lambda: asyncio.run(collect()), collect_blocking):
        server.acts = [answer(200, page) for page in pages]
        server.seen.clear()
        assert look() == ["1", "2", "3"]
        first = "/tasks?status=failed&limit=2"
        assert [seen.path for seen in server.seen] == [first, f"{first}&cursor=7", f"{first}&cursor=5"]


def test_waiting_for_a_task_goes_on_through_answers_that_come_early_and_ends(server, call):
    running, done = ({"task_id": "t", "status": status} for status in ("in_progress", "completed"))
    server.acts = [answer(200, running), LOST, answer(200, running), answer(200, done)]
    assert call(server.url, "wait", "t") == done
    server.last = answer(200, running)
    begun = time.monotonic()
    with pytest.raises(Timeout, match="the task t is in_progress after 0.3 s"):
        call(server.url, "wait", "t", timeout_s=0.3)
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("url", ["127.0.0.1:8420", "ftp://x", "http://", "http://x:99999", "http://x/?a", "http://u@x"])
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="a daemon's URL is http://HOST:PORT"):
        Client(url)


def test_bad_limits_and_bad_headers_are_refused():
    with pytest.raises(ValueError, match="timeout_s must be above 0"):
        AsyncClient("http://x", timeout_s=0)
    with pytest.raises(ValueError, match="line break"):
        Client("http://x", headers={"X-Trace-Id": "a\r\nHost: b"})


def test_headers_and_the_base_path_are_on_every_request(server, call):
    client = Client(f"{server.url}/api/coordination/", headers={"X-Trace-Id": "t-1"})
    client.agents()
    assert server.seen[0].path == "/api/coordination/agents"
    assert server.seen[0].headers["x-trace-id"] == "t-1"
    assert client.url == f"{server.url}/api/coordination"


@pytest.mark.parametrize("payload", [{"a": float("nan")}, {"a": object()}])
def test_what_is_no_json_is_not_sent(server, call, payload):
    with pytest.raises((ValueError, TypeError)):
        call(server.url, "submit", payload)
    assert server.seen == []


def test_a_cancelled_call_closes_its_connection_and_blocks_nobody(server):
    closed: list[bytes] = []

    def until_closed(connection: socket.socket, _seen: Any) -> None:
        connection.settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            closed.append(connection.recv(1))
            return
        closed.append(b"")

    server.last = until_closed

    async def story() -> None:
        client = AsyncClient(server.url)
        polls = [asyncio.create_task(client.agents()) for _ in range(20)]
        while len(server.seen) < len(polls):
            await asyncio.sleep(0.01)
        for poll in polls:
            poll.cancel()
        ended = await asyncio.gather(*polls, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended)
        # Still in the loop, whose end would close them, too.
        async with asyncio.timeout(10):
            while len(closed) < len(polls):
                await asyncio.sleep(0.01)

    asyncio.run(story())
    assert closed == [b""] * 20


def test_both_clients_have_the_same_calls():
    def calls(client: type) -> dict[str, str]:
        public = {name: value for name, value in vars(client).items() if not name.startswith("_")}
        shown = {name: str(inspect.signature(value)) for name, value in public.items() if callable(value)}
        return {name: text.replace("AsyncIterator", "Iterator") for name, text in shown.items()}

    assert calls(Client) == calls(AsyncClient)
    assert len(calls(Client)) == 30


def test_errors_can_be_sent_between_processes():
    for error in (
        refusal(429, {"code": "queue_full", "detail": "full", "max_depth": 3, "trace_id": "t"}, 2.0),
        Unreachable("gone", True),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), copy.__dict__) == (type(error), str(error), error.__dict__)
    assert json.dumps(refusal(409, {"code": "x", "a": [1]}, None).extra) == '{"a": [1]}'
