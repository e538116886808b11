"""How long a client waits, and when it tries again. No I/O here: both clients ask, and do what they are told."""

from __future__ import annotations

import random
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from daedalus.client.calls import Call, Repeat
from daedalus.client.errors import ApiError, DaedalusError, Timeout, Unreachable
from daedalus.client.wire import Response

T = TypeVar("T")

#: Refusals that changed nothing and pass: there will be room, or another daemon. Nobody knows when a dependency is
#: back; the deadline of the call bounds that wait, too.
PASSING = frozenset({"queue_full", "gate_backlog_full", "overloaded", "draining", "store_full", "canary_running"})
#: Pauses after a lost answer double from the first to the longest.
PAUSE_FIRST_S, PAUSE_MOST_S = 0.1, 2.0
#: A pause is longer by up to this share, so that clients that were refused together do not come back together.
SPREAD = 0.25


@dataclass(frozen=True)
class Policy:
    """The limits of a client, in seconds. What a call may wait in the daemon comes on top of the first and the last."""

    #: For one answer.
    timeout_s: float = 30.0
    #: For a connection.
    connect_timeout_s: float = 5.0
    #: For all tries of a call together.
    deadline_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("timeout_s", "connect_timeout_s", "deadline_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, found {getattr(self, name)!r}")


@dataclass(frozen=True)
class Send:
    """Send the call; when `until` (of `time.monotonic`) has passed, it is lost."""

    until: float


@dataclass(frozen=True)
class Pause:
    """Do nothing for so long."""

    seconds: float


@dataclass(frozen=True)
class Lost:
    """There was no answer."""

    reason: str
    #: Whether the call may have reached the daemon.
    sent: bool
    timed_out: bool = False


Step = Send | Pause
Outcome = Response | Lost | None


def tries(call: Call[T], policy: Policy) -> Generator[Step, Outcome, T]:
    """The steps of a call: each `Send` is answered with what came of it. Returns the answer or raises."""
    until = time.monotonic() + policy.deadline_s
    patience_s = call.patience_s
    maybe_done = False
    refused: DaedalusError | None = None
    number = 0
    while True:
        sent_at = time.monotonic()
        outcome = yield Send(min(until, sent_at + policy.timeout_s) + patience_s)
        error: DaedalusError
        pause_s: float | None
        if isinstance(outcome, Response):
            if outcome.is_success:
                return call.read(outcome)
            refused = error = outcome.refusal()
            settled = call.settled(error) if maybe_done and call.settled is not None else None
            if settled is not None:
                return settled
            pause_s = _after_refusal(call, error, number)
            maybe_done = maybe_done or error.maybe_done
        else:
            assert outcome is not None, "a call that was sent has an outcome"
            if outcome.sent:
                maybe_done = True
                # While the daemon was waiting, as it was asked to, the deadline was not running.
                waited_s = min(patience_s, time.monotonic() - sent_at)
                until, patience_s = until + waited_s, patience_s - waited_s
            error = _no_answer(outcome, maybe_done)
            # There was no time left to send it once more: what was said before tells why.
            if refused is not None and outcome.timed_out and not maybe_done and time.monotonic() >= until:
                raise refused
            may_repeat = call.repeat is Repeat.ALWAYS or (call.repeat is Repeat.UNSENT and not outcome.sent)
            pause_s = _backoff_s(number) if may_repeat else None
        number += 1
        if pause_s is None or time.monotonic() + pause_s >= until:
            raise error
        yield Pause(pause_s)


def _after_refusal(call: Call[T], error: ApiError, number: int) -> float | None:
    """How long to wait before the next try, if there is one."""
    # A daemon that says `internal` makes the same mistake again.
    unclear = error.maybe_done and error.code != "internal" and error.status != 500
    may_repeat = call.repeat is Repeat.ALWAYS if unclear else call.repeat is not Repeat.NEVER and error.code in PASSING
    if not may_repeat:
        return None
    if error.retry_after_s is None:
        return _backoff_s(number)
    return max(error.retry_after_s, PAUSE_FIRST_S) * (1 + SPREAD * random.random())


def _backoff_s(number: int) -> float:
    longest = min(PAUSE_MOST_S, PAUSE_FIRST_S * 2.0 ** min(number, 16))
    return longest * (1 + SPREAD * random.random())


def _no_answer(lost: Lost, maybe_done: bool) -> DaedalusError:
    return (Timeout if lost.timed_out else Unreachable)(lost.reason, maybe_done)
