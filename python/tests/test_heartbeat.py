"""The phases that a worker tells: what it does, and for how long it has been at it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from daedalus.worker import heartbeat
from daedalus.worker.heartbeat import Pulse


@pytest.fixture
def clock(monkeypatch):
    """A clock that is turned by hand."""

    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(heartbeat, "time", clock)
    return clock


class Beside:
    """A thread that is in a phase until it is told to leave it."""

    def __init__(self, pulse: Pulse, phase: str) -> None:
        entered, self._leave = threading.Event(), threading.Event()

        def be() -> None:
            with pulse.during(phase):
                entered.set()
                assert self._leave.wait(20)

        self._thread = threading.Thread(target=be)
        self._thread.start()
        assert entered.wait(20)

    def leave(self) -> None:
        self._leave.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


def test_a_worker_without_a_task_is_idle(clock):
    pulse = Pulse()
    clock.now += 7
    assert pulse.now() == (None, "idle", 7)


def test_each_phase_counts_from_its_own_beginning(clock):
    pulse = Pulse()
    pulse.begin("t")
    clock.now += 2
    assert pulse.now() == ("t", "agent", 2)
    with pulse.during("tool:outer"):
        clock.now += 3
        with pulse.during("model"):
            clock.now += 4
            assert pulse.now() == ("t", "model", 4)
        assert pulse.now() == ("t", "tool:outer", 0), "it begins anew: something was done"
        clock.now += 5
        assert pulse.now() == ("t", "tool:outer", 5)
    assert pulse.now() == ("t", "agent", 0)
    pulse.rest()
    assert pulse.now() == (None, "idle", 0)


def test_a_phase_that_fails_is_over(clock):
    pulse = Pulse()
    pulse.begin("t")
    with pytest.raises(KeyboardInterrupt), pulse.during("model"):
        raise KeyboardInterrupt
    assert pulse.now() == ("t", "agent", 0)


def test_of_tools_side_by_side_the_one_is_told_that_takes_longest(clock):
    pulse = Pulse()
    pulse.begin("t")
    slow = Beside(pulse, "tool:slow")
    clock.now += 10
    quick = Beside(pulse, "tool:quick")
    clock.now += 1
    assert pulse.now() == ("t", "tool:slow", 11)
    quick.leave()
    assert pulse.now() == ("t", "tool:slow", 11), "the other one's end is no progress of this one"
    quick = Beside(pulse, "tool:quick")
    clock.now += 2
    slow.leave()
    assert pulse.now() == ("t", "tool:quick", 2)
    quick.leave()
    assert pulse.now()[:2] == ("t", "agent")


def test_what_outlives_its_run_says_nothing_of_the_next(clock):
    pulse = Pulse()
    pulse.begin("one")
    left_over = Beside(pulse, "tool:slow")
    pulse.rest()
    assert pulse.now() == (None, "idle", 0)
    pulse.begin("two")
    left_over.leave()
    assert pulse.now() == ("two", "agent", 0)


def test_the_heart_beats_on_where_proc_cannot_be_read(monkeypatch):
    beats: list[dict[str, object]] = []
    enough = threading.Event()

    class Wire:
        def send_if_quiet(self, type_: str, **fields: object) -> None:
            beats.append({"type": type_, **fields})
            if len(beats) >= 3:
                enough.set()
                threading.Event().wait()  # this thread has done its work

    def refuse(*_: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    Pulse().start(Wire(), 0.001)
    assert enough.wait(20)
    assert beats[0]["phase"] == "idle"
    assert "rss_kb" not in beats[0]
    assert beats[0]["cpu_s"] > 0
