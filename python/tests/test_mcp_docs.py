"""The example in docs/mcp.md runs as written."""

from __future__ import annotations

import re
from pathlib import Path

from mcp_daemon import BUILTIN, Daemon

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "mcp.md"


def test_the_example_runs_as_written(tmp_path, capsys):
    examples = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert len(examples) == 1
    daemon = Daemon(tmp_path, BUILTIN)
    try:
        exec(compile(examples[0].replace("127.0.0.1:8420", daemon.address), str(DOCUMENT), "exec"), {})
    finally:
        daemon.close()
    assert capsys.readouterr().out == "completed {'value': 7}\n"
