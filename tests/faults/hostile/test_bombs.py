"""Messages that are small to send and dear to read (row 32): refused before anything is built of them.

Each way in gets what is too long, too deep, too many or too large a number for it. Whatever takes longer than 1 ms of
processor, or more memory than twice its size and a constant of what an error costs, is a finding.
"""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from agent import wire
from agent.common.tcp.http_server import HttpRefused, read_head
from agent.local import http
from agent.probes.ups import nut, pdu, snmp, traps
from agent.seat import snapshot
from collector.access import enrolment
from collector.common.messages import Device, Message, MessageRefused
from collector.ingest.verify import addressed, open_ask, open_message
from collector.speedtests.measure import http as measure
from collector.speedtests.measure import record, token
from collector.speedtests.measure.limits import Limits
from tests.fuzz.harnesses import KEY, SIGNER, finished, heard

CPU_MS = 1.0  # for each 64 KiB
OVERHEAD_BYTES = 256 * 1024  # what 8 KiB of the smallest JSON become; errors with their frames, readers' buffers
TRIES = 5  # the least of them is what the work takes: others share this machine
GATEWAY = Device("g1", "B-1", SIGNER.public_key().public_bytes_raw(), 0, None)

Read = Callable[[bytes], object]


@dataclass(frozen=True)
class WayIn:
    """`most` octets are taken; `opens` what stands before an item of a list, `closes` after the last; `seals` makes
    a message of it, which is the sender's work."""

    read: Read
    most: int
    opens: bytes
    closes: bytes
    seals: Callable[[bytes], bytes] = bytes
    items: tuple[bytes, ...] = (b"0", b"{}", b'""', b"null")


# ---------------------------------------------------------------- JSON


def signed(body: bytes) -> bytes:
    return wire.seal(body, SIGNER.sign)


def batch(payload: bytes) -> object:
    return open_message(addressed(Message(wire.batch_topic("g1"), payload)), {"g1": GATEWAY}).batch


def ask(payload: bytes) -> object:
    return open_ask(addressed(Message(wire.ask_topic("g1"), payload)), {"g1": GATEWAY})


def small(decode: Read) -> Read:
    return lambda payload: decode(wire.unseal(payload, wire.MAX_SMALL_BYTES)[0])


def enrol(body: bytes) -> object:
    return enrolment._decoded(body, enrolment.EnrolmentRequest)


def keyed(body: bytes) -> bytes:
    return snapshot.seal(body, KEY, snapshot.SNAPSHOT)


def seat(payload: bytes) -> object:
    return snapshot.decode(snapshot.unseal(payload, KEY, snapshot.SNAPSHOT))


FRAME = b'{"v":1,"device":"g1","spool":"' + b"a" * 32 + b'","first_seq":1,"prev":"' + b"0" * 64 + b'","readings":['
CURVE = b'{"v":1,"test":"t","address":"a","started_ms":1,"seconds":1.0,"down":{"bytes":1,"at_ms":['
JSON = {
    "batch": WayIn(batch, wire.MAX_BATCH_BYTES, FRAME, b"]}", signed),
    "ask": WayIn(ask, wire.MAX_ASK_BYTES, b'{"v":1,"x":[', b"]}", signed),
    "receipt": WayIn(small(wire.decode_receipt), wire.MAX_SMALL_BYTES, b'{"v":1,"x":[', b"]}", signed),
    "task": WayIn(small(wire.decode_task), wire.MAX_SMALL_BYTES, b'{"v":1,"x":[', b"]}", signed),
    "presence": WayIn(wire.decode_presence, wire.MAX_SMALL_BYTES, b'{"v":1,"x":[', b"]}"),
    "record": WayIn(record.decode, record.MAX_BYTES, CURVE, b"]}}", items=(b"0", b"9")),
    "enrolment": WayIn(enrol, enrolment.MAX_REQUEST_BYTES, b'{"token":"t","x":[', b"]}"),
    "seat": WayIn(seat, snapshot.MAX_BYTES, b'{"v":1,"facts":[', b"]}", keyed),
}


