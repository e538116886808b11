"""The Python blocks of the documents run as they stand, against a daemon, and print what they are said to print."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_daemon import RealDaemon, until
from test_tools import Says

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "http://127.0.0.1:8420"
BLOCK = re.compile(r"^```(?P<info>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
#: A block that begins so is a program of its own, which runs until the document ends.
PROGRAM = re.compile(r"# (?P<name>\w+\.py)\n")

#: Stands in for the model of the documents.
MODEL = """
initialize_pool(size=2)
tasks = [submit_coordination_task(payload={'action': 'digest', 'text': text}) for text in 'ab']
ended = [get_coordination_task(task_id=task['task_id'], wait_s=30) for task in tasks]
shutdown_pool()
final_answer([task['result']['sha256'] for task in ended])
"""


def steps(document: str) -> Iterator[tuple[str, str | None]]:
    """The Python blocks, each with what it is said to print."""
    blocks = [(match["info"], match["text"]) for match in BLOCK.finditer((ROOT / document).read_text())]
    for (info, text), following in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if info == "python":
            yield text, following[1] if following[0] == "text" else None


@pytest.mark.parametrize("document", ["README.md", "python/README.md"])
def test_the_python_blocks_of_a_document_run_as_written(daemon: RealDaemon, tmp_path: Path, document: str) -> None:
    names: dict[str, Any] = {"model": Says(MODEL)}
    programs: list[subprocess.Popen[str]] = []
    count = 0
    try:
        for text, shown in steps(document):
            count += 1
            text = text.replace(ADDRESS, daemon.url)
            if program := PROGRAM.match(text):
                programs.append(started(daemon, tmp_path / program["name"], text))
                continue
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(text, document, "exec"), names)
            assert shown is None or printed.getvalue() == shown, f"{document}: {text}"
    finally:
        for one in programs:
            one.terminate()
        ends = [one.communicate(timeout=30) for one in programs]
    assert [one.returncode for one in programs] == [0] * len(programs), ends
    assert count >= 3
    assert daemon.client.agents() == []


def started(daemon: RealDaemon, path: Path, text: str) -> subprocess.Popen[str]:
    path.write_text(text)
    before = len(daemon.client.agents())
    program = subprocess.Popen([sys.executable, path], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(f"{path.name} has an agent", lambda: len(daemon.client.agents()) > before)
    return program
