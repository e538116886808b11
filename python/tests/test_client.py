"""The client, against a server that loses answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from daedalus.client import ApiError, Client

#: Stands for an answer that is lost: the connection ends without one.
LOST = 0


class Server(ThreadingHTTPServer):
    """Answers with one status after the other, then 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses: list[int] = []
        self.bodies: list[dict[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_args: object) -> None:
        return

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status == LOST:
            return
        data = json.dumps({"task_id": "t"} if status == 200 else {"code": "c", "detail": "d"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if status in (429, 503):
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def client(server: Server) -> Client:
    return Client(f"http://127.0.0.1:{server.server_port}", timeout_s=10)


def test_a_submit_with_a_key_is_repeated_until_there_is_an_answer(server):
    server.statuses = [LOST, 504, 503, 429]
    waits: list[float] = []
    answer = client(server).submit("general", {"n": 1}, idempotency_key="k", sleep=waits.append)
    assert answer == {"task_id": "t"}
    assert waits == [1.0, 1.0, 7.0, 7.0]
    assert server.bodies == [{"task_type": "general", "payload": {"n": 1}, "idempotency_key": "k"}] * 5


@pytest.mark.parametrize(("status", "error"), [(LOST, OSError), (503, ApiError), (504, ApiError)])
def test_a_submit_without_a_key_is_not(server, status, error):
    server.statuses = [status]
    with pytest.raises(error):
        client(server).submit("general", {}, sleep=pytest.fail)
    assert server.bodies == [{"task_type": "general", "payload": {}}]


@pytest.mark.parametrize("status", [409, 422, 500])
def test_a_refusal_stands(server, status):
    server.statuses = [status]
    with pytest.raises(ApiError) as refusal:
        client(server).submit("general", {}, idempotency_key="k", sleep=pytest.fail)
    assert refusal.value.status == status
    assert len(server.bodies) == 1


def test_a_daemon_that_is_not_there_is_given_up_at_the_deadline(server):
    server.statuses = [LOST] * 3
    with pytest.raises(OSError):
        client(server).submit("general", {}, idempotency_key="k", deadline_s=0.5, sleep=pytest.fail)
