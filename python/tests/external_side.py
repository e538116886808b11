"""What the tests of workers share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from daedalus import Worker


@contextmanager
def running(worker: Worker) -> Iterator[threading.Thread]:
    """A worker at work in a thread."""
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        worker.stop()
        thread.join(30)
        assert not thread.is_alive(), "the worker did not end"


def ended(daemon: Any, payload: dict[str, Any], **more: Any) -> Any:
    """Submit a task and wait for its end."""
    return daemon.client.wait(daemon.client.submit(payload, **more)["task_id"], timeout_s=30)
