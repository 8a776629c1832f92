"""What a measurement server saw of one test: bytes both ways against its own clock, in the form that it signs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

from agent import wire
from agent.common.errors import describe

VERSION = 1
MAX_BYTES = 512 * 1024  # sealed: two curves of a point each 100 ms for two minutes, and much to spare
End = Literal["idle", "bytes", "time", "closing"]
Sign = Callable[[bytes], bytes]
Name = Annotated[str, msgspec.Meta(max_length=64)]
Whole = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Asn = Annotated[int, msgspec.Meta(gt=0, lt=2**32)]  # RFC 6793
LONGEST_CURVE = 10_000
MOST_COMMAS = 4 * LONGEST_CURVE + 100
Curve = Annotated[list[Whole], msgspec.Meta(max_length=LONGEST_CURVE)]


class RecordedDirection(msgspec.Struct, frozen=True, kw_only=True):
    """One direction. `bytes` is TCP payload that crossed the line, HTTP heads included (see tcpinfo.crossed). `at_ms`
    and `total` are one curve: cumulative bytes at milliseconds after the test's start, a point every 100 ms while
    bytes moved.
    """

    bytes: Whole
    at_ms: Curve
    total: Curve


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`witnessed` is False when the test came without a token of a collector: then this proves nothing to anyone.
    `server` is the name under which this server joined, `device` the gateway that the token named. `network` is the
    client's network as `AS64500 NAME` says it, `asn` its number, `server_asn` that of this server's own address; they
    are None or empty where no database of networks knows them.
    """

    v: int = VERSION
    test: Name
    server: Name = ""
    device: Name = ""
    address: Name
    started_ms: Whole
    seconds: float
    end: End | None  # None: the test still runs
    witnessed: bool
    connections: Whole
    min_rtt_ms: float | None
    down: RecordedDirection
    up: RecordedDirection
    asn: Asn | None = None
    network: Annotated[str, msgspec.Meta(max_length=200)] = ""
    server_asn: Asn | None = None


def encode(record: Record, sign: Sign | None) -> bytes:
    """JSON; with a key ``JSON LF base64(signature of the JSON)``, the sealed form of every message of the wire."""
    body = msgspec.json.encode(record)
    return body if sign is None else wire.seal(body, sign)


def decode(body: bytes) -> Record:
    """Raises wire.WireError."""
    if len(body) > MAX_BYTES:
        raise wire.WireError(f"record of {len(body)} bytes is over the limit of {MAX_BYTES}")
    if body.count(b",") > MOST_COMMAS:  # a list is built before it is counted
        raise wire.WireError("record: more than its curves can hold")
    try:
        record = msgspec.json.decode(body, type=Record)
    except wire.UNREADABLE as error:
        raise wire.WireError(f"record: {describe(error)}") from None
    if record.v != VERSION:
        raise wire.WireError(f"record: version {record.v} is not spoken here, only {VERSION}")
    for way, curve in (("down", record.down), ("up", record.up)):
        if len(curve.at_ms) != len(curve.total):
            raise wire.WireError(
                f"record: the curve `{way}` has {len(curve.at_ms)} times and {len(curve.total)} totals"
            )
    return record
