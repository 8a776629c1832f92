"""What a gateway may send to Mosquitto in MQTT 5, under the settings that are generated for it: an honest gateway's
publish is acknowledged meanwhile, Mosquitto's memory is bounded, and its log is short."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from agent import wire
from collector.access.ca import Files
from collector.brokers.generated_config import MAX_PACKET_BYTES
from tests.faults.hostile.test_mqtt_streams import (
    PATIENCE_S,
    ROOM_BYTES,
    TOPIC,
    A,
    B,
    acknowledged,
    context,
    endless,
    packet,
    poured,
    session,
    text,
)
from tests.faults.makes import mosquitto
from tests.helpers.authority import TestAuthority

TIMES = 50
LINES = 5  # that Mosquitto writes of a session
FOR_EVER = b"\xff\xff\xff\xff"
SESSION_EXPIRY, WILL_DELAY, ALIAS, USER, SUBSCRIPTION_ID, CORRELATION = (
    b"\x11",
    b"\x18",
    b"\x23",
    b"\x26",
    b"\x0b",
    b"\x09",
)


def variable(number: int) -> bytes:
    """A variable byte integer (MQTT 5, section 1.5.5)."""
    return packet(0, bytes(number))[1 : -number or None]


def properties(*parts: bytes) -> bytes:
    body = b"".join(parts)
    return variable(len(body)) + body


def connect(*own: bytes, will: bytes = b"", flags: int = 0x02) -> bytes:
    return packet(0x10, text(b"MQTT") + bytes([5, flags]) + b"\x00\x3c" + properties(*own) + text(A.encode()) + will)


def publish(*own: bytes, payload: bytes = b"{}", topic: bytes = TOPIC) -> bytes:
    return packet(0x32, text(topic) + b"\x00\x01" + properties(*own) + payload)


def subscribe(number: int) -> bytes:
    filter_ = text(wire.receipt_topic(A).encode()) + b"\x01"
    return packet(0x82, b"\x00\x01" + properties(SUBSCRIPTION_ID + variable(number)) + filter_)


WILL = properties(WILL_DELAY + FOR_EVER) + text(TOPIC) + text(b"x" * 50_000)
CONNECTS = {
    "a will that waits for ever": connect(SESSION_EXPIRY + FOR_EVER, will=WILL, flags=0x0C),
    "a session that is kept for ever": connect(SESSION_EXPIRY + FOR_EVER, flags=0),
    "a packet of 4,000 properties": connect(*[USER + text(b"a") + text(b"b")] * 4000),
}
FULL = USER + text(b"k" * 1000) + text(b"v" * 1000)
STREAMS: dict[str, Callable[[], Iterator[bytes]]] = {
    "topic aliases": lambda: (publish(ALIAS + number.to_bytes(2, "big")) for number in range(1, 20_000)),
    "an alias that was never told": endless(publish(ALIAS + b"\x00\x07", topic=b"")),
    "user properties": lambda: iter([publish(*[FULL] * 30)] * TIMES),
    "a correlation of 60 kB": lambda: iter([publish(CORRELATION + text(b"c" * 60_000))] * TIMES),
    "subscription ids": lambda: (subscribe(number) for number in range(1, 20_000)),
    "a subscription id of no bound": endless(packet(0x82, b"\x00\x01\x05\x0b\xff\xff\xff\xff" + text(b"a"))),
    "packets of the largest size": lambda: iter([publish(payload=b"x" * (MAX_PACKET_BYTES - 200))] * TIMES),
    "a packet over the largest": lambda: iter([publish(payload=b"x" * MAX_PACKET_BYTES)] * 3),
    "authentications (AUTH)": endless(b"\xf0\x00"),
    "properties longer than their packet": endless(packet(0x32, text(TOPIC) + b"\x00\x01\xff\x7f")),
    "an expiry that grows at the end": lambda: iter([packet(0xE0, b"\x00" + properties(SESSION_EXPIRY + FOR_EVER))]),
}  # fmt: skip


@contextlib.contextmanager
def session5(port: int, files: Files, first: bytes) -> Iterator[ssl.SSLSocket]:
    plain = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    with plain, context(files).wrap_socket(plain, server_hostname="127.0.0.1") as line:
        line.sendall(first)
        yield line


@pytest.mark.row(55)
def test_no_stream_of_mqtt_5_keeps_another_out_of_mosquitto(tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path / "authority")
    with mosquitto(tmp_path / "broker", authority, gateways=[A, B]) as broker:
        (process,) = [one for one in psutil.Process().children() if "mosquitto" in one.name()]
        rss, mine = process.memory_info().rss, authority.client(A)
        with session(broker.tls, authority.client(B), B) as honest:
            for number, (name, stream) in enumerate(STREAMS.items(), 1):
                with session5(broker.tls, mine, connect()) as hostile:
                    assert hostile.recv(1) == b"\x20", name
                    with poured(hostile, stream()):
                        assert acknowledged(honest, number), name
            for number, (name, first) in enumerate(CONNECTS.items(), 100):
                for _ in range(TIMES):
                    with session5(broker.tls, mine, first) as hostile, contextlib.suppress(OSError):
                        hostile.recv(4)
                assert acknowledged(honest, number), name
        grown, lines = process.memory_info().rss - rss, len((tmp_path / "broker" / "log").read_text().splitlines())
        print(f"{grown / 1e6:.1f} MB more, {lines} lines for {len(STREAMS) + TIMES * len(CONNECTS)} sessions")
    assert grown < ROOM_BYTES
    assert lines < LINES * (1 + len(STREAMS) + TIMES * len(CONNECTS)) + 10
