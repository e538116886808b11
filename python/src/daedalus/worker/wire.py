"""The pipe to the daemon: JSON Lines on the descriptors that this process was started with."""

from __future__ import annotations

import fcntl
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from daedalus.worker import exits
from daedalus.worker.protocol import FIRST_FRAME_BYTES, PROTO_MAX, Frame, ProtocolError, parse_frame
from daedalus.worker.safe_json import cut, encode

#: Frames waiting for the pipe; more make the agent wait, so that a slow daemon slows the agent down.
QUEUE_DEPTH = 256
READ_BYTES = 65536
#: What is left of a note in a frame that would not fit otherwise.
SHORT_NOTE = 500


@dataclass(frozen=True)
class Descriptors:
    """The original standard input and output, out of everyone's reach."""

    read: int
    write: int


def take_descriptors() -> Descriptors:
    """Move the wire away from 0 and 1, before anything can print.

    From here on whatever prints, in Python, in C or in a child process, ends up on standard error; a forged
    frame on standard output is a line in the log.
    """
    wire = Descriptors(fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 10), fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 10))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    return wire


class FrameTooLarge(Exception):
    """A frame that must not be cut is over the limit."""


class Wire:
    """Writes frames in order from one thread, so that a frame is never torn by a signal."""

    def __init__(self, descriptors: Descriptors) -> None:
        self._fds = descriptors
        self._queue: queue.Queue[bytes | None] = queue.Queue(QUEUE_DEPTH)
        self._seq = 0
        self._lock = threading.Lock()
        self.max_frame_bytes = FIRST_FRAME_BYTES
        self._writer = threading.Thread(target=self._write, name="wire-out", daemon=True)
        self._writer.start()

    def send(self, type_: str, **fields: Any) -> None:
        """Send a frame; waits while the queue is full. Notes are shortened when the frame would not fit."""
        # Numbered and queued under one lock: the order of `seq` is the order on the pipe.
        with self._lock:
            self._queue.put(self._fit(type_, fields))

    def send_whole(self, type_: str, **fields: Any) -> None:
        """Send a frame as it is, or raise `FrameTooLarge` and send nothing."""
        with self._lock:
            line = self._line(type_, fields)
            if len(line) > self.max_frame_bytes:
                self._seq -= 1
                raise FrameTooLarge(f"{len(line)} bytes, and a frame may have {self.max_frame_bytes}")
            self._queue.put(line)

    def send_if_quiet(self, type_: str, **fields: Any) -> None:
        """Send a frame only when nothing else waits: everything is a sign of life."""
        if not self._queue.empty() or not self._lock.acquire(blocking=False):
            return
        try:
            self._queue.put(self._line(type_, fields))
        finally:
            self._lock.release()

    def flush_and_stop(self, timeout_s: float = 2.0) -> None:
        """Write what waits, as long as the daemon takes it."""
        self._queue.put(None)
        self._writer.join(timeout_s)

    def fatal(self, why: str) -> NoReturn:
        """Say why the conversation cannot go on, and end."""
        self.send("fatal", message=cut(why, SHORT_NOTE))
        self.flush_and_stop()
        exits.leave(exits.USAGE)

    def frames(self) -> Iterator[Frame]:
        """Read frames until the daemon closes its end; raises `ProtocolError`."""
        buffer = bytearray()
        while True:
            try:
                chunk = os.read(self._fds.read, READ_BYTES)
            except OSError:
                return
            if not chunk:
                return
            start = len(buffer)
            buffer += chunk
            # Only the new part can hold a line's end: a long line is not searched again and again.
            while (end := buffer.find(b"\n", start)) >= 0:
                line = bytes(buffer[:end])
                del buffer[: end + 1]
                start = 0
                self._check_length(len(line) + 1)
                if line.strip():
                    yield parse_frame(line)
            self._check_length(len(buffer))

    def _check_length(self, length: int) -> None:
        if length > self.max_frame_bytes:
            raise ProtocolError(f"a frame of more than {self.max_frame_bytes} bytes")

    def _line(self, type_: str, fields: dict[str, Any]) -> bytes:
        self._seq += 1
        return encode({"v": PROTO_MAX, "seq": self._seq, "type": type_, "ts": round(time.time(), 3), **fields})

    def _fit(self, type_: str, fields: dict[str, Any]) -> bytes:
        line = self._line(type_, fields)
        if len(line) <= self.max_frame_bytes:
            return line
        self._seq -= 1
        return self._line(type_, {key: _shorten(value) for key, value in fields.items()})

    def _write(self) -> None:
        while (line := self._queue.get()) is not None:
            rest = memoryview(line)
            try:
                while rest:
                    rest = rest[os.write(self._fds.write, rest) :]
            except OSError:
                exits.leave(exits.ORPHANED)


def _shorten(value: Any) -> Any:
    return cut(value, SHORT_NOTE) if isinstance(value, str) else value
