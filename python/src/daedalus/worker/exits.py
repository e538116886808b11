"""The exit codes that the daemon reads, and the one way to leave."""

from __future__ import annotations

import os
from typing import NoReturn

#: Told to stop, or the daemon closed the pipe while no task ran.
OK = 0
#: Started by hand, or the other side broke the protocol.
USAGE = 64
#: The configuration cannot work: starting again would not help.
CONFIG = 65
#: A mistake of this program.
BUG = 70
#: The daemon went away while a task ran.
ORPHANED = 71


def leave(code: int) -> NoReturn:
    """End at once: threads that a tool left behind must not hold the process."""
    os._exit(code)
