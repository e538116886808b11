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

#: A phase, and since when.
Stretch = tuple[str, float]


class Pulse:
    """The phase (idle, agent, model, tool:NAME) and the step, for the heartbeat and for the other frames."""

    def __init__(self) -> None:
        self.step = 0
        self.rest()

    def begin(self, task_id: str) -> None:
        """This thread begins to work on a task."""
        self.step = 0
        self._begin(task_id, "agent")

    def rest(self) -> None:
        """There is nothing to do."""
        self._begin(None, "idle")

    def _begin(self, task_id: str | None, phase: str) -> None:
        # One tuple, replaced as a whole: the heartbeat's thread never sees half a change. There is no lock that a
        # cancel could leave locked: each thread only ever changes its own entry.
        first: dict[int, Stretch] = {threading.get_ident(): (phase, time.monotonic())}
        self._now = (task_id, first)

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Be in a phase for a while, then again in the one before it: that begins anew, because something was done.

        Several threads may be in one each. One that outlives its run changes nothing of the next.
        """
        (_, stretches), here = self._now, threading.get_ident()
        before = stretches.get(here)
        stretches[here] = (phase, time.monotonic())
        try:
            yield
        finally:
            if before is None:
                stretches.pop(here, None)
            else:
                stretches[here] = (before[0], time.monotonic())

    def now(self) -> tuple[str | None, str, float]:
        """Tell the task, the phase and for how many seconds it has lasted.

        While the first thread waits for others, that is the phase of the one that has been at it for longest.
        """
        task_id, stretches = self._now
        first, *others = list(stretches.values())
        phase, since = min(others, key=lambda stretch: stretch[1], default=first)
        return task_id, phase, time.monotonic() - since

    def start(self, wire: Wire, every_s: float) -> None:
        """Beat for as long as the process lives."""
        threading.Thread(target=self._beat, args=(wire, every_s), name="heartbeat", daemon=True).start()

    def _beat(self, wire: Wire, every_s: float) -> None:
        while True:
            time.sleep(every_s)
            used = resource.getrusage(resource.RUSAGE_SELF)
            task_id, phase, phase_s = self.now()
            wire.send_if_quiet(
                "heartbeat",
                task_id=task_id,
                step=self.step,
                phase=phase,
                phase_s=round(phase_s, 2),
                cpu_s=round(used.ru_utime + used.ru_stime, 2),
                **_memory(),
            )


def _memory() -> dict[str, int]:
    """What the process takes now, unless a sandbox does not let it look."""
    try:
        return {"rss_kb": int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_KB}
    except OSError:
        return {}
