"""A real daemon whose agents are external, and calls of it: for tests of the HTTP API.

DAEDALUS_BIN names the program.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

START_S = 20
CALL_S = 30
# A test says what the agents do, and a failed task is tried again at once.
CONFIG = """
[pool]
autostart = false
max_size = {max_size}
[worker]
kind = "external"
[queue]
max_depth = {max_depth}
backoff_first_s = 0
[store]
path = ":memory:"
[[gate]]
name = "discovery"
task_types = ["discovery", "migration"]

# Not due while a test runs.
[[schedule]]
name = "job"
every = "3650d"
task_type = "ingest"
"""


class Api:
    """The API at one address."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        # A proxy of the environment has no business here.
        self._session.trust_env = False

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        """Make a call; a body that is text is sent as it stands."""
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        data = body if isinstance(body, str) or body is None else json.dumps(body)
        return self._session.request(method, self.url + path, data=data, headers=headers, timeout=CALL_S)


@contextmanager
def api_daemon(place: Path, max_size: int = 1024, max_depth: int = 1_000_000) -> Iterator[Api]:
    """Start a daemon in this place; it must end in good order."""
    program = os.environ.get("DAEDALUS_BIN", "")
    if not Path(program).is_file():
        pytest.fail(f"DAEDALUS_BIN must be the path of the daedalus program; it is {program!r}")
    config, log = place / "daedalus.toml", place / "daemon.log"
    config.write_text(CONFIG.format(max_size=max_size, max_depth=max_depth))
    command = [str(Path(program).resolve()), "serve", "--config", str(config), "--bind", "127.0.0.1:0"]
    with log.open("wb") as stderr:
        process = subprocess.Popen([*command, "--state-dir", str(place / "state")], stderr=stderr)
    try:
        yield Api(_address(process, log))
        process.terminate()
        assert process.wait(START_S) == 0, log.read_text()[-2000:]
    finally:
        process.kill()
        process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + START_S
    while True:
        for line in log.read_text().splitlines():
            if '"listening"' in line:
                return "http://" + str(json.loads(line)["addr"]).removeprefix("http://")
        if process.poll() is not None or time.monotonic() > until:
            pytest.fail(f"the daemon does not listen:\n{log.read_text()[-2000:]}")
        time.sleep(0.02)
