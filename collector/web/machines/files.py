"""Files that a gateway fetches once, at a moment that it could not know, and how long that took
(collector.speedtests.fetches).

A gateway gets the parts over a few connections and says when it has all of them; the time from its first request to
that word is the file's. Nothing is written before: a fetch that breaks off leaves no trace but a stopped one.
"""

from __future__ import annotations

import os
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import sqlalchemy as sa
from anyio import to_thread
from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from agent.common.tcp import address_group
from collector.speedtests import fetches
from collector.web.errors import Mistaken
from collector.web.site import Site

NAME = re.compile(r"[0-9a-f]{32}")
BLOCK = memoryview(os.urandom(1 << 20))  # incompressible, and as long as the longest part
CHUNK_BYTES = 64 * 1024
AT_ONCE = 20  # fetches; a nation has two at a time
LONGEST_S = 180.0


@dataclass
class Transfer:
    """One fetch under way. Times are seconds of a monotonic clock."""

    parts: int
    part_bytes: int
    who: str  # the group of addresses that began it
    started_s: float
    given: set[int] = field(default_factory=set)
    sent_bytes: int = 0

    @property
    def is_whole(self) -> bool:
        return self.sent_bytes >= self.parts * self.part_bytes


class FileDesk:
    """Hands out parts, each once, and writes down what a whole file took."""

    def __init__(self, site: Site, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._site, self._clock_s = site, clock_s
        self._transfers: OrderedDict[str, Transfer] = OrderedDict()

    async def part(self, name: str, number: int, address: str) -> Response:
        """Part `number` of a file; one past the last says that all have come. Raises Mistaken."""
        transfer = self._transfers.get(name) or await self._begin(name, address)
        if transfer.who != address_group(address):
            raise Mistaken(403, "file: is being fetched from another address; begin anew")
        if number == transfer.parts and transfer.is_whole:
            seconds = self._clock_s() - transfer.started_s
            del self._transfers[name]
            await to_thread.run_sync(self._record, name, address, seconds)
            return Response(status_code=204)
        if number in transfer.given or not 0 <= number < transfer.parts:
            raise Mistaken(409, f"file: has {transfer.parts} parts, each fetched once; begin with another file")
        transfer.given.add(number)
        length = {"content-length": str(transfer.part_bytes), "cache-control": "no-store"}
        return StreamingResponse(self._body(transfer), media_type="application/octet-stream", headers=length)

    async def _begin(self, name: str, address: str) -> Transfer:
        order = await to_thread.run_sync(self._order, name) if NAME.fullmatch(name) else None
        if order is None:
            raise Mistaken(404, "file: there is none of this name")
        self._forget_stopped()
        if len(self._transfers) >= AT_ONCE:
            raise Mistaken(503, "file: too many are being fetched; come again in a minute")
        fresh = Transfer(order.parts, order.part_bytes, address_group(address), self._clock_s())
        return self._transfers.setdefault(name, fresh)  # another connection may have come first

    def _forget_stopped(self) -> None:
        for name, transfer in list(self._transfers.items()):
            if self._clock_s() - transfer.started_s > LONGEST_S:
                del self._transfers[name]

    async def _body(self, transfer: Transfer) -> AsyncIterator[memoryview]:
        for start in range(0, transfer.part_bytes, CHUNK_BYTES):
            chunk = BLOCK[start : min(start + CHUNK_BYTES, transfer.part_bytes)]
            transfer.sent_bytes += len(chunk)  # before: whoever has the last chunk may say so at once
            yield chunk

    def _order(self, name: str) -> sa.Row[tuple[object, ...]] | None:
        with self._site.store.read() as conn:
            return fetches.admitted(conn, name, self._site.now())

    def _record(self, name: str, address: str, seconds: float) -> None:
        with self._site.store.write() as conn:
            fetches.record(conn, name, address, seconds, self._site.now())


def router(site: Site) -> APIRouter:
    routes, desk = APIRouter(), FileDesk(site)

    @routes.get("/api/v1/files/{name}")
    async def file(request: Request, name: str, part: int = 0) -> Response:
        return await desk.part(name, part, request.client.host if request.client else "")

    return routes
