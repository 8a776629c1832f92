"""The uplink over TLS 1.3 and WebSocket: which way is taken, and what whoever stands in between gets to see."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agent import wire
from agent.identity import BrokerEndpoint as Way
from agent.identity import Identity, TlsFiles
from agent.spool.queue import Spool
from agent.uplink.endpoints import TRIES, Endpoints
from agent.uplink.session import Uplink
from agent.uplink.window import backoff_s, failures_after
from collector.brokers.embedded import EmbeddedBroker
from collector.brokers.listeners import Listener
from tests.helpers.authority import TestAuthority
from tests.helpers.waiting import until

T0 = 1_790_000_000_000


def stamp() -> wire.Stamp:
    return wire.Stamp(wall_ms=time.time_ns() // 1_000_000, mono_ms=1, boot="1a2b3c4d", clock="synced")


def reading(cpu: float) -> bytes:
    return wire.encode_reading(wire.GatewayReading(at=stamp(), cpu_pct=cpu))


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool.db", stamp=stamp)
    yield opened
    opened.close()


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path / "authority")


@pytest.fixture
def broker(authority: TestAuthority) -> Iterator[EmbeddedBroker]:
    """Doors: the collector's without TLS, TLS, WebSocket over TLS."""
    files = authority.server()
    made = EmbeddedBroker(
        "127.0.0.1", 0, [Listener("127.0.0.1", 0, "tcp", files), Listener("127.0.0.1", 0, "websockets", files)]
    )
    made.start()
    yield made
    made.stop()


@pytest.fixture
def house(broker: EmbeddedBroker, authority: TestAuthority, tmp_path: Path, collector_at) -> tuple[Identity, object]:
    """A gateway with a certificate, and its little collector."""
    mine, collector = collector_at(broker.port, tmp_path / "state")
    files = authority.client(mine.device)
    return replace(mine, tls=TlsFiles(ca=files.ca, cert=files.cert, key=files.key)), collector


def tls(broker: EmbeddedBroker) -> Way:
    return Way("127.0.0.1", broker.ports[1], tls=True)


def websocket(broker: EmbeddedBroker) -> Way:
    return Way("127.0.0.1", broker.ports[2], tls=True, transport="websockets")


@asynccontextmanager
async def running(mine: Identity, spool: Spool, **more: object) -> AsyncIterator[Uplink]:
    options = {"stamp": stamp, "on_task": lambda _task: None, "chance": lambda: 0.0, **more}
    link = Uplink(mine, spool, **options)  # type: ignore[arg-type]
    task = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.wait([task])


def delivered(mine: Identity, spool: Spool, then: Callable[[], bool] = lambda: True, **more: object) -> None:
    """One reading is taken and receipted."""
    spool.append([reading(1)], "high", T0)

    async def story() -> None:
        async with running(mine, spool, **more):
            await until(lambda: spool.stats().readings == 0 and then())

    asyncio.run(story())


# ---------------------------------------------------------------- ways


@pytest.mark.parametrize("way", [tls, websocket])
def test_readings_arrive_over_tls_and_over_websocket(way, house, broker: EmbeddedBroker, spool: Spool) -> None:
    mine, collector = house
    delivered(replace(mine, brokers=[way(broker)]), spool)
    assert len(collector.held) == 1


def test_large_batches_pass_the_websocket_whole(house, broker: EmbeddedBroker, spool: Spool) -> None:
    mine, collector = house
    for minute in range(1000):
        spool.append([reading(minute)], "low", T0 + minute * 60_000)
    delivered(replace(mine, brokers=[websocket(broker)]), spool)
    assert sorted(number for _spool, number in collector.held) == list(range(1, 1002))


@pytest.mark.row(21)
def test_a_port_that_refuses_three_times_is_left_for_the_websocket_which_is_remembered(
    house, broker: EmbeddedBroker, spool: Spool, tmp_path: Path, free_port: int
) -> None:
    mine, _collector = house
    mine = replace(mine, brokers=[Way("127.0.0.1", free_port, tls=True), websocket(broker)])
    delivered(mine, spool, lambda: (tmp_path / "way").exists(), endpoint_file=tmp_path / "way")
    assert Endpoints(mine.brokers, tmp_path / "way").current == websocket(broker)


