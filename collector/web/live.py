"""What moves while people look: one stream of small deltas, sent to every open page.

`Hub.publish` may be called from any thread and never blocks. What it is given is gathered for a moment, described
once for each scope that somebody looks with, and the same bytes go to every page of that scope. A page that does not
keep up is dropped: its stream ends, its browser comes back by itself and asks for everything anew.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import Any, NamedTuple

import msgspec

from agent.common.logs import Event
from agent.common.threads import post
from collector.common.scope import EVERYWHERE, Scope
from collector.store.queries import STATES

NOT_PUBLISHED = Event(
    __name__, "error", "live_update_failed", "what changed could not be looked up; open pages show it with the next "
    "change", fields="error", has_trace=True,
)  # fmt: skip

BEAT = b"event: beat\ndata: %s\n\n"  # the server is alive, and how late its parts are: seconds by part
RETRY = b"retry: 3000\n\n"  # milliseconds after which a program comes back
LOST = b"id: %s\nevent: lost\ndata: {}\n\n"  # what a page missed is no longer held: it must ask for everything anew
MAX_SEPARATE = 400  # more changed centers than this are looked up all at once
ALL_AFTER = 60  # events after which all centers are looked at
REST = 9  # the looking rests this many times as long as it took, so that a flood costs a tenth of a core at most

_END = b""
_encoder = msgspec.json.Encoder()


# What is to be said of these centers, for each of these scopes.
Describe = Callable[[Collection[str], Collection[Scope]], Mapping[Scope, bytes]]


class Full(Exception):
    """As many pages are open as this collector serves."""


class Hub:
    """Between whoever changes something (any thread) and the open pages (the event loop of the web server).

    Events are numbered. A page names the last one it knows, so that nothing falls between its making and its stream.
    """

    def __init__(self, *, gather_s: float = 1.0, heartbeat_s: float = 10.0, backlog: int = 32, most: int = 500) -> None:
        self._gather_s, self._heartbeat_s, self._backlog, self._most = gather_s, heartbeat_s, backlog, most
        self._lock = threading.Lock()
        self._codes: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None
        self._clients: dict[asyncio.Queue[bytes], Scope] = {}
        self._closed = False
        self._run = secrets.token_hex(4)  # numbers of an earlier run of the server mean nothing now
        self._number = 0
        self._sent: deque[tuple[int, Mapping[Scope, bytes]]] = deque(maxlen=backlog)
        self.moves = 0  # descriptions so far in which some center had moved; kept by whoever describes

    def publish(self, codes: Collection[str]) -> None:
        """These centers have news. Any thread; returns at once, also when nobody looks."""
        with self._lock:
            if self._loop is not None and self._changed is not None:
                self._codes.update(codes)
                post(self._loop, self._changed.set)

    def close(self) -> None:
        """Ends every stream, so that the web server can stop. Any thread; again is harmless."""
        with self._lock:
            self._closed = True
            if self._loop is not None:
                post(self._loop, self._end_all)

    async def run(self, describe: Describe) -> None:
        """Until cancelled: gathers what is published, describes it in a thread (as JSON), tells every page."""
        changed, pause_s = asyncio.Event(), self._gather_s
        with self._lock:
            self._loop, self._changed = asyncio.get_running_loop(), changed
        try:
            while True:
                await changed.wait()
                await asyncio.sleep(pause_s)
                changed.clear()
                with self._lock:
                    codes, self._codes = self._codes, set()
                started_s = time.monotonic()
                await self._tell(describe, codes)
                pause_s = max(self._gather_s, REST * (time.monotonic() - started_s))
        finally:
            with self._lock:
                self._loop = self._changed = None
            self._end_all()

    async def _tell(self, describe: Describe, codes: Collection[str]) -> None:
        try:
            news = await asyncio.to_thread(describe, codes, {EVERYWHERE, *self._clients.values()})
        except Exception as error:  # a database that is away for a moment must not end the stream for good
            NOT_PUBLISHED.log(error=error)
            return
        self._number += 1
        name = self.last_event.encode()
        events = {scope: b"id: %s\ndata: %s\n\n" % (name, text) for scope, text in news.items()}
        self._sent.append((self._number, events))
        for client, scope in list(self._clients.items()):
            if client.full():
                self._drop(client)
            else:
                client.put_nowait(events.get(scope, LOST % name))  # of a page that came meanwhile

    def _drop(self, client: asyncio.Queue[bytes]) -> None:
        self._clients.pop(client, None)
        while not client.empty():
            client.get_nowait()
        client.put_nowait(_END)

    def _end_all(self) -> None:
        for client in list(self._clients):
            self._drop(client)

    @property
    def last_event(self) -> str:
        """The name of the newest event: a page that is made now knows it and all before."""
        return f"{self._run}-{self._number}"

    def subscribe(self, after: str | None = None, scope: Scope = EVERYWHERE) -> asyncio.Queue[bytes]:
        """A place in the audience, for `stream`, that begins after the event of that name and hears of the centers in
        the scope. Raises Full."""
        if len(self._clients) >= self._most or self._closed:
            raise Full
        client: asyncio.Queue[bytes] = asyncio.Queue(self._backlog + 1)
        for event in self._missed(after, scope):
            client.put_nowait(event)
        self._clients[client] = scope
        return client

    def _missed(self, after: str | None, scope: Scope) -> list[bytes]:
        if after is None or after == self.last_event:
            return []
        run, _, number = after.partition("-")
        since = int(number) if number.isascii() and number.isdigit() and len(number) < 16 else -1
        if run != self._run or not self._sent or since + 1 < self._sent[0][0]:
            return [LOST % self.last_event.encode()]
        events = [event.get(scope, b"") for held, event in self._sent if held > since]
        return events if all(events) else [LOST % self.last_event.encode()]

    async def stream(
        self, client: asyncio.Queue[bytes], late: Callable[[], Mapping[str, float]],
        is_valid: Callable[[], bool] = lambda: True,
    ) -> AsyncIterator[bytes]:  # fmt: skip
        """The bytes of a `text/event-stream`, with a beat at its start and then as often as was agreed; ended when, as
        often, `is_valid` says in a thread that whoever reads it may no more."""
        checked_s = time.monotonic()
        try:
            yield RETRY
            beat_s = time.monotonic()
            while True:
                event = await _event_by(client, beat_s)
                if event is None:
                    beat_s = time.monotonic() + self._heartbeat_s
                    event = BEAT % _encoder.encode(late())
                if event == _END:
                    return
                if time.monotonic() - checked_s >= self._heartbeat_s:
                    checked_s = time.monotonic()
                    if not await asyncio.to_thread(is_valid):
                        return
                yield event
        finally:
            self._clients.pop(client, None)

    @property
    def audience(self) -> int:
        return len(self._clients)


async def _event_by(client: asyncio.Queue[bytes], until_s: float) -> bytes | None:
    """None: it is `until_s` by the monotonic clock, which is looked at first, so that many events delay no beat."""
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        return None
    try:
        async with asyncio.timeout(left_s):
            return await client.get()
    except TimeoutError:
        return None


class Shown(NamedTuple):
    """What the pages show of a center, and where it is."""

    rank: int
    criterion: str | None
    owner: str
    district: str
    province: str


class Follower:
    """Knows what the pages show, so that it can say which centers moved and which were merely heard.

    `look(codes)` gives rows of `queries.pulses` for these centers, or for all with None. All are
    looked at when many changed, when one is new, and now and then: the register is changed by others too.
    """

    def __init__(self, look: Callable[[Collection[str] | None], Collection[Mapping[str, Any]]]) -> None:
        self._look = look
        self._shown: dict[str, Shown] = {}
        self._events = 0
        self.moves = 0  # descriptions in which some center had moved

    def start(self) -> None:
        self._shown = _shown(self._look(None))

    def describe(self, codes: Collection[str], scopes: Collection[Scope]) -> dict[Scope, bytes]:
        """For each scope, as JSON: `heard` {code: ms}, `moved` [code …] whose state or worst flag changed, `ranks`
        [place in STATES …] of those, `counts` {state: n}."""
        self._events += 1
        few = len(codes) <= MAX_SEPARATE and self._shown.keys() >= set(codes) and self._events % ALL_AFTER
        rows = self._look(codes if few else None)
        shows = _shown(rows)
        moved = [code for code, shown in shows.items() if self._shown.get(code) != shown]
        self._shown = {**self._shown, **shows} if few else shows
        self.moves += bool(moved)
        heard = {row["center"]: row["heard_ms"] for row in rows if row["center"] in codes}
        return {scope: _encoder.encode(self._news(heard, moved, scope)) for scope in scopes}

    def _news(self, heard: Mapping[str, int | None], moved: Collection[str], scope: Scope) -> dict[str, object]:
        if scope.is_all:
            return {"heard": heard, "moved": moved, "ranks": self._ranks(moved), "counts": self.counts()}
        mine = {code for code, shown in self._shown.items() if scope.includes(shown)}
        own = [code for code in moved if code in mine]
        return {
            "heard": {code: at_ms for code, at_ms in heard.items() if code in mine},
            "moved": own,
            "ranks": self._ranks(own),
            "counts": self.counts(mine),
        }

    def _ranks(self, codes: Collection[str]) -> list[int]:
        return [self._shown[code].rank for code in codes]

    def counts(self, codes: Collection[str] | None = None) -> dict[str, int]:
        """How many centers are in each state, of these or of all."""
        shows = self._shown.values() if codes is None else (self._shown[code] for code in codes)
        by_rank = Counter(shown.rank for shown in shows)
        return {state: by_rank[place] for place, state in enumerate(STATES)}


def _shown(rows: Collection[Mapping[str, Any]]) -> dict[str, Shown]:
    return {row["center"]: Shown(*(row[name] for name in Shown._fields)) for row in rows}
