"""Plays the daemon towards the main job: the answers of its HTTP interface, and no agents at all.

A discovery of a directory finds two components, and a migration of each follows from it.

What it should do wrong comes in `STUB`: `die`, `busy` (the first submit is refused), `fail` (one task fails),
`fail_migration` (one follow-up fails), `no_rule` (nothing follows).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

AGENTS = [f"agent-{number:08}" for number in range(4)]
STUB = os.environ.get("STUB", "")
tasks: dict[str, dict[str, Any]] = {}
refused = asked = 0


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_args: object) -> None:
        return

    def do_GET(self) -> None:
        if self.path == "/readyz":
            self.answer(200, {})
        elif self.path == "/agents":
            global asked
            asked += 1
            # One of them is still starting when it is asked for the first time.
            slow = {"status": "degraded", "status_reason": "starting"} if asked == 1 else {"status": "idle"}
            self.answer(200, [{"agent": {"agent_id": id_, "status": "idle"} | slow} for id_ in AGENTS])
        elif self.path.startswith("/tasks?"):
            wanted = dict(parse_qsl(urlsplit(self.path).query))["task_type"]
            found = [task for task in tasks.values() if task["task_type"] == wanted]
            self.answer(200, {"tasks": found[::-1], "next_cursor": None})
        elif self.path.startswith("/tasks/"):
            self.answer(200, tasks[self.path.removeprefix("/tasks/")])
        else:
            self.answer(404, {"code": "not_found", "detail": self.path})

    def do_POST(self) -> None:
        global refused
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if STUB == "busy" and refused < 1:
            refused += 1
            self.answer(429, {"code": "queue_full", "detail": "full"}, {"Retry-After": "0"})
            return
        task = ended(body["task_type"], body["payload"], STUB == "fail" and len(tasks) == 5)
        if body["task_type"] == "discovery" and "path" in body["payload"] and STUB != "no_rule":
            items = [{"component_id": f"m.py::{name}", "composite_score": 0.5} for name in ("f", "g")]
            task["result"] = {"components": items, "scanned": {"files": 1, "recommended": 2}}
            task["follow_ups"] = {"created": 2, "skipped": 1, "invalid": 0}
            for item in items:
                fails = STUB == "fail_migration" and item is items[0]
                child = ended("migration", item, fails)
                child["parent_task_id"] = task["task_id"]
                child["result"] = None if fails else {"plan": [{}, {}, {}], "open": []}
        self.answer(200, {"task_id": task["task_id"], "status": "pending"})

    def answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def ended(task_type: str, payload: dict[str, Any], fails: bool) -> dict[str, Any]:
    """A task that is over as soon as it is there."""
    number, now = len(tasks), time.time()
    attempt = {
        "attempt": 1,
        "agent_id": AGENTS[number % 4],
        "decision": {"rule": "longest_idle", "waited_ms": 1.5},
        "started_at": now,
        "ended_at": now + 0.02,
    }
    tasks[str(number)] = {
        "task_id": str(number),
        "task_type": task_type,
        "payload": payload,
        "status": "failed" if fails else "completed",
        "assigned_agent_id": AGENTS[number % 4],
        "attempt_count": 1,
        "attempts": [attempt],
        "result": None if fails else number,
        "error": {"code": "MAX_STEPS"} if fails else None,
        "usage": {"input_tokens": 10, "output_tokens": 1},
        "follow_ups": None,
    }
    return tasks[str(number)]


def log(**event: Any) -> None:
    print(json.dumps(event), file=sys.stderr, flush=True)


def main() -> None:
    command, bind = sys.argv[1], sys.argv[sys.argv.index("--bind") + 1]
    assert command == "serve"
    log(msg="starting", args=sys.argv[1:])
    if STUB == "die":
        log(msg="config_error", detail="the stub was told to die")
        sys.exit(78)
    host, _, port = bind.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    stopping = threading.Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        log(msg="stopping", signal=signal.Signals(number).name)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    log(msg="listening", addr=f"{host}:{server.server_port}")
    stopping.wait()


if __name__ == "__main__":
    main()
