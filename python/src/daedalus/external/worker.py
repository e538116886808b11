"""The loop of a worker: take a task, call its function, keep the lease, answer."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from daedalus.client import AgentNotFound, DaedalusError, StaleIncarnation
from daedalus.client.answers import Assignment
from daedalus.client.wire import Address
from daedalus.external.agent import Agent
from daedalus.external.context import Context
from daedalus.external.report import Raised, Report, failure, report
from daedalus.external.run import Function, Outcome, start

log = logging.getLogger("daedalus.external")
F = TypeVar("F", bound=Function)

#: How long one call for work waits.
POLL_S = 20.0
#: How long a function that was told to stop may take before its task is given back.
LAST_WORDS_S = 2.0
_STOPS = (signal.SIGINT, signal.SIGTERM)


class Worker:
    """Runs functions as one external agent of the pool at `url`, one task at a time.

    A function is called as `function(payload, context)`, in a thread of its own; an `async` one gets an event loop
    there, and is cancelled for real. What it returns, as JSON, is the task's result; `TaskError` ends the task with a
    code of its own, any other exception with the exception's name. The worker keeps the lease meanwhile. When the task
    is cancelled, times out or goes elsewhere, `context.cancelled` is set, and what the function returns then counts
    only if the daemon still wants it. It takes no new task before the function has returned.

    Without `agent_id` the worker spawns an agent for the types that it has functions for, with a lease of `lease_s`
    (1..3600 seconds), and removes it at its end; after a worker that was killed the lease ends, and the task goes to
    another agent. With `agent_id` it works as an agent that is there.

    A daemon that restarts, is slow or away is waited for, as long as it takes.
    """

    def __init__(
        self, url: str, *, agent_id: str | None = None, lease_s: float = 30.0, stop_grace_s: float = 10.0
    ) -> None:
        Address.parse(url)
        if not 1.0 <= lease_s <= 3600.0:
            raise ValueError(f"lease_s must be 1 to 3600, found {lease_s!r}")
        self._url = url
        self._agent_id = agent_id
        self._lease_s = lease_s
        self._stop_grace_s = stop_grace_s
        self._functions: dict[str, Function] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = self._hurry = False
        self._stopping, self._hurrying = asyncio.Event(), asyncio.Event()

    def task(self, *task_types: str) -> Callable[[F], F]:
        """Decorate the function for these types."""
        if not task_types or not all(isinstance(name, str) for name in task_types):
            raise TypeError('name the types that the function is for: @worker.task("research")')
        taken = [name for name in task_types if name in self._functions]
        if taken:
            raise ValueError(f"there is a function for {taken[0]!r} already")

        def register(function: F) -> F:
            self._functions.update(dict.fromkeys(task_types, function))
            return function

        return register

    def run(self) -> None:
        """Work until `stop`, SIGTERM or SIGINT.

        A first signal lets the running function end within `stop_grace_s`, then tells it to stop and gives its task
        back; a second one does that at once. Raises `ApiError` for what waiting cannot heal, such as a task type that
        the daemon does not know.
        """
        asyncio.run(self._run())

    def stop(self) -> None:
        """End as after a signal; for any thread. Called a second time, it does not wait for the function."""
        with self._lock:
            self._hurry, self._stop = self._stop, True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._tell)

    async def serve(self) -> None:
        """The same as `run` in an event loop of the caller's, without signals."""
        if not self._functions:
            raise ValueError('there is nothing to run: decorate a function with @worker.task("research") first')
        agent = Agent(self._url, sorted(self._functions), self._agent_id, self._lease_s)
        self._stopping, self._hurrying = asyncio.Event(), asyncio.Event()
        with self._lock:
            self._loop = asyncio.get_running_loop()
        self._tell()
        try:
            while (work := await self._next(agent)) is not None:
                await self._do(agent, work)
        finally:
            with self._lock:
                self._loop = None
                self._stop = self._hurry = False
            await agent.leave()

    async def _run(self) -> None:
        with _signals(self.stop):
            await self.serve()

    def _tell(self) -> None:
        if self._stop:
            self._stopping.set()
        if self._hurry:
            self._hurrying.set()

    async def _next(self, agent: Agent) -> Assignment | None:
        """The next task, or none when the worker ends."""
        waiting = asyncio.ensure_future(agent.next_work(POLL_S))
        try:
            await _first(waiting, self._stopping)
            if waiting.done():
                work = waiting.result()
                if not self._stopping.is_set():
                    return work
                await self._give_back(agent, work["task_id"], work["attempt"])
                return None
        finally:
            waiting.cancel()
            await asyncio.wait([waiting])
        # The answer to the call that was cut off may have been a task.
        held = None if agent.is_own else await agent.held()
        if held is not None and held["task_id"] is not None and held["attempt"] is not None:
            await self._give_back(agent, held["task_id"], held["attempt"])
        return None

    async def _do(self, agent: Agent, work: Assignment) -> None:
        """Work on one attempt to its end."""
        context = Context.of(work, agent.id or "")
        function = self._functions.get(work["task_type"])
        if function is None:
            names = ", ".join(sorted(self._functions))
            text = f"this worker has no function for {work['task_type']}, only for {names}"
            await agent.answer(work, failure("unsupported_task_type", text, retryable=True))
            return
        log.info("attempt %d of the task %s begins", work["attempt"], work["task_id"])
        lost = asyncio.Event()
        ended = start(function, work["payload"], context)
        pulse = asyncio.ensure_future(_keep(agent, work, context, lost))
        try:
            outcome = await self._outcome(ended, context)
            if lost.is_set():
                log.warning("attempt %d of the task %s is another's now: dropped", work["attempt"], work["task_id"])
            elif outcome is None:
                await self._give_back(agent, work["task_id"], work["attempt"])
            else:
                await self._answer(agent, work, report(outcome))
        finally:
            if not ended.done():  # The worker ends, and the function is still at work.
                context._cancel()
            pulse.cancel()
            await asyncio.wait([pulse])

    async def _outcome(self, ended: asyncio.Future[Outcome], context: Context) -> Outcome | None:
        """What became of the function; none when this worker ends before it did."""
        await _first(ended, self._stopping)
        if not ended.done():
            await _first(ended, self._hurrying, self._stop_grace_s)
        if ended.done():
            return ended.result()
        context._cancel()
        await asyncio.wait([ended], timeout=LAST_WORDS_S)
        outcome = ended.result() if ended.done() else None
        return None if isinstance(outcome, Raised) and outcome.is_cancelled else outcome

    async def _answer(self, agent: Agent, work: Assignment, answer: Report) -> None:
        """Tell the daemon; when this worker ends, not for longer than it may take."""
        telling = asyncio.ensure_future(agent.answer(work, answer))
        await _first(telling, self._stopping)
        if not telling.done():
            await _first(telling, self._hurrying, self._stop_grace_s)
        if telling.done():
            telling.result()
            return
        telling.cancel()
        log.warning("the answer to the task %s did not arrive", work["task_id"])

    async def _give_back(self, agent: Agent, task_id: str, attempt: int) -> None:
        log.warning("attempt %d of the task %s is given back", attempt, task_id)
        if not agent.is_own:  # Its own goes back when the agent is removed, and that counts as no failure.
            stopped = failure("worker_stopped", "the worker stopped before the task was done", retryable=True)
            await agent.give_back(task_id, attempt, stopped)


async def _keep(agent: Agent, work: Assignment, context: Context, lost: asyncio.Event) -> None:
    """Keep the lease, and learn whether the attempt goes on. An unreachable daemon changes nothing."""
    while True:
        await asyncio.sleep(agent.beat_s)
        try:
            beat = await agent.beat(work)
        except (StaleIncarnation, AgentNotFound):
            break
        except DaedalusError as error:
            log.warning("no heartbeat: %s", error)
            continue
        if (beat["task_id"], beat["attempt"]) != (work["task_id"], work["attempt"]):
            break
        if beat["cancel_requested"]:
            context._cancel()
    lost.set()
    context._cancel()


async def _first(future: asyncio.Future[Any], event: asyncio.Event, timeout_s: float | None = None) -> None:
    """Wait for one of them, at most so long."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait([future, waiting], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """While this lasts, signals stop the worker; only the main thread has them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _STOPS}
    for number in _STOPS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            if handler is not None:
                signal.signal(number, handler)
