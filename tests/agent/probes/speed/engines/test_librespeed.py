"""The engine of record against real servers on the loopback, and the ways a test can fail."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.common.tls import server_context
from agent.config import AgentSettings
from agent.probes.probe import Context, ProbeFailed
from agent.probes.speed import ENGINES, probe
from agent.probes.speed.engine import SpeedRequest
from agent.probes.speed.engines import librespeed
from agent.probes.speed.engines.librespeed import measure
from agent.probes.speed.multistream.streams import retry_after_s
from agent.probes.target import find, leads_away, parse, status_of
from agent.wire import SpeedReading
from collector.speedtests.measure.admission import ByToken, UsedTokens
from collector.speedtests.measure.limits import Limits
from tests.helpers.authority import TestAuthority
from tests.helpers.measure_server import in_thread, measure_server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.contextmanager
def stand_in(handler: Handler) -> Iterator[str]:
    """A server that answers as `handler` does."""
    ready, stopped, port = threading.Event(), threading.Event(), [0]

    async def tidy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.transport.abort() if stopped.is_set() else writer.close()

    async def serve(stop: asyncio.Event) -> None:
        server = await asyncio.start_server(tidy, "127.0.0.1", 0)
        port[0] = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        stopped.set()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others)
        await asyncio.sleep(0.01)

    with in_thread(serve):
        assert ready.wait(60)
        yield f"http://127.0.0.1:{port[0]}"


def says(response: bytes, *, only_for: bytes = b"") -> Handler:
    """Answers every request (those for `only_for`, others with 200) and closes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(response if only_for in head else OK)
        await writer.drain()

    return handler


def request(server: str, **changes: Any) -> SpeedRequest:
    given = SpeedRequest(server=server, mode="quick", test_id=f"t{time.time_ns()}")
    return replace(given, **changes)


def cause(given: SpeedRequest) -> str:
    with pytest.raises(ProbeFailed) as caught:
        measure(given)
    assert len(caught.value.detail) < 200
    return caught.value.cause


def test_the_probe_measures_the_loopback_within_its_byte_cap() -> None:
    """As in a first run on one machine: capped, quick, and every field a reading."""
    settings = msgspec.convert({"speed": {"mode": "quick"}}, AgentSettings)
    lines: list[str] = []
    with measure_server() as (server, _):
        context = Context(settings=settings, deadline_s=30, measure_url=server, explain=lines.append)
        (reading,) = asyncio.run(probe(context))
    reading = cast(SpeedReading, msgspec.json.decode(msgspec.json.encode(reading), type=SpeedReading))
    assert (reading.engine, reading.server, reading.mode) == ("librespeed", server, "quick")
    assert "capped" in reading.flags
    assert reading.download_mbps is not None
    assert reading.download_mbps > 50
    assert reading.upload_mbps is not None
    assert reading.upload_mbps > 50
    assert reading.idle_rtt_ms is not None
    assert reading.idle_rtt_ms < 100
    assert reading.bytes_total is not None
    assert reading.bytes_total > 300_000_000
    assert reading.purpose == "manual"
    assert any("download" in line or "down:" in line for line in lines)


def test_the_server_saw_the_same_bytes_under_the_tests_own_name() -> None:
    with measure_server(limits=Limits(test_idle_s=2.0)) as (server, records):
        given = request(server)
        found = measure(given)
    (record,) = records  # of a server that closes, too
    assert record.test == given.test_id
    assert found.bytes_total is not None
    seen = record.down.bytes + record.up.bytes
    assert seen == pytest.approx(found.bytes_total, rel=0.1)


