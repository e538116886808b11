"""Workers and daemons for the tests; every one of them is gone when its test is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_sim import SCRIPTED, WorkerProcess
from real_daemon import EMPTY, RealDaemon

SCRIPTED_AGENT: dict[str, Any] = {
    "imports": ["mischief"],
    "max_steps": 3,
    "tools": "scripted:tools",
    "types": {"research": {"kind": "tool_calling"}},
    "model": {"provider": "factory", "factory": "scripted:model"},
}


@pytest.fixture
def start() -> Iterator[Callable[..., WorkerProcess]]:
    """Start workers that end with the test."""
    started: list[WorkerProcess] = []

    def start_one(*args: Any, **kwargs: Any) -> WorkerProcess:
        started.append(WorkerProcess(*args, **kwargs))
        return started[-1]

    yield start_one
    for worker in started:
        worker.close()


@pytest.fixture(scope="module")
def scripted() -> Iterator[WorkerProcess]:
    """One worker with the scripted model, shared by a file's tests: each leaves it ready for the next."""
    worker = WorkerProcess(SCRIPTED)
    assert worker.init(SCRIPTED_AGENT)["type"] == "ready"
    yield worker
    assert worker.shutdown() == 0, worker.stderr[-10:]
    worker.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[RealDaemon]:
    """The real daemon, with no agents."""
    daemon = RealDaemon(tmp_path / "daemon")
    yield daemon.start()
    daemon.close()


@pytest.fixture
def daemon_with(tmp_path: Path) -> Iterator[Callable[..., RealDaemon]]:
    """Start the real daemon with more configuration."""
    started: list[RealDaemon] = []

    def start_one(config: str = "", **kwargs: str) -> RealDaemon:
        started.append(RealDaemon(tmp_path / f"daemon-{len(started)}", EMPTY + config, **kwargs))
        return started[-1].start()

    yield start_one
    for daemon in started:
        daemon.close()
