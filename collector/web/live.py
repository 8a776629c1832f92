"""What moves while people look: one stream of small deltas, sent to every open page.

`Hub.publish` may be called from any thread and never blocks. What it is given is gathered for a moment, described
once, and the same bytes go to every page. A page that does not keep up is dropped: its stream ends, its browser comes
back by itself and asks for everything anew.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import Any

import msgspec

from collector.store.queries import STATES

log = logging.getLogger(__name__)

HEARTBEAT = b": still here\n\n"
RETRY = b"retry: 3000\n\n"  # milliseconds after which a browser comes back
MAX_CLIENTS = 500
MAX_SEPARATE = 400  # more changed centers than this are looked up all at once

_END = b""
_encoder = msgspec.json.Encoder()


class Full(Exception):
    """As many pages are open as this collector serves."""


class Hub:
    """Between whoever changes something (any thread) and the open pages (the event loop of the web server)."""

    def __init__(self, *, gather_s: float = 1.0, heartbeat_s: float = 15.0, backlog: int = 32) -> None:
        self._gather_s, self._heartbeat_s, self._backlog = gather_s, heartbeat_s, backlog
        self._lock = threading.Lock()
        self._codes: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None
        self._clients: set[asyncio.Queue[bytes]] = set()
        self._closed = False

    def publish(self, codes: Collection[str]) -> None:
        """These centers have news. Any thread; returns at once, also when nobody looks."""
        with self._lock:
            if self._loop is None or self._changed is None or self._loop.is_closed():
                return
            self._codes.update(codes)
            self._loop.call_soon_threadsafe(self._changed.set)

    def close(self) -> None:
        """Ends every stream, so that the web server can stop. Any thread; again is harmless."""
        with self._lock:
            self._closed = True
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._end_all)

    async def run(self, describe: Callable[[Collection[str]], bytes | None]) -> None:
        """Until cancelled: gathers what is published, describes it in a thread, tells every page."""
        changed = asyncio.Event()
        with self._lock:
            self._loop, self._changed = asyncio.get_running_loop(), changed
        try:
            while True:
                await changed.wait()
                await asyncio.sleep(self._gather_s)
                changed.clear()
                if not self._clients:
                    continue  # they stay gathered for whoever comes
                with self._lock:
                    codes, self._codes = self._codes, set()
                if codes:
                    await self._tell(describe, codes)
        finally:
            with self._lock:
                self._loop = self._changed = None
            self._end_all()

    async def _tell(self, describe: Callable[[Collection[str]], bytes | None], codes: Collection[str]) -> None:
        try:
            event = await asyncio.to_thread(describe, codes)
        except Exception:  # a database that is away for a moment must not end the stream for good
            log.exception("live: what changed could not be looked up; open pages will show it with the next change")
            return
        if event:
            self._send(event)

    def _send(self, event: bytes) -> None:
        for client in list(self._clients):
            if client.full():
                self._drop(client)
            else:
                client.put_nowait(event)

    def _drop(self, client: asyncio.Queue[bytes]) -> None:
        self._clients.discard(client)
        while not client.empty():
            client.get_nowait()
        client.put_nowait(_END)

    def _end_all(self) -> None:
        for client in list(self._clients):
            self._drop(client)

    def subscribe(self) -> asyncio.Queue[bytes]:
        """A place in the audience, for `stream`. Raises Full."""
        if len(self._clients) >= MAX_CLIENTS or self._closed:
            raise Full
        client: asyncio.Queue[bytes] = asyncio.Queue(self._backlog)
        self._clients.add(client)
        return client

    async def stream(self, client: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
        """The bytes of a `text/event-stream`, with a heartbeat when nothing moves."""
        try:
            yield RETRY
            while True:
                try:
                    event = await asyncio.wait_for(client.get(), self._heartbeat_s)
                except TimeoutError:
                    event = HEARTBEAT
                if event == _END:
                    return
                yield event
        finally:
            self._clients.discard(client)

    @property
    def audience(self) -> int:
        return len(self._clients)


class Follower:
    """Knows what the pages show, so that it can say which centers moved and which were merely heard.

    `look(codes)` gives rows of (center, rank, criterion, heard_ms) for these centers, or for all with None.
    """

    def __init__(self, look: Callable[[Collection[str] | None], Collection[Mapping[str, Any]]]) -> None:
        self._look = look
        self._shown: dict[str, tuple[int, str | None]] = {}

    def start(self) -> None:
        self._shown = {row["center"]: (row["rank"], row["criterion"]) for row in self._look(None)}

    def describe(self, codes: Collection[str]) -> bytes:
        """One event: `heard` {code: ms}, `moved` [code …] whose state or worst flag changed, `counts` {state: n}."""
        rows = self._look(codes if len(codes) <= MAX_SEPARATE else None)
        heard, moved = {}, []
        for row in rows:
            code, shows = row["center"], (row["rank"], row["criterion"])
            if code in codes:
                heard[code] = row["heard_ms"]
            if self._shown.get(code) != shows:
                moved.append(code)
                self._shown[code] = shows
        return b"data: " + _encoder.encode({"heard": heard, "moved": moved, "counts": self.counts()}) + b"\n\n"

    def counts(self) -> dict[str, int]:
        found = Counter(rank for rank, _ in self._shown.values())
        return {state: found[place] for place, state in enumerate(STATES)}