def bombs(way: WayIn) -> dict[str, bytes]:
    room = way.most - len(way.opens) - len(way.closes)
    made = {
        "ten times too long": b"x" * (10 * way.most),
        "a little too long": way.opens + b" " * (way.most - len(way.opens)) + way.closes,
        "deep lists": b"[" * way.most,
        "deep lists inside": way.opens + b"[" * room,
        "deep objects inside": way.opens + b'{"a":' * (room // 5),
        "a number of all digits": b'{"v":' + b"9" * (way.most - 6) + b"}",
        "10^400": b'{"v":1' + b"0" * 400 + b"}",
        "a fraction without end": b'{"v":0.' + b"1" * (way.most - 8) + b"}",
        "an exponent without end": b'{"v":1e' + b"9" * (way.most - 8) + b"}",
        "not a number": b'{"v":NaN}',
        "endless": b'{"v":1e999}',
        "minus endless": b'{"v":-Infinity}',
        "escapes": b'{"v":"' + b"\\u0041" * ((way.most - 8) // 6) + b'"}',
        "packed": b"\x1f\x8b\x08\0" + b"\0" * (way.most - 4),
        "many keys": b"{" + b",".join(b'"%06d":0' % n for n in range(way.most // 11 - 1)) + b"}",
    }
    for item in way.items:
        made[f"many of {item.decode()}"] = way.opens + b",".join([item] * (room // (len(item) + 1))) + way.closes
    return {what: way.seals(body) for what, body in made.items()}


# ---------------------------------------------------------------- what is no JSON


def http_head(data: bytes) -> object:
    return finished(http.read_request(heard(data, http.HttpLimits().head_bytes), "127.0.0.1", http.HttpLimits()))


def measure_head(data: bytes) -> object:
    reader = heard(data, 1 << 20)
    head, _ = finished(read_head(lambda: reader.read(4096), b"", Limits().head_bytes))
    return measure.parse(head)


def upsd(data: bytes) -> object:
    reader = heard(data, nut.LINE_BYTES)
    return finished(nut.Upsd(nut.NutServer(host="h"), reader, _MUTE).find())


class _Mute:
    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...


_MUTE: Any = _Mute()


def element(tag: int, contents: bytes) -> bytes:
    size = len(contents).to_bytes(3, "big")
    return bytes([tag, 0x83]) + size + contents


def datagram(bindings: bytes, pdu: int) -> bytes:
    numbers = element(2, b"\1\1\1\1") + element(2, b"\0") * 2
    return element(0x30, element(2, b"\1") + element(4, b"public") + element(pdu, numbers + element(0x30, bindings)))


def datagrams(pdu: int) -> dict[str, bytes]:
    """Everything that fits one UDP datagram and a card would not say."""
    null, most = b"\5\0", 65_000
    one = b"\x30\6\6\2\x2b\6" + null
    deep = b""
    while len(deep) < 8_000:
        deep = element(0x30, deep)
    return {
        "many bindings": datagram(one * (most // len(one)), pdu),
        "many bindings in 8 KiB": datagram(one * 1000, pdu),
        "an object of many numbers": datagram(element(0x30, element(6, b"\x2b" + b"\1" * 8000) + null), pdu),
        "an object of a huge number": datagram(element(0x30, element(6, b"\x2b" + b"\x81" * 8000 + b"\1") + null), pdu),
        "a huge integer": datagram(element(0x30, element(6, b"\x2b\6") + element(2, b"\x7f" * 60_000)), pdu),
        "a text of 60 KB": datagram(element(0x30, element(6, b"\x2b\6") + element(4, b"x" * 60_000)), pdu),
        "deep": deep,
        "deep bindings": datagram(deep, pdu),
        "without lengths": b"\x30\x80" * (most // 2),
        "texts in texts": datagram(element(0x30, element(6, b"\x2b\6") + b"\x24\x80" * 20_000), pdu),
    }


def request(*lines: bytes) -> bytes:
    return b"\r\n".join([b"POST / HTTP/1.1", b"Host: h", *lines, b"", b""])


HEADS = {
    "a head of 1 MB": b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"a" * 1_000_000,
    "a body of 10^400": request(b"Content-Length: 1" + b"0" * 400),
    "blanks and a control character": request(b"A:" + b" " * 8000 + b"\0"),
    "words and a control character": request(b"A:" + b" a" * 4000 + b"\x0b"),
    "a name without end": request(b"a" * 8000),
    "many lengths": request(*[b"Content-Length: 1"] * 400),
    "many fields and no colon": request(*[b"a:"] * 2000, b"a"),
    "many options": request(b"Connection: " + b",a" * 3900, b"Transfer-Encoding: x"),
}
PLAIN: Mapping[str, tuple[Read, Mapping[str, bytes]]] = {
    "snmp 2c": (lambda data: pdu.decode("2c", data), datagrams(0xA2)),
    "snmp 1": (lambda data: pdu.decode("1", data), datagrams(0xA2)),
    "trap": (lambda data: traps.heard(data), datagrams(0xA7)),
    "seat's request": (http_head, HEADS | {"a body of 10^11": request(b"Content-Length: 1" + b"0" * 11)}),
    "measurement's head": (
        measure_head,
        HEADS | {"many query fields": request().replace(b"/", b"/?" + b"a=1&" * 1900, 1)},
    ),
    "token": (
        lambda data: token.read(data.decode(), SIGNER.public_key(), test="t", server="s", now_ms=0),
        {"a long token": b"a" * 64_000, "dots": b"." * 64_000},
    ),
    "nut": (upsd, {"a line without end": b"UPS " + b"x" * 1_000_000}),
}

ALL = [(name, what, way.read, data) for name, way in JSON.items() for what, data in bombs(way).items()]
ALL += [(name, what, read, data) for name, (read, some) in PLAIN.items() for what, data in some.items()]
REFUSALS = (
    wire.WireError, MessageRefused,
    enrolment.EnrolmentRefused, snapshot.SnapshotError, token.TokenRefused, HttpRefused,
    asyncio.IncompleteReadError, snmp.ProbeFailed, ValueError,
)  # fmt: skip


def refused(read: Read, data: bytes) -> bool:
    try:
        return read(data) is None
    except REFUSALS:
        return True


def cost(read: Read, data: bytes) -> tuple[float, int]:
    """(milliseconds of processor, octets at most) of one such message."""
    least_ns = min(_once_ns(read, data) for _ in range(TRIES))
    tracemalloc.start(1)
    try:
        refused(read, data)
        return least_ns / 1e6, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _once_ns(read: Read, data: bytes) -> int:
    began_ns = time.thread_time_ns()
    refused(read, data)
    return time.thread_time_ns() - began_ns


def too_dear(took_ms: float, held_bytes: int, sent_bytes: int) -> bool:
    return took_ms > CPU_MS * max(1, sent_bytes / wire.MAX_BATCH_BYTES) or held_bytes > 2 * sent_bytes + OVERHEAD_BYTES


@pytest.mark.row(32)
@pytest.mark.parametrize("name", [*JSON, *PLAIN])
def test_a_bomb_is_refused_for_less_than_a_millisecond_and_twice_its_size(name: str) -> None:
    mine = {what: (read, data) for who, what, read, data in ALL if who == name}
    assert [what for what, bomb in mine.items() if not refused(*bomb)] == []
    costs = {what: (*cost(*bomb), len(bomb[1])) for what, bomb in mine.items()}
    slowest = max(costs, key=lambda what: costs[what][0])
    largest = max(costs, key=lambda what: costs[what][1] / max(costs[what][2], 1024))
    print(f"\n{name}: {len(costs)} bombs; longest {costs[slowest][0]:.2f} ms ({slowest}), ", end="")
    print(f"largest {costs[largest][1] // 1024} KiB for {costs[largest][2]} bytes ({largest})")
    assert {what: bomb for what, bomb in costs.items() if too_dear(*bomb)} == {}


def built(body: bytes) -> object:
    """A batch as it was read before its readings were counted while they come."""
    return msgspec.json.decode(body, type=wire.Batch)


@pytest.mark.control("a list of readings is built before it is counted", row=32)
def test_a_list_that_is_built_before_it_is_counted_is_seen() -> None:
    body = wire.unseal(bombs(JSON["batch"])["many of 0"])[0]
    assert too_dear(*cost(built, body), len(body))


@pytest.mark.control("a datagram is taken apart, whatever is in it", row=32)
def test_a_datagram_that_is_taken_apart_unweighed_is_seen() -> None:
    from pyasn1.codec.ber import decoder
    from pysnmp.proto import api

    def unweighed(data: bytes) -> object:
        return decoder.decode(data, asn1Spec=api.PROTOCOL_MODULES[api.SNMP_VERSION_2C].Message())

    data = datagrams(0xA2)["many bindings in 8 KiB"]
    assert too_dear(*cost(unweighed, data), len(data))
