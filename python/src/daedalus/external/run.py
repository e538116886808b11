"""One function at work, in a thread of its own, so that the worker can go on showing that it is there."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

from daedalus.external.context import Context
from daedalus.external.report import Raised, Returned

Function = Callable[[dict[str, Any], Context], Any]
Outcome = Returned | Raised


def start(function: Function, payload: dict[str, Any], context: Context) -> asyncio.Future[Outcome]:
    """Call the function; the future has what becomes of it.

    The thread ends with the process: a function that never returns keeps nobody from leaving.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Outcome] = loop.create_future()

    def settle(outcome: Outcome) -> None:
        if not ended.done():
            ended.set_result(outcome)

    def body() -> None:
        outcome = _call(function, payload, context)
        try:
            loop.call_soon_threadsafe(settle, outcome)
        except RuntimeError:
            return  # The worker has left without it.

    threading.Thread(target=body, name=f"daedalus-{context.task_id}", daemon=True).start()
    return ended


def _call(function: Function, payload: dict[str, Any], context: Context) -> Outcome:
    try:
        value = function(payload, context)
        if inspect.iscoroutine(value):
            value = asyncio.run(_cancellable(value, context))
        return Returned(value)
    except BaseException as error:  # Even SystemExit is the function's, not the worker's.
        return Raised(error)


async def _cancellable(coroutine: Any, context: Context) -> Any:
    task = asyncio.ensure_future(coroutine)
    loop = asyncio.get_running_loop()

    def cancel() -> None:
        try:
            loop.call_soon_threadsafe(task.cancel)
        except RuntimeError:
            return  # It has ended.

    context._when_cancelled(cancel)
    return await task
