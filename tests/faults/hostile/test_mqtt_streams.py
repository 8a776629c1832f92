"""What one session of the embedded broker, or a stranger at its TLS listeners, may send without end: an honest
gateway's publish is acknowledged meanwhile, the broker's memory is bounded, and its log is short."""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from agent import wire
from collector.access import acl
from collector.access.ca import Files
from collector.brokers.embedded import EmbeddedBroker
from collector.brokers.listeners import GATEWAY_SPARE_RECORDS, MAX_UNACKNOWLEDGED, Listener
from collector.commands.console import QUIET
from tests.helpers.authority import TestAuthority
from tests.helpers.waiting import wait_until

A, B = "g" + "a" * 16, "g" + "b" * 16
TIMES = 20_000
PATIENCE_S = 60.0
ROOM_BYTES = 60_000_000
TOPIC = wire.batch_topic(A).encode()


def packet(first: int, body: bytes) -> bytes:
    """MQTT 3.1.1, section 2.2."""
    length, left = b"", len(body)
    while True:
        left, digit = divmod(left, 128)[0], left % 128
        length += bytes([digit | (128 if left else 0)])
        if not left:
            return bytes([first]) + length + body


def text(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def publish(payload: bytes, number: int = 1) -> bytes:
    return packet(0x32, text(TOPIC) + number.to_bytes(2, "big") + payload)


def endless(part: bytes) -> Callable[[], Iterator[bytes]]:
    times = max(1, TIMES * 4 // len(part))
    return lambda: iter([part * 100] * (times // 100 or 1))


def by_single_bytes() -> Iterator[bytes]:
    for _ in range(5):
        yield from (bytes([octet]) for octet in publish(b"x" * 1000))


BOMBS = [publish(b"[" * 60_000, 1), publish(b'{"a":' * 12_000, 2), publish(b'{"v":1' + b"0" * 50_000 + b"}", 3)]
STREAMS: dict[str, Callable[[], Iterator[bytes]]] = {
    "acknowledgements of nothing (PUBACK)": endless(b"\x40\x02\x00\x01"),
    "PUBREC without end": endless(b"\x50\x02\x00\x01"),
    "PUBREL without end": endless(b"\x62\x02\x00\x01"),
    "PUBCOMP without end": endless(b"\x70\x02\x00\x01"),
    "PINGREQ without end": endless(b"\xc0\x00"),
    "records of one byte": by_single_bytes,
    "JSON that is dear to read": lambda: iter(BOMBS),
    "a gzip bomb": lambda: iter([publish(gzip.compress(bytes(30_000_000))[:60_000])] * 5),
    "types that are none": endless(b"\xf0\x00"),
    "a length without end": endless(b"\x30\xff\xff\xff\xff\xff"),
    "a packet of 256 MB": lambda: iter([b"\x32\xff\xff\xff\x7f", *[bytes(50_000)] * 200]),
    "filters without end": endless(packet(0x82, b"\x00\x01" + text(b"a/b") + b"\x00")),
    "one more CONNECT": endless(packet(0x10, text(b"MQTT") + b"\x04\x02\x00\x3c" + text(A.encode()))),
    "the preface of HTTP/2": lambda: iter([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9) * 1000]),
}

HELLO = b"\x16\x03\x01\x40\x00"  # a handshake's record of 16 KiB (RFC 8446, section 5.1)
BARE: dict[str, Callable[[], Iterator[bytes]]] = {
    "records of no length": endless(b"\x16\x03\x01\x00\x00"),
    "a hello of 16 MB": lambda: iter([HELLO + b"\x01\xff\xff\xff" + bytes(16_380), *[HELLO + bytes(16_384)] * 1000]),
    "hellos in pieces of one byte": lambda: iter([b"\x16\x03\x01\x00\x01" + b"\x01"] * 5000),
    "warnings without end": endless(b"\x15\x03\x01\x00\x02\x01\x00"),
    "the preface of HTTP/2": STREAMS["the preface of HTTP/2"],
    "SSLv2": lambda: iter([b"\x80\x2e\x01\x00\x02" + bytes(44)]),
    "noise": lambda: iter([os.urandom(50_000) for _ in range(20)]),
}


def context(files: Files) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(files.ca))
    made.load_cert_chain(files.cert, files.key)
    return made


@contextlib.contextmanager
def session(port: int, files: Files, name: str) -> Iterator[ssl.SSLSocket]:
    plain = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    with plain, context(files).wrap_socket(plain, server_hostname="127.0.0.1") as line:
        line.sendall(packet(0x10, text(b"MQTT") + b"\x04\x02\x00\x3c" + text(name.encode())))
        assert line.recv(4) == b"\x20\x02\x00\x00"
        yield line


@contextlib.contextmanager
def poured(line: socket.socket, stream: Iterator[bytes]) -> Iterator[None]:
    """Until the other end has enough of it; what it answers is read, and thrown away."""
    ended = threading.Event()

    def drain() -> None:
        with contextlib.suppress(OSError, ValueError):
            while line.recv(65_536):
                pass
        ended.set()

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    line.settimeout(5)
    with contextlib.suppress(OSError):
        for part in stream:
            line.sendall(part)
            if ended.is_set():
                break
    yield
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
    reader.join()  # before its descriptor is another connection's


def acknowledged(line: ssl.SSLSocket, number: int) -> bool:
    line.sendall(packet(0x32, text(wire.batch_topic(B).encode()) + number.to_bytes(2, "big") + b"{}"))
    return line.recv(4) == b"\x40\x02" + number.to_bytes(2, "big")


GONE = "socket.send() raised exception."  # asyncio's, of each write to a connection that is gone; the log counts them


def own_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Without what the libraries say, which a collector keeps to itself."""
    lines = [one.getMessage() for one in caplog.records if not one.name.startswith(tuple(QUIET))]
    return [line for line in lines if line != GONE]


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path / "authority")


@pytest.fixture
def broker(authority: TestAuthority) -> Iterator[EmbeddedBroker]:
    files = authority.server()
    made = EmbeddedBroker("127.0.0.1", 0, [Listener("127.0.0.1", 0, kind, files) for kind in ("tcp", "websockets")])
    made.start()
    yield made
    made.stop()


@pytest.mark.row(55)
def test_no_stream_of_a_session_keeps_another_out(
    broker: EmbeddedBroker, authority: TestAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    port, rss = broker.ports[1], psutil.Process().memory_info().rss
    with session(port, authority.client(B), B) as honest:
        for number, (name, stream) in enumerate(STREAMS.items(), 1):
            with session(port, authority.client(A), A) as hostile, poured(hostile, stream()):
                assert acknowledged(honest, number), name
    assert psutil.Process().memory_info().rss - rss < ROOM_BYTES
    assert len(own_lines(caplog)) <= 2 * len(STREAMS)


@pytest.mark.row(55)
def test_nothing_before_tls_keeps_a_session_out(
    broker: EmbeddedBroker, authority: TestAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    rss = psutil.Process().memory_info().rss
    with session(broker.ports[1], authority.client(B), B) as honest:
        for number, (name, stream) in enumerate(BARE.items(), 1):
            for port in broker.ports[1:]:
                hostile = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
                with hostile, poured(hostile, stream()):
                    assert acknowledged(honest, number), name
    assert psutil.Process().memory_info().rss - rss < ROOM_BYTES
    assert len(own_lines(caplog)) <= 2 * len(BARE)


def by_records(line: ssl.SSLSocket, contents: bytes, size: int) -> bool:
    """Whether the other end read them all, in records of their own."""
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        for at in range(0, len(contents), size):
            line.sendall(contents[at : at + size])
        line.sendall(b"\xc0\x00")
        return line.recv(2) == b"\xd0\x00"
    except OSError:
        return False


PUBACK = b"\x40\x02\x00\x01"


@pytest.mark.row(55)
def test_records_that_bring_nothing_put_a_gateway_out(broker: EmbeddedBroker, authority: TestAuthority) -> None:
    """Of a key's update, which Python's `ssl` cannot send, a broker sees the same: a record without contents."""
    with session(broker.ports[1], authority.client(A), A) as hostile:
        assert not by_records(hostile, publish(b"x" * 2 * GATEWAY_SPARE_RECORDS), 1)
    wait_until(lambda: broker.book.counts["flood"] == 1)
    assert broker.book.floods() == {A}
    assert broker.book.floods() == frozenset()


@pytest.mark.row(55)
def test_all_receipts_acknowledged_at_once_are_no_flood(broker: EmbeddedBroker, authority: TestAuthority) -> None:
    with session(broker.ports[1], authority.client(A), A) as behind:
        for _ in range(4):
            assert by_records(behind, PUBACK * MAX_UNACKNOWLEDGED, len(PUBACK))
    assert broker.book.floods() == frozenset()


@pytest.mark.row(55)
def test_a_collector_acknowledges_what_all_gateways_sent(broker: EmbeddedBroker, authority: TestAuthority) -> None:
    with session(broker.ports[1], authority.client(acl.SERVICES[0]), acl.SERVICES[0]) as collector:
        assert by_records(collector, PUBACK * 3 * GATEWAY_SPARE_RECORDS, len(PUBACK))


@pytest.mark.row(55)
def test_old_tls_is_refused_at_both_listeners(broker: EmbeddedBroker, authority: TestAuthority) -> None:
    """With it renegotiation, which only versions before 1.3 have (RFC 8446, section 4.1.2)."""
    for port in broker.ports[1:]:
        old = context(authority.client(A))
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version, old.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_2
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as plain, pytest.raises(ssl.SSLError):
            old.wrap_socket(plain, server_hostname="127.0.0.1")
