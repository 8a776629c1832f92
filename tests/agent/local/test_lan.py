"""The ear on the LAN: real sockets, honest seats and hostile PCs."""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.local import http, lan
from agent.probes.seats.registry import MAX_SEATS, Registry
from agent.seat import snapshot as contract
from agent.seat.snapshot import Snapshot

KEY = bytes(range(32))


def snapshot(number: int = 1, *, at_ms: int | None = None, nonce: str | None = None) -> Snapshot:
    return Snapshot(
        id=f"s{number:016x}",
        name=f"SEAT-{number:02}",
        at_ms=lan.wall_ms() if at_ms is None else at_ms,
        nonce=nonce or secrets.token_hex(16),
    )


def post(report: Snapshot, key: bytes = KEY) -> bytes:
    body = contract.seal(contract.encode(report), key, contract.SNAPSHOT)
    return b"POST /seat HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def send(port: int, payload: bytes, *, end: bool = True) -> tuple[int, bytes]:
    """(status, body) of the answer; (0, b"") when the door was shut without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(payload)
        if end and writer.can_write_eof():
            writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 60)
    except ConnectionError:
        return 0, b""
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]) if head else 0, body


def with_ear(story: Callable[[int, Registry], Awaitable[None]]) -> None:
    async def run() -> None:
        roll = Registry(None)
        server = await lan.listen(roll, "127.0.0.1:0", KEY)
        async with server:
            await story(server.sockets[0].getsockname()[1], roll)

    asyncio.run(run())


def answer_of(body: bytes) -> contract.GatewayReply:
    return contract.decode_answer(contract.unseal(body, KEY, contract.ANSWER))


def test_a_seat_is_heard_and_answered_under_the_key() -> None:
    async def story(port: int, roll: Registry) -> None:
        report = snapshot()
        status, body = await send(port, post(report))
        assert (status, answer_of(body).ok, answer_of(body).nonce) == (200, True, report.nonce)
        assert roll.seats[report.id].last == report

    with_ear(story)


def test_the_same_words_are_not_heard_twice() -> None:
    async def story(port: int, roll: Registry) -> None:
        words = post(snapshot())
        assert (await send(port, words))[0] == 200
        heard_ms = roll.seats[snapshot().id].heard_ms
        status, body = await send(port, words)
        assert (status, answer_of(body).error.split(":")[0]) == (403, "replay")
        assert roll.seats[snapshot().id].heard_ms == heard_ms

    with_ear(story)


@pytest.mark.parametrize("shift_ms", [-lan.WINDOW_MS - 1000, lan.WINDOW_MS + 1000])
def test_old_and_future_words_are_refused_with_the_gateways_time(shift_ms: int) -> None:
    async def story(port: int, roll: Registry) -> None:
        status, body = await send(port, post(snapshot(at_ms=lan.wall_ms() + shift_ms)))
        assert (status, answer_of(body).error.split(":")[0]) == (403, "clock")
        assert abs(answer_of(body).now_ms - lan.wall_ms()) < 5000
        assert roll.seats == {}

    with_ear(story)


def test_another_centers_key_says_nothing_here() -> None:
    async def story(port: int, roll: Registry) -> None:
        status, body = await send(port, post(snapshot(), key=b"k" * 32))
        assert (status, roll.seats) == (401, {})
        assert b"seat key" in body

    with_ear(story)


def test_a_well_signed_lie_about_the_shape_is_refused() -> None:
    async def story(port: int, roll: Registry) -> None:
        body = contract.seal(b'{"v":1}', KEY, contract.SNAPSHOT)
        request = b"POST /seat HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        assert (await send(port, request))[0] == 400
        assert roll.seats == {}

    with_ear(story)


def test_a_full_roll_takes_no_new_seat() -> None:
    async def story(port: int, roll: Registry) -> None:
        for number in range(MAX_SEATS):
            roll.take(snapshot(number), 0)
        status, body = await send(port, post(snapshot(MAX_SEATS)))
        assert (status, answer_of(body).ok) == (403, False)

    with_ear(story)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"", 400),
        (b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: g\r\n\r\n", 404),
        (b"GET /seat HTTP/1.1\r\nHost: g\r\n\r\n", 405),
        (b"POST /seat HTTP/2\r\n\r\n", 400),
        (b"POST http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST /seat HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST /seat HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        (b"POST /seat HTTP/1.1\nHost: g\n\n", 400),
        (b"POST /seat HTTP/1.1\r\nHost: g\nContent-Length: 1\r\n\r\nx", 400),
        (b"POST /seat HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\nx", 400),
        (b"POST /seat HTTP/1.1\r\nHost: g\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
        (b"POST /seat HTTP/1.1\r\nHost: g\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /seat HTTP/1.1\r\nHost: g\r\nContent-Length: \xb2\r\n\r\n", 400),
        (b"POST /seat HTTP/1.1\r\nHost: g\r\nContent-Length: 99999\r\n\r\n", 413),
        (b"POST /seat HTTP/1.1\r\nHost: g\r\nContent-Length: 9999999999999999\r\n\r\n", 413),
        (b"POST /seat HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST /seat HTTP/1.1\r\nHost: g\r\nContent-Length: 50\r\n\r\nshort", 400),
        (b"POST /seat HTTP/1.1\r\nHost: g\r\n\r\n", 401),
        (b"POST /seat HTTP/1.1\r\nHost: g\r\nX: " + b"y" * 9000 + b"\r\n\r\n", 431),
        (random.Random(8471).randbytes(4000), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # a TLS hello
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_snapshot_is_answered_shortly(request_bytes: bytes, status: int) -> None:
    async def story(port: int, roll: Registry) -> None:
        heard, body = await send(port, request_bytes)
        assert heard in (status, 0)  # 0: the answer crossed with what we were still sending
        assert len(body) < 300
        assert roll.seats == {}

    with_ear(story)


def test_who_says_nothing_is_let_go() -> None:
    async def story() -> None:
        limits = replace(lan.LIMITS, request_s=0.1)

        async def never(_request: http.HttpRequest) -> http.HttpAnswer:
            raise AssertionError("nothing was asked")

        server = await http.serve("127.0.0.1:0", never, limits)
        async with server:
            port = server.sockets[0].getsockname()[1]
            assert (await send(port, b"POST /seat HT", end=False))[0] == 408

    asyncio.run(story())


@pytest.mark.row(55)
def test_many_half_open_connections_do_not_keep_an_honest_seat_out() -> None:
    async def story(port: int, roll: Registry) -> None:
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3 * lan.LIMITS.connections_per_address)]
        assert (await send(port, post(snapshot())))[0] == 200
        for reader, _writer in slow[: 2 * lan.LIMITS.connections_per_address]:
            assert await reader.read() == b""
        for _reader, writer in slow:
            writer.close()

    with_ear(story)


def test_an_address_that_asks_too_often_is_refused() -> None:
    async def story() -> None:
        async def served(_request: http.HttpRequest) -> http.HttpAnswer:
            return http.HttpAnswer(status=200, body=b"{}")

        limits = replace(lan.LIMITS, burst=2.0, requests_per_s=0.01)
        async with await http.serve("127.0.0.1:0", served, limits) as server:
            port = server.sockets[0].getsockname()[1]
            statuses = [(await send(port, b"GET / HTTP/1.1\r\nHost: g\r\n\r\n"))[0] for _ in range(4)]
            assert statuses[:2] == [200, 200]
            assert set(statuses[2:]) <= {429, 0}  # 0: the answer crossed with what we were still sending

    asyncio.run(story())


def test_stopping_with_a_connection_open_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as lingering:

        async def story(port: int, roll: Registry) -> None:
            lingering.connect(("127.0.0.1", port))
            await asyncio.sleep(0.05)

        with_ear(story)
    assert caplog.text == ""


def test_nonces_are_remembered_for_the_window_and_bounded() -> None:
    nonces = lan.Nonces(limit=3)
    assert nonces.is_fresh("a", 0)
    assert not nonces.is_fresh("a", 2 * lan.WINDOW_MS)
    assert nonces.is_fresh("b", 2 * lan.WINDOW_MS)
    assert nonces.is_fresh("c", 2 * lan.WINDOW_MS)
    # No room: nothing is forgotten early.
    assert not nonces.is_fresh("d", 2 * lan.WINDOW_MS)
    assert nonces.is_fresh("d", 2 * lan.WINDOW_MS + 1)


def test_a_fault_of_ours_is_an_answer_and_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_request: http.HttpRequest) -> http.HttpAnswer:
        raise RuntimeError("planted")

    async def story() -> None:
        async with await http.serve("127.0.0.1:0", broken, http.HttpLimits()) as server:
            assert (await send(server.sockets[0].getsockname()[1], b"GET / HTTP/1.1\r\nHost: g\r\n\r\n"))[0] == 500

    asyncio.run(story())
    assert "planted" in caplog.text


@pytest.mark.parametrize("address", ["", "8471", "host:", ":8471", "127.0.0.1:x", "127.0.0.1:70000"])
def test_a_wrong_listen_address_is_named(address: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        asyncio.run(lan.listen(Registry(tmp_path), address, KEY))
