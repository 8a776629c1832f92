"""What a stranger may say to the TLS of the pages and of the measurement, before a handshake and after it: somebody
else is answered meanwhile, and neither holds a connection for long."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from agent.common.tls import BROWSERS, server_context
from collector.access.ca import Files
from collector.common.config import HttpSection
from collector.run.listeners.sockets import bound
from collector.run.listeners.web_server import WebServer
from collector.speedtests.measure.limits import Limits
from collector.speedtests.measure.server import MeasureServer
from tests.collector.run.listeners.test_http_protocol import application
from tests.faults.hostile.test_mqtt_streams import BARE, PATIENCE_S, own_lines, poured
from tests.helpers.authority import TestAuthority

LONG_S = 10 * PATIENCE_S  # no deadline helps
RECORDS = 300
PIECES = b"\x01\x00\x3f\xfc" + bytes(RECORDS)  # of one hello of 16 KiB


@contextlib.contextmanager
def pages(files: Files) -> Iterator[tuple[int, str]]:
    limits = HttpSection(handshake_s=LONG_S, head_s=LONG_S, body_s=LONG_S)
    with bound("127.0.0.1:0", "[web] listen", limits) as place:
        server = WebServer(application(), place, lambda: None, (files.cert, files.key), limits)
        server.start()
        try:
            yield place.getsockname()[1], "/address"
        finally:
            server.stop()


@contextlib.contextmanager
def measurement(files: Files) -> Iterator[tuple[int, str]]:
    context = server_context(files.cert, files.key, least=BROWSERS)
    server = MeasureServer(limits=Limits(head_s=LONG_S, idle_s=LONG_S, connection_s=LONG_S), tls=context)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        _, port = asyncio.run_coroutine_threadsafe(server.start("127.0.0.1", 0), loop).result(PATIENCE_S)
        yield port, "/hello"
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


LISTENERS: dict[str, Callable[[Files], AbstractContextManager[tuple[int, str]]]] = {
    "pages": pages, "measurement": measurement
}  # fmt: skip


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path / "authority")


@contextlib.contextmanager
def tls(port: int, authority: TestAuthority) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    plain = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    with plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield line


def is_answered(port: int, path: str, authority: TestAuthority) -> bool:
    with tls(port, authority) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n".encode())
        return line.recv(4096).startswith(b"HTTP/1.1 200")


def pour(line: socket.socket, parts: Iterable[bytes]) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        for part in parts:
            line.sendall(part)


def ends(line: socket.socket) -> bool:
    """Whether the other end closes; a timeout is none."""
    try:
        while line.recv(4096):
            pass
    except (ConnectionError, ssl.SSLError):
        pass
    except TimeoutError:
        return False
    return True


@pytest.mark.row(55)
@pytest.mark.parametrize("listener", LISTENERS)
def test_what_comes_before_tls_keeps_nobody_out(
    listener: str, authority: TestAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    with LISTENERS[listener](authority.server()) as (port, path):
        for name, stream in BARE.items():
            hostile = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
            with hostile, poured(hostile, stream()):
                assert is_answered(port, path, authority), name
    assert len(own_lines(caplog)) <= 2 * len(BARE)


@pytest.mark.row(55)
@pytest.mark.parametrize("listener", LISTENERS)
def test_a_handshake_in_endless_pieces_is_ended(listener: str, authority: TestAuthority) -> None:
    with LISTENERS[listener](authority.server()) as (port, _):
        line = socket.create_connection(("127.0.0.1", port), PATIENCE_S / 6)
        with line:
            pour(line, (b"\x16\x03\x01\x00\x01" + bytes([piece]) for piece in PIECES))
            assert ends(line)


@pytest.mark.row(55)
@pytest.mark.parametrize("listener", LISTENERS)
def test_records_that_bring_next_to_nothing_are_ended(listener: str, authority: TestAuthority) -> None:
    """Of a key's update, which Python's `ssl` cannot send, a server sees the same: a record without contents."""
    with LISTENERS[listener](authority.server()) as (port, path), tls(port, authority) as line:
        line.settimeout(PATIENCE_S / 6)
        pour(line, [f"GET {path} HTTP/1.1\r\nHost: n\r\nA: ".encode(), *[b"a"] * RECORDS])
        assert ends(line)


@pytest.mark.row(55)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(("listener", "taken"), [("pages", []), ("measurement", ["TLSv1_2"])])
def test_old_tls_is_refused(listener: str, taken: list[str], authority: TestAuthority) -> None:
    with LISTENERS[listener](authority.server()) as (port, _):
        versions = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2)
        assert [one.name for one in versions if is_spoken(port, authority, one)] == taken


def is_spoken(port: int, authority: TestAuthority, version: ssl.TLSVersion) -> bool:
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as plain:
        try:
            context.wrap_socket(plain, server_hostname="127.0.0.1").close()
        except OSError:
            return False
    return True
