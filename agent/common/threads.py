"""Between an event loop and other threads, at any moment of the loop's life, its end included."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Words = TypeVarTuple("Words")


class SignalEvent(threading.Event):
    """One that a signal handler may set: it may interrupt this very thread inside `wait`, which holds the lock that
    `threading.Event.set` would wait for, for ever. A SimpleQueue may be put to at any point (its documentation)."""

    def __init__(self) -> None:
        super().__init__()
        self._was_set = False
        self._puts: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        self._was_set = True
        self._puts.put(None)

    def clear(self) -> None:
        self._was_set = False

    def is_set(self) -> bool:
        return self._was_set

    def wait(self, timeout: float | None = None) -> bool:
        """For one thread at a time. May return early, and then what holds."""
        if not self._was_set:
            with suppress(queue.Empty):
                self._puts.get(timeout=timeout)
        return self._was_set


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


def join_started(thread: threading.Thread) -> None:
    """Waits for its end; at once for one that never began, as what was to start it may have failed before."""
    if thread.ident is not None:
        thread.join()


class LoopEnded(Exception):
    """The event loop has ended, before the work or in the middle of it."""


class LoopThread:
    """An event loop in a thread of its own, from `start` to `stop`: each once, though `stop` at any time and again."""

    def __init__(self, name: str) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._turn = threading.Lock()
        self._ended = False

    def start(self) -> None:
        with self._turn:
            if self._ended:
                raise LoopEnded
            self._loop = asyncio.new_event_loop()
        try:
            self._thread.start()
        except RuntimeError:  # no more threads
            self._loop.close()
            raise

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def do(self, work: Callable[[], Coroutine[Any, Any, T]], timeout_s: float) -> T:
        """Runs it there and waits. Raises what it raises, LoopEnded, and TimeoutError after having cancelled it."""
        with self._turn:  # so that what is asked for is known to the loop before it is told to stop, or is not begun
            if self._loop is None or self._ended:
                raise LoopEnded
            running = asyncio.run_coroutine_threadsafe(work(), self._loop)
        try:
            return running.result(timeout_s)
        except CancelledError:
            raise LoopEnded from None
        finally:
            running.cancel()

    def stop(self, patience_s: float) -> None:
        """Cancels what runs there, and waits so long for the thread."""
        with self._turn:
            if not self._ended and self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)
            self._ended = True
        if self._thread.ident is not None:
            self._thread.join(patience_s)

    def _run(self) -> None:
        loop = self._loop
        assert loop is not None
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            running = asyncio.all_tasks(loop)
            for task in running:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*running, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            with self._turn:
                self._ended = True
            loop.close()
