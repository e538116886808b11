"""What the agent does right now, told at a steady beat by a thread of its own."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daedalus.worker.wire import Wire

PAGE_KB = os.sysconf("SC_PAGESIZE") // 1024


class Pulse:
    """The phase (idle, agent, model, tool:NAME) and the step, for the heartbeat and for the other frames."""

    def __init__(self) -> None:
        self.task_id: str | None = None
        self.step = 0
        # One tuple, replaced as a whole: the heartbeat's thread never sees half a change.
        self._phase = ("idle", time.monotonic())

    def enter(self, phase: str) -> None:
        """Begin a phase."""
        self._phase = (phase, time.monotonic())

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Be in a phase for a while, then in the one before it."""
        before = self._phase[0]
        self.enter(phase)
        try:
            yield
        finally:
            self.enter(before)

    def start(self, wire: Wire, every_s: float) -> None:
        """Beat for as long as the process lives."""
        threading.Thread(target=self._beat, args=(wire, every_s), name="heartbeat", daemon=True).start()

    def _beat(self, wire: Wire, every_s: float) -> None:
        statm = Path("/proc/self/statm")
        while True:
            time.sleep(every_s)
            used = resource.getrusage(resource.RUSAGE_SELF)
            phase, since = self._phase
            wire.send_if_quiet(
                "heartbeat",
                task_id=self.task_id,
                step=self.step,
                phase=phase,
                phase_s=round(time.monotonic() - since, 2),
                rss_kb=int(statm.read_text().split()[1]) * PAGE_KB,
                cpu_s=round(used.ru_utime + used.ru_stime, 2),
            )
