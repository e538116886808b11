"""SIGINT and SIGTERM: an exception while the job runs, and the daemon's business while it stops."""

from __future__ import annotations

import signal
import subprocess
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopSignals:
    """Remembers a signal until it may interrupt, so that no moment is left in which a child could be forgotten."""

    def __init__(self) -> None:
        self._armed = False
        self._early: int | None = None
        for number in STOPPING:
            signal.signal(number, self._on_signal)

    def arm(self) -> None:
        """From now on a signal raises `Stopped`, once; one that came before raises it here."""
        self._armed = True
        if self._early is not None:
            self._armed = False
            raise Stopped(self._early)

    def pass_on_to(self, process: subprocess.Popen[bytes]) -> None:
        """From now on signals go to the child."""
        self._armed = False
        for number in STOPPING:
            signal.signal(number, lambda number, _frame: process.send_signal(number))

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._armed:
            self._armed = False
            raise Stopped(number)
        self._early = number
