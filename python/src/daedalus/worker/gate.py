"""Cancels a run from another thread, and decides its end exactly once."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

#: How often a cancel is repeated until the run is over: one may be lost in a destructor, or come while the
#: run cannot be interrupted.
REPEAT_S = 0.05
#: Frames of these may hold a lock that must be given back; the next repetition comes soon enough.
_SHIELDED_MODULES = frozenset({"daedalus.worker.wire", "logging"})


class TaskCancelled(BaseException):
    """Raised inside of a run; not an `Exception`, so that `except Exception` of agents and tools lets it pass."""


@dataclass(frozen=True)
class Done:
    """The run returned."""

    value: Any


@dataclass(frozen=True)
class Raised:
    """The run ended with an error of its own."""

    error: BaseException


@dataclass(frozen=True)
class Cancelled:
    """The run was stopped, or never begun, because somebody asked for it."""

    reason: str


Verdict = Done | Raised | Cancelled


class Gate:
    """Runs one piece of work at a time on the main thread, interruptible by SIGUSR1.

    The signal handler raises only when the main thread stands *inside* of the work: it looks for the frame of
    `_inside` at or above the interrupted one. So no line of `run` can be interrupted, whatever the moment, and
    the end of a run is either what the work returned, what it raised, or the cancel: never two, never none.
    """

    def __init__(self) -> None:
        self._main = threading.main_thread().ident or 0
        self._reason: str | None = None
        self._asked = threading.Event()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGUSR1, self._on_signal)
        threading.Thread(target=self._repeat, name="cancel", daemon=True).start()

    def reset(self) -> None:
        """Forget an earlier cancel. Called before the next run can be cancelled."""
        self._asked.clear()
        self._reason = None

    def cancel(self, reason: str) -> None:
        """Ask the run to stop; the first reason stays."""
        if self._reason is None:
            self._reason = reason
        signal.pthread_kill(self._main, signal.SIGUSR1)
        self._asked.set()

    def run(self, work: Callable[[], Any]) -> Verdict:
        """Run `work` and say how it ended."""
        if self._reason is not None:
            return Cancelled(self._reason)
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
            return Done(self._inside(work))
        except TaskCancelled as cancelled:
            return Cancelled(str(cancelled))
        except BaseException as error:
            return Raised(error)
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
            self._asked.clear()

    def _inside(self, work: Callable[[], Any]) -> Any:
        return work()

    def _on_signal(self, _number: int, frame: FrameType | None) -> None:
        if self._reason is None:
            return
        # `frame` is the innermost one; the walk ends at the first frame that must not be interrupted.
        while frame is not None:
            if frame.f_code is _INSIDE:
                raise TaskCancelled(self._reason)
            if frame.f_globals.get("__name__") in _SHIELDED_MODULES:
                return
            # Half an import would stay behind in `sys.modules`.
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                return
            frame = frame.f_back

    def _repeat(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        while True:
            self._asked.wait()
            time.sleep(REPEAT_S)
            if self._asked.is_set():
                signal.pthread_kill(self._main, signal.SIGUSR1)


_INSIDE = Gate._inside.__code__
