"""HTTP as bytes: a request written, an answer read. No I/O here."""

from __future__ import annotations

import http.client
import io
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from daedalus.client.errors import ApiError, Unreachable, refusal

_SHOWN_CHARS = 200
_NEWLINES = ("\r", "\n")


@dataclass(frozen=True)
class Address:
    """Where a daemon is."""

    host: str
    port: int
    secure: bool
    authority: str
    base_path: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read `http://host:port/base_path`."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        odd = parts.query or parts.fragment or "@" in parts.netloc or not url.isascii() or " " in url
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or odd:
            raise ValueError(f"a daemon's URL is http://HOST:PORT with its base path behind it, if any; found {url!r}")
        secure = parts.scheme == "https"
        usual = 443 if secure else 80
        return cls(parts.hostname, port or usual, secure, parts.netloc, parts.path.rstrip("/"))

    @property
    def url(self) -> str:
        """The URL without a slash at its end."""
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.base_path}"


def request(
    address: Address,
    method: str,
    path: str,
    query: Mapping[str, str],
    body: Mapping[str, Any] | None,
    headers: Mapping[str, str],
) -> bytes:
    """Write a request. Each has a connection of its own: one that was kept could be closed while it is sent."""
    data = b"" if body is None else json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
    target = f"{address.base_path}{path}{'?' + urlencode(query) if query else ''}"
    lines = {"Host": address.authority, "Connection": "close", "Accept": "application/json", **headers}
    if body is not None:
        lines["Content-Type"] = "application/json"
    if body is not None or method == "POST":
        lines["Content-Length"] = str(len(data))
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode("latin-1") + b"\r\n" + data


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Headers for every request; a line break in one could say anything."""
    checked = dict(headers or {})
    for name, value in checked.items():
        if any(newline in name or newline in value for newline in _NEWLINES):
            raise ValueError(f"the header {name!r} has a line break")
    return checked


@dataclass(frozen=True)
class Response:
    """An answer that arrived whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the call was done."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body; `None` for an empty one."""
        if not self.body.strip():
            return None
        try:
            return json.loads(self.body)
        except ValueError:
            shown = self.body[:_SHOWN_CHARS].decode("utf-8", "replace")
            raise Unreachable(f"what answered is no Daedalus daemon: {shown!r}", maybe_done=True) from None

    def refusal(self) -> ApiError:
        """The error that this answer is."""
        try:
            problem = json.loads(self.body)
        except ValueError:
            problem = None
        if not isinstance(problem, dict):
            problem = {"detail": self.body[:_SHOWN_CHARS].decode("utf-8", "replace")}
        return refusal(self.status, problem, _seconds(self.headers.get("retry-after")))


class Incoming:
    """An answer while it arrives."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._whole: int | None = None
        self._looked = 0

    def feed(self, data: bytes) -> bool:
        """Take some bytes; says whether these were the last. Without a length only the end of the connection tells."""
        self._data += data
        if self._whole is None:
            # The end of the head may have come in two pieces.
            end = self._data.find(b"\r\n\r\n", max(0, self._looked - 3))
            self._looked = len(self._data)
            if end >= 0:
                self._whole = _length(bytes(self._data[:end]), end + 4)
        return self._whole is not None and 0 <= self._whole <= len(self._data)

    def response(self) -> Response:
        """The answer; raises `http.client.HTTPException` when it is cut off or none."""
        if self._whole is None and self._data:
            raise http.client.IncompleteRead(bytes(self._data))
        answer = http.client.HTTPResponse(_Socket(self._data))  # type: ignore[arg-type]
        answer.begin()
        return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


class _Socket:
    """As much of a socket as the parser asks for."""

    def __init__(self, data: bytearray) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _length(head: bytes, body_at: int) -> int:
    """Where the answer ends, or -1 when the head does not say."""
    status, *lines = head.decode("latin-1").split("\r\n")
    if status.split(" ")[1:2] == ["204"]:
        return body_at
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-length" and value.strip().isdecimal():
            return body_at + int(value)
    return -1


def _seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header is not None else None
    except ValueError:
        return None


def left_s(until: float) -> float:
    """The time left until a moment of `time.monotonic`; raises `TimeoutError` when there is none."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
