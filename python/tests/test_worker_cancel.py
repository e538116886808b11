"""Cancelling: whatever the agent does, and whatever the moment."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import pytest
from daemon_sim import HERE, TERMINAL

CANCELS = 1000


@pytest.mark.parametrize(
    ("prompt", "task_type"),
    [
        ("sleep", "general"),
        ("spin", "general"),
        ("socket", "general"),
        ("queue", "general"),
        ("swallow", "general"),
        ("slow", "research"),
    ],
)
def test_a_run_is_cancelled_at_once(scripted, prompt, task_type):
    attempt = scripted.start_task({"prompt": prompt}, task_type=task_type)
    # The model has spoken: the agent is at it.
    assert scripted.expect("model_call")["attempt"] == attempt
    began = time.monotonic()
    scripted.cancel(attempt, reason="because")
    end = scripted.end(attempt)
    assert (end["type"], end["reason"]) == ("cancelled", "because")
    assert end["usage"]["model_calls"] == 1
    assert time.monotonic() - began < 5
    assert scripted.run("steps")["output"] == 42, "the process goes on to the next task"


def test_cancels_of_another_attempt_are_ignored(scripted):
    attempt = scripted.start_task({"prompt": "sleep"})
    scripted.expect("model_call")
    scripted.cancel(attempt - 1)
    assert scripted.expect("cancel_ignored")["current"] == "t"
    scripted.cancel(attempt, task_id="another")
    scripted.expect("cancel_ignored")
    scripted.cancel(attempt)
    scripted.cancel(attempt)
    assert scripted.end(attempt)["type"] == "cancelled"
    scripted.cancel(attempt)
    assert scripted.expect("cancel_ignored")["current"] is None


def test_a_cancel_right_behind_its_task_finds_it(scripted):
    attempt = scripted.start_task({"prompt": "sleep"})
    scripted.cancel(attempt)
    assert scripted.end(attempt)["type"] == "cancelled"


def test_heartbeats_go_on_and_say_the_phase(scripted):
    attempt = scripted.start_task({"prompt": "sleep"})
    scripted.expect("model_call")
    beat = scripted.expect("heartbeat")
    assert (beat["task_id"], beat["phase"]) == ("t", "agent")
    assert beat["rss_kb"] > 1000
    assert beat["cpu_s"] > 0
    scripted.cancel(attempt)
    scripted.end(attempt)
    while scripted.expect("heartbeat")["phase"] != "idle":
        continue


def test_a_tool_that_is_waited_for_is_named(scripted):
    attempt = scripted.start_task({"prompt": "slow"}, task_type="research")
    while scripted.expect("heartbeat")["phase"] != "tool:slow":
        continue
    scripted.cancel(attempt)
    scripted.end(attempt)


def test_cancels_around_completion(start):
    """At any moment, a cancel leaves exactly one terminal frame and a worker that lives."""
    worker = start(("-I", str(HERE / "fast_worker.py")))
    assert worker.init(heartbeat_s=0.05)["type"] == "ready"
    chance = random.Random(11)
    # Later after each cancel that was in time, earlier (or longer work) after each that was not: half of them come
    # just before the end and half just after it, however busy the machine is.
    delay_s = 0.001
    for _ in range(CANCELS):
        jitter_s = chance.random() * 0.001
        attempt = worker.start_task({"prompt": "p", "work_s": 0.001 + max(0.0, -delay_s) + jitter_s})
        until = time.perf_counter() + delay_s
        while time.perf_counter() < until:
            continue
        worker.cancel(attempt)
        delay_s += 0.0001 if worker.end(attempt)["type"] == "cancelled" else -0.0001
    worker.send(type="ping", nonce=CANCELS)
    assert worker.expect("pong")["nonce"] == CANCELS
    ends = [frame for frame in worker.seen if frame["type"] in TERMINAL]
    assert [end["attempt"] for end in ends] == list(range(1, CANCELS + 1))
    kinds = {kind: sum(end["type"] == kind for end in ends) for kind in TERMINAL}
    assert kinds["error"] == 0
    # Otherwise the cancels did not come around completion at all.
    assert min(kinds["result"], kinds["cancelled"]) > CANCELS // 5, kinds
    assert worker.shutdown() == 0


def test_a_cancel_at_each_step_of_the_interpreter():
    """Systematically what the thousand cancels do by chance: no line of the gate itself can be interrupted."""
    command = [sys.executable, "-I", str(HERE / "gate_steps.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    finished, cancelled = map(int, done.stdout.split())
    assert finished > 5, "cancels before the work and after it change nothing"
    assert cancelled > 20
