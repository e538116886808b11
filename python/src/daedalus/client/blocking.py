"""The client that blocks."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from daedalus.client import answers, calls
from daedalus.client.errors import DaedalusError, Timeout
from daedalus.client.policy import Lost, Pause, Policy, tries
from daedalus.client.wire import Address, Incoming, Response, checked_headers, left_s, request

T = TypeVar("T")
_PIECE_BYTES = 1 << 16
#: How long a call of `wait` asks the daemon to wait.
WAIT_S = 30.0


class Client:
    """Talks to one daemon at `url`, with its base path behind it if it has one.

    Safe to share between threads; there is nothing to close. Every call is bounded: `connect_timeout_s` for a
    connection, `timeout_s` for one answer, `deadline_s` for all tries together; what the call itself may wait in the
    daemon (`wait_s`, `drain_s`, the start of an agent) comes on top of the last two.

    A try is repeated, with growing pauses or after the time that the daemon names, when the daemon was not reached,
    when it has no room for now, and (for calls that can be done twice without harm) when the answer was lost. `spawn`,
    `fail`, `recover`, `shutdown`, `retry` and `retry_all` are not such calls.

    Raises `ApiError` when the daemon refuses, `Unreachable` or `Timeout` when there is no answer.
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
        self._sleep: Callable[[float], None] = time.sleep

    @property
    def url(self) -> str:
        """Where the daemon is."""
        return self._address.url

    def ready(self) -> bool:
        """Whether the daemon takes work, asked once; a daemon that cannot be reached does not."""
        try:
            self._do(calls.ready())
        except DaedalusError:
            return False
        return True

    # The pool.

    def initialize(self, size: int | None = None) -> answers.Initialized:
        """Make the pool at least this large; answers when its agents are idle or failed."""
        return self._do(calls.initialize(size))

    def shutdown(self, *, drain_s: float | None = None, discard: bool = False) -> answers.ShutDown:
        """End all agents; running tasks get `drain_s` and go back to the queue, or are cancelled with `discard`."""
        return self._do(calls.shutdown(drain_s, discard))

    def spawn(
        self,
        kind: answers.AgentKind | None = None,
        *,
        lease_s: float | None = None,
        task_types: Iterable[str] | None = None,
    ) -> answers.Started:
        """Add an agent to the pool."""
        return self._do(calls.spawn(kind, lease_s, task_types))

    def agents(self) -> list[answers.Agent]:
        """The agents of the pool."""
        return self._do(calls.agents())

    def agent(self, agent_id: str) -> answers.Agent:
        """One agent."""
        return self._do(calls.agent(agent_id))

    def remove(self, agent_id: str, *, drain_s: float | None = None) -> answers.Removed:
        """Take an agent out of the pool; its task gets `drain_s` and goes back to the queue."""
        return self._do(calls.remove(agent_id, drain_s))

    def fail(self, agent_id: str, reason: str | None = None) -> answers.Failed:
        """Say that an agent is broken: its task goes elsewhere, a process is started again."""
        return self._do(calls.fail(agent_id, reason))

    def recover(self, agent_id: str) -> answers.Started:
        """Let a degraded agent work again, as a new incarnation."""
        return self._do(calls.recover(agent_id))

    # Tasks.

    def submit(
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
        """Submit a task; on disk when this returns.

        Without an `idempotency_key` the client makes one, so however often the submit is sent it is one task. Give one
        to repeat a submit in another process: the same key with the same content is the same task.
        """
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
        return self._do(call)

    def task(self, task_id: str, *, wait_s: float = 0.0) -> answers.Task:
        """One task with its attempts; with `wait_s` (0..60) when it has ended, at latest after that time."""
        return self._do(calls.task(task_id, wait_s))

    def wait(self, task_id: str, *, timeout_s: float = 600.0) -> answers.Task:
        """Wait until a task has ended, however it ended; raises `Timeout` when it has not after `timeout_s`."""
        until = time.monotonic() + timeout_s
        while True:
            asked = time.monotonic()
            task = self.task(task_id, wait_s=min(WAIT_S, max(0.0, until - asked)))
            if task["status"] in answers.TERMINAL:
                return task
            now = time.monotonic()
            if now >= until:
                raise Timeout(f"the task {task_id} is {task['status']} after {timeout_s:g} s")
            # A daemon that stops answers such calls at once.
            self._sleep(max(0.0, min(0.1 - (now - asked), until - now)))

    def tasks(
        self, *, status: str | None = None, task_type: str | None = None, page_size: int | None = None
    ) -> Iterator[answers.TaskSummary]:
        """All tasks, the newest submission first, fetched page by page as they are looked at."""
        cursor = None
        while True:
            page = self._do(calls.page(status, task_type, page_size, cursor))
            yield from page["tasks"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def complete(
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
        return self._do(calls.complete(task_id, result, error, done, attempt))

    def cancel(self, task_id: str) -> answers.Changed:
        """Cancel a task, whether it waits or runs."""
        return self._do(calls.cancel(task_id))

    def retry(self, task_id: str) -> answers.Changed:
        """Put a failed or cancelled task back into the queue."""
        return self._do(calls.retry(task_id))

    def retry_all(self, *, status: str | None = None, task_type: str | None = None) -> answers.RetriedAll:
        """Do that with all that failed (or with `status="cancelled"`), as far as there is room."""
        return self._do(calls.retry_all(status, task_type))

    # What external agents call.

    def assignment(
        self, agent_id: str, *, wait_s: float = 0.0, incarnation: int | None = None
    ) -> answers.Assignment | None:
        """What the agent is to do, the same until that ends; `None` when there is nothing within `wait_s` (0..60)."""
        return self._do(calls.assignment(agent_id, wait_s, incarnation))

    def heartbeat(self, agent_id: str, *, incarnation: int | None = None) -> answers.Beat:
        """Show that the agent is there, and learn whether it should stop."""
        return self._do(calls.heartbeat(agent_id, incarnation))

    # Gates.

    def gates(self) -> list[answers.Gate]:
        """The dependencies of the pool: how each is, since when and why, and how many tasks wait for it."""
        return self._do(calls.gates())

    def close_gate(self, name: str) -> answers.Gate:
        """Let the tasks of a gate wait, whatever is known of its dependency; what runs goes on."""
        return self._do(calls.order_gate(name, "close"))

    def open_gate(self, name: str) -> answers.Gate:
        """Let the tasks of a gate run, whatever is known of its dependency."""
        return self._do(calls.order_gate(name, "open"))

    def auto_gate(self, name: str) -> answers.Gate:
        """Let what is known of the dependency decide again."""
        return self._do(calls.order_gate(name, "auto"))

    # Recurring jobs.

    def schedules(self) -> list[answers.Schedule]:
        """The recurring jobs, in the order of the configuration."""
        return self._do(calls.schedules())

    def run_schedule(self, name: str) -> answers.Submitted:
        """Run a recurring job now, also while it is paused; when it is due next stays as it is."""
        return self._do(calls.run_schedule(name))

    def pause_schedule(self, name: str) -> answers.Schedule:
        """Let nothing of a recurring job be due until it is resumed."""
        return self._do(calls.pause_schedule(name))

    def resume_schedule(self, name: str) -> answers.Schedule:
        """Let a recurring job go on from now; nothing is made up."""
        return self._do(calls.resume_schedule(name))

    # The daemon.

    def metrics(self) -> answers.Metrics:
        """The numbers of the daemon."""
        return self._do(calls.metrics())

    def isolation_report(self) -> answers.IsolationReport:
        """What the agents share, measured."""
        return self._do(calls.isolation_report())

    def check_isolation(self) -> answers.CanaryReport:
        """Have the idle process agents hide a secret each and look for those of the others; says what leaked."""
        return self._do(calls.check_isolation())

    def _do(self, call: calls.Call[T]) -> T:
        data = request(self._address, call.method, call.path, call.query, call.body, self._headers)
        steps = tries(call, self._policy)
        step = next(steps)
        while True:
            try:
                if isinstance(step, Pause):
                    self._sleep(step.seconds)
                    step = next(steps)
                else:
                    step = steps.send(self._exchange(data, step.until))
            except StopIteration as end:
                answer: T = end.value
                return answer

    def _exchange(self, data: bytes, until: float) -> Response | Lost:
        """Send a request on a connection of its own and read the answer."""
        try:
            connection = self._connect(until)
        except OSError as error:
            return Lost(f"{self.url} cannot be reached: {error}", False, isinstance(error, TimeoutError))
        try:
            with connection:
                return _ask(connection, data, until)
        except TimeoutError:
            return Lost(f"{self.url} did not answer in time", True, True)
        except (OSError, http.client.HTTPException) as error:
            return Lost(f"{self.url} broke off: {error or type(error).__name__}", True)

    def _connect(self, until: float) -> socket.socket:
        limit_s = max(0.001, min(self._policy.connect_timeout_s, until - time.monotonic()))
        connection = socket.create_connection((self._address.host, self._address.port), limit_s)
        if self._tls is None:
            return connection
        try:
            return self._tls.wrap_socket(connection, server_hostname=self._address.host)
        except BaseException:
            connection.close()
            raise


def _ask(connection: socket.socket, data: bytes, until: float) -> Response:
    connection.settimeout(left_s(until))
    # The daemon may refuse before it has read all, and say why.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(data)
    incoming = Incoming()
    while True:
        # Anew each time: a server that sends a byte now and then gets no more time than another.
        connection.settimeout(left_s(until))
        piece = connection.recv(_PIECE_BYTES)
        if incoming.feed(piece) or not piece:
            return incoming.response()
