"""The UDP echo: for whoever holds a fresh cookie of their own address, never more than came, and so often."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agent.common.tcp.http_server import RateLimiter
from agent.probes.link.echo_cookie import Cookie, ask_cookie
from agent.probes.link.ping import udp_ping
from collector.speedtests.measure.limits import Limits
from collector.speedtests.measure.protocols.echo import LEAST_BYTES, MOST_BYTES, VALID_S, Echo
from tests.helpers.measure_server import measure_server


def fresh(server: str) -> Cookie:
    found = asyncio.run(ask_cookie(server))
    assert found.answerer == "far_end"
    assert found.cookie is not None
    assert found.cookie.valid_s == VALID_S
    return found.cookie


@contextmanager
def asking(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.4)
        sock.connect(("127.0.0.1", port))
        yield sock


def answer(sock: socket.socket, data: bytes) -> bytes | None:
    sock.send(data)
    try:
        return sock.recv(4096)
    except TimeoutError:
        return None


def test_with_its_cookie_a_datagram_comes_back_as_it_went() -> None:
    with measure_server() as (server, _):
        cookie = fresh(server)
        with asking(cookie.port) as sock:
            for size in (LEAST_BYTES, 100, MOST_BYTES):
                sent = cookie.value + bytes(size - 16)
                assert answer(sock, sent) == sent


@pytest.mark.parametrize("size", [0, 1, 16, LEAST_BYTES - 1, MOST_BYTES + 1, 1400])
def test_a_datagram_too_small_or_too_large_is_met_with_silence(size: int) -> None:
    with measure_server() as (server, _):
        cookie = fresh(server)
        with asking(cookie.port) as sock:
            assert answer(sock, (cookie.value + bytes(1400))[:size]) is None


def test_without_a_cookie_or_with_another_addresss_there_is_silence() -> None:
    with measure_server() as (server, _):
        cookie = fresh(server)
        with asking(cookie.port) as sock:
            assert answer(sock, bytes(40)) is None
            wrong = bytes((cookie.value[0] ^ 1,)) + cookie.value[1:]
            assert answer(sock, wrong + bytes(24)) is None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:  # who forges 127.0.0.1's cookie from elsewhere
            other.settimeout(0.4)
            other.bind(("127.0.0.2", 0))
            other.connect(("127.0.0.1", cookie.port))
            assert answer(other, cookie.value + bytes(24)) is None


def test_a_cookie_ages() -> None:
    now = [1000.0]
    echo = Echo(Limits(), lambda: now[0])
    cookie = echo.cookie("192.0.2.1")
    data = cookie + bytes(8)
    assert echo._is_known(data, "::ffff:192.0.2.1")  # the same address at a socket of both families
    for later_s, known in ((0.0, True), (VALID_S, True), (3 * VALID_S, False)):
        now[0] = 1000.0 + later_s
        assert echo._is_known(data, "192.0.2.1") is known
    assert Echo(Limits(), lambda: now[0]).cookie("192.0.2.1") != echo.cookie("192.0.2.1")


def answers(sock: socket.socket) -> int:
    """How many come, until none has for a second."""
    came = 0
    sock.settimeout(1.0)
    with contextlib.suppress(TimeoutError):
        while sock.recv(4096):
            came += 1
    return came


def test_an_address_gets_so_many_a_second_and_forged_ones_do_not_use_them_up() -> None:
    with measure_server(limits=Limits(echoes_per_address_s=20)) as (server, _):
        cookie = fresh(server)
        with asking(cookie.port) as sock:
            for _ in range(100):
                sock.send(bytes(40))
            sent = cookie.value + bytes(8)
            assert answer(sock, sent) == sent
            began_s = time.monotonic()
            for _ in range(200):
                sock.send(sent)
            came, took_s = answers(sock), time.monotonic() - began_s
            assert 10 <= came <= 20 * (1 + took_s)


def test_the_pace_forgets_who_is_longest_silent_and_no_more() -> None:
    pace = RateLimiter(2.0, addresses=100)
    assert [pace.admits("a", 0.0) for _ in range(3)] == [True, True, False]
    assert pace.admits("a", 0.5)
    for number in range(105):
        assert pace.admits(f"b{number}", 1.0)
    assert len(pace.buckets) == 100


def test_round_trips_over_it_are_measured() -> None:
    with measure_server() as (server, _):
        cookie = fresh(server)
        heard = asyncio.run(udp_ping("127.0.0.1", cookie.port, cookie.value, 10, 0.02, 1.0))
        lost = asyncio.run(udp_ping("127.0.0.1", cookie.port, bytes(16), 3, 0.02, 0.3))
    assert (heard.method, heard.target) == ("udp", "127.0.0.1")
    assert all(rtt is not None and 0 < rtt < 100 for rtt in heard.rtts_ms)
    assert lost.rtts_ms == (None, None, None)


def test_a_server_without_the_port_measures_without_an_echo(free_port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", free_port))
        with measure_server(port=free_port) as (server, _):
            assert asyncio.run(ask_cookie(server)).answerer == "unknown"
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"{server}/echo", timeout=60)
            with caught.value as refused:
                assert refused.code == 404
            with urllib.request.urlopen(f"{server}/hello", timeout=60) as hello:
                assert json.load(hello)["server"] == "nabz"


def test_no_cookie_is_no_error(free_port: int) -> None:
    assert asyncio.run(ask_cookie(f"http://127.0.0.1:{free_port}")).answerer == "refused"
    assert asyncio.run(ask_cookie("ftp://x")).answerer == "silent"
