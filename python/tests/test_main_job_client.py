"""The main job's own side, against a stub of the daemon."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
DEADLINE_S = 60


@pytest.fixture
def command(tmp_path):
    """The command line of a job with the stub, and its environment."""
    program = tmp_path / "daedalus"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "stub_daemon.py"}" "$@"\n')
    program.chmod(0o755)
    config = tmp_path / "config.toml"
    config.write_text("")
    start = [sys.executable, "-I", "-m", "daedalus.main_job", "--daemon", str(program), "--config", str(config)]
    return [*start, "--state-dir", str(tmp_path / "state"), "--bind", "127.0.0.1:0"]


def run(command, stub=""):
    env = {**os.environ, "STUB": stub}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def test_it_shows_the_batch_and_stops(command, tmp_path):
    done = run([*command, "--exit"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "17 of 17 tasks completed by 4 agents, 187 tokens" in done.stdout
    assert "legacy-scan found 2 components in 1 files and recommends to migrate 2." in done.stdout
    assert "2 of 2 migrations completed; follow-ups: 2 created, 1 skipped, 0 invalid." in done.stdout
    assert "The skipped ones are there already" in done.stdout
    assert re.search(r"m\.py::f .* 0\.500 .* completed .* 3 .* 0 ", done.stdout)
    assert "4 agents are ready" in done.stdout
    assert "longest_idle" in done.stdout
    assert "daemon ended with exit code 0" in done.stdout
    assert str(tmp_path / "state" / "daemon.log") in done.stdout
    assert not any(character in done.stdout for character in "\x1b\r"), "no drawing without a terminal"
    log = (tmp_path / "state" / "daemon.log").read_text()
    assert '"signal": "SIGTERM"' in log
    rows = json.loads((tmp_path / "state" / "main-job-report.json").read_text())
    assert len({row["name"] for row in rows}) == 17 + 2


def test_it_waits_when_the_daemon_has_no_room(command):
    done = run([*command, "--exit"], stub="busy")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_task_that_failed_is_shown_and_told_by_the_exit_code(command):
    done = run([*command, "--exit"], stub="fail")
    assert done.returncode == 1
    assert "16 of 17 tasks completed" in done.stdout
    assert "MAX_STEPS" in done.stdout


def test_a_migration_that_failed_is_told_by_the_exit_code(command):
    done = run([*command, "--exit"], stub="fail_migration")
    assert done.returncode == 1
    assert "17 of 17 tasks completed" in done.stdout
    assert "1 of 2 migrations completed" in done.stdout


def test_a_daemon_without_the_rule_has_no_migrations(command):
    done = run([*command, "--exit"], stub="no_rule")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No [[follow_up]] rule looked at its result." in done.stdout


def test_a_daemon_that_dies_is_quoted(command):
    done = run([*command, "--exit"], stub="die")
    assert done.returncode == 2
    assert "exit code 78" in done.stdout
    assert "the stub was told to die" in done.stdout


def test_a_daemon_that_is_not_there(command):
    command[command.index("--daemon") + 1] = "/nowhere/daedalus"
    done = run([*command, "--exit"])
    assert done.returncode == 2
    assert "/nowhere/daedalus cannot be started" in done.stdout


def test_another_program_at_the_address_is_not_taken_for_the_daemon(command):
    with socket.create_server(("127.0.0.1", 0)) as other:
        command[-1] = f"127.0.0.1:{other.getsockname()[1]}"
        done = run([*command, "--exit"])
    assert done.returncode == 2
    assert "already listens" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_on_until_a_signal(command, tmp_path, number):
    job = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "STUB": ""})
    assert job.stdout is not None
    seen = ""
    try:
        for line in job.stdout:
            seen += line
            if "curl -s http://127.0.0.1:" in line:
                break
        job.send_signal(number)
        seen += job.stdout.read()
        assert job.wait(DEADLINE_S) == 0, seen
    finally:
        job.kill()
        job.stdout.close()
    assert f"{number.name} received: stopping the daemon" in seen
    assert "daemon ended with exit code 0" in seen
    assert f'"signal": "{number.name}"' in (tmp_path / "state" / "daemon.log").read_text()
