"""The measurement server over real sockets: what it serves, to whom, and what it will not do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.parse
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from collector.speedtests.measure.limits import Limits
from collector.speedtests.measure.protocols import ookla
from collector.speedtests.measure.record import Record
from collector.speedtests.measure.server import MeasureServer
from tests.helpers.processes import child
from tests.helpers.waiting import until


@dataclass
class Running:
    """A server, its port, and the records of tests that are over."""

    server: MeasureServer
    port: int
    records: list[Record]

    async def ask(self, target: str, method: str = "GET", *headers: str, body: bytes = b"") -> tuple[int, str, bytes]:
        """(status, head, body) of one request on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        length = [f"Content-Length: {len(body)}"] if body else []
        lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close", *length, *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        head, _, rest = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), head.decode(), rest


@contextlib.asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Running]:
    records: list[Record] = []
    server = MeasureServer(on_record=records.append, **options)
    _, port = await server.start("127.0.0.1", 0)
    try:
        yield Running(server, port, records)
    finally:
        await server.close()


def against(work: Callable[[Running], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with running(**options) as it, asyncio.timeout(20):
            await work(it)

    asyncio.run(run())


def test_garbage_comes_in_the_size_asked_for_and_does_not_compress() -> None:
    async def work(it: Running) -> None:
        status, _, body = await it.ask("/backend/garbage.php?ckSize=2&cors=true")
        assert (status, len(body)) == (200, 2 << 20)
        assert len(zlib.compress(body, 1)) > len(body)

    against(work)


@pytest.mark.parametrize("size", ["", "0", "1025", "-1", "x", "²", "9" * 400])
def test_a_wrong_size_gives_what_librespeeds_own_servers_give(size: str) -> None:
    async def work(it: Running) -> None:
        _, head, _ = await it.ask(f"/garbage?ckSize={urllib.parse.quote(size)}", "HEAD")
        assert f"Content-Length: {4 << 20}" in head

    against(work)


def test_an_upload_is_swallowed_and_empty_is_empty() -> None:
    async def work(it: Running) -> None:
        status, _, body = await it.ask("/empty.php?cors=1", "POST", body=os.urandom(3_000_000))
        assert (status, body) == (200, b"")

    against(work)


def test_a_chunked_upload_is_read_to_its_end() -> None:
    async def work(it: Running) -> None:
        pieces = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece) for piece in (b"a" * 70_000, b"b"))
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(
            b"POST /upload.php HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            + pieces
            + b"0\r\nT: x\r\n\r\n"
        )
        writer.write(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert b"size=70001" in answer
        assert b'"server": "nabz"' in answer

    against(work)


def test_a_browser_may_ask_from_another_origin() -> None:
    async def work(it: Running) -> None:
        status, head, _ = await it.ask("/empty.php?cors=true", "OPTIONS")
        assert status == 204
        assert "Access-Control-Allow-Origin: *" in head
        assert "Content-Encoding" in head

    against(work)


def test_a_client_learns_the_address_it_came_from() -> None:
    async def work(it: Running) -> None:
        _, _, body = await it.ask("/getIP.php?isp=true")
        assert json.loads(body) == {"processedString": "127.0.0.1", "rawIspInfo": ""}

    against(work)


def test_hello_says_whether_results_can_count() -> None:
    async def work(it: Running) -> None:
        assert json.loads((await it.ask("/hello"))[2])["witness"] is False
        assert json.loads((await it.ask("/health"))[2])["ok"] is True

    against(work)


@pytest.mark.parametrize("name", sorted(ookla.IMAGE_BYTES)[:2])
def test_pictures_have_the_sizes_of_the_real_ones(name: str) -> None:
    async def work(it: Running) -> None:
        _, _, body = await it.ask(f"/speedtest/{name}?x=1.2")
        assert len(body) == ookla.IMAGE_BYTES[name]

    against(work)


def test_the_list_of_servers_has_only_the_address_the_client_reached() -> None:
    async def work(it: Running) -> None:
        _, _, body = await it.ask("http://www.speedtest.net/speedtest-servers-static.php?threads=8")
        (server,) = ElementTree.fromstring(body).iter("server")
        assert server.get("url") == f"http://127.0.0.1:{it.port}/speedtest/upload.php"

    against(work)


def test_the_list_of_servers_names_the_public_address_when_there_is_one() -> None:
    async def work(it: Running) -> None:
        _, _, body = await it.ask("/speedtest-servers-static.php")
        assert b"http://speed.example:80/speedtest/upload.php" in body

    against(work, public="speed.example:80")


def test_it_fetches_nothing_for_anyone() -> None:
    async def work(it: Running) -> None:
        status, _, body = await it.ask("http://example.com/index.html")
        assert status == 404
        assert b"not served here" in body

    against(work)


def test_what_was_seen_of_a_test_can_be_asked_for_by_its_name() -> None:
    async def work(it: Running) -> None:
        await it.ask("/garbage?ckSize=1&test=run-1")
        await it.ask("/empty?test=run-1", "POST", body=bytes(500_000))
        seen = json.loads((await it.ask("/record?test=run-1"))[2])
        assert seen["witnessed"] is False
        assert (1 << 20) < seen["down"]["bytes"] < (1 << 20) + 1000
        assert 500_000 < seen["up"]["bytes"] < 501_000
        assert (await it.ask("/record?test=run-2"))[0] == 404

    against(work)


def test_tests_under_way_are_recorded_when_the_server_closes() -> None:
    async def work(it: Running) -> None:
        await it.ask("/garbage?ckSize=1&test=run-1")
        await it.server.close()
        assert [(record.test, record.end) for record in it.records] == [("run-1", "closing")]

    against(work)


def test_a_download_beyond_the_tests_bytes_is_cut_off_and_then_refused() -> None:
    async def work(it: Running) -> None:
        _, _, body = await it.ask("/garbage?ckSize=4&test=a")
        assert 1_000_000 <= len(body) < 1_600_000
        status, _, why = await it.ask("/garbage?ckSize=1&test=a")
        assert status == 429
        assert b"1000000 bytes" in why

    against(work, limits=Limits(bytes_per_test=1_000_000))


def test_an_upload_beyond_the_tests_bytes_is_cut_off() -> None:
    async def work(it: Running) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(b"POST /empty?test=a HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")

        async def send_all() -> None:
            for _ in range(200):
                writer.write(bytes(500_000))
                await writer.drain()

        with pytest.raises(ConnectionError):
            await send_all()
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        del reader

    against(work, limits=Limits(bytes_per_test=1_000_000))


def test_a_full_server_answers_503_and_when_to_come_again() -> None:
    async def work(it: Running) -> None:
        await it.ask("/garbage?ckSize=1&test=a")
        status, head, why = await it.ask("/garbage?ckSize=1&test=b")
        assert status == 503
        assert "Retry-After: 5" in head
        assert "Queue-Position: 1" in head
        assert b"number 1 in the queue" in why

    against(work, limits=Limits(tests_at_once=1))


def test_an_address_has_a_pace_of_requests() -> None:
    async def work(it: Running) -> None:
        statuses = [(await it.ask("/hello"))[0] for _ in range(8)]
        assert statuses.count(200) in (5, 6)
        assert statuses[-1] == 429

    against(work, limits=Limits(requests_per_address_s=5.0))


def test_an_address_has_so_many_connections() -> None:
    async def work(it: Running) -> None:
        held = [await asyncio.open_connection("127.0.0.1", it.port) for _ in range(2)]
        for reader, writer in held:
            writer.write(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 200 " in await reader.readline()
        await until(lambda: it.server.connections.open.total() == 2)
        assert (await it.ask("/hello"))[0] == 429
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        await until(lambda: it.server.connections.open.total() == 0)
        assert (await it.ask("/hello"))[0] == 200

    against(work, limits=Limits(connections_per_address=2))


@pytest.mark.row(55)
def test_half_open_connections_keep_no_neighbour_out() -> None:
    async def work(it: Running) -> None:
        held = [await asyncio.open_connection("127.0.0.1", it.port) for _ in range(9)]
        assert (await it.ask("/hello"))[0] == 200
        assert await held[0][0].read() == b""  # it gave way
        for _, writer in held:
            writer.close()

    against(work, limits=Limits(connections_per_address=2))


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431"),
        (b"GET /" + b"a" * 20_000, b"431"),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"400"),
        (b"POST /empty HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"POST /empty HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", b"400"),
        (b"POST /empty HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 400, b"400"),
        (b"POST /empty HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n", b"400"),
        (b"POST /empty HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;\n\r\na\r\n0\r\n\r\n", b"400"),
        (b"POST /empty HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\na", b"400"),
        (b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na", b"413"),
        (b"OPTIONS /empty HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na", b"413"),
        (b"GET /garbage?test=a/b HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
    ],
)
def test_a_hostile_request_gets_its_status_and_the_server_lives(sent: bytes, status: bytes) -> None:
    async def work(it: Running) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(sent)
        assert (await reader.readline()).split(b" ")[1] == status
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        assert (await it.ask("/hello"))[0] == 200

    against(work)


@pytest.mark.parametrize("target", ["/hello", "/garbage?ckSize=1", "/ndt/v7/download"])
def test_a_body_that_is_not_wanted_is_not_read_as_the_next_request(target: str) -> None:
    async def work(it: Running) -> None:
        hidden = b"GET /latency.txt HTTP/1.1\r\nHost: x\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        head = f"GET {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(hidden)}\r\n\r\n"
        writer.write(head.encode() + hidden)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert answer.count(b"HTTP/1.1") == 1

    against(work)


def test_a_client_that_dawdles_over_its_head_is_hung_up_on() -> None:
    async def work(it: Running) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(b"GET /hello HTT")
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
        await writer.wait_closed()

    against(work, limits=Limits(head_s=0.3))


def test_a_client_that_reads_nothing_is_hung_up_on() -> None:
    async def work(it: Running) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(b"GET /garbage?ckSize=1024&test=a HTTP/1.1\r\nHost: x\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: it.server.pace.buckets)  # its request has come
        await until(lambda: it.server.connections.open.total() == 0)
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    against(work, limits=Limits(idle_s=0.5))


def test_the_command_serves_an_unmodified_speedtest_cli(free_port: int) -> None:
    """Configuration and list through us as its proxy, then the tests direct."""
    tool = Path(sys.executable).with_name("speedtest-cli")
    command = [sys.executable, "-m", "collector", "measure", "--listen", f"127.0.0.1:{free_port}"]
    with child(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        assert f"http://127.0.0.1:{free_port}" in server.stderr.readline()
        environment = {
            "PATH": os.environ["PATH"],
            "http_proxy": f"http://127.0.0.1:{free_port}",
            "no_proxy": "127.0.0.1",
        }
        done = subprocess.run(
            [str(tool), "--json", "--no-pre-allocate"], env=environment, capture_output=True, text=True, timeout=120
        )
        server.send_signal(signal.SIGINT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["download"] > 0
    assert found["upload"] > 0
    assert 0 < found["ping"] < 1000
    assert found["server"]["host"] == f"127.0.0.1:{free_port}"
    assert server.returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--listen", "nowhere"], 2, r"--listen 'nowhere' must be HOST:PORT"),
        (["--listen", "127.0.0.1:99999"], 2, r"must be HOST:PORT"),
        (["--listen", "192.0.2.1:8474"], 1, r"cannot listen on 192.0.2.1:8474: .*; choose another"),
        (["--tests", "0"], 2, r"--tests 0 must be 1 or more"),
    ],
)
def test_the_command_says_what_is_wrong_with_its_words(words: list[str], code: int, sentence: str) -> None:
    done = subprocess.run([sys.executable, "-m", "collector", "measure", *words], capture_output=True, text=True)
    assert done.returncode == code
    assert re.search(sentence, done.stderr)
