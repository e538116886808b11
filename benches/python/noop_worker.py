"""A worker of the worker protocol (docs/worker-protocol.md) that does nothing: what a task costs without its work."""

import json
import os
import sys
import threading
import time

lock = threading.Lock()


def say(kind, **fields):
    """Write one frame."""
    line = json.dumps({"type": kind, **fields})
    with lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def beat(every_s):
    """Show that the process lives."""
    while True:
        time.sleep(every_s)
        say("heartbeat")


say("hello", proto=[1, 1], pid=os.getpid())
for text in sys.stdin:
    frame = json.loads(text)
    if frame["type"] == "init":
        threading.Thread(target=beat, args=[frame["heartbeat_s"]], daemon=True).start()
        say("ready")
    elif frame["type"] == "task":
        lease = {"task_id": frame["task_id"], "attempt": frame["attempt"]}
        say("started", **lease)
        say("result", **lease, output=None)
    elif frame["type"] == "shutdown":
        say("bye")
        break
