"""How an agent looks for the secrets of others: by every way that a program has."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import selectors
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from daedalus.worker.protocol import CanaryHints
from daedalus.worker.safe_json import cut, encode

#: How long all ways together may take, because a task may be waiting, and one of them. A way that is not at its end by
#: then does not count as tried.
LOOK_S, WAY_S = 1.8, 0.5
FILE_BYTES = 64 << 10
#: How much of a memory is read at once, and of one part of it at most.
CHUNK_BYTES, REGION_BYTES = 1 << 20, 256 << 20
#: How far below a directory is looked, and at how many entries.
DEPTH, ENTRIES = 3, 2000
#: How many are listened to at the same time: each is an open file.
GUESTS = 64
PLACE_CHARS = 400
#: How many finds are told. Others can make up as many as they like.
MAX_FINDS = 1000
#: What `shmat` answers when it does not attach.
NOWHERE = ctypes.c_void_p(-1).value
SHM_RDONLY = 0o10000


class OutOfTime(Exception):
    """A way took too long."""


class TooMuch(Exception):
    """There is no room for what was found."""


def look(run: str, own: str, hints: CanaryHints, room: int) -> tuple[list[str], list[dict[str, str]]]:
    """Look for every secret of this run but the own one: the ways gone to their end, and what was found.

    What was found takes at most `room` bytes as JSON.
    """
    return Look(run, own, room).all(hints)


class Look:
    """One look. Each secret is told once for each way, with the place where it was."""

    def __init__(self, run: str, own: str, room: int) -> None:
        self._room = room
        self._marker = f"daedalus-canary-{run.replace('-', '')}-".encode()
        self._own = own.encode()
        self._way = ""
        self._until = 0.0
        self._found: dict[tuple[str, str], dict[str, str]] = {}

    def all(self, hints: CanaryHints) -> tuple[list[str], list[dict[str, str]]]:
        """Go every way."""
        # Those that it is told of, and what is above it: its launcher and the daemon.
        pids = [*hints.pids, *_above()]
        # Their children first: there may be more processes than there is time.
        everyone = [*pids, *_children(hints.pids), *_everyone()]
        ways: dict[str, Callable[[], None]] = {
            # Its own first: later it has what it found elsewhere.
            "memory": self._own_memory,
            "environment": self._own_environment,
            "files": lambda: self._files(hints.workdirs),
            "port": lambda: self._ports(hints.ports),
            "socket": lambda: self._sockets(hints.sockets),
            "process_environment": lambda: self._of_each(everyone, "environ"),
            "process_command": lambda: self._of_each(everyone, "cmdline"),
            "process_files": lambda: self._open_files(pids),
            "process_directory": lambda: self._directories(pids),
            "shared_memory": self._shared_memory,
            "process_memory": lambda: self._memories(pids),
        }
        tried = []
        end = time.monotonic() + LOOK_S
        for way, go in ways.items():
            self._way, self._until = way, min(end, time.monotonic() + WAY_S)
            # What is looked at was made by others: whatever it does to a way, the worker goes on, and so do the others.
            with contextlib.suppress(Exception):
                go()
                tried.append(way)
        return tried, list(self._found.values())

    def scan(self, content: bytes, place: str) -> None:
        """Note the secrets in it. All of a run have the same length, so one ends where the own one would."""
        at = content.find(self._marker)
        while at >= 0:
            token = content[at : at + len(self._own)]
            # What follows the beginning alone, as in the memory of another that looks, is no secret.
            is_whole = len(token) == len(self._own) and token[len(self._marker) :].isalnum()
            if is_whole and token != self._own:
                self._note(token.decode("utf-8", "replace"), place)
            at = content.find(self._marker, at + 1)

    def _note(self, token: str, place: str) -> None:
        if (token, self._way) in self._found:
            return
        find = {"token": token, "way": self._way, "where": cut(place, PLACE_CHARS) or ""}
        size = len(encode(find))
        if size > self._room or len(self._found) >= MAX_FINDS:
            raise TooMuch
        self._room -= size
        self._found[token, self._way] = find

    def _hurry(self) -> None:
        if time.monotonic() >= self._until:
            raise OutOfTime

    def _own_memory(self) -> None:
        for number, thing in enumerate(gc.get_objects()):
            if number % 1000 == 0:
                self._hurry()
            for part in gc.get_referents(thing):
                if type(part) is str:
                    if "daedalus-canary-" in part:  # before it is copied
                        self.scan(part.encode("utf-8", "replace"), type(thing).__name__)
                elif type(part) in (bytes, bytearray) and self._marker in part:
                    self.scan(bytes(part), type(thing).__name__)

    def _own_environment(self) -> None:
        for name, value in os.environb.items():
            self.scan(value, os.fsdecode(name))

    def _file(self, path: str) -> None:
        self._hurry()
        with contextlib.suppress(OSError):
            # A pipe must not hold it up.
            file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if stat.S_ISREG(os.fstat(file).st_mode):
                    self.scan(os.read(file, FILE_BYTES), path)
            finally:
                os.close(file)

    def _files(self, workdirs: Iterable[str]) -> None:
        roots = [*workdirs, os.path.expanduser("~"), tempfile.gettempdir(), "/dev/shm", "/tmp", "/var/tmp"]
        with contextlib.suppress(OSError):  # its directory may be gone
            roots.append(os.path.dirname(os.getcwd()))
        for root in roots:
            self._walk(root)

    def _walk(self, root: str) -> None:
        left, entries = [(root, DEPTH)], 0
        while left:
            directory, depth = left.pop()
            for entry in _entries(directory):
                entries += 1
                if entries > ENTRIES:
                    return
                self._hurry()
                if entry.is_dir(follow_symlinks=False):
                    if depth > 1:
                        left.append((entry.path, depth - 1))
                elif entry.is_file(follow_symlinks=False):
                    self._file(entry.path)

    def _of_each(self, pids: Iterable[int], name: str) -> None:
        for pid in pids:
            self._file(f"/proc/{pid}/{name}")

    def _open_files(self, pids: Iterable[int]) -> None:
        for pid in pids:
            for entry in _entries(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    # Opening a device may do something; reading a pipe takes what is in it away.
                    if stat.S_ISREG(os.stat(entry.path).st_mode):
                        self._file(entry.path)

    def _directories(self, pids: Iterable[int]) -> None:
        for pid in pids:
            with contextlib.suppress(OSError):
                below = os.readlink(f"/proc/{pid}/cwd").strip("/")
                # One that stands at the root has everything below it.
                if below:
                    self._walk(f"/proc/{pid}/cwd/")
                    self._walk(f"/proc/{pid}/root/{below}")

    def _memories(self, pids: Iterable[int]) -> None:
        for pid in pids:
            with contextlib.suppress(OSError):
                self._memory(pid)

    def _memory(self, pid: int) -> None:
        """Read what a process can write to and shares with no file: its heap, its stacks, its variables."""
        regions = list(_regions(Path(f"/proc/{pid}/maps").read_text(errors="replace")))
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            for start, end in regions:
                at = start
                while at < end:
                    self._hurry()
                    try:
                        chunk = os.pread(memory, min(CHUNK_BYTES, end - at), at)
                    except OSError:
                        break
                    self.scan(chunk, f"/proc/{pid}/mem")
                    if len(chunk) < CHUNK_BYTES:
                        break
                    # A secret may lie across the end.
                    at += len(chunk) - len(self._own)
        finally:
            os.close(memory)

    def _ports(self, ports: Iterable[int]) -> None:
        self._listen(socket.AF_INET, {f"127.0.0.1:{port}": ("127.0.0.1", port) for port in ports})

    def _sockets(self, names: Iterable[str]) -> None:
        self._listen(socket.AF_UNIX, {f"@{name}": b"\0" + name.encode() for name in names})

    def _listen(self, family: int, addresses: dict[str, Any]) -> None:
        """Scan what is said at these addresses, by the names of their places.

        Nobody is waited for alone: one that is slow, or does not end, costs the way its name among the tried.
        """
        left, all_ended = list(addresses.items()), True
        while left:
            batch, left = left[:GUESTS], left[GUESTS:]
            now = time.monotonic()
            until = now + (self._until - now) * len(batch) / (len(batch) + len(left))
            said, ended = hear(family, batch, until)
            all_ended = all_ended and ended
            for place, content in said.items():
                self.scan(content, place)
        if not all_ended:
            raise OutOfTime

    def _shared_memory(self) -> None:
        with contextlib.suppress(OSError):
            for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
                self._hurry()
                words = line.split()
                self._segment(int(words[1]), int(words[3]))

    def _segment(self, segment: int, size: int) -> None:
        at = libc().shmat(segment, None, SHM_RDONLY)
        if at == NOWHERE:
            return
        try:
            self.scan(ctypes.string_at(at, min(size, CHUNK_BYTES)), f"shared memory {segment}")
        finally:
            libc().shmdt(at)


def libc() -> ctypes.CDLL:
    """The calls for shared memory, with their types."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmget.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
    libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
    libc.shmat.restype = ctypes.c_void_p
    libc.shmdt.argtypes = [ctypes.c_void_p]
    libc.shmctl.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
    return libc