def test_a_machine_that_refuses_is_left_at_once_for_another(
    house, broker: EmbeddedBroker, spool: Spool, free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    mine, _collector = house
    delivered(replace(mine, brokers=[Way("127.0.0.2", free_port, tls=True), tls(broker)]), spool)
    assert caplog.text.count("cause=unreachable") == 1, caplog.text


@pytest.mark.row(21)
def test_a_port_that_never_answers_is_left_after_one_try(
    house, broker: EmbeddedBroker, spool: Spool, tmp_path: Path
) -> None:
    mine, _collector = house
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mine = replace(mine, brokers=[Way("127.0.0.1", mute.getsockname()[1], tls=True), websocket(broker)])
        delivered(mine, spool, connect_s=2.0)


def test_a_stop_does_not_wait_for_a_handshake_that_hangs(house, spool: Spool) -> None:
    mine, _collector = house

    async def story() -> None:
        async with running(replace(mine, brokers=[way]), spool) as link:
            await until(lambda: link.view.state == "connecting")

    with socket.create_server(("127.0.0.1", 0)) as mute:
        way = Way("127.0.0.1", mute.getsockname()[1], tls=True)
        began_s = time.monotonic()
        asyncio.run(story())
        assert time.monotonic() - began_s < 30  # the handshake would have 150 s


def test_a_gateway_without_a_certificate_says_so(house, broker: EmbeddedBroker, spool: Spool) -> None:
    mine, _collector = house

    async def story() -> None:
        async with running(replace(mine, brokers=[tls(broker)], tls=None), spool) as link:
            await until(lambda: "has no certificate; enrol again" in link.view.detail)
            assert link.view.cause == "identity"

    asyncio.run(story())


def test_ways_are_left_after_three_failures_or_one_silence_and_come_round(tmp_path: Path) -> None:
    first, second = Way("a", 8883, tls=True), Way("b", 443, tls=True, transport="websockets")
    ways = Endpoints([first, second], tmp_path / "way")
    for _ in range(TRIES - 1):
        ways.failed()
    assert ways.current == first
    ways.worked()
    ways.failed()
    assert ways.current == first  # the count begins anew after a success
    ways.failed("silent")
    assert ways.current == second
    ways.failed("silent")
    assert ways.current == first


def test_a_way_that_is_no_longer_told_or_a_broken_file_begins_with_the_first(tmp_path: Path) -> None:
    first, second = Way("a", 1), Way("b", 2)
    Endpoints([second, first], tmp_path / "way").worked()
    assert Endpoints([first, second], tmp_path / "way").current == second
    assert Endpoints([first], tmp_path / "way").current == first
    (tmp_path / "way").write_bytes(b"\xff{")
    assert Endpoints([first, second], tmp_path / "way").current == first


# ---------------------------------------------------------------- who stands in between


class Interceptor:
    """A server that keeps every byte it can read: as they came, and what it could decrypt."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.raw, self.plain, self.visits, self.handshakes = b"", b"", 0, 0
        self._context = context
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                visitor, _ = self._server.accept()
            except OSError:
                return
            self.visits += 1
            visitor.settimeout(2)
            with contextlib.suppress(OSError), visitor:
                self._read(visitor)

    def _read(self, visitor: socket.socket) -> None:
        """By hand over memory, so that what came is kept even when it means nothing."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        inside = self._context.wrap_bio(incoming, outgoing, server_side=True) if self._context else None
        made = False
        while data := visitor.recv(65536):
            self.raw += data
            if inside is None:
                visitor.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\n\r\n")
                continue
            incoming.write(data)
            with contextlib.suppress(ssl.SSLWantReadError):
                if not made:
                    inside.do_handshake()
                    made, self.handshakes = True, self.handshakes + 1
                self.plain += inside.read(65536)
            visitor.sendall(outgoing.read())

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


def impostor(files, *, tls12: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    if tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def contexts(authority: TestAuthority, tmp_path: Path) -> dict[str, ssl.SSLContext | None]:
    other = TestAuthority(tmp_path / "other", "a proxy's authority")
    return {
        "another authority's certificate": impostor(other.server()),
        "our authority's for another host": impostor(authority.server("broker.example.pk")),
        "our authority's for a gateway": impostor(authority.client("g" + "0" * 16)),
        "TLS 1.2": impostor(authority.server(), tls12=True),
        "a portal without TLS": None,
    }


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
@pytest.mark.row(21)
def test_whoever_stands_in_between_gets_no_byte_of_ours(
    transport, house, authority: TestAuthority, spool: Spool, tmp_path: Path
) -> None:
    mine, _collector = house
    spool.append([reading(42.42)], "high", T0)
    for name, context in contexts(authority, tmp_path).items():
        between = Interceptor(context)
        way = Way("127.0.0.1", between.port, tls=True, transport=transport)

        cause = "stranger" if "authority" in name else "unreachable"

        async def story(way: Way = way, between: Interceptor = between, cause: str = cause) -> None:
            async with running(replace(mine, brokers=[way]), spool) as link:
                await until(lambda: between.visits >= 2 and link.view.state == "off")
                assert link.view.cause == cause

        asyncio.run(story())
        between.close()
        print(
            f"{name} ({transport}): {between.visits} visits, {len(between.raw)} bytes seen, {len(between.plain)} read"
        )
        assert between.plain == b"", name
        for secret in (b"MQTT", mine.device.encode(), b"nabz/v1", b"42.42", b"GET "):
            assert secret not in between.raw, name
    assert spool.stats().readings == 1


@pytest.mark.control("the interceptor's certificate is believed", row=21)
def test_the_interceptor_does_read_what_a_trusting_gateway_sends(house, authority: TestAuthority, spool: Spool) -> None:
    """The control: the same server, with a certificate that is believed, reads the greeting."""
    mine, _collector = house
    between = Interceptor(impostor(authority.server()))

    async def story() -> None:
        way = Way("127.0.0.1", between.port, tls=True)
        async with running(replace(mine, brokers=[way]), spool):
            await until(lambda: b"MQTT" in between.plain)

    asyncio.run(story())
    between.close()
    assert mine.device.encode() in between.plain


# ---------------------------------------------------------------- the backoff


def connects_an_hour(lasted_s: float | None, seed: int, hours: int = 48) -> float:
    """In the steady state, of a gateway whose every session ends after so long."""
    chance, failures, now_s, connects = random.Random(seed), 0, 0.0, 0
    while now_s < hours * 3600:
        now_s += lasted_s or 0.0
        failures = failures_after(failures, lasted_s)
        now_s += backoff_s(failures, chance.random())
        connects += now_s > 3600
    return connects / (hours - 1)


def test_who_is_put_out_right_after_connecting_comes_back_less_than_once_a_minute() -> None:
    rates = sorted(connects_an_hour(0.5, seed) for seed in range(200))
    print(f"connects an hour, n={len(rates)}: median {rates[100]:.1f}, worst {rates[-1]:.1f}")
    assert rates[-1] <= 60


def test_a_backoff_that_forgets_at_every_connect_is_seen() -> None:
    """The control: what peers do, and what would be 60 times a minute here."""
    assert backoff_s(failures_after(9, 61.0), 0.5) == 1.0
    assert failures_after(9, 59.0) == 10
