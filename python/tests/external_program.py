"""A worker in a process of its own, for tests that kill it: `external_program.py URL [AGENT_ID]`."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from daedalus import Context, Worker

logging.basicConfig(level=logging.INFO, stream=sys.stderr)
url, agent_id = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
worker = Worker(url, agent_id=agent_id, lease_s=float(os.environ.get("LEASE_S", "2")), stop_grace_s=1.0)


@worker.task("research", "general")
def work(payload: dict[str, Any], context: Context) -> Any:
    if "note" in payload:
        Path(payload["note"]).write_text(f"{os.getpid()} {context.attempt}")
    until = time.monotonic() + payload.get("seconds", 0)
    while time.monotonic() < until:
        if payload.get("polite"):
            context.raise_if_cancelled()
        time.sleep(0.02)
    return {"pid": os.getpid(), "attempt": context.attempt}


worker.run()
print("ended", flush=True)
