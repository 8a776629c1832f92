"""The ndt7 engine against our server, a library's WebSocket server and a Locate of our own, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from agent.common.tcp import websocket_frames
from agent.common.tls import server_context
from agent.probes.probe import ProbeFailed
from agent.probes.speed.engine import PUBLIC, SpeedRequest, Throughput
from agent.probes.speed.engines import locate, ndt7
from agent.probes.speed.engines.ndt7 import measure, measurement, named
from collector.speedtests.measure.admission import ByToken, UsedTokens
from collector.speedtests.measure.limits import Limits
from tests.helpers.authority import TestAuthority
from tests.helpers.measure_server import in_thread, measure_server

LASTING = Limits(ndt7_s=4.0, test_idle_s=10.0, bytes_per_test=1 << 40)  # a busy machine's warm-up is over by then
SHORT = Limits(ndt7_s=1.0, test_idle_s=1.0, bytes_per_test=1 << 40)  # loopback moves 2 GiB in a second
Talk = Callable[[ServerConnection], Awaitable[None]]
SAID: dict[str, Any] = {
    "TCPInfo": {
        "ElapsedTime": 1_000_000, "BytesReceived": 2_500_000, "BytesSent": 1_000_000, "BytesRetrans": 10_000,
        "RTT": 30_000, "MinRTT": 20_000,
    },
    "Unknown": [1],
}  # fmt: skip
KEYS = {
    "engine", "server", "mode", "download_mbps", "upload_mbps", "capacity_down_mbps", "capacity_up_mbps",
    "cross_traffic_down_pct", "cross_traffic_up_pct", "idle_rtt_ms", "loaded_rtt_down_ms", "loaded_rtt_up_ms",
    "jitter_ms", "loss_pct", "bytes_total", "seconds", "flags",
}  # fmt: skip


def request(server: str, **changes: Any) -> SpeedRequest:
    return replace(SpeedRequest(server=server, deadline_s=40, test_id="t1"), **changes)


def failed(given: SpeedRequest) -> ProbeFailed:
    with pytest.raises(ProbeFailed) as caught:
        measure(given)
    assert len(caught.value.detail) <= 200
    return caught.value


@contextlib.contextmanager
def library_server(talk: Talk, protocol: str = ndt7.SUBPROTOCOL) -> Iterator[str]:
    """A WebSocket server of other people's making."""
    ready, port = threading.Event(), [0]

    async def work(stop: asyncio.Event) -> None:
        async with serve(
            talk, "127.0.0.1", 0, subprotocols=[Subprotocol(protocol)], compression=None, close_timeout=0.5
        ) as server:
            port[0] = next(iter(server.sockets)).getsockname()[1]
            ready.set()
            await stop.wait()

    with in_thread(work):
        assert ready.wait(60)
        yield f"ws://127.0.0.1:{port[0]}"


