"""The daemon as a child process: started, waited for, stopped."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from pathlib import Path

from daedalus.client import Client

LOG_NAME = "daemon.log"
LAST_LINES = 15
POLL_S = 0.05
#: The daemon is on this machine: when it says nothing for so long, it is not coming back.
NO_ANSWER_S = 15.0


class DaemonError(Exception):
    """The daemon did not start, or ended when it should not have."""


class Daemon:
    """One `daedalus serve`; whoever made it stops it."""

    def __init__(self, program: Path, config: Path, state_dir: Path, bind: str) -> None:
        self.log = state_dir / LOG_NAME
        host, _, port = bind.rpartition(":")
        # With port 0 only the log knows where it listens.
        self._bind = None if port == "0" else bind
        if self._bind is not None and _answers(host, int(port)):
            raise DaemonError(f"another program already listens on {bind}")
        state_dir.mkdir(parents=True, exist_ok=True)
        command = [str(program), "serve", "--config", str(config), "--state-dir", str(state_dir), "--bind", bind]
        # The log of this life starts here; an earlier one stays above it.
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            try:
                # A group of its own: Ctrl-C reaches the daemon once, from this program.
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True)
            except OSError as error:
                raise DaemonError(f"{program} cannot be started: {error.strerror}") from error

    def wait_ready(self, deadline_s: float) -> Client:
        """Wait until the daemon serves and says that it is ready."""
        until = time.monotonic() + deadline_s
        while True:
            address = self._address()
            if address is not None:
                client = Client(f"http://{address}", deadline_s=NO_ANSWER_S)
                if client.ready():
                    return client
            code = self.process.poll()
            if code is not None:
                raise DaemonError(f"the daemon ended with exit code {code}; the end of its log:\n{self.last_lines()}")
            if time.monotonic() > until:
                raise DaemonError(
                    f"the daemon was not ready within {deadline_s:g} s; the end of its log:\n{self.last_lines()}"
                )
            time.sleep(POLL_S)

    def wait_agents(self, client: Client, deadline_s: float) -> int:
        """Wait until every agent of the pool can work; returns how many there are."""
        until = time.monotonic() + deadline_s
        while True:
            agents = [entry["agent"] for entry in client.agents()]
            missing = [agent for agent in agents if agent["status"] == "degraded"]
            if agents and not missing:
                return len(agents)
            reasons = sorted({str(agent.get("status_reason")) for agent in missing})
            if time.monotonic() > until or self.process.poll() is not None:
                raise DaemonError(
                    f"{len(missing)} of {len(agents)} agents cannot work ({', '.join(reasons)}); "
                    f"the end of the daemon's log:\n{self.last_lines()}"
                )
            time.sleep(POLL_S)

    def last_lines(self) -> str:
        """The end of the log, for an error message."""
        return "\n".join(self._lines()[-LAST_LINES:]) or "(empty)"

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Pass a signal on and wait for the end; the daemon bounds its own stop."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait()

    def _lines(self) -> list[str]:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", "replace").splitlines()

    def _address(self) -> str | None:
        if self._bind is not None:
            return self._bind
        for line in self._lines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and event.get("msg") == "listening" and isinstance(event.get("addr"), str):
                return str(event["addr"]).removeprefix("http://")
        return None


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host.strip("[]"), port), timeout=1):
            return True
    except OSError:
        return False
