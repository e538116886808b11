"""The canary: hides a secret in every way that this process has, so that others can try to find it.

Between tasks only. Nothing of it outlives the process, and a task meets nothing of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daedalus.worker import canary_look
from daedalus.worker.jobs import AgentJob
from daedalus.worker.protocol import CanaryOrder
from daedalus.worker.run import Agents

VARIABLE = "DAEDALUS_CANARY"

#: What a tool of another agent would see, if two agents shared a process.
secret_of_this_process: str | None = None


class Canary:
    """What is hidden at present."""

    def __init__(self, agents: Agents, max_frame_bytes: int) -> None:
        self._agents = agents
        # The rest of the frame is far smaller than what was found can be.
        self._room = max_frame_bytes // 2
        self._secret: str | None = None
        self._hidden = contextlib.ExitStack()
        self._agent: Any = None

    def obey(self, order: CanaryOrder) -> tuple[str, dict[str, Any]]:
        """Do what the daemon asks for; returns the frame to answer."""
        if order.step == "plant":
            return "canary_planted", {"run": order.run, **self._plant(order.secret)}
        if order.step == "clear":
            self.clear()
            return "canary_cleared", {"run": order.run}
        if self._secret is None:
            # Without a secret of its own it cannot tell it from those of the others.
            return "canary_busy", {"run": order.run}
        tried, found = canary_look.look(order.run, self._secret, order.hints, self._room)
        return "canary_found", {"run": order.run, "tried": tried, "found": found}

    def clear(self) -> None:
        """Remove what is hidden."""
        self._secret = self._agent = None
        self._hidden.close()

    def _plant(self, secret: str) -> dict[str, Any]:
        self.clear()
        self._secret = secret
        hide: dict[str, Callable[[str], Any]] = {
            "variable": self._in_variable,
            "agent_memory": self._in_agent,
            "file": self._in_file,
            "environment": self._in_environment,
            "process_environment": self._in_child,
            "port": self._at_port,
            "socket": self._at_socket,
            "shared_memory": self._in_shared_memory,
        }
        done: dict[str, Any] = {}
        for way, how in hide.items():
            # What the sandbox forbids, or this machine does not have, is no way; an agent is built by others' code.
            with contextlib.suppress(Exception):
                done[way] = how(secret)
        return {"ways": list(done), "port": done.get("port"), "socket": done.get("socket")}

    def _in_variable(self, secret: str) -> None:
        global secret_of_this_process
        secret_of_this_process = secret
        self._hidden.callback(_forget)

    def _in_agent(self, secret: str) -> None:
        from smolagents import TaskStep

        agent = self._agents.build("general", lambda step, agent=None: None, AgentJob("", {}))
        agent.memory.steps.append(TaskStep(task=secret))
        agent.state["canary"] = secret
        self._agent = agent

    def _in_file(self, secret: str) -> None:
        # A task may have left anything here: a file of its own is made, and nothing is followed.
        path = Path(f"canary-{uuid.uuid4().hex}").absolute()
        with path.open("x") as file:
            self._hidden.callback(path.unlink, missing_ok=True)
            file.write(secret)

    def _in_environment(self, secret: str) -> None:
        os.environ[VARIABLE] = secret
        self._hidden.callback(os.environ.pop, VARIABLE, None)

    def _in_child(self, secret: str) -> None:
        # The kernel shows the environment that a process began with, so it takes a new one. It ends with this process.
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"],
            env={VARIABLE: secret},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._hidden.callback(_end, child)

    def _at_port(self, secret: str) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        self._serve(listener, secret)
        port: int = listener.getsockname()[1]
        return port

    def _at_socket(self, secret: str) -> str:
        name = f"daedalus-{uuid.uuid4()}"
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(b"\0" + name.encode())
            listener.listen()
        except OSError:
            listener.close()
            raise
        self._serve(listener, secret)
        return name

    def _serve(self, listener: socket.socket, secret: str) -> None:
        def serve() -> None:
            while True:
                try:
                    guest, _ = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), guest:
                    guest.sendall(secret.encode())

        server = threading.Thread(target=serve, name="canary", daemon=True)
        server.start()

        def stop() -> None:
            # It wakes up whoever waits for a guest.
            listener.shutdown(socket.SHUT_RDWR)
            server.join()
            listener.close()

        self._hidden.callback(stop)

    def _in_shared_memory(self, secret: str) -> None:
        self._hidden.callback(SharedMemory(secret.encode()).close)


def _forget() -> None:
    global secret_of_this_process
    secret_of_this_process = None


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    with contextlib.suppress(OSError):
        child.communicate()


class SharedMemory:
    """A private System V segment. It is removed from its beginning, so that it goes with the last who is attached."""

    def __init__(self, content: bytes) -> None:
        self._libc = canary_look.libc()
        self.segment: int = self._libc.shmget(0, len(content), 0o600)
        if self.segment < 0:
            raise OSError(ctypes.get_errno(), "shmget")
        self._at = self._libc.shmat(self.segment, None, 0)
        self._libc.shmctl(self.segment, 0, None)
        if self._at == canary_look.NOWHERE:
            raise OSError(ctypes.get_errno(), "shmat")
        ctypes.memmove(self._at, content, len(content))

    def close(self) -> None:
        """Let go of it: nothing of it is left then."""
        self._libc.shmdt(self._at)
