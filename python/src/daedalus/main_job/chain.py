"""What follows from the discovery: the migrations that the daemon makes of its components."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console

from daedalus.client import Client
from daedalus.main_job.batch import Job
from daedalus.main_job.progress import POLL_S, BatchTimeout, Submitted, follow


def migrations(client: Client, discovery: Submitted, console: Console, deadline_s: float) -> list[Submitted]:
    """The follow-ups of a discovery that has ended, each followed to its end."""
    created = (discovery.state.get("follow_ups") or {}).get("created", 0)
    tasks = _children(client, discovery.task_id, created, deadline_s)
    if tasks:
        console.print(f"{len(tasks)} migrations follow from {discovery.job.name}", highlight=False)
        follow(client, tasks, console, deadline_s)
    return sorted(tasks, key=lambda task: (-task.job.payload.get("composite_score", 0), task.job.name))


def _children(client: Client, parent_id: str, count: int, deadline_s: float) -> list[Submitted]:
    """They are on disk together with the end of their parent, so the first look finds them."""
    until = time.monotonic() + deadline_s
    found: list[Submitted] = []
    while len(found) < count:
        found = []
        for summary in client.tasks(task_type="migration"):
            if summary.get("parent_task_id") == parent_id:
                state: dict[str, Any] = dict(client.task(summary["task_id"]))
                job = Job(str(state["payload"].get("component_id")), "migration", state["payload"])
                found.append(Submitted(job, summary["task_id"], state))
            if len(found) == count:
                break
        else:
            if time.monotonic() > until:
                raise BatchTimeout(f"of {count} follow-ups only {len(found)} are there after {deadline_s:g} s")
            time.sleep(POLL_S)
    return found
