"""A server that does to its clients what networks and busy daemons do."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Seen:
    """A request."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


#: Answers one request on its connection.
Act = Callable[[socket.socket, Seen], None]


def answer(status: int = 200, body: Any = None, **headers: str) -> Act:
    """A whole answer."""
    data = json.dumps({} if body is None else body).encode()
    lines = {"Content-Length": str(len(data)), **{name.replace("_", "-"): text for name, text in headers.items()}}
    head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {text}\r\n" for name, text in lines.items())
    return raw(head.encode() + b"\r\n" + data)


def problem(status: int, code: str, retry_after: str | None = None, **extra: Any) -> Act:
    """A refusal."""
    headers = {} if retry_after is None else {"Retry_After": retry_after}
    return answer(status, {"code": code, "detail": f"it is {code}", "status": status, **extra}, **headers)


def raw(data: bytes) -> Act:
    """These bytes, then the end of the connection."""

    def act(connection: socket.socket, _seen: Seen) -> None:
        connection.sendall(data)

    return act


#: The connection ends without an answer.
LOST: Act = raw(b"")


def silent(connection: socket.socket, _seen: Seen) -> None:
    """Nothing, until the client gives up."""
    connection.settimeout(30)
    connection.recv(1)


def drip(connection: socket.socket, _seen: Seen) -> None:
    """A byte now and then, for ever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    try:
        while True:
            connection.sendall(b"x")
            time.sleep(0.02)
    except OSError:
        return


@dataclass
class FakeServer:
    """Does one act per request, then `last` for ever."""

    acts: list[Act] = field(default_factory=list)
    last: Act = field(default_factory=lambda: answer(200, {"task_id": "t", "status": "pending"}))
    seen: list[Seen] = field(default_factory=list)

    def __enter__(self) -> FakeServer:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_args: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            try:
                seen = _read(stream)
                self.seen.append(seen)
                (self.acts.pop(0) if self.acts else self.last)(connection, seen)
            except (OSError, ValueError):
                return  # The client left, perhaps before it had said anything.


def _read(stream: Any) -> Seen:
    method, path, _ = stream.readline().decode().split()
    headers = {}
    while line := stream.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    data = stream.read(int(headers.get("content-length", "0")))
    return Seen(method, path, headers, json.loads(data) if data else None)
