"""ndt7 in the measurement server: by a library's client frame by frame, by hostile ones, and as its records have it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import ssl
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from agent.common.tcp import websocket_frames
from agent.common.tls import TlsFileError, server_context
from collector.speedtests.measure import token
from collector.speedtests.measure.admission import ByToken, UsedTokens
from collector.speedtests.measure.limits import Limits
from collector.speedtests.measure.protocols import ndt7
from collector.speedtests.measure.record import Record
from collector.speedtests.measure.server import MeasureServer
from collector.speedtests.measure.token import Claims
from tests.helpers.authority import TestAuthority
from tests.helpers.waiting import until

SHORT = Limits(ndt7_s=1.0, test_idle_s=1.0)


class Running:
    def __init__(self, server: MeasureServer, port: int, records: list[Record]) -> None:
        self.server, self.port, self.records = server, port, records

    def client(self, way: str, query: str = "", protocol: str = ndt7.SUBPROTOCOL, **options: Any) -> connect:
        scheme = "wss" if "ssl" in options else "ws"
        url = f"{scheme}://127.0.0.1:{self.port}/ndt/v7/{way}{query}"
        options = {"compression": None, "max_size": 1 << 24, "close_timeout": 1, "ping_interval": None} | options
        return connect(url, subprotocols=[Subprotocol(protocol)], **options)

    async def raw(self, way: str = "upload") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of our own that has become a WebSocket."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(handshake(way))
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        return reader, writer


def handshake(way: str, **changes: str) -> bytes:
    headers = {
        "Host": "x",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
        "Sec-WebSocket-Protocol": ndt7.SUBPROTOCOL,
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value]
    return "\r\n".join([f"GET /ndt/v7/{way} HTTP/1.1", *lines, "", ""]).encode()


def against(work: Callable[[Running], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        records: list[Record] = []
        server = MeasureServer(on_record=records.append, **{"limits": SHORT} | options)
        _, port = await server.start("127.0.0.1", 0)
        try:
            async with asyncio.timeout(60):
                await work(Running(server, port, records))
        finally:
            await server.close()

    asyncio.run(run())


async def heard(client: ClientConnection) -> tuple[list[int], list[dict[str, Any]]]:
    """Sizes of the binary messages and the measurements, until the server has said farewell."""
    sizes, texts = [], []
    with contextlib.suppress(ConnectionClosed):
        while True:
            message = await client.recv()
            if isinstance(message, bytes):
                sizes.append(len(message))
            else:
                texts.append(json.loads(message))
    return sizes, texts


def test_a_download_is_messages_that_grow_and_measurements_that_add_up() -> None:
    async def work(it: Running) -> None:
        async with it.client("download", "?test=run-1&client_name=x") as client:
            sizes, texts = await heard(client)
            assert (client.close_code, client.subprotocol) == (1000, ndt7.SUBPROTOCOL)
        assert sizes[0] == 1 << 13
        assert max(sizes) <= 1 << 20
        assert all(size & (size - 1) == 0 for size in sizes)
        sent = 0
        for size in sizes:  # no message is more than doubled, nor over a sixteenth of what went before
            assert size <= max(1 << 13, sent // 8)
            sent += size
        assert 2 <= len(texts) <= 1 / ndt7.SOONEST_S
        last = texts[-1]
        assert last["Test"] == "download"
        assert last["Origin"] == "server"
        assert 0 < last["AppInfo"]["NumBytes"] <= sent
        assert last["AppInfo"]["ElapsedTime"] < 1_500_000
        tcp = last["TCPInfo"]
        assert set(tcp) == {
            "BusyTime", "BytesAcked", "BytesReceived", "BytesSent", "BytesRetrans", "ElapsedTime", "MinRTT", "RTT",
            "RTTVar", "RWndLimited", "SndBufLimited",
        }  # fmt: skip
        assert 0 < tcp["BytesAcked"] <= tcp["BytesSent"]
        assert 0 < tcp["MinRTT"] <= tcp["RTT"] < 1_000_000
        connection = last["ConnectionInfo"]
        assert connection["Server"] == f"127.0.0.1:{it.port}"
        assert connection["Client"].startswith("127.0.0.1:")
        assert connection["UUID"] == texts[0]["ConnectionInfo"]["UUID"]

    against(work)


def test_an_upload_is_counted_and_told_several_times_a_second() -> None:
    async def work(it: Running) -> None:
        texts: list[dict[str, Any]] = []
        sent = 0
        async with it.client("upload", "?test=run-1") as client:

            async def listen() -> None:
                async for message in client:
                    texts.append(json.loads(message))

            listening = asyncio.create_task(listen())
            while len(texts) < 8 and not listening.done():
                await client.send(os.urandom(1 << 16))
                sent += 1 << 16
            await client.close()
            await listening
        times = [item["AppInfo"]["ElapsedTime"] / 1e6 for item in texts]
        # A machine that stood still for a moment makes one pause long, not most of them.
        assert statistics.median(b - a for a, b in itertools.pairwise(times)) < ndt7.LATEST_S + 0.3
        counts = [item["TCPInfo"]["BytesReceived"] for item in texts]
        assert counts == sorted(counts)
        assert 0 < counts[-1] <= sent * 1.01
        # What the kernel holds for a server that is busy is not read yet.
        assert counts[-1] / 4 < texts[-1]["AppInfo"]["NumBytes"] <= counts[-1] * 1.01

    against(work, limits=Limits(ndt7_s=30.0, test_idle_s=30.0))


def test_both_ways_are_one_test_with_one_record_of_what_was_seen() -> None:
    async def work(it: Running) -> None:
        async with it.client("download", "?test=run-1") as client:
            sizes, _ = await heard(client)
        async with it.client("upload", "?test=run-1") as client:
            await client.send(os.urandom(3_000_000))
            await client.close()
        await until(lambda: it.records)
        (record,) = it.records
        assert (record.test, record.connections, record.end, record.witnessed) == ("run-1", 2, "idle", False)
        assert record.down.bytes == pytest.approx(sum(sizes), rel=0.01)
        assert record.up.bytes == pytest.approx(3_000_000, rel=0.01)

    against(work)


def test_ten_seconds_is_what_a_server_gives_unless_told_otherwise() -> None:
    assert Limits().ndt7_s == 10.0
    assert (ndt7.EARLY_EXIT_MB, ndt7.SUBPROTOCOL) == ("250", "net.measurementlab.ndt.v7")


def test_a_token_admits_once_and_its_test_is_witnessed() -> None:
    key = Ed25519PrivateKey.generate()
    admit = ByToken(key.public_key().public_bytes_raw(), "here", UsedTokens(None, 0))
    expires_ms = time.time_ns() // 1_000_000 + 60_000
    claims = Claims(test="t1", device="g1", server="here", expires_ms=expires_ms, max_bytes=1 << 30, purpose="routine")
    good = token.make(claims, key.sign)

    async def work(it: Running) -> None:
        async with it.client("download", f"?test=t1&access_token={good}") as client:
            await heard(client)
        await until(lambda: it.records)
        assert (it.records[0].witnessed, it.records[0].device) == (True, "g1")
        for query in (f"?test=t1&access_token={good}", f"?test=t2&access_token={good}", "?test=t3&access_token=forged"):
            with pytest.raises(InvalidStatus) as caught:
                await it.client("download", query)
            assert caught.value.response.status_code == 403

    against(work, admit=admit)


def test_it_speaks_tls_with_everything_else_unchanged(tmp_path: Path) -> None:
    files = TestAuthority(tmp_path).server("127.0.0.1")
    trust = ssl.create_default_context(cafile=files.ca)

    async def work(it: Running) -> None:
        async with it.client("download", "?test=run-1", ssl=trust) as client:
            sizes, texts = await heard(client)
            assert client.close_code == 1000
        assert texts[-1]["AppInfo"]["NumBytes"] <= sum(sizes)
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port, ssl=trust)
        body = os.urandom(5_000_000)
        writer.write(b"POST /empty HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.write(b"GET /garbage?ckSize=3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert answers.count(b"HTTP/1.1 200 OK") == 2
        assert len(answers) > 3 << 20
        # Who speaks no TLS, or stops in the middle of the handshake, is hung up on.
        for sent in (b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01"):
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(sent)
            with contextlib.suppress(ConnectionResetError):
                assert b"HTTP" not in await asyncio.wait_for(reader.read(), 60)
            writer.transport.abort()
        await until(lambda: it.server.connections.open.total() == 0)

    against(work, tls=server_context(files.cert, files.key), limits=replace(SHORT, head_s=1.0))


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nothing")
    with pytest.raises(TlsFileError, match=r"cert\.pem.*name both PEM files"):
        server_context(tmp_path / "cert.pem", tmp_path / "key.pem")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (handshake("download", Sec_WebSocket_Protocol="chat"), b"400"),
        (handshake("download", Sec_WebSocket_Protocol=""), b"400"),
        (handshake("download", Sec_WebSocket_Version="8"), b"400"),
        (handshake("download", Sec_WebSocket_Key="short"), b"400"),
        (handshake("download", Sec_WebSocket_Key="\xff" * 24), b"400"),
        (handshake("download", Upgrade=""), b"426"),
        (handshake("sideways"), b"404"),
        (handshake("download?early_exit=100"), b"400"),
        (handshake("download?a=" + "b" * 5000), b"400"),
        (handshake("download?test=a/b"), b"400"),
        (handshake("upload").replace(b"GET", b"POST", 1), b"426"),
        (handshake("download").replace(b"/ndt/v7/", b"/else/"), b"404"),
    ],
)
def test_a_handshake_that_is_not_the_protocols_is_refused_before_a_test_begins(sent: bytes, status: bytes) -> None:
    async def work(it: Running) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(sent)
        assert (await reader.readline()).split(b" ")[1] == status
        assert not it.server.sessions.running
        writer.transport.abort()

    against(work)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x82\x05hello", 1002),  # a client has to mask
        (b"\xc2\x80abcd", 1002),
        (b"\x82\xff\x00\x00\x00\x00\x01\x00\x00\x01abcd", 1009),
        (b"\x8a\x80abcd" * 3000, 1008),  # pongs without end
        (b"\x82\x81abcdx" * 60_000, 1008),  # a byte a frame
        (websocket_frames.closing(1000, masked=True), 1000),
    ],
    ids=["unmasked", "reserved bits", "too large", "pongs without end", "a byte a frame", "a good-bye"],
)
def test_what_breaks_the_frames_ends_the_test_with_its_code(sent: bytes, code: int) -> None:
    async def work(it: Running) -> None:
        reader, writer = await it.raw()
        with contextlib.suppress(OSError):
            writer.write(sent)
            await writer.drain()
        talk, codes = websocket_frames.Reader(masked=False), []
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                codes += [
                    int.from_bytes(m.payload[:2], "big") for m in talk.feed(data) if m.opcode == websocket_frames.CLOSE
                ]
        assert codes == [code]
        writer.transport.abort()

    against(work, limits=replace(SHORT, ndt7_s=10.0))


def test_a_ping_is_answered_between_the_messages() -> None:
    async def work(it: Running) -> None:
        async with it.client("download", "?test=run-1") as client:
            pong = await client.ping(b"still there?")
            listening = asyncio.create_task(heard(client))
            await asyncio.wait_for(pong, 60)
            await listening

    against(work)


def test_a_client_that_reads_nothing_does_not_keep_its_place() -> None:
    async def work(it: Running) -> None:
        _, writer = await it.raw("download")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: not it.server.connections.open.total())
        writer.transport.abort()

    against(work, limits=replace(SHORT, idle_s=0.5))


def test_the_bytes_of_a_test_are_a_bound_here_too() -> None:
    async def work(it: Running) -> None:
        async with it.client("download", "?test=run-1") as client:
            sizes, _ = await heard(client)
        assert 1_000_000 <= sum(sizes) < 1_500_000
        with pytest.raises(InvalidStatus) as caught:
            await it.client("upload", "?test=run-1")
        assert caught.value.response.status_code == 429

    against(work, limits=replace(SHORT, bytes_per_test=1_000_000))


def test_an_early_exit_ends_after_as_many_bytes_as_were_asked_for() -> None:
    async def work(it: Running) -> None:
        async with it.client("download", "?test=run-1&early_exit=250") as client:
            sizes, _ = await heard(client)
            assert client.close_code == 1000
        assert 250_000_000 <= sum(sizes) < 270_000_000

    against(work, limits=Limits())
