"""A discovery service that does the work instead: asked once, its answer checked."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from daedalus.client.wire import Address, Incoming, Response, left_s, request
from daedalus.discovery.items import NotAnItem, item
from daedalus.discovery.scan import fitting
from daedalus.errors import TaskError

#: What the daemon takes for a dependency that is down: it closes the gates of the task's type.
DOWN = "dependency_unavailable"
BAD_ANSWER = "service_bad_answer"
MAX_ANSWER_BYTES = 16 << 20
_PIECE_BYTES = 1 << 16
_SHOWN_CHARS = 500
#: Statuses that ask to come back later.
_LATER = (408, 425, 429)


def ask(url: str, timeout_s: float, payload: Mapping[str, Any], room: int) -> dict[str, Any]:
    """The service's result, of at most `room` bytes, in the service's order. Raises `TaskError`."""
    answer = _post(url, timeout_s, payload)
    status, body = answer.status, answer.body
    if status >= 500:
        raise TaskError(f"{url} answered {status}: {_words(body)}", code=DOWN, retryable=True)
    if status >= 400:
        raise TaskError(f"{url} answered {status}: {_words(body)}", code="service_refused", retryable=status in _LATER)
    if status != 200:
        raise TaskError(f"{url} answered {status}, and only 200 is an answer", code=BAD_ANSWER)
    items = _items(url, body)
    kept = fitting(items, room)
    scanned = {"source": "service", "components": len(items), "truncated": len(kept) < len(items)}
    return {"components": kept, "scanned": scanned}


def _items(url: str, body: bytes) -> list[dict[str, Any]]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{url} answered no JSON: {_words(body)}", code=BAD_ANSWER) from error
    listed = answer.get("components") if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        raise TaskError(f"{url} answered without a list of components: {_words(body)}", code=BAD_ANSWER)
    try:
        return [item(f"components[{index}]", raw) for index, raw in enumerate(listed)]
    except NotAnItem as error:
        raise TaskError(f"{url} answered an item that is none: {error}", code=BAD_ANSWER) from error


def _post(url: str, timeout_s: float, payload: Mapping[str, Any]) -> Response:
    """Send one request on a connection of its own and read the whole answer within `timeout_s`.

    Nothing can interrupt the search for the host's address; its time counts all the same.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    address = Address(parts.hostname or "", parts.port or (443 if secure else 80), secure, parts.netloc, "")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    data = request(address, "POST", target, {}, payload, {})
    until = time.monotonic() + timeout_s
    try:
        with _connect(address, until) as connection:
            # The service may refuse before it has read all, and say why.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                _send(connection, data, until)
            return _read(connection, until)
    except TimeoutError as error:
        raise TaskError(f"{url} did not answer within {timeout_s:g} s", code=DOWN, retryable=True) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        said = str(error) or type(error).__name__
        raise TaskError(f"{url} cannot be reached: {said}", code=DOWN, retryable=True) from error


def _connect(address: Address, until: float) -> socket.socket:
    connection = _dial(address, until)
    if not address.secure:
        return connection
    try:
        connection.settimeout(left_s(until))
        return ssl.create_default_context().wrap_socket(connection, server_hostname=address.host)
    except BaseException:
        connection.close()
        raise


def _dial(address: Address, until: float) -> socket.socket:
    """A connection to the first of the host's addresses that takes one."""
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    problem = OSError("the host has no address")
    for index, (family, kind, protocol, _, where) in enumerate(found):
        try:
            connection = socket.socket(family, kind, protocol)
        except OSError as error:  # Such as a family that this machine does not speak.
            problem = error
            continue
        try:
            # Each has its share of the time: one that is silent leaves some for the next.
            connection.settimeout(left_s(until) / (len(found) - index))
            connection.connect(where)
            return connection
        except OSError as error:
            connection.close()
            problem = error
        except BaseException:
            connection.close()
            raise
    raise problem


def _send(connection: socket.socket, data: bytes, until: float) -> None:
    # Not `sendall`: with TLS each piece of it would have the whole time.
    left = memoryview(data)
    while left:
        connection.settimeout(left_s(until))
        left = left[connection.send(left) :]


def _read(connection: socket.socket, until: float) -> Response:
    incoming, size = Incoming(), 0
    while True:
        # Anew each time: a server that sends a byte now and then gets no more time than another.
        connection.settimeout(left_s(until))
        piece = connection.recv(_PIECE_BYTES)
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            raise TaskError(f"the service answered more than {MAX_ANSWER_BYTES} bytes", code=BAD_ANSWER)
        if incoming.feed(piece) or not piece:
            return incoming.response()


def _words(body: bytes) -> str:
    """What the service said, for an error's message: the sentence of a problem, else the beginning."""
    shown = body[:_SHOWN_CHARS].decode("utf-8", "replace")
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return shown
    if isinstance(said, dict):
        for key in ("detail", "message", "error", "title"):
            if isinstance(said.get(key), str):
                return str(said[key])[:_SHOWN_CHARS]
    return shown
