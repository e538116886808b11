"""Workers in processes of their own: killed, frozen, stopped by signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from external_side import ended
from real_daemon import until

HERE = Path(__file__).resolve().parent


@pytest.fixture
def program(daemon) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start workers as processes of their own."""
    started: list[subprocess.Popen[str]] = []

    def start(*args: str, **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "external_program.py"), daemon.url, *args]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, text=True, env={**os.environ, **env}, **pipes))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.communicate()


def test_a_killed_workers_task_moves_to_another(daemon, program, tmp_path):
    first = program()
    note = tmp_path / "note"
    task_id = daemon.client.submit({"note": str(note), "seconds": 3.0})["task_id"]
    until("it has begun", lambda: note.exists() and note.read_text())
    first.kill()
    second = program()
    task = daemon.client.wait(task_id, timeout_s=60)
    assert (task["status"], task["result"]) == ("completed", {"pid": second.pid, "attempt": 2})
    assert task["attempts"][0]["failure"]["cause"] == "lease_lost"


def test_a_frozen_worker_loses_its_task_drops_it_and_goes_on(daemon, program, tmp_path):
    first = program()
    note = tmp_path / "note"
    task_id = daemon.client.submit({"note": str(note), "seconds": 1.0})["task_id"]
    until("it has begun", lambda: note.exists() and note.read_text())
    first.send_signal(signal.SIGSTOP)
    second = program()
    task = daemon.client.wait(task_id, timeout_s=60)
    assert task["result"] == {"pid": second.pid, "attempt": 2}
    first.send_signal(signal.SIGCONT)
    second.send_signal(signal.SIGTERM)
    second.wait(30)
    assert ended(daemon, {})["result"] == {"pid": first.pid, "attempt": 1}


def test_two_workers_share_the_load(daemon, program):
    workers = {program().pid for _ in range(2)}
    until("both are there", lambda: len(daemon.client.agents()) == 2)
    ids = [daemon.client.submit({"seconds": 0.3})["task_id"] for _ in range(6)]
    tasks = [daemon.client.wait(task_id, timeout_s=60) for task_id in ids]
    assert {task["result"]["pid"] for task in tasks} == workers
    assert all(task["attempt_count"] == 1 for task in tasks)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_worker_at_once(daemon, program, number):
    worker = program()
    until("it polls", lambda: [a for a in daemon.client.agents() if a["agent"]["status"] == "idle"])
    begun = time.monotonic()
    worker.send_signal(number)
    printed, log = worker.communicate(timeout=30)
    assert (worker.returncode, printed) == (0, "ended\n"), log
    assert time.monotonic() - begun < 5
    assert daemon.client.agents() == []


@pytest.mark.parametrize(
    ("payload", "is_done"),
    [({"seconds": 0.7}, True), ({"seconds": 60}, False), ({"seconds": 60, "polite": True}, False)],
)
def test_a_signal_lets_the_function_end_in_time_or_gives_its_task_back(daemon, program, tmp_path, payload, is_done):
    worker = program()
    note = tmp_path / "note"
    task_id = daemon.client.submit({**payload, "note": str(note)})["task_id"]
    until("it has begun", lambda: note.exists() and note.read_text())
    worker.send_signal(signal.SIGTERM)
    printed, log = worker.communicate(timeout=30)
    assert (worker.returncode, printed) == (0, "ended\n"), log
    task = daemon.client.task(task_id)
    if is_done:
        assert (task["status"], task["result"]["attempt"]) == ("completed", 1)
    else:
        assert (task["status"], task["failures"]) == ("pending", 0), "nobody failed"
        assert task["attempts"][0]["outcome"] == "interrupted"
    assert daemon.client.agents() == []


def test_a_second_signal_waits_for_nobody(daemon, program, tmp_path):
    worker = program(LEASE_S="30")
    note = tmp_path / "note"
    daemon.client.submit({"seconds": 60, "polite": True, "note": str(note)})
    until("it has begun", lambda: note.exists() and note.read_text())
    worker.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGINT)
    worker.communicate(timeout=10)
    assert worker.returncode == 0


def test_a_worker_with_an_agent_that_is_not_its_own_gives_the_task_back(daemon, program, tmp_path):
    agent_id = daemon.external(lease_s=20.0)
    worker = program(agent_id)
    note = tmp_path / "note"
    task_id = daemon.client.submit({"seconds": 60, "note": str(note)})["task_id"]
    until("it has begun", lambda: note.exists() and note.read_text())
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=30)
    task = daemon.client.task(task_id)
    assert task["attempts"][0]["failure"]["cause"] == "worker_stopped"
    assert task["status"] != "failed"
