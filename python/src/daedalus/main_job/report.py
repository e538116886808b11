"""What became of the batch: a table for people, a file for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from daedalus.main_job.progress import Submitted

REPORT_NAME = "main-job-report.json"
#: Without a terminal there is no width to keep to, and a row on two lines is harder to search.
PLAIN_WIDTH = 160
ANSWER_CHARS = 110


def show(tasks: list[Submitted], console: Console) -> None:
    """Print the results, the answers and the totals."""
    table = Table("task", "type", "agent", "why", "attempts", "waited ms", "ran ms", "tokens in/out", title="Results")
    for column in table.columns[4:]:
        column.justify = "right"
    for task in tasks:
        table.add_row(*_row(task))
    console.print(table)
    for task in tasks:
        console.print(f"{task.job.name}: {_answer(task.state)}", highlight=False, markup=False, soft_wrap=True)
    done = sum(task.status == "completed" for task in tasks)
    used = {agent for task in tasks if (agent := task.state.get("assigned_agent_id"))}
    total = sum(_tokens(task.state, "input_tokens") + _tokens(task.state, "output_tokens") for task in tasks)
    console.print(f"{done} of {len(tasks)} tasks completed by {len(used)} agents, {total} tokens.", highlight=False)


def show_migrations(discovery: Submitted, tasks: list[Submitted], console: Console) -> None:
    """Print what the discovery found and what became of it."""
    result: dict[str, Any] = discovery.state.get("result") or {}
    scanned: dict[str, Any] = result.get("scanned") or {}
    console.print(
        f"{discovery.job.name} found {len(result.get('components') or [])} components in {scanned.get('files', '?')} "
        f"files and recommends to migrate {scanned.get('recommended', '?')}.",
        highlight=False,
    )
    made: dict[str, int] | None = discovery.state.get("follow_ups")
    if made is None:
        console.print("No [[follow_up]] rule looked at its result.", highlight=False, markup=False)
        return
    table = Table("component", "score", "status", "agent", "changes", "open", title="Migrations")
    for column in (table.columns[1], *table.columns[4:]):
        column.justify = "right"
    for task in tasks:
        answer: dict[str, Any] = task.state.get("result") or {}
        table.add_row(
            task.job.name,
            f"{task.job.payload.get('composite_score', 0):.3f}",
            task.status,
            _short(str(task.state.get("assigned_agent_id") or "-")),
            str(len(answer.get("plan") or [])),
            str(len(answer.get("open") or [])),
        )
    if tasks:
        console.print(table)
    done = sum(task.status == "completed" for task in tasks)
    told = ", ".join(f"{made.get(key, 0)} {key}" for key in ("created", "skipped", "invalid"))
    console.print(f"{done} of {len(tasks)} migrations completed; follow-ups: {told}.", highlight=False)
    if made.get("skipped"):
        console.print(
            "The skipped ones are there already: an earlier discovery with the same state directory made them.",
            highlight=False,
            soft_wrap=True,
        )


def write(tasks: list[Submitted], state_dir: Path) -> Path:
    """Write everything the daemon said about the tasks."""
    path = state_dir / REPORT_NAME
    rows = [{"name": task.job.name, "payload": task.job.payload, "task": task.state} for task in tasks]
    path.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _row(task: Submitted) -> list[str]:
    state = task.state
    attempts: list[dict[str, Any]] = state.get("attempts") or []
    last = attempts[-1] if attempts else {}
    decision = last.get("decision") or {}
    began, ended = last.get("started_at"), last.get("ended_at")
    ran = f"{(ended - began) * 1000:.0f}" if began is not None and ended is not None else "-"
    waited = decision.get("waited_ms")
    return [
        task.job.name,
        task.job.task_type,
        _short(str(last.get("agent_id") or state.get("assigned_agent_id") or "-")),
        str(decision.get("rule", "-")),
        str(state.get("attempt_count", len(attempts))),
        "-" if waited is None else f"{waited:.0f}",
        ran,
        f"{_tokens(state, 'input_tokens')}/{_tokens(state, 'output_tokens')}",
    ]


def _tokens(state: dict[str, Any], key: str) -> int:
    return int((state.get("usage") or {}).get(key) or 0)


def _short(agent_id: str) -> str:
    # Ids made in the same moment begin alike: the end tells them apart.
    return agent_id if len(agent_id) <= 8 else agent_id[-8:]


def _answer(state: dict[str, Any]) -> str:
    if state.get("status") != "completed":
        return f"{state.get('status')}: {json.dumps(state.get('error'), ensure_ascii=False)}"
    text = json.dumps(state.get("result"), ensure_ascii=False)
    return text if len(text) <= ANSWER_CHARS else f"{text[:ANSWER_CHARS]}... ({len(text)} characters)"
