"""A small client of the daemon's HTTP interface, on the standard library."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

DEFAULT_TIMEOUT_S = 30.0
#: When a refusal names no time.
DEFAULT_RETRY_S = 1.0
#: Refusals that changed nothing and pass.
NO_ROOM = frozenset({429})
#: Answers after which nobody knows whether the call took effect.
MAYBE_DONE = frozenset({503, 504})


class ApiError(Exception):
    """The daemon refused; `code` is stable, `detail` is for people."""

    def __init__(self, status: int, problem: dict[str, Any], retry_after_s: float | None) -> None:
        self.status = status
        self.code = str(problem.get("code", "unknown"))
        self.detail = str(problem.get("detail", ""))
        self.retry_after_s = retry_after_s
        super().__init__(f"{status} {self.code}: {self.detail}")


class Client:
    """Talks to one daemon."""

    def __init__(self, base_url: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        # A proxy of the environment has no business between a client and a daemon on this machine.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ready(self) -> bool:
        """Whether the daemon takes work; a daemon that cannot be reached does not."""
        try:
            self._call("GET", "/readyz")
        except (ApiError, OSError):
            return False
        return True

    def submit(
        self,
        task_type: str,
        payload: dict[str, Any],
        *,
        idempotency_key: str | None = None,
        deadline_s: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
        **more: Any,
    ) -> dict[str, Any]:
        """Submit a task; waits as the daemon asks while it has no room, for at most `deadline_s`.

        With an `idempotency_key` it tries again after a lost answer, too: however often that reaches the daemon, it
        makes one task. Choose another key for each piece of work.
        """
        body = {"task_type": task_type, "payload": payload, **more}
        again = NO_ROOM
        if idempotency_key is not None:
            body["idempotency_key"] = idempotency_key
            again = NO_ROOM | MAYBE_DONE
        until = time.monotonic() + deadline_s
        while True:
            try:
                answer: dict[str, Any] = self._call("POST", "/tasks", body)
                return answer
            except ApiError as refusal:
                wait_s = refusal.retry_after_s if refusal.retry_after_s is not None else DEFAULT_RETRY_S
                if refusal.status not in again or time.monotonic() + wait_s > until:
                    raise
            except (OSError, http.client.HTTPException):
                wait_s = DEFAULT_RETRY_S
                if idempotency_key is None or time.monotonic() + wait_s > until:
                    raise
            sleep(wait_s)

    def task(self, task_id: str, wait_s: int = 0) -> dict[str, Any]:
        """One task with its attempts; with `wait_s` the answer comes when the task ended, or after that time."""
        query = f"?wait_s={wait_s}" if wait_s else ""
        answer: dict[str, Any] = self._call("GET", f"/tasks/{urllib.parse.quote(task_id)}{query}")
        return answer

    def agents(self) -> list[dict[str, Any]]:
        """The agents of the pool."""
        answer: list[dict[str, Any]] = self._call("GET", "/agents")
        return answer

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(self.base_url + path, method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                data = answer.read()
        except urllib.error.HTTPError as refused:
            with refused:
                raise ApiError(
                    refused.code, _problem(refused.read()), _seconds(refused.headers.get("Retry-After"))
                ) from None
        return json.loads(data) if data.strip() else None


def _problem(data: bytes) -> dict[str, Any]:
    try:
        problem = json.loads(data)
    except ValueError:
        return {"detail": data.decode("utf-8", "replace")[:200]}
    return problem if isinstance(problem, dict) else {}


def _seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header is not None else None
    except ValueError:
        return None
