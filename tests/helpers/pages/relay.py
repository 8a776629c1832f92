"""A TCP relay in front of a web server, which can do what fails between the two: answer 502, hang, be away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

Mode = Literal["pass", "hang", "bad gateway", "away"]
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Relay:
    """`mode` may be set at any time from the test's thread; connections that were open follow it."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._passes = asyncio.Event()
        self.mode: Mode = "pass"
        self.url = ""

    def become(self, mode: Mode) -> None:
        asyncio.run_coroutine_threadsafe(self._become(mode), self._loop).result(30)

    async def _become(self, mode: Mode) -> None:
        self.mode = mode
        if mode == "hang":
            self._passes.clear()
        else:
            self._passes.set()
        if mode in ("bad gateway", "away"):
            for writer in list(self._writers):
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self.mode == "away":
                writer.transport.abort()
            elif self.mode == "bad gateway":
                await reader.readuntil(b"\r\n\r\n")
                writer.write(BAD_GATEWAY)
                await writer.drain()
            else:
                await self._join(reader, writer)
        except (OSError, EOFError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        self._writers.add(up_writer)
        try:
            await asyncio.gather(self._copy(reader, up_writer), self._copy(up_reader, writer))
        finally:
            self._writers.discard(up_writer)
            up_writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            await self._passes.wait()
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()

    async def run(self, ready: threading.Event, stop: asyncio.Event) -> None:
        self._passes.set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await stop.wait()
        server.close()
        self._passes.set()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    def main(self, ready: threading.Event, stop: asyncio.Event) -> None:
        self._loop.run_until_complete(self.run(ready, stop))
        self._loop.run_until_complete(self._part())
        self._loop.close()

    async def _part(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.05)  # transports that were closed say so to the loop

    def end(self, stop: asyncio.Event) -> None:
        self._loop.call_soon_threadsafe(stop.set)


@contextmanager
def relay(host: str, port: int) -> Iterator[Relay]:
    between, ready, stop = Relay(host, port), threading.Event(), asyncio.Event()
    thread = threading.Thread(target=between.main, args=(ready, stop))
    thread.start()
    assert ready.wait(30)
    yield between
    between.end(stop)
    thread.join(30)