@contextlib.contextmanager
def impostor(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """Answers a request's head with bytes of its own, and hangs up."""
    ready, port = threading.Event(), [0]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            writer.write(answer(await reader.readuntil(b"\r\n\r\n")))
            await writer.drain()
        writer.close()

    async def work(stop: asyncio.Event) -> None:
        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            port[0] = server.sockets[0].getsockname()[1]
            ready.set()
            await stop.wait()

    with in_thread(work):
        assert ready.wait(60)
        yield f"ws://127.0.0.1:{port[0]}"


@contextlib.contextmanager
def locate_server(status: int, answer: object) -> Iterator[str]:
    """A Locate that answers everybody the same."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answer).encode() if answer is not None else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v2/nearest/ndt/ndt7"
        server.shutdown()
        thread.join()


def near(server: str, scheme: str = "ws", **query: str) -> dict[str, Any]:
    fields = "?" + "&".join(f"{name}={value}" for name, value in query.items())
    place = server.rpartition("://")[2]
    return {
        "machine": "mlab1-khi01.example",
        "urls": {f"{scheme}://{path}": f"{scheme}://{place}{path}{fields}" for path in locate.PATHS.values()},
    }


def test_our_own_server_is_measured_both_ways_and_keeps_one_record_of_it() -> None:
    with measure_server(limits=SHORT) as (server, records):
        found = measure(request(server, token="anything"))
    assert isinstance(found, Throughput)
    assert (found.engine, found.mode, found.tls) == ("ndt7", "full", False)
    assert found.server == f"{server.replace('http', 'ws')}/ndt/v7"
    assert (found.download_mbps or 0) > 20
    assert (found.upload_mbps or 0) > 20
    (record,) = records
    assert (record.test, record.connections, record.end) == ("t1", 2, "closing")
    # What the server's kernel saw is what the client says it spent.
    assert found.bytes_total is not None
    assert record.down.bytes + record.up.bytes == pytest.approx(found.bytes_total, rel=0.1)
    assert found.idle_rtt_ms is not None
    assert found.idle_rtt_ms < 20
    assert found.loaded_rtt_down_ms is not None
    assert found.loaded_rtt_up_ms is not None
    assert found.loss_pct is not None  # the server's kernel told both
    assert found.loss_pct < 5
    # It ended after a second, and says so.
    assert {"short", "capped"} <= set(found.flags)
    assert set(asdict(found)) >= KEYS


def test_it_goes_over_tls_when_the_authority_is_named_and_not_otherwise(tmp_path: Path) -> None:
    files = TestAuthority(tmp_path).server("127.0.0.1")
    with measure_server(limits=LASTING, tls=server_context(files.cert, files.key)) as (server, records):
        wss = server.replace("https", "wss")
        found = measure(request(wss, ca_file=str(files.ca)))
        failure = failed(request(wss))
    assert (found.tls, found.server.partition(":")[0]) == (True, "wss")
    assert (found.download_mbps or 0) > 20
    assert (found.upload_mbps or 0) > 20
    assert records
    assert failure.cause == "certificate"
    assert "certificate verify failed" in failure.detail


async def talks(connection: ServerConnection) -> None:
    if "upload" in (connection.request.path if connection.request else ""):
        reading = asyncio.create_task(_drain(connection))
        for number in range(5):
            await asyncio.sleep(0.1)
            await connection.send("no JSON")
            await connection.send(json.dumps(SAID | {"TCPInfo": SAID["TCPInfo"] | {"RTT": 50_000 + number}}))
        reading.cancel()
        return
    for _ in range(5):
        await connection.send(bytes(1 << 20))
        await connection.send(json.dumps(SAID))
        await asyncio.sleep(0.1)


async def _drain(connection: ServerConnection) -> None:
    async for _ in connection:
        pass


def test_figures_are_the_servers_where_the_protocol_says_so() -> None:
    """Another's server, whose made-up measurements are known again in the result."""
    with library_server(talks) as server:
        found = measure(request(server))
    assert found.upload_mbps == 20.0
    assert (found.idle_rtt_ms, found.loaded_rtt_down_ms, found.loaded_rtt_up_ms) == (20.0, 30.0, 50.002)
    assert found.loss_pct == 1.0
    assert found.download_mbps == pytest.approx(5 * (1 << 20) * 8 / 1e6 / 0.5, rel=0.4)


def test_the_nearest_server_that_answers_is_taken_with_its_own_token(free_port: int) -> None:
    explained: list[str] = []
    with measure_server(limits=SHORT) as (server, records):
        results = [near(f"http://127.0.0.1:{free_port}"), near(server, access_token="abc", test="by-locate")]
        with locate_server(200, {"results": results}) as url:
            found = measure(request("", locate_url=url, explain=explained.append))
    assert found.server == f"{server.replace('http', 'ws')}/ndt/v7"
    assert [record.test for record in records] == ["by-locate"]
    assert any(f"127.0.0.1:{free_port}" in line for line in explained)


@pytest.mark.parametrize(
    ("status", "answer", "cause"),
    [
        (204, None, "busy"),
        (503, {}, "busy"),
        (404, {"error": {"title": "Not found", "status": 404, "detail": "no country"}}, "refused"),
        (200, {"results": []}, "bad_output"),
        (200, {"results": [{"urls": {"wss:///ndt/v7/download": "wss://x/"}}]}, "bad_output"),
        (200, ["no"], "bad_output"),
        (200, {"results": [near("x", "ws") | {"urls": {"ws:///ndt/v7/download": "file:///etc/passwd"}}]}, "bad_output"),
    ],
)
def test_a_locate_without_a_server_to_give_says_why(status: int, answer: object, cause: str) -> None:
    with locate_server(status, answer) as url:
        assert failed(request(PUBLIC, locate_url=url)).cause == cause


def test_a_locate_that_is_not_there_or_no_address_is_said_so(free_port: int) -> None:
    assert failed(request(PUBLIC, locate_url=f"http://127.0.0.1:{free_port}/v2")).cause == "unreachable"
    assert failed(request(PUBLIC, locate_url="file:///etc/passwd")).cause == "bad_server"


def test_the_safe_address_is_preferred_where_locate_gives_both() -> None:
    both = near("a.example", "ws")["urls"] | near("b.example", "wss")["urls"]
    first, second = locate.parse(200, json.dumps({"results": [{"urls": both}]}).encode(), "locate")
    assert (first["down"], second["down"]) == ("wss://b.example/ndt/v7/download?", "ws://a.example/ndt/v7/download?")


@pytest.mark.parametrize(
    ("server", "shown", "port"),
    [
        ("http://speed.example:8474", "ws://speed.example:8474/ndt/v7", 8474),
        ("wss://speed.example", "wss://speed.example:443/ndt/v7", 443),
        ("https://speed.example/measure/", "wss://speed.example:443/measure/ndt/v7", 443),
        ("ws://speed.example/ndt/v7", "ws://speed.example:80/ndt/v7", 80),
    ],
)
def test_a_server_is_named_by_its_place_alone(server: str, shown: str, port: int) -> None:
    both = named(request(server, token="secret"))
    assert {target.shown for target in both.values()} == {shown}
    assert {target.port for target in both.values()} == {port}
    assert b"/ndt/v7/download?" in both["down"].head("GET", "download", {})
    assert b"access_token=secret" in both["up"].head("GET", "upload", {})


def test_a_server_that_speaks_another_protocol_is_none_of_ours(free_port: int) -> None:
    with library_server(talks, "chat") as server:
        assert failed(request(server)).cause in ("refused", "not_a_speed_server")
    assert failed(request(f"ws://127.0.0.1:{free_port}")).cause == "unreachable"
    assert failed(request("ftp://host")).cause == "bad_server"


@pytest.mark.parametrize(
    ("headers", "lines"),
    [
        (f"Sec-WebSocket-Protocol: {ndt7.SUBPROTOCOL}\r\nSec-WebSocket-Accept: AAAA\r\n", "as a WebSocket server does"),
        ("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: {}\r\n", "but not net.measurementlab.ndt.v7"),
        ("Sec-WebSocket-Accept: {}\r\n", "but not net.measurementlab.ndt.v7"),
    ],
)
def test_a_handshake_that_is_answered_wrongly_is_no_handshake(headers: str, lines: str) -> None:
    def answer(head: bytes) -> bytes:
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", head)
        accept = websocket_frames.accept(key[1].decode()) if key else ""
        lines = f"HTTP/1.1 101 Switching Protocols\r\n{headers.format(accept)}\r\n".encode()
        return lines + b"\x82\x7e\x20\x00" + bytes(8192)

    with impostor(answer) as server:
        failure = failed(request(server))
    assert failure.cause == "not_a_speed_server"
    assert lines in failure.detail


def test_a_server_that_needs_a_token_is_quoted() -> None:
    key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    with measure_server(limits=SHORT, admit=ByToken(key, "here", UsedTokens(None, 0))) as (server, _):
        failure = failed(request(server, token="forged"))
    assert failure.cause == "refused"
    assert "bad_signature" in failure.detail


async def _breaks(connection: ServerConnection) -> None:
    await connection.send(bytes(1 << 16))
    connection.transport.write(b"\xc2\x00")  # a reserved bit
    await asyncio.sleep(1)


async def _vanishes(connection: ServerConnection) -> None:
    await connection.send(bytes(1 << 20))
    connection.transport.abort()


def test_a_server_that_breaks_the_frames_is_a_named_failure() -> None:
    with library_server(_breaks) as server:
        assert failed(request(server)).cause == "bad_output"


def test_a_server_that_goes_away_in_the_middle_gives_no_figure() -> None:
    with library_server(_vanishes) as server:
        assert failed(request(server)).cause == "interrupted"


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'{"AppInfo":{"ElapsedTime":0,"NumBytes":1}}', b'{"TCPInfo":{"RTT":-1}}']
)
def test_a_measurement_that_cannot_be_is_passed_over(text: bytes) -> None:
    assert list(measurement(text)) == []