def hear(family: int, addresses: list[tuple[str, Any]], until: float) -> tuple[dict[str, bytes], bool]:
    """Connect to all and read what they say, at most `FILE_BYTES` and `until` then; and whether they came to an end."""
    said: dict[str, bytes] = {}
    all_taken = True
    with contextlib.ExitStack() as guests, selectors.DefaultSelector() as ready:
        for place, address in addresses:
            with contextlib.suppress(OSError):
                guest = guests.enter_context(socket.socket(family))
                guest.setblocking(False)
                failed = guest.connect_ex(address)
                if failed in (0, errno.EINPROGRESS):
                    ready.register(guest, selectors.EVENT_READ, place)
                elif failed == errno.EAGAIN:  # too many others are there
                    all_taken = False
        while ready.get_map() and (rest := until - time.monotonic()) > 0:
            for key, _ in ready.select(rest):
                part = b""
                with contextlib.suppress(OSError):  # nobody is there, or it went away
                    part = os.read(key.fd, FILE_BYTES)
                content = said[key.data] = said.get(key.data, b"") + part
                if not part or len(content) >= FILE_BYTES:
                    ready.unregister(key.fileobj)
        return said, all_taken and not ready.get_map()


def _entries(directory: str) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        yield from entries


def _everyone() -> list[int]:
    return [int(entry.name) for entry in _entries("/proc") if entry.name.isdigit()]


def _children(pids: Iterable[int]) -> Iterator[int]:
    for pid in pids:
        # Not every kernel tells.
        with contextlib.suppress(OSError):
            yield from map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def _above() -> list[int]:
    found, pid = [], os.getppid()
    while pid > 1:
        found.append(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            break
    return found


def _regions(maps: str) -> Iterator[tuple[int, int]]:
    for line in maps.splitlines():
        area, rights, _offset, _device, inode = line.split()[:5]
        if rights.startswith("rw") and inode == "0":
            start, end = (int(part, 16) for part in area.split("-"))
            yield start, min(end, start + REGION_BYTES)
