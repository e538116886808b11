"""The worker's place in the pool: taken, kept through restarts of the daemon, and left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from daedalus.client import AgentNotFound, ApiError, AsyncClient, Conflict, DaedalusError
from daedalus.client.answers import Assignment, Beat, Started
from daedalus.external.report import Report, refused

log = logging.getLogger("daedalus.external")

#: A cancel is learned with a heartbeat, and the daemon waits `worker.cancel_grace_s` (5) for the end.
BEAT_MOST_S = 2.0
BEATS_PER_LEASE = 3
#: How long a heartbeat may take.
PULSE_MOST_S = 2.0
#: Between tries while the daemon cannot be reached or has no room.
PAUSE_S = 1.0
#: How long leaving may take.
LEAVE_S = 5.0
#: Refusals of an answer that another one would not be better than.
_ENDED = frozenset({"task_not_found", "already_finished", "stale_attempt", "not_running"})
_BAD_RESULT = frozenset({400, 413, 422})


class Agent:
    """An external agent of the pool, one that was there (`agent_id`) or one of its own."""

    def __init__(self, url: str, task_types: Sequence[str], agent_id: str | None, lease_s: float) -> None:
        self.id = agent_id
        self.is_own = agent_id is None
        self.beat_s = min(BEAT_MOST_S, lease_s / BEATS_PER_LEASE)
        self._is_known = False
        self._arriving: asyncio.Task[Started] | None = None
        self._said = ""
        self._task_types = task_types
        self._lease_s = lease_s
        # Short tries: this loop has its own patience, and says what it waits for.
        self._client = AsyncClient(url, timeout_s=10.0, deadline_s=10.0)
        # A beat that is late is worth less than the next one.
        pulse_s = min(PULSE_MOST_S, lease_s)
        self._pulse = AsyncClient(url, timeout_s=pulse_s, deadline_s=pulse_s)
        self._leaving = AsyncClient(url, timeout_s=LEAVE_S, deadline_s=LEAVE_S)

    async def next_work(self, wait_s: float) -> Assignment:
        """Wait for work, however long the daemon is away. Raises what waiting cannot heal."""
        while True:
            try:
                agent_id = await self._join()
                # Without an incarnation: what is lost by now was no work.
                work = await self._client.assignment(agent_id, wait_s=wait_s)
                self._said = ""
                if work is not None:
                    return work
            except AgentNotFound:
                if not self.is_own:
                    raise
                log.warning("the agent %s is no more; taking a new place in the pool", self.id)
                self.id = None
                await asyncio.sleep(PAUSE_S)
            except DaedalusError as error:
                if not _passes(error):
                    raise
                self._say(f"no work for now: {error}")
                await asyncio.sleep(_pause_s(error))

    async def beat(self, work: Assignment) -> Beat:
        """Show that the attempt goes on."""
        return await self._pulse.heartbeat(self._known_id(), incarnation=work["incarnation"])

    async def answer(self, work: Assignment, report: Report) -> bool:
        """Tell how the attempt ended, however long the daemon is away; says whether it counted."""
        while True:
            try:
                await self._client.complete(work["task_id"], report.result, error=report.error, attempt=work["attempt"])
                return True
            except ApiError as error:
                if error.code in _ENDED:
                    log.warning("attempt %d of the task %s had ended: %s", work["attempt"], work["task_id"], error)
                    return False
                if error.status in _BAD_RESULT and report.error is None:
                    report = refused(error)
                elif not _passes(error):
                    log.error("the answer to the task %s was refused: %s", work["task_id"], error)
                    return False
                else:
                    await asyncio.sleep(_pause_s(error))
            except DaedalusError as error:
                log.warning("the answer to the task %s waits: %s", work["task_id"], error)
                await asyncio.sleep(PAUSE_S)

    async def held(self) -> Beat | None:
        """What the agent has to do by now, as far as can be learned at once."""
        try:
            return None if self.id is None else await self._pulse.heartbeat(self.id)
        except DaedalusError:
            return None

    async def give_back(self, task_id: str, attempt: int, report: Report) -> None:
        """Return a task undone; the lease does it when this fails."""
        try:
            await self._leaving.complete(task_id, error=report.error, attempt=attempt)
        except DaedalusError as error:
            log.warning("the task %s was not given back: %s", task_id, error)

    async def leave(self) -> None:
        """Remove the agent when it is this worker's own; its task goes back to the queue."""
        if not self.is_own:
            return
        try:
            async with asyncio.timeout(LEAVE_S):
                if self._arriving is not None:
                    self._arrived(await self._arriving)
                if self.id is not None:
                    await self._leaving.remove(self.id)
        except AgentNotFound:
            return
        except (DaedalusError, TimeoutError) as error:
            log.warning("the agent %s was not removed: %s", self.id or "that was asked for", error)

    async def _join(self) -> str:
        if not self.is_own and not self._is_known:
            lease_s = (await self._client.agent(self._known_id()))["agent"]["lease_s"]
            if lease_s is not None:
                self.beat_s = min(self.beat_s, lease_s / BEATS_PER_LEASE)
            self._is_known = True
        if self.id is None:
            spawn = self._client.spawn("external", lease_s=self._lease_s, task_types=self._task_types)
            self._arriving = asyncio.ensure_future(spawn)
            try:
                # Shielded: a worker that is stopped before the answer came has an agent to remove all the same.
                self._arrived(await asyncio.shield(self._arriving))
            finally:
                if self._arriving is not None and self._arriving.done():
                    self._arriving = None
        return self._known_id()

    def _arrived(self, started: Started) -> None:
        self._arriving = None
        self.id = started["agent_id"]
        log.info("the agent %s takes %s", self.id, ", ".join(self._task_types))

    def _say(self, text: str) -> None:
        # Once, and not each second that it lasts.
        if text != self._said:
            log.warning("%s", text)
        self._said = text

    def _known_id(self) -> str:
        assert self.id is not None, "an agent with work has an id"
        return self.id


def _passes(error: DaedalusError) -> bool:
    """Whether it may be otherwise after a while without anybody changing this worker."""
    if not isinstance(error, ApiError):
        return True
    waits = isinstance(error, Conflict) and error.code in ("agent_failed", "pool_closing", "stale_incarnation")
    return waits or error.status == 429 or error.status >= 500


def _pause_s(error: DaedalusError) -> float:
    named = error.retry_after_s if isinstance(error, ApiError) else None
    return PAUSE_S if named is None else max(PAUSE_S, named)
