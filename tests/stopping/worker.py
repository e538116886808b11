"""A worker that works in ways that resist a stop; plain Python, no library.

Frames are read by a thread of its own. Polite work ends when it is asked to; other work is deaf. With
`work` in its payload, the second attempt of a task is a success at once; without, it sleeps for
`seconds` as the built-in worker does.
"""

import collections
import ctypes
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
# Later its parent may be the daemon, which adopts what a lost launcher leaves.
LAUNCHER = os.getppid()
task = None
# The attempt that was asked to end; set before the signal that says so.
cancelled = None
asked = threading.Event()
# Whether there is something that a signal may interrupt.
interruptible = False


def send(kind, **fields):
    sys.stdout.write(json.dumps({"type": kind, **fields}) + "\n")
    sys.stdout.flush()


def lease():
    return {"task_id": task["task_id"], "attempt": task["attempt"]}


def stop_here(*_):
    if interruptible:
        raise KeyboardInterrupt


def fork(then):
    """A child that does this and never comes back."""
    pid = os.fork()
    if pid == 0:
        then()
        os._exit(0)
    return pid


def hide():
    """Where /proc hides what cannot be read, nobody but the parent lists this process from now on."""
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)


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


def hidden_child():
    ready, hidden = os.pipe()

    def child():
        os.setsid()
        resist()
        hide()
        os.write(hidden, b".")
        sleep()

    fork(child)
    os.read(ready, 1)
    return sleep


def hides():
    hide()
    return sleep


def late():
    """It takes its time to answer, and the signal may come before that."""

    def answer():
        while cancelled != (task["task_id"], task["attempt"]):
            time.sleep(0.001)
        time.sleep(task["payload"]["after_s"])
        raise KeyboardInterrupt

    return answer


def blocks_the_signal():
    """It answers a while after the signal was sent, which never arrives."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def answer():
        while signal.SIGTERM not in signal.sigpending():
            time.sleep(0.001)
        time.sleep(task["payload"]["after_s"])
        raise KeyboardInterrupt

    return answer


def finishes():
    """It has its result when it is asked to stop."""

    def wait():
        while cancelled != (task["task_id"], task["attempt"]):
            time.sleep(0.001)

    return wait


def kills_launcher():
    """It takes its launcher away when it is asked to stop."""

    def forever():
        asked.wait()
        os.kill(LAUNCHER, signal.SIGKILL)
        sleep()

    return forever


def nap():
    time.sleep(task["payload"]["seconds"])


def stops_launcher():
    os.kill(LAUNCHER, signal.SIGSTOP)
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
    "polite_children": many_children,
    "polite_double_fork": double_fork,
    "hidden_child": hidden_child,
    "hides": hides,
    "late": late,
    "blocks_the_signal": blocks_the_signal,
    "finishes": finishes,
    "kills_launcher": kills_launcher,
    "stops_launcher": stops_launcher,
    None: lambda: nap,
}
POLITE = {
    "loop",
    "sleep",
    "blocked",
    "polite_children",
    "polite_double_fork",
    "hidden_child",
    "hides",
    None,
}
# What SIGTERM gets an answer from. All other work ends by it, as a program does that knows nothing of
# signals, or ignores it.
HANDLES = {"backtrack", "holds_the_gil"}


def read(frames, tasks):
    global cancelled
    # Signals are for the main thread; one that it blocks stays pending.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main = threading.main_thread().ident
    for line in frames:
        frame = json.loads(line)
        if frame["type"] == "cancel":
            cancelled = frame["task_id"], frame["attempt"]
            asked.set()
            signal.pthread_kill(main, signal.SIGINT)
        elif frame["type"] == "task":
            tasks.append(frame)
            wake.set()
        elif frame["type"] == "shutdown":
            send("bye")
            os._exit(0)
    os._exit(0)


def run(frame):
    global task, interruptible
    task = frame
    work = task["payload"].get("work")
    if work and task["attempt"] > 1:
        send("started", **lease())
        return send("result", **lease(), output="elsewhere")
    try:
        then = WORK[work]()
        signal.signal(signal.SIGINT, stop_here if work in POLITE else signal.SIG_IGN)
        if work in HANDLES:
            signal.signal(signal.SIGTERM, stop_here)
        send("started", **lease())
        interruptible = True
        if work in POLITE and cancelled == (task["task_id"], task["attempt"]):
            raise KeyboardInterrupt
        then()
        interruptible = False
        send("result", **lease(), output="done")
    except KeyboardInterrupt:
        interruptible = False
        send("cancelled", **lease())


wake = threading.Event()
waiting = []
signal.signal(signal.SIGINT, signal.SIG_IGN)
if "hidden" in sys.argv:
    hide()
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
