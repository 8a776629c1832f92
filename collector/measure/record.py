"""What the server saw of one test: bytes both ways against its own clock. Kept beside the agent's own figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from agent import wire

VERSION = 1
End = Literal["idle", "bytes", "time", "closing"]
Sign = Callable[[bytes], bytes]


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """One direction. `bytes` is TCP payload that crossed the line, HTTP heads included (see tcpinfo.crossed). `at_ms`
    and `total` are one curve: cumulative bytes at milliseconds after the test's start, a point every 100 ms while
    bytes moved."""

    bytes: int
    at_ms: list[int]
    total: list[int]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`witnessed` is False when the test came without a token of a collector: then this proves nothing to anyone."""

    v: int = VERSION
    test: str
    address: str
    started_ms: int
    seconds: float
    end: End | None  # None: the test still runs
    witnessed: bool
    connections: int
    min_rtt_ms: float | None
    down: Way
    up: Way


def encode(record: Record, sign: Sign | None) -> bytes:
    """JSON; with a key ``JSON LF base64(signature of the JSON)``, the sealed form of every message of the wire."""
    body = msgspec.json.encode(record)
    return body if sign is None else wire.seal(body, sign)
