"""`python -I -m daedalus.worker`: started by the daemon, never by hand."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING

from daedalus.worker import exits

if TYPE_CHECKING:
    from daedalus.worker.bridge import Bridge
    from daedalus.worker.protocol import Init
    from daedalus.worker.run import Agents

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when the one that started it ends: the second line behind the pipe's end."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:
        exits.leave(exits.ORPHANED)


def main() -> int:
    """Take the wire, then import the rest: from then on nothing can print into it."""
    if os.environ.get("DAEDALUS_WORKER") != "1":
        print("this program is started by the daedalus daemon, not by hand", file=sys.stderr)
        return exits.USAGE
    parent = os.getppid()
    from daedalus.worker.wire import Wire, take_descriptors

    descriptors = take_descriptors()
    die_with_parent(parent)
    # `import smolagents` would read any .env file above it.
    os.environ.setdefault("PYTHON_DOTENV_DISABLED", "1")
    from daedalus.worker.session import Session

    return Session(Wire(descriptors), _build_agents).serve()


def _build_agents(init: Init, bridge: Bridge) -> Agents:
    from daedalus.worker.agents import AgentFactory
    from daedalus.worker.config import parse

    agents = AgentFactory(parse(init.agent, os.environ), bridge)
    agents.check()
    return agents


if __name__ == "__main__":
    try:
        code = main()
    except BaseException:
        traceback.print_exc()
        code = exits.BUG
    sys.stderr.flush()
    exits.leave(code)
