"""Discoveries and migrations through the real daemon: DAEDALUS_BIN names the program."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_server import FakeServer, answer
from real_daemon import RealDaemon
from test_discovery_service import ITEM

OLD = """import os


def clean(folder, done=[]):
    os.system("sync")
    done.append(folder)


def count(folder: str) -> int:
    return len(folder)
"""
#: 1 - (1 - 0.5)(1 - 0.3)(1 - 0.05): a shell, a default that all calls share, no type hints.
CLEAN_SCORE = 0.667


def pool(agent: str, read: list[str]) -> str:
    command = json.dumps([sys.executable, "-I", "-m", "daedalus.worker"])
    sandbox = f"[worker.sandbox]\nread = {json.dumps(read)}\n"
    return f"[worker]\ncommand = {command}\n{sandbox}[worker.agent]\n{agent}"


def started(daemon_with: Callable[..., RealDaemon], agent: str = "", *, read: Path | None = None) -> RealDaemon:
    daemon = daemon_with(pool(agent, [str(read)] if read else []))
    assert daemon.client.initialize(2)["pool_size"] == 2
    return daemon


def ran(daemon: RealDaemon, task_type: str, payload: dict[str, Any]) -> Any:
    return daemon.client.wait(daemon.client.submit(payload, task_type=task_type)["task_id"], timeout_s=60)


def test_a_discovery_and_a_migration_of_what_it_found(daemon_with: Callable[..., RealDaemon], tmp_path: Path) -> None:
    code = tmp_path / "code"
    (code / "jobs").mkdir(parents=True)
    (code / "jobs" / "night.py").write_text(OLD)
    (code / "broken.py").write_text("print 'old'\n")
    extra = '[[worker.agent.discovery.extra]]\nname = "counts"\nmatch = "call"\ntarget = "len"\nweight = 0.1\n'
    daemon = started(daemon_with, f"[worker.agent.discovery]\nroots = [{json.dumps(str(tmp_path))}]\n{extra}", read=tmp_path)

    task = ran(daemon, "discovery", {"path": "code"})
    assert task["status"] == "completed", task["error"]
    assert task["result"]["components"] == [
        {
            "component_id": "jobs/night.py::clean",
            "name": "clean",
            "file_path": "jobs/night.py",
            "composite_score": CLEAN_SCORE,
            "migration_recommended": True,
            "enhancement_opportunities": [
                "missing_type_hints: a function whose parameters or result have no types (line 4)"
            ],
            "risk_factors": [
                "shell_command: a command line that a shell interprets (line 5)",
                "mutable_default: a default that all calls share (line 4)",
            ],
        },
        {
            "component_id": "jobs/night.py::count",
            "name": "count",
            "file_path": "jobs/night.py",
            "composite_score": 0.1,
            "migration_recommended": False,
            "enhancement_opportunities": ["counts: call of len (line 10)"],
            "risk_factors": [],
        },
    ]
    scanned = task["result"]["scanned"]
    assert (scanned["files"], scanned["skipped"]) == (1, {"syntax": {"count": 1, "files": ["broken.py"]}})

    migration = ran(daemon, "migration", task["result"]["components"][0] | {"path": "code"})
    assert migration["status"] == "completed", migration["error"]
    plan = migration["result"]["plan"]
    assert [(change["factor"], change["line"], change["after"]) for change in plan] == [
        ("shell_command", 5, "subprocess.run(['sync'], check=True)"),
        ("mutable_default", 4, "def clean(folder, done=None):\n    if done is None:\n        done = []"),
        ("missing_type_hints", 4, None),
    ]
    assert migration["usage"]["model_calls"] == 2

    outside = ran(daemon, "discovery", {"path": "/"})
    assert (outside["status"], outside["attempt_count"]) == ("failed", 1)
    assert outside["error"]["code"] == "path_outside_roots"


def test_a_migration_takes_the_directory_of_the_task_that_it_follows(
    daemon_with: Callable[..., RealDaemon], tmp_path: Path
) -> None:
    (tmp_path / "night.py").write_text(OLD)
    daemon = started(daemon_with, read=tmp_path)
    found = ran(daemon, "discovery", {"path": str(tmp_path), "project": "tram"})["result"]["components"]
    # A discovery that somebody is at by hand can have children before it ends.
    hand = daemon.external(task_types=["discovery"])
    parent = daemon.client.submit(
        {"path": str(tmp_path), "project": "tram"}, task_type="discovery", preferred_agent_id=hand
    )["task_id"]
    assert daemon.client.assignment(hand, wait_s=20)["task_id"] == parent
    child = daemon.client.submit(found[0], task_type="migration", parent_task_id=parent, detach=True)["task_id"]
    task = daemon.client.wait(child, timeout_s=60)
    assert task["status"] == "completed", task["error"]
    assert task["result"]["component_id"] == "tram/night.py::clean"
    assert [change["line"] for change in task["result"]["plan"]] == [5, 4, 4]
    daemon.client.complete(parent, {"components": found}, attempt=1)


def test_a_task_without_a_discovery_before_it_says_what_is_missing(daemon_with: Callable[..., RealDaemon]) -> None:
    task = ran(started(daemon_with), "migration", ITEM)
    assert (task["status"], task["error"]["code"]) == ("failed", "bad_payload")
    assert "payload.path is missing" in task["error"]["message"]


def test_a_service_that_is_away_is_a_dependency_that_is_unavailable(daemon_with: Callable[..., RealDaemon]) -> None:
    with FakeServer([answer(503), answer(200, {"components": [ITEM]})]) as server:
        daemon = started(daemon_with, f'[worker.agent.discovery]\nservice_url = "{server.url}/discover"\n')
        task = ran(daemon, "discovery", {"project": "tram"})
        assert [seen.body for seen in server.seen] == [{"project": "tram"}] * 2
    assert task["status"] == "completed"
    assert task["result"]["components"] == [ITEM]
    # No gate is configured here: the first attempt is a failure like another, and is tried again.
    assert [attempt["failure"] and attempt["failure"]["detail"] for attempt in task["attempts"]][1:] == [None]
    assert "dependency_unavailable" in json.dumps(task["attempts"][0])


def test_a_directory_that_the_sandbox_hides_is_not_found(daemon_with: Callable[..., RealDaemon], tmp_path: Path) -> None:
    (tmp_path / "night.py").write_text(OLD)
    daemon = started(daemon_with)
    missing = {guard["guard"] for guard in daemon.client.isolation_report()["not_enforced"]}
    if "files" in missing:
        pytest.skip("this kernel hides no files")
    task = ran(daemon, "discovery", {"path": str(tmp_path)})
    assert task["status"] == "failed"
    assert task["error"]["code"] == "path_not_found"
    assert "worker.sandbox.read" in task["error"]["message"]
