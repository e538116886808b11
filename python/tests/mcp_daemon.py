"""A daemon of its own for each test of the tools: DAEDALUS_BIN names the program."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

READY_S = 30.0
EXTERNAL = '[pool]\nautostart = false\n[worker]\nkind = "external"\n'
BUILTIN = "[pool]\nautostart = false\n"


class Daemon:
    """A running daemon; `url` is where its tools are."""

    def __init__(self, place: Path, config: str) -> None:
        program = os.environ.get("DAEDALUS_BIN", "")
        if not Path(program).is_file():
            pytest.fail(f"DAEDALUS_BIN must be the path of the daedalus program; it is {program!r}")
        place.mkdir(parents=True, exist_ok=True)
        (place / "daedalus.toml").write_text(config)
        command = [program, "serve", "--bind", "127.0.0.1:0", "--state-dir", str(place / "state")]
        command += ["--config", str(place / "daedalus.toml")]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.lines: list[dict[str, Any]] = []
        assert self.process.stderr
        for text in self.process.stderr:
            self.lines.append(json.loads(text))
            if self.lines[-1]["msg"] == "listening":
                break
        else:
            pytest.fail(f"the daemon did not start: {self.lines}")
        # The log must be read, or the pipe fills; nobody looks at the rest.
        self.drain = subprocess.Popen(
            ["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.address: str = self.lines[-1]["addr"]
        self.url = f"http://{self.address}/mcp"

    def close(self) -> None:
        """End it; its processes end with it."""
        self.process.terminate()
        try:
            self.process.wait(READY_S)
        finally:
            self.process.kill()
            self.process.wait()
            self.drain.wait(READY_S)
            if self.process.stderr:
                self.process.stderr.close()
