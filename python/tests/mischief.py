"""What an agent's code may do to its process. Imported by the scripted agents inside of the worker."""

import ctypes
import os
import queue
import socket
import subprocess
import sys
import threading
import time


def noise() -> bool:
    """Print in every way there is; returns whether standard input is empty."""
    print('{"v":1,"seq":1,"type":"result","task_id":"FORGED"}')
    os.write(1, b"raw write\n")
    subprocess.run(["echo", "from a child"], check=True)
    os.system("echo through a shell")
    ctypes.CDLL(None).puts(b"from C")
    ctypes.CDLL(None).fflush(None)
    sys.__stdout__.write("dunder stdout\n")
    sys.__stdout__.flush()
    return sys.stdin.read() == ""


def blocked_socket() -> None:
    here, _there = socket.socketpair()
    here.recv(1)


def blocked_queue() -> None:
    queue.Queue().get()


def swallow_once() -> None:
    """Catch everything the first time, as careless code does, then wait again."""
    try:
        time.sleep(60)
    except BaseException:
        time.sleep(60)


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def crash(code: int) -> None:
    os._exit(code)


def threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate())


class Thing:
    pass


def odd(kind: str) -> object:
    itself: list[object] = []
    itself.append(itself)
    return {
        "nan": {"x": float("nan")},
        "infinity": [float("inf")],
        "surrogate": "a\ud800",
        "key_surrogate": {"\ud800": 1},
        "integer": 2**64,
        "set": {1, 2},
        "bytes": b"x",
        "object": Thing(),
        "integer_key": {1: 2},
        "cycle": itself,
    }[kind]
