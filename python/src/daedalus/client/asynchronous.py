"""The client for asyncio: the same calls as `Client`, awaited."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, TypeVar

from daedalus.client import answers, calls
from daedalus.client.blocking import WAIT_S
from daedalus.client.errors import DaedalusError, Timeout
from daedalus.client.policy import Lost, Pause, Policy, tries
from daedalus.client.wire import Address, Incoming, Response, checked_headers, request

T = TypeVar("T")
_PIECE_BYTES = 1 << 16


class AsyncClient:
    """Talks to one daemon and never blocks the event loop; the arguments and the promises are those of `Client`.

    Safe to share between tasks; there is nothing to close. A call that is cancelled closes its connection at once.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 30.0,
        connect_timeout_s: float = 5.0,
        deadline_s: float = 60.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._address = Address.parse(url)
        self._policy = Policy(timeout_s, connect_timeout_s, deadline_s)
        self._headers = checked_headers(headers)
        self._tls = ssl.create_default_context() if self._address.secure else None

    @property
    def url(self) -> str:
        """Where the daemon is."""
        return self._address.url

    async def ready(self) -> bool:
        """Whether the daemon takes work, asked once; a daemon that cannot be reached does not."""
        try:
            await self._do(calls.ready())
        except DaedalusError:
            return False
        return True

    # The pool.

    async def initialize(self, size: int | None = None) -> answers.Initialized:
        """Make the pool at least this large; answers when its agents are idle or failed."""
        return await self._do(calls.initialize(size))

    async def shutdown(self, *, drain_s: float | None = None, discard: bool = False) -> answers.ShutDown:
        """End all agents; running tasks get `drain_s` and go back to the queue, or are cancelled with `discard`."""
        return await self._do(calls.shutdown(drain_s, discard))

    async def spawn(
        self,
        kind: answers.AgentKind | None = None,
        *,
        lease_s: float | None = None,
        task_types: Iterable[str] | None = None,
    ) -> answers.Started:
        """Add an agent to the pool."""
        return await self._do(calls.spawn(kind, lease_s, task_types))

    async def agents(self) -> list[answers.Agent]:
        """The agents of the pool."""
        return await self._do(calls.agents())

    async def agent(self, agent_id: str) -> answers.Agent:
        """One agent."""
        return await self._do(calls.agent(agent_id))

    async def remove(self, agent_id: str, *, drain_s: float | None = None) -> answers.Removed:
        """Take an agent out of the pool; its task gets `drain_s` and goes back to the queue."""
        return await self._do(calls.remove(agent_id, drain_s))

    async def fail(self, agent_id: str, reason: str | None = None) -> answers.Failed:
        """Say that an agent is broken: its task goes elsewhere, a process is started again."""
        return await self._do(calls.fail(agent_id, reason))

    async def recover(self, agent_id: str) -> answers.Started:
        """Let a degraded agent work again, as a new incarnation."""
        return await self._do(calls.recover(agent_id))

    # Tasks.

    async def submit(
        self,
        payload: Mapping[str, Any],
        *,
        task_type: str | None = None,
        preferred_agent_id: str | None = None,
        priority: int | None = None,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
        parent_task_id: str | None = None,
        detach: bool | None = None,
    ) -> answers.Submitted:
        """Submit a task; on disk when this returns. Without an `idempotency_key` the client makes one."""
        call = calls.submit(
            payload,
            task_type=task_type,
            preferred_agent_id=preferred_agent_id,
            priority=priority,
            timeout_s=timeout_s,
            idempotency_key=idempotency_key,
            parent_task_id=parent_task_id,
            detach=detach,
        )
        return await self._do(call)

    async def task(self, task_id: str, *, wait_s: float = 0.0) -> answers.Task:
        """One task with its attempts; with `wait_s` (0..60) when it has ended, at latest after that time."""
        return await self._do(calls.task(task_id, wait_s))

    async def wait(self, task_id: str, *, timeout_s: float = 600.0) -> answers.Task:
        """Wait until a task has ended, however it ended; raises `Timeout` when it has not after `timeout_s`."""
        until = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, until - time.monotonic())
            asked = time.monotonic()
            task = await self.task(task_id, wait_s=min(WAIT_S, left_s))
            if task["status"] in answers.TERMINAL:
                return task
            now = time.monotonic()
            if now >= until:
                raise Timeout(f"the task {task_id} is {task['status']} after {timeout_s:g} s")
            # A daemon that stops answers such calls at once.
            await asyncio.sleep(max(0.0, min(0.1 - (now - asked), until - now)))

    async def tasks(
        self, *, status: str | None = None, task_type: str | None = None, page_size: int | None = None
    ) -> AsyncIterator[answers.TaskSummary]:
        """All tasks, the newest submission first, fetched page by page as they are looked at."""
        cursor = None
        while True:
            page = await self._do(calls.page(status, task_type, page_size, cursor))
            for task in page["tasks"]:
                yield task
            cursor = page["next_cursor"]
            if cursor is None:
                return

    async def complete(
        self,
        task_id: str,
        result: Any = None,
        *,
        error: Mapping[str, Any] | None = None,
        success: bool | None = None,
        attempt: int | None = None,
    ) -> answers.Changed:
        """Say how a task on an external agent went: `result`, or `error` with code, message and retryable."""
        done = error is None if success is None else success
        return await self._do(calls.complete(task_id, result, error, done, attempt))

    async def cancel(self, task_id: str) -> answers.Changed:
        """Cancel a task, whether it waits or runs."""
        return await self._do(calls.cancel(task_id))

    async def retry(self, task_id: str) -> answers.Changed:
        """Put a failed or cancelled task back into the queue."""
        return await self._do(calls.retry(task_id))

    async def retry_all(self, *, status: str | None = None, task_type: str | None = None) -> answers.RetriedAll:
        """Do that with all that failed (or with `status="cancelled"`), as far as there is room."""
        return await self._do(calls.retry_all(status, task_type))

    # What external agents call.

    async def assignment(
        self, agent_id: str, *, wait_s: float = 0.0, incarnation: int | None = None
    ) -> answers.Assignment | None:
        """What the agent is to do, the same until that ends; `None` when there is nothing within `wait_s` (0..60)."""
        return await self._do(calls.assignment(agent_id, wait_s, incarnation))

    async def heartbeat(self, agent_id: str, *, incarnation: int | None = None) -> answers.Beat:
        """Show that the agent is there, and learn whether it should stop."""
        return await self._do(calls.heartbeat(agent_id, incarnation))

    # Gates.

    async def gates(self) -> list[answers.Gate]:
        """The dependencies of the pool: how each is, since when and why, and how many tasks wait for it."""
        return await self._do(calls.gates())

    async def close_gate(self, name: str) -> answers.Gate:
        """Let the tasks of a gate wait, whatever is known of its dependency; what runs goes on."""
        return await self._do(calls.order_gate(name, "close"))

    async def open_gate(self, name: str) -> answers.Gate:
        """Let the tasks of a gate run, whatever is known of its dependency."""
        return await self._do(calls.order_gate(name, "open"))

    async def auto_gate(self, name: str) -> answers.Gate:
        """Let what is known of the dependency decide again."""
        return await self._do(calls.order_gate(name, "auto"))

    # Recurring jobs.

    async def schedules(self) -> list[answers.Schedule]:
        """The recurring jobs, in the order of the configuration."""
        return await self._do(calls.schedules())

    async def run_schedule(self, name: str) -> answers.Submitted:
        """Run a recurring job now, also while it is paused; when it is due next stays as it is."""
        return await self._do(calls.run_schedule(name))

    async def pause_schedule(self, name: str) -> answers.Schedule:
        """Let nothing of a recurring job be due until it is resumed."""
        return await self._do(calls.pause_schedule(name))

    async def resume_schedule(self, name: str) -> answers.Schedule:
        """Let a recurring job go on from now; nothing is made up."""
        return await self._do(calls.resume_schedule(name))

    # The daemon.

    async def metrics(self) -> answers.Metrics:
        """The numbers of the daemon."""
        return await self._do(calls.metrics())

    async def isolation_report(self) -> answers.IsolationReport:
        """What the agents share, measured."""
        return await self._do(calls.isolation_report())

    async def check_isolation(self) -> answers.CanaryReport:
        """Have the idle process agents hide a secret each and look for those of the others; says what leaked."""
        return await self._do(calls.check_isolation())

    async def _do(self, call: calls.Call[T]) -> T:
        data = request(self._address, call.method, call.path, call.query, call.body, self._headers)
        steps = tries(call, self._policy)
        step = next(steps)
        while True:
            try:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = next(steps)
                else:
                    step = steps.send(await self._exchange(data, step.until))
            except StopIteration as end:
                answer: T = end.value
                return answer

    async def _exchange(self, data: bytes, until: float) -> Response | Lost:
        """Send a request on a connection of its own and read the answer."""
        limit_s = max(0.001, min(self._policy.connect_timeout_s, until - time.monotonic()))
        try:
            async with asyncio.timeout(limit_s):
                reader, writer = await asyncio.open_connection(
                    self._address.host, self._address.port, ssl=self._tls, limit=_PIECE_BYTES
                )
        except OSError as error:
            timed_out = isinstance(error, TimeoutError)
            reason = "timed out" if timed_out else error
            return Lost(f"{self.url} cannot be reached: {reason}", False, timed_out)
        try:
            async with asyncio.timeout(max(0.001, until - time.monotonic())):
                return await _ask(reader, writer, data)
        except TimeoutError:
            return Lost(f"{self.url} did not answer in time", True, True)
        except (OSError, http.client.HTTPException) as error:
            return Lost(f"{self.url} broke off: {error or type(error).__name__}", True)
        finally:
            writer.transport.abort()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> Response:
    writer.write(data)
    # The daemon may refuse before it has read all, and say why.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        await writer.drain()
    incoming = Incoming()
    while True:
        piece = await reader.read(_PIECE_BYTES)
        if incoming.feed(piece) or not piece:
            return incoming.response()
