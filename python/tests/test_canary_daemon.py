"""The canary of smolagents agents through the real daemon: DAEDALUS_BIN names the program."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from real_daemon import RealDaemon, until
from test_worker_canary import ALL_PLACES, ALL_WAYS

AGENTS = 3
POOL = f"[worker]\ncommand = {json.dumps([sys.executable, '-I', '-m', 'daedalus.worker'])}\n"
UNCONFINED = f"{POOL}[worker.sandbox]\nenabled = false\n"
#: Where a secret is hidden whatever the sandbox forbids.
ANYWHERE = {"variable", "agent_memory", "file", "environment"}
#: How each agent looks. In its own memory and environment nothing of another one can ever be.
OWN = {"memory", "environment"}
WAYS = {*OWN, "files", "port", "socket", "process_environment", "shared_memory"}
#: What is endless where nothing hides it: the files and the processes of the whole machine.
ENDLESS = {"files", "process_environment"}
#: The ways that are open where all of these guards are missing. No other way ever is.
OPEN = {
    "files": {"files", "uid"},
    "port": {"tcp"},
    "socket": {"abstract_sockets"},
    "shared_memory": {"ipc", "uid"},
    "process_environment": {"processes", "uid"},
    "process_files": {"processes", "uid"},
    "process_directory": {"processes", "uid"},
    "process_memory": {"processes", "uid"},
}


def started(daemon_with: Callable[..., RealDaemon], config: str) -> RealDaemon:
    daemon = daemon_with(config)
    assert daemon.client.initialize(AGENTS)["pool_size"] == AGENTS
    return daemon


def found_by(report: Any) -> set[str]:
    return {leak["way"] for leak in report["leaks"]}


def checked(daemon: RealDaemon, ways: set[str], found: AbstractSet[str] = frozenset()) -> Any:
    """Ask until a busy machine leaves every agent the time to go all these ways, and to find something by those."""

    def look() -> Any:
        report = daemon.client.check_isolation()
        assert [agent["outcome"] for agent in report["agents"]] == ["checked"] * AGENTS, report
        assert report["checked"] == AGENTS
        has_time = all(ways <= set(agent["tried"]) for agent in report["agents"]) and found <= found_by(report)
        return report if has_time else None

    report = until(f"all look by {sorted(ways)}, and find by {sorted(found)}", look)
    for agent in report["agents"]:
        assert set(agent["planted"]) <= ALL_PLACES
        assert set(agent["planted"]) >= ANYWHERE, agent
        assert set(agent["tried"]) <= ALL_WAYS
    return report


def assert_nothing_is_left(folder: Path) -> None:
    """No file that was hidden, and no secret in what the daemon wrote about it."""
    assert list(folder.rglob("canary-*")) == []
    (log,) = folder.rglob("daemon.log")
    assert "daedalus-canary-" not in log.read_text()


def test_no_secret_of_an_agent_in_the_sandbox_reaches_another(
    daemon_with: Callable[..., RealDaemon], tmp_path: Path
) -> None:
    daemon = started(daemon_with, POOL)
    isolation = daemon.client.isolation_report()
    missing = {guard["guard"] for guard in isolation["not_enforced"]}
    # Where it hides no files, those of the whole machine are within reach: more than there is time for.
    report = checked(daemon, WAYS - ({"files"} & missing))
    # What this kernel cannot close is said, and is the only way by which anything leaks.
    leaked = found_by(report)
    assert leaked <= {way for way, guards in OPEN.items() if guards <= missing}, (missing, report)
    assert report["leaked"] is bool(leaked)
    # System V memory is there in a namespace of its own, or where nothing guards it; else the calls are refused.
    namespaces = {one["agent_id"]: one["measured"]["namespaces"]["ipc"] for one in isolation["details"]}
    of_the_daemon = os.stat("/proc/self/ns/ipc").st_ino
    for agent in report["agents"]:
        has_memory = "ipc" in missing or namespaces[agent["agent_id"]] != of_the_daemon
        assert ("shared_memory" in agent["planted"]) is has_memory, (agent, namespaces)
    assert_nothing_is_left(tmp_path)


def test_without_the_sandbox_each_agent_has_the_secrets_of_all(
    daemon_with: Callable[..., RealDaemon], tmp_path: Path
) -> None:
    report = checked(started(daemon_with, UNCONFINED), WAYS - ENDLESS, found=WAYS - OWN)
    assert report["leaked"] is True
    # A process of its own keeps what is in it apart all the same.
    assert not found_by(report) & OWN, report
    for agent in report["agents"]:
        assert set(agent["planted"]) == ALL_PLACES
    everyone = [agent["agent_id"] for agent in report["agents"]]
    pairs = {(leak["from"], leak["to"]) for leak in report["leaks"]}
    assert pairs == {(owner, finder) for owner in everyone for finder in everyone if owner != finder}
    assert_nothing_is_left(tmp_path)