def test_a_paced_line_reads_as_its_pace() -> None:
    """Each stream is fed 12,500 bytes every 50 ms, 2 Mbit/s. No queue fills, so twice as many streams are tried."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" if b"garbage" in head else OK)
        due = time.monotonic()
        while b"garbage" in head:
            writer.write(bytes(12_500))
            await writer.drain()
            due += 0.05
            await asyncio.sleep(max(0, due - time.monotonic()))
        while b"POST" in head:
            if not await reader.read(12_500):
                break
            await asyncio.sleep(0.05)

    with stand_in(handler) as server:
        found = measure(request(server))
    # A machine that is too busy to keep the pace says so.
    assert found.download_mbps == pytest.approx(24, rel=0.1) or "client_limited" in found.flags
    assert "not_saturated" in found.flags or "client_limited" in found.flags


def test_where_the_kernel_counts_nothing_the_servers_record_tells_the_upload() -> None:
    with measure_server() as (server, _):
        found = measure(request(server), read=lambda _sock: None)
    assert found.upload_mbps is not None
    assert found.upload_mbps > 50


def test_where_nobody_counts_an_upload_there_is_no_figure() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/record" in head:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        elif b"garbage" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 300000000\r\n\r\n")
            for _ in range(300):
                writer.write(bytes(1_000_000))
                await writer.drain()
        else:
            writer.write(OK)
            while b"POST" in head and await reader.read(1 << 20):
                pass
        await writer.drain()

    with stand_in(handler) as server, pytest.raises(ProbeFailed) as caught:
        measure(request(server), read=lambda _sock: None)
    assert caught.value.cause == "uncounted"


def test_a_server_that_is_not_there_is_unreachable(free_port: int) -> None:
    with pytest.raises(ProbeFailed) as caught:
        measure(request(f"http://127.0.0.1:{free_port}"))
    assert caught.value.cause == "unreachable"
    assert f"127.0.0.1:{free_port}" in caught.value.detail
    assert "Connection refused" in caught.value.detail


@pytest.mark.parametrize("server", ["", "speed.example", "ftp://host", "http://", "http://[::1", "http://host:99999"])
def test_what_is_no_address_is_said_so(server: str) -> None:
    assert cause(request(server)) == "bad_server"


def test_a_web_server_that_is_none_of_ours_is_said_so() -> None:
    with stand_in(says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")) as server:
        assert cause(request(server)) == "not_a_speed_server"


def test_what_does_not_speak_http_is_said_so() -> None:
    with stand_in(says(b"220 mail.example ESMTP\r\n")) as server:
        assert cause(request(server)) == "not_a_speed_server"


def test_a_busy_server_is_busy_with_its_reason() -> None:
    busy = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 4\r\n\r\nfull"
    with stand_in(says(busy, only_for=b"garbage")) as server, pytest.raises(ProbeFailed) as caught:
        measure(request(server, deadline_s=16))  # too short to ask again and measure
    assert caught.value.cause == "busy"
    assert "503: full" in caught.value.detail


@pytest.mark.slow
def test_a_full_server_is_asked_again_when_it_says_and_the_test_then_runs() -> None:
    lines: list[str] = []
    full = Limits(tests_at_once=1, retry_after_s=1, test_idle_s=2.0)
    with measure_server(limits=full) as (server, _), socket.socket() as other:
        other.connect(("127.0.0.1", int(server.rpartition(":")[2])))
        other.sendall(b"GET /garbage?ckSize=1024&test=another HTTP/1.1\r\nHost: x\r\n\r\n")
        other.recv(1)

        def leave_once_it_waits(line: str) -> None:
            lines.append(line)
            if "retried in" in line:
                with contextlib.suppress(OSError):
                    other.shutdown(socket.SHUT_RDWR)

        found = measure(request(server, explain=leave_once_it_waits))
    assert found.download_mbps is not None
    waits = [line for line in lines if "retried in 1 s" in line]
    assert waits
    assert "number 1 in the queue" in waits[0]


@pytest.mark.parametrize(
    ("head", "again_s"),
    [
        (b"HTTP/1.1 503 Full\r\nRetry-After: 7", 7), (b"HTTP/1.1 503 Full\r\nretry-after:0\r\nX: 1", 1),
        (b"HTTP/1.1 503 Full\r\nRetry-After: Wed, 21 Oct 2026 07:28:00 GMT", None), (b"HTTP/1.1 503 Full", None),
        (b"HTTP/1.1 503 Full\r\nRetry-After: 99999999", None), (b"HTTP/1.1 503 Full\r\nRetry-After: -1", None),
    ],
)  # fmt: skip
def test_when_to_ask_again_is_read_as_written(head: bytes, again_s: int | None) -> None:
    assert retry_after_s(head) == again_s


def test_whoever_stops_a_test_does_not_wait_for_a_place() -> None:
    busy = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 20\r\nContent-Length: 4\r\n\r\nfull"
    given = threading.Event()
    stops = threading.Timer(2.0, given.set)
    stops.start()
    began = time.monotonic()
    with stand_in(says(busy, only_for=b"garbage")) as server:
        assert cause(request(server, stop=given)) == "stopped"
    stops.join()
    assert time.monotonic() - began < 15


def test_a_test_by_hand_is_told_how_to_get_a_turn() -> None:
    def answer(request_bytes: bytes) -> bytes:
        return b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%b" % (len(request_bytes), request_bytes)

    no_token = b"no_token: this server tests only with a token; ask the collector for a turn"
    with stand_in(says(answer(no_token), only_for=b"garbage")) as server, pytest.raises(ProbeFailed) as caught:
        measure(request(server))
    assert caught.value.cause == "no_turn"
    assert "nabz-collector center test CODE" in caught.value.detail


def test_a_refusal_keeps_the_servers_reason() -> None:
    key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    refusing = measure_server(admit=ByToken(key, "here", UsedTokens(None, 0)))
    with refusing as (server, _), pytest.raises(ProbeFailed) as caught:
        measure(request(server, token="forged"))
    assert caught.value.cause == "refused"
    assert "bad_signature" in caught.value.detail


def test_a_mode_that_is_none_is_refused() -> None:
    assert cause(request("http://127.0.0.1:1", mode="slow")) == "bad_mode"


def test_the_deadline_holds_against_a_server_that_never_answers() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        started = time.monotonic()
        assert cause(request(f"http://127.0.0.1:{deaf.getsockname()[1]}", deadline_s=1.0)) == "timeout"
        assert time.monotonic() - started < 30


def test_a_deadline_too_near_for_a_measurement_is_said_before_bytes_are_spent() -> None:
    with measure_server() as (server, _):
        assert cause(request(server, deadline_s=5.0)) == "timeout"


def test_a_test_that_is_stopped_ends_at_once() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"empty" in head:
            writer.write(OK)
        await reader.read()

    with stand_in(silent) as server:
        given = request(server)
        threading.Timer(2.0, given.stop.set).start()
        started = time.monotonic()
        assert cause(given) == "stopped"
        assert time.monotonic() - started < 30  # its deadline is a minute


def test_the_pages_are_found_where_librespeeds_php_backend_has_them() -> None:
    async def php(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        status = b"200 OK" if head.startswith(b"GET /speed/backend/empty.php?") else b"404 Not Found"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

    with stand_in(php) as server:
        found = asyncio.run(find(parse(server + "/speed/", {})))
    assert (found.folder, found.suffix, found.address) == ("/speed/backend", ".php", "127.0.0.1")


def test_a_request_carries_the_tests_name_and_token_and_nothing_empty() -> None:
    head = parse("http://host:8474", {"test": "a1", "token": ""}).head("GET", "garbage", {"ckSize": "4"})
    assert head.startswith(b"GET /garbage?ckSize=4&test=a1&r=")
    assert b"token" not in head


@pytest.mark.parametrize(
    ("line", "status"), [(b"HTTP/1.1 200 OK", 200), (b"HTTP/1.0 503", 503), (b"", 0), (b"HTTP/1.1 abc x", 0)]
)
def test_a_status_is_read_from_a_responses_first_line(line: bytes, status: int) -> None:
    assert status_of(line) == status


def test_a_rate_far_over_the_plan_is_implausible() -> None:
    with measure_server() as (server, _):
        assert "implausible" in measure(request(server, plan_mbps=10.0)).flags


def test_the_probe_names_what_is_missing() -> None:
    with pytest.raises(ProbeFailed) as caught:
        asyncio.run(probe(Context(settings=AgentSettings(), deadline_s=5)))
    assert caught.value.cause == "no_server"


def test_every_engine_is_one_the_settings_know() -> None:
    for name in ENGINES:
        assert msgspec.convert({"speed": {"engine": name}}, AgentSettings).speed.engine == name
    assert librespeed.NAME in ENGINES


def test_the_engine_of_record_goes_over_https_both_ways_and_says_so(tmp_path: Path) -> None:
    files = TestAuthority(tmp_path).server("127.0.0.1")
    with measure_server(tls=server_context(files.cert, files.key), limits=Limits(test_idle_s=2.0)) as (server, records):
        found = measure(request(server, ca_file=str(files.ca)))
        assert cause(request(server)) == "certificate"  # the system does not know this authority
        assert cause(request(server.replace("https", "http"))) in ("unreachable", "not_a_speed_server")
    assert (found.tls, found.server) == (True, server)
    assert (found.download_mbps or 0) > 50
    assert (found.upload_mbps or 0) > 50
    assert records[0].up.bytes > 10_000_000


def test_a_file_of_authorities_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "none.pem"):
        with pytest.raises(ProbeFailed) as caught:
            measure(request("https://127.0.0.1:1", ca_file=str(tmp_path / name)))
        assert caught.value.cause == "bad_ca_file"
        assert "speed.ca_file" in caught.value.detail


# ---------------------------------------------------------------- what answers is not the server, or not for long

AWAY = b"HTTP/1.1 302 Found\r\nLocation: http://login.portal.example/?u=1\r\nContent-Length: 0\r\n\r\n"
LOG_IN = b"HTTP/1.1 511 Network Authentication Required\r\nContent-Type: text/html\r\n\r\n<html>log in</html>"
RAW = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n"


@pytest.mark.parametrize("answer", [AWAY, LOG_IN])
@pytest.mark.parametrize("only_for", [b"", b"garbage"])
def test_a_portal_is_named(answer: bytes, only_for: bytes) -> None:
    with stand_in(says(answer, only_for=only_for)) as server:
        assert cause(request(server)) == "portal"


def test_a_redirect_within_the_server_is_no_portal() -> None:
    with stand_in(says(OK)) as server:
        target = parse(server, {})
    head = f"HTTP/1.1 301 Moved\r\nLocation: https://{target.host}/empty\r\n".encode()
    assert not leads_away(target, head)
    assert leads_away(target, head.replace(target.host.encode(), b"10.0.0.1"))
    assert not leads_away(target, head.replace(b"301 Moved", b"200 OK"))


def test_a_name_that_does_not_exist_is_told_apart_from_a_server_that_is_away() -> None:
    assert cause(request("http://no-such-host.invalid:8474")) == "dns"


def test_what_answers_without_tls_where_tls_is_meant_is_no_server_of_ours() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with stand_in(handler) as server:
        assert cause(request(server.replace("http:", "https:"))) == "not_a_speed_server"


@pytest.mark.parametrize(("body_bytes", "named"), [(0, "not_a_speed_server"), (200_000, "interrupted")])
def test_a_server_that_cuts_every_download_short_gives_no_figure(body_bytes: int, named: str) -> None:
    """What came before each cut divided by the time with its connections says nothing of the line."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(RAW + bytes(body_bytes) if b"garbage" in head and body_bytes else OK)
        await writer.drain()
        while b"POST" in head and await reader.read(1 << 20):
            pass

    with stand_in(handler) as server:
        assert cause(request(server)) == named


def test_a_server_that_ends_every_upload_young_gives_no_figure() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"garbage" in head:
            writer.write(RAW)
            while True:
                writer.write(bytes(1 << 20))
                await writer.drain()
        writer.write(OK)
        if b"POST" in head:
            left = 2 << 20
            while left > 0 and (block := await reader.read(left)):
                left -= len(block)
            writer.write_eof()  # an end in good order, not a reset
            while await reader.read(1 << 20):
                pass
        await writer.drain()

    with stand_in(handler) as server:
        assert cause(request(server)) == "interrupted"
