"""Asks the signal boxes for their state, one after another, in an event loop that it holds up."""

import asyncio
import time
import urllib.request

BOXES = ("north", "harbour", "mill")


async def ask(box):
    time.sleep(0.5)
    with urllib.request.urlopen("http://%s.example/state" % box) as answer:
        return answer.read()


async def poll():
    states = {}
    for box in BOXES:
        try:
            states[box] = await ask(box)
        except OSError:
            pass
    return states


def main():
    print(asyncio.run(poll()))