@pytest.mark.parametrize(
    ("counted", "elapsed_us", "possible"),
    [
        (10_000_000, 9_400_000, True),
        (10_000_000, 6_000_000, True),  # the last measurement that came is of three seconds before the end
        (10_000_000, 1, False),  # of a clock that jumped
        (10_000_000, 3_600_000_000, False),
        (20_000_000, 9_400_000, False),  # more than was sent
    ],
)
def test_a_servers_count_is_believed_within_what_was_sent_and_when(
    counted: int, elapsed_us: float, possible: bool
) -> None:
    assert ndt7.is_possible(counted, elapsed_us, 10_000_000, 9.5) is possible


async def _lies(connection: ServerConnection) -> None:
    """A server whose clock jumped: a microsecond for all that it received."""
    if "upload" not in (connection.request.path if connection.request else ""):
        await talks(connection)
        return
    reading = asyncio.create_task(_drain(connection))
    for _ in range(10):
        await asyncio.sleep(0.1)
        await connection.send(json.dumps({"TCPInfo": {"ElapsedTime": 1, "BytesReceived": 2_500_000}}))
    reading.cancel()


def test_a_server_whose_clock_jumps_gives_no_figure_of_its_own() -> None:
    with library_server(_lies) as server:
        found = measure(request(server))
    assert found.upload_mbps is not None
    assert found.upload_mbps < 1e5  # a microsecond would make 20 Tbit/s of it
