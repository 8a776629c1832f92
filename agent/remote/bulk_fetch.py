"""Fetches a file of the collector over a few connections and throws it away: what any download gets of the line."""

from __future__ import annotations

import http.client
import itertools
import time
from concurrent.futures import ThreadPoolExecutor

from agent import wire
from agent.common.errors import describe
from agent.uplink.collector_client import CollectorClient, CollectorUnreachable

LANES = 4  # connections, as a browser has; one alone is slow on a lossy line
WITHIN_S = 90.0
READ_BYTES = 64 * 1024


def fetch(client: CollectorClient, order: wire.FetchOrder, within_s: float = WITHIN_S) -> int:
    """Bytes that came, of all parts and once each. Blocks for `within_s` at most. Raises CollectorUnreachable; the
    collector has no figure then."""
    numbers = itertools.count()  # shared: its next() is one step of the interpreter
    until_s = time.monotonic() + within_s

    def lane(_number: int) -> int:
        connection = client.connected()
        try:
            came = 0
            while (number := next(numbers)) < order.parts:
                came += _part(connection, order, number, until_s)
            return came
        finally:
            connection.close()

    path = _path(order, order.parts)
    try:
        with ThreadPoolExecutor(LANES, thread_name_prefix="fetch") as lanes:
            came = sum(lanes.map(lane, range(min(LANES, order.parts))))
        connection = client.connected()
        try:
            connection.request("GET", path)
            _checked(connection.getresponse(), 204, path)
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise CollectorUnreachable(f"{client.url}{path.partition('?')[0]}: not fetched ({describe(error)})") from None
    return came


def _path(order: wire.FetchOrder, number: int) -> str:
    return f"/api/v1/files/{order.name}?part={number}"


def _part(connection: http.client.HTTPConnection, order: wire.FetchOrder, number: int, until_s: float) -> int:
    path = _path(order, number)
    connection.request("GET", path)
    answer = _checked(connection.getresponse(), 200, path)
    came = 0
    while block := answer.read(min(READ_BYTES, order.part_bytes + 1 - came)):
        came += len(block)
        if came > order.part_bytes:
            raise CollectorUnreachable(f"{path}: more than the {order.part_bytes} bytes that were announced")
        if time.monotonic() > until_s:
            raise TimeoutError("it takes too long")
    return came


def _checked(answer: http.client.HTTPResponse, status: int, path: str) -> http.client.HTTPResponse:
    if answer.status != status:
        raise CollectorUnreachable(f"{path}: answered {answer.status}")
    return answer
