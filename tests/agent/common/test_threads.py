"""What other threads ask of an event loop, while it runs and once it has ended."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from agent.common.threads import finished, post
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
