"""Follows the batch until every task has ended: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from daedalus.client import Client
from daedalus.main_job.batch import Job

TERMINAL = frozenset({"completed", "failed", "cancelled"})
POLL_S = 0.1


@dataclass
class Submitted:
    """A job and what the daemon last said about it."""

    job: Job
    task_id: str
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """The task's status."""
        return str(self.state.get("status", "pending"))

    @property
    def ended(self) -> bool:
        """Whether it will not change again."""
        return self.status in TERMINAL


class BatchTimeout(Exception):
    """Not every task ended in time."""


def follow(client: Client, tasks: list[Submitted], console: Console, deadline_s: float) -> None:
    """Ask for the tasks until all have ended."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    until = time.monotonic() + deadline_s
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        shown = bar.add_task("starting", total=len(tasks))
        while True:
            for task in (task for task in tasks if not task.ended):
                task.state = dict(client.task(task.task_id))
                if task.ended and not console.is_terminal:
                    console.print(f"{task.job.name}: {task.status}", highlight=False)
            counts = Counter(task.status for task in tasks)
            text = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
            bar.update(shown, description=text, completed=sum(task.ended for task in tasks))
            if all(task.ended for task in tasks):
                return
            if time.monotonic() > until:
                raise BatchTimeout(f"after {deadline_s:g} s there are {text}")
            time.sleep(POLL_S)
