"""Submits no-op tasks from several threads, each waiting for its acknowledgement: feed.py SYSTEM TASKS THREADS.

Says "ready" when everything is imported and begins when it reads a line.
"""

import http.client
import os
import sys
import threading


def daedalus():
    """One connection to the daemon."""
    connection = http.client.HTTPConnection(os.environ["DAEDALUS_ADDR"])

    def submit():
        connection.request("POST", "/tasks", b'{"payload":{}}', {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{answer.status}: {text!r}")

    return submit


def dramatiq():
    """What every user of Dramatiq calls; its client pools connections."""
    from noop_dramatiq import noop

    return noop.send


def celery():
    """What every user of Celery calls; its client pools connections."""
    from noop_celery import noop

    return noop.delay


def main():
    """Feed one system."""
    system, tasks, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    clients = [{"daedalus": daedalus, "dramatiq": dramatiq, "celery": celery}[system]() for _ in range(threads)]

    def run(number):
        for _ in range(number, tasks, threads):
            clients[number]()

    feeders = [threading.Thread(target=run, args=[number]) for number in range(threads)]
    print("ready", flush=True)
    sys.stdin.readline()
    for feeder in feeders:
        feeder.start()
    for feeder in feeders:
        feeder.join()


main()
