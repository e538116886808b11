"""The real daemon for tests: started, killed, stopped and started again at the same address."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from daedalus import Client

T = TypeVar("T")
DEADLINE_S = 30.0
#: No agents but those that a test makes.
EMPTY = "[pool]\nautostart = false\n[queue]\nbackoff_first_s = 0.1\nexclusion_relax_s = 0\n"


def until(what: str, look: Callable[[], T | None], deadline_s: float = DEADLINE_S) -> T:
    """Wait until there is something to see."""
    end = time.monotonic() + deadline_s
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.02)


def program() -> Path:
    """The daemon's program; there is no test of the whole without it, so its absence is a failure."""
    path = os.environ.get("DAEDALUS_BIN", "")
    if not Path(path).is_file():
        pytest.fail(f"DAEDALUS_BIN must be the path of the daedalus program; it is {path!r}")
    return Path(path).resolve()


class RealDaemon:
    """One daemon with its store, in `folder`."""

    def __init__(self, folder: Path, config: str = EMPTY, base_path: str = "") -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "daedalus.toml").write_text(config)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._bind = f"127.0.0.1:{free.getsockname()[1]}"
        self.url = f"http://{self._bind}{base_path}"
        self.process: subprocess.Popen[bytes] | None = None
        self.client = Client(self.url, deadline_s=20.0)

    def start(self) -> RealDaemon:
        command = [str(program()), "serve", "--config", "daedalus.toml", "--state-dir", "state", "--bind", self._bind]
        with (self._folder / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True
            )
        until("the daemon serves", lambda: self._listens() or self._ended())
        return self

    def _listens(self) -> bool:
        host, _, port = self._bind.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=1):
                return True
        except OSError:
            return False

    def _ended(self) -> None:
        assert self.process is not None
        assert self.process.poll() is None, (self._folder / "daemon.log").read_text()[-2000:]

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(DEADLINE_S)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        assert self.process is not None
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.kill()

    def external(self, **more: Any) -> str:
        """An agent for work by hand."""
        return self.client.spawn("external", **more)["agent_id"]

    def becomes(self, task_id: str, *statuses: str) -> Any:
        """Wait until the task has one of these statuses."""

        def look() -> Any:
            task = self.client.task(task_id)
            return task if task["status"] in statuses else None

        return until(f"{task_id} is {statuses}", look)
