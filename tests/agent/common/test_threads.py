"""What other threads ask of an event loop, while it runs and once it has ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from agent.common.threads import LoopEnded, LoopThread, SignalEvent, finished, join_started, post
from tests.helpers.waiting import PATIENCE_S


def test_a_running_loop_does_what_another_thread_posts() -> None:
    async def story() -> str:
        heard: asyncio.Queue[str] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        assert await asyncio.to_thread(post, loop, heard.put_nowait, "news")
        return await heard.get()

    assert asyncio.run(story()) == "news"


def test_a_closed_loop_is_told_nothing_and_nobody_fails() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    heard: list[str] = []
    assert not post(loop, heard.append, "news")
    assert heard == []


def test_work_begun_ends_before_whoever_is_cancelled_meanwhile() -> None:
    """Also if that one is cancelled again and again."""
    go, done = threading.Event(), threading.Event()

    def work() -> None:
        go.wait(PATIENCE_S)
        done.set()

    async def story() -> None:
        waiting = asyncio.create_task(finished(work))
        for _ in range(3):
            await asyncio.sleep(0)
            waiting.cancel()
        await asyncio.sleep(0)
        assert not waiting.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert done.is_set()

    asyncio.run(story())


def test_work_is_done_even_if_the_loop_ends_before_it_began() -> None:
    """All threads of the loop are busy when everything in it is cancelled, as `asyncio.run` does at its end."""
    done = threading.Event()

    async def story() -> None:
        loop = asyncio.get_running_loop()
        busy = [loop.run_in_executor(None, time.sleep, 0.2) for _ in range(40)]
        waiting = asyncio.create_task(finished(done.set))
        await asyncio.sleep(0)
        assert busy
        assert not waiting.done()

    asyncio.run(story())
    assert done.is_set()


def test_what_goes_wrong_is_told() -> None:
    def work() -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        asyncio.run(finished(work))


# ---------------------------------------------------------------- a loop in a thread of its own


@pytest.fixture
def looping() -> Iterator[LoopThread]:
    made = LoopThread("test")
    made.start()
    yield made
    made.stop(PATIENCE_S)
    assert not made.is_alive()


async def nothing() -> str:
    return "done"


async def for_ever() -> None:
    await asyncio.sleep(3600)


def test_a_loop_does_what_is_asked_and_is_asked_no_more_once_it_has_ended(looping: LoopThread) -> None:
    assert looping.do(nothing, PATIENCE_S) == "done"
    looping.stop(PATIENCE_S)
    looping.stop(PATIENCE_S)
    with pytest.raises(LoopEnded):
        looping.do(nothing, PATIENCE_S)
    with pytest.raises(LoopEnded):
        looping.start()


def test_a_loop_that_was_never_started_can_be_stopped() -> None:
    made = LoopThread("test")
    made.stop(PATIENCE_S)
    with pytest.raises(LoopEnded):
        made.do(nothing, PATIENCE_S)


def test_what_takes_too_long_is_cancelled(looping: LoopThread) -> None:
    ended = threading.Event()

    async def slow() -> None:
        try:
            await for_ever()
        finally:
            ended.set()

    with pytest.raises(TimeoutError):
        looping.do(slow, 0.1)
    assert ended.wait(PATIENCE_S)


def test_a_loop_that_ends_lets_go_of_everybody_who_waits(looping: LoopThread) -> None:
    """However many ask at the moment it ends, nobody waits out his time."""
    errors: list[type[BaseException]] = []

    def ask() -> None:
        try:
            while True:
                looping.do(nothing, PATIENCE_S)
                looping.do(for_ever, PATIENCE_S)
        except BaseException as error:
            errors.append(type(error))

    asking = [threading.Thread(target=ask) for _ in range(20)]
    for thread in asking:
        thread.start()
    looping.stop(PATIENCE_S)
    for thread in asking:
        thread.join(PATIENCE_S)
    assert errors == [LoopEnded] * 20


def test_a_thread_that_never_began_is_not_waited_for() -> None:
    join_started(threading.Thread(target=lambda: None))


# ---------------------------------------------------------------- signals

# The handler runs inside the lock that `threading.Event.wait` holds, as it may at any time.
INSIDE = """
import signal, threading
from agent.common.threads import SignalEvent
stop = {event}()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
with stop._cond:
    signal.raise_signal(signal.SIGTERM)
print(stop.wait(10))
"""


def outcome(event: str) -> str:
    argv = [sys.executable, "-c", INSIDE.format(event=event)]
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except subprocess.TimeoutExpired:
        return "hangs"


def test_a_signal_inside_the_wait_ends_it() -> None:
    assert outcome("SignalEvent") == "True"


@pytest.mark.slow
def test_the_standard_librarys_event_would_hang() -> None:
    assert outcome("threading.Event") == "hangs"


def test_a_wait_ends_by_time_by_another_thread_and_by_a_signal() -> None:
    event = SignalEvent()
    assert not event.wait(0.01)
    threading.Timer(0.05, event.set).start()
    assert event.wait(30)
    assert event.wait()
    event.clear()
    before = signal.signal(signal.SIGUSR1, lambda *_: event.set())
    try:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        while not event.wait(30):
            continue
        assert event.is_set()
    finally:
        signal.signal(signal.SIGUSR1, before)
