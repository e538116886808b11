"""The main job with the real daemon: DAEDALUS_BIN names the program."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from answers import checks
from fake_openai import COMPLETION_TOKENS, PROMPT_TOKENS, FakeOpenAI, conversation
from real_daemon import program

from daedalus.examples import legacy_folder, texts_folder

CONFIG = Path(__file__).resolve().parents[2] / "config" / "smolagents.toml"
DEADLINE_S = 120
AGENTS = 4
#: What a reader of the old-style modules would say; which of their lines are bad is worked out by hand.
RECOMMENDED = {
    "backup.py",
    "backup.py::BackupJob",
    "backup.py::parse",
    "ledger.py::load",
    "ledger.py::total",
    "poller.py::ask",
}


@pytest.fixture(scope="module")
def daemon() -> Path:
    """The daemon's program."""
    return program()


def run_job(daemon: Path, state_dir: Path, **env: str) -> tuple[str, list[dict[str, Any]]]:
    """Run the job to its end; returns what it printed and what the daemon said about each task."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("OPENAI_")}
    command = [sys.executable, "-I", "-m", "daedalus.main_job", "--daemon", str(daemon), "--config", str(CONFIG)]
    command += ["--state-dir", str(state_dir), "--bind", "127.0.0.1:0", "--exit"]
    done = subprocess.run(command, env=clean | env, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    log = state_dir / "daemon.log"
    end = "\n".join(log.read_text().splitlines()[-15:]) if log.exists() else "(no log)"
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{end}"
    return done.stdout, json.loads((state_dir / "main-job-report.json").read_text())


def split(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any], list[dict[str, Any]]]:
    """The tasks about texts, the discovery, and the migrations that followed from it."""
    (discovery,) = [row for row in rows if row["name"] == "legacy-scan"]
    migrations = [row for row in rows if row["task"]["task_type"] == "migration"]
    return [row for row in rows if row is not discovery and row not in migrations], discovery, migrations


def check_the_chain(discovery: dict[str, Any], migrations: list[dict[str, Any]]) -> None:
    """The migrations are those that the discovery recommends, each once, with the item as payload."""
    task = discovery["task"]
    assert task["status"] == "completed", task["error"]
    recommended = [item for item in task["result"]["components"] if item["migration_recommended"]]
    assert [row["payload"] for row in migrations] == recommended
    assert {item["component_id"] for item in recommended} == RECOMMENDED
    assert task["follow_ups"] == {"created": len(RECOMMENDED), "skipped": 0, "invalid": 0}
    assert {row["task"]["parent_task_id"] for row in migrations} == {task["task_id"]}
    for row in migrations:
        assert row["task"]["status"] == "completed", row["task"]["error"]
        assert row["task"]["result"]["component_id"] == row["payload"]["component_id"]
        source = (legacy_folder() / row["payload"]["file_path"]).read_text().split("\n")
        plan = row["task"]["result"]["plan"]
        assert plan
        assert all(change["before"] == source[change["line"] - 1].strip() for change in plan)


def totals(rows: list[dict[str, Any]]) -> tuple[int, int]:
    usages = [row["task"]["usage"] for row in rows]
    return sum(usage["input_tokens"] for usage in usages), sum(usage["output_tokens"] for usage in usages)


def test_the_offline_pool(daemon, tmp_path):
    printed, rows = run_job(daemon, tmp_path / "state")
    expected = checks(texts_folder())
    asked, discovery, migrations = split(rows)
    check_the_chain(discovery, migrations)
    assert {row["name"] for row in asked} == set(expected)
    for row in asked:
        task = row["task"]
        assert task["status"] == "completed"
        assert expected[row["name"]](task["result"]), (row["name"], task["result"])
        assert task["usage"]["input_tokens"] > task["usage"]["output_tokens"] > 0
        assert task["attempts"][-1]["decision"]["rule"]
        assert task["attempts"][-1]["ended_at"] >= task["attempts"][-1]["started_at"]
    assert len({row["task"]["assigned_agent_id"] for row in rows}) == AGENTS
    assert len({row["task"]["task_type"] for row in rows}) >= 3
    count, tokens = len(asked) + 1, sum(totals([*asked, discovery]))
    assert f"{count} of {count} tasks completed by {AGENTS} agents, {tokens} tokens" in printed
    assert f"{len(migrations)} of {len(migrations)} migrations completed" in printed
    assert "daemon ended with exit code 0" in printed


#: The variables are those that come with the task.
MIGRATE = """
factors = enhancement_opportunities + risk_factors
answer = component_changes(file_path=file_path, component_id=component_id, name=name, factors=factors)
answer["component_id"] = component_id
final_answer(answer)
"""


def word_counter(request: dict[str, Any]) -> dict[str, Any]:
    """A model that answers every question with the number of words of the first file in it, and plans migrations."""
    text = conversation(request)
    if "Plan the migration of the component" in text.rpartition("New task:\n")[2]:
        return {"text": f"Thought: I look.\n<code>\n{MIGRATE}</code>"}
    path = re.findall(r"'(/[^']+\.txt)'", text.rpartition("New task:\n")[2])[0]
    if "tools" not in request:
        return {"text": f"Thought: I count.\n<code>\nfinal_answer(count_words({path!r}))\n</code>"}
    observed = re.findall(r"Observation:\n(\d+)", text.rpartition("New task:\n")[2])
    if observed:
        return {"tool": "final_answer", "arguments": {"answer": int(observed[-1])}}
    return {"tool": "count_words", "arguments": {"path": path}}


def test_a_pool_with_a_provider(daemon, tmp_path):
    with FakeOpenAI(word_counter) as server:
        _, rows = run_job(daemon, tmp_path / "state", OPENAI_BASE_URL=server.base, OPENAI_API_KEY="k-pool")
        assert server.keys == {"Bearer k-pool"}
        calls = len(server.requests)
    asked, discovery, migrations = split(rows)
    check_the_chain(discovery, migrations)
    assert {row["task"]["usage"]["model_calls"] for row in migrations} == {1}
    for row in asked:
        path = re.findall(r"'(/[^']+\.txt)'", row["payload"]["prompt"])[0]
        assert row["task"]["status"] == "completed"
        assert row["task"]["result"] == len(Path(path).read_text().split())
        steps = 2 if row["task"]["task_type"] in ("research", "discovery") else 1
        assert row["task"]["usage"]["input_tokens"] == steps * PROMPT_TOKENS
    assert totals(rows) == (calls * PROMPT_TOKENS, calls * COMPLETION_TOKENS)
    assert len({row["task"]["assigned_agent_id"] for row in rows}) == AGENTS
