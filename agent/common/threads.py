"""Between an event loop and other threads, at any moment of the loop's life, its end included."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Words = TypeVarTuple("Words")


def post(loop: asyncio.AbstractEventLoop, work: Callable[[*Words], object], *words: *Words) -> bool:
    """`work` runs in the loop soon; False once the loop is closed, when nobody waits for it. Any thread."""
    try:
        loop.call_soon_threadsafe(work, *words)
    except RuntimeError:
        if not loop.is_closed():
            raise
        return False
    return True


async def finished(work: Callable[[*Words], T], *words: *Words) -> T:
    """`work` in a thread, to its end: whoever cancels meanwhile, however often, waits for that first."""
    # A future, not a task: what ends a loop cancels all its tasks, and one not yet begun would never run.
    running = asyncio.get_running_loop().run_in_executor(None, work, *words)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError as error:
            cancelled = error
    answer = running.result()
    if cancelled is not None:
        raise cancelled
    return answer
