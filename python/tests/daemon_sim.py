"""Stands in for the daemon: starts a worker, talks to it over pipes, and never waits without a deadline."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PLAIN = ("-I", "-m", "daedalus.worker")
#: The same worker, which finds the scripted models of the tests.
SCRIPTED = ("-I", str(HERE / "scripted_worker.py"))
TERMINAL = ("result", "error", "cancelled")
DEADLINE_S = 30.0
LEAST_FRAME = 64 << 10

Frame = dict[str, Any]


class WorkerProcess:
    """One worker and both ends of its pipes."""

    def __init__(
        self, command: tuple[str, ...] = PLAIN, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        # Built, not inherited: a key in the environment of the tests must not choose the model.
        own = {"DAEDALUS_WORKER": "1", "PATH": "/usr/bin:/bin", "PYTHON_DOTENV_DISABLED": "1", **(env or {})}
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=own,
            cwd=cwd,
            start_new_session=True,
        )
        self.frames: queue.Queue[Frame] = queue.Queue()
        self.seen: list[Frame] = []
        self.stderr: list[str] = []
        self._more_stderr = threading.Condition()
        self._attempt = 0
        self._readers = [threading.Thread(target=self._read_frames), threading.Thread(target=self._read_stderr)]
        for reader in self._readers:
            reader.start()

    def _read_frames(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            frame = json.loads(line)
            frame["_bytes"] = len(line)
            self.seen.append(frame)
            self.frames.put(frame)
        self.frames.put({"type": "EOF"})

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._more_stderr:
                self.stderr.append(line.decode("utf-8", "replace").rstrip("\n"))
                self._more_stderr.notify_all()

    def send(self, **frame: Any) -> None:
        self.send_bytes(json.dumps(frame).encode() + b"\n")

    def send_bytes(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def expect(self, *types: str, deadline_s: float = DEADLINE_S) -> Frame:
        """The next frame of one of these types; the end of the worker fails the test."""
        end = time.monotonic() + deadline_s
        while True:
            frame = self.frames.get(timeout=max(0.001, end - time.monotonic()))
            if frame["type"] in types:
                return frame
            assert frame["type"] != "EOF", f"the worker ended instead of {types}: {self.seen[-3:]} {self.stderr[-5:]}"

    def expect_stderr(self, part: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until a line with this in it was on standard error."""
        with self._more_stderr:
            found = self._more_stderr.wait_for(lambda: any(part in line for line in self.stderr), deadline_s)
        assert found, f"{part!r} is not on standard error"

    def init(self, agent: Any = None, **more: Any) -> Frame:
        """Send `init` and wait for the answer."""
        self.expect("hello")
        fields = {"proto": 1, "agent_id": "a1", "incarnation": 1, "heartbeat_s": 0.2, "max_frame_bytes": 1 << 20}
        self.send(type="init", **{**fields, "agent": agent or {}, **more})
        return self.expect("ready", "init_error", "fatal")

    def start_task(self, payload: dict[str, Any], task_id: str = "t", task_type: str = "general", **more: Any) -> int:
        """Send a task; returns its attempt, which is new each time."""
        self._attempt += 1
        fields = {"task_id": task_id, "attempt": self._attempt, "task_type": task_type, "payload": payload}
        self.send(type="task", **fields, trace_id="x" * 32, timeout_s=60, **more)
        return self._attempt

    def end(self, attempt: int) -> Frame:
        """The terminal frame of an attempt, which must be the next terminal frame of all."""
        frame = self.expect(*TERMINAL)
        assert frame["attempt"] == attempt
        return frame

    def run(self, prompt: str, task_type: str = "general", **more: Any) -> Frame:
        """Run a task to its end."""
        return self.end(self.start_task({"prompt": prompt}, task_type=task_type, **more))

    def cancel(self, attempt: int, task_id: str = "t", reason: str = "user") -> None:
        self.send(type="cancel", task_id=task_id, attempt=attempt, reason=reason)

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """The exit code, when every pipe is read to its end."""
        code = self.process.wait(deadline_s)
        for reader in self._readers:
            reader.join(deadline_s)
        return code

    def shutdown(self) -> int:
        self.send(type="shutdown", reason="test")
        return self.wait()

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue
