"""A measurement server beside the test: real sockets, in a loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from collector.speedtests.measure.record import Record
from collector.speedtests.measure.server import MeasureServer


@contextlib.contextmanager
def in_thread(serve: Callable[[asyncio.Event], Awaitable[None]]) -> Iterator[None]:
    """Runs `serve` in a loop of its own until the block ends; it ends when its event is set."""
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve(stop)))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


@contextlib.contextmanager
def measure_server(port: int = 0, **options: Any) -> Iterator[tuple[str, list[Record]]]:
    """Our measurement server: its address and the records of the tests that are over."""
    records: list[Record] = []
    server, ready, got = MeasureServer(on_record=records.append, **options), threading.Event(), [0]

    async def serve(stop: asyncio.Event) -> None:
        _, got[0] = await server.start("127.0.0.1", port)
        ready.set()
        await stop.wait()
        await server.close()

    with in_thread(serve):
        assert ready.wait(5)
        yield f"{'https' if server.tls else 'http'}://127.0.0.1:{got[0]}", records
