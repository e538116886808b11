"""A worker that works in ways that resist a stop; plain Python, no library.

Frames are read by a thread of its own. Work that is `polite` ends when it is asked to; other work is
deaf. Whatever a task asks for, a second attempt is a success at once.
"""

import collections
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

FOREVER = 10_000
task = None
asked = threading.Event()


def send(kind, **fields):
    sys.stdout.write(json.dumps({"type": kind, **fields}) + "\n")
    sys.stdout.flush()


def lease():
    return {"task_id": task["task_id"], "attempt": task["attempt"]}


def stop_here(*_):
    raise KeyboardInterrupt


def fork(then):
    """A child that does this and never comes back."""
    pid = os.fork()
    if pid == 0:
        then()
        os._exit(0)
    return pid


def sleep():
    while True:
        time.sleep(FOREVER)


def resist():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


# Each answers what there is to do once it has started.


def loop():
    def forever():
        while True:
            pass

    return forever


def blocked():
    here, there = socket.socketpair()

    def forever():
        there.fileno()  # it stays open
        here.recv(1)

    return forever


def backtrack():
    return lambda: re.match(r"(a+)+$", "a" * 64 + "b")


def holds_the_gil():
    """One call into C that neither gives the interpreter up nor looks for signals."""
    return lambda: collections.deque(itertools.repeat(None), maxlen=0)


def stubborn_child():
    child = subprocess.Popen(["/bin/sh", "-c", "trap '' TERM INT; while :; do sleep 1000; done"])
    resist()
    return child.wait


def double_fork():
    def daemonize():
        os.setsid()
        fork(lambda: (resist(), sleep()))

    os.waitpid(fork(daemonize), 0)
    return sleep


def many_children():
    def child():
        resist()
        sleep()

    for _ in range(200):
        fork(child)
    return sleep


def kills_launcher():
    """It takes its launcher away when it is asked to stop."""

    def forever():
        asked.wait()
        os.kill(os.getppid(), signal.SIGKILL)
        sleep()

    return forever


def stops_launcher():
    os.kill(os.getppid(), signal.SIGSTOP)
    return sleep


WORK = {
    "loop": loop,
    "sleep": lambda: sleep,
    "blocked": blocked,
    "backtrack": backtrack,
    "holds_the_gil": holds_the_gil,
    "stubborn_child": stubborn_child,
    "double_fork": double_fork,
    "many_children": many_children,
    "kills_launcher": kills_launcher,
    "stops_launcher": stops_launcher,
}
POLITE = {"loop", "sleep", "blocked"}
# What SIGTERM gets an answer from. All other work ends by it, as a program does that knows nothing of
# signals, or ignores it.
HANDLES = {"backtrack", "holds_the_gil"}


def read(frames, tasks):
    main = threading.main_thread().ident
    for line in frames:
        frame = json.loads(line)
        if frame["type"] == "cancel":
            asked.set()
            if task and task["payload"]["work"] in POLITE:
                signal.pthread_kill(main, signal.SIGINT)
        elif frame["type"] == "task":
            tasks.append(frame)
            wake.set()
        elif frame["type"] == "shutdown":
            send("bye")
            os._exit(0)
    os._exit(0)


def run(frame):
    global task
    task = frame
    asked.clear()
    if task["attempt"] > 1:
        send("started", **lease())
        return send("result", **lease(), output="elsewhere")
    work = task["payload"]["work"]
    try:
        then = WORK[work]()
        signal.signal(signal.SIGINT, stop_here)
        if work in HANDLES:
            signal.signal(signal.SIGTERM, stop_here)
        send("started", **lease())
        then()
        send("error", **lease(), code="ended", message="it was to go on", retryable=False)
    except KeyboardInterrupt:
        send("cancelled", **lease())


wake = threading.Event()
waiting = []
signal.signal(signal.SIGINT, signal.SIG_IGN)
frames = sys.stdin
send("hello", proto=[1, 1], pid=os.getpid())
json.loads(frames.readline())
send("ready")
threading.Thread(target=read, args=(frames, waiting), daemon=True).start()
while True:
    wake.wait()
    wake.clear()
    while waiting:
        run(waiting.pop(0))
