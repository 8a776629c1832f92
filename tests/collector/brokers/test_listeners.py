"""The embedded broker's doors: what it notes of those who may not, and how it puts out those who may no more."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import client as mqtt

from agent import wire
from agent.common.mqtt import Client as MqttClient
from agent.common.tcp import ConnectionLimits
from agent.common.tcp.connections import Occupancy
from collector.access import acl
from collector.access.acl import Book, may, refusal
from collector.access.ca import Files
from collector.brokers.embedded import BrokerError, EmbeddedBroker
from collector.brokers.endpoints import Address
from collector.brokers.listeners import (
    BURST_BYTES,
    LIMITS,
    MAX_UNACKNOWLEDGED,
    RATE_BYTES_S,
    Budget,
    LimitedReader,
    Listener,
)
from collector.common.config import ConfigError, load
from collector.ingest.mqtt.subscriber import Subscriber
from tests.helpers.authority import TestAuthority
from tests.helpers.waiting import wait_until

A, B = "g" + "a" * 16, "g" + "b" * 16
SERVICES = ("nabz-collector",)


# ---------------------------------------------------------------- the rules


@pytest.mark.parametrize("kind", ["up", "ask", "presence"])
def test_a_gateway_says_its_own_topics_and_a_service_hears_them(kind: str) -> None:
    topic = f"{wire.ROOT}/{kind}/{A}"
    assert may(A, SERVICES, "publish", topic)
    assert not may(B, SERVICES, "publish", topic)
    assert not may(A, SERVICES, "subscribe", topic)
    assert not may(SERVICES[0], SERVICES, "publish", topic)
    assert may(SERVICES[0], SERVICES, "subscribe", f"{wire.ROOT}/{kind}/+")


@pytest.mark.parametrize("kind", ["receipt", "task"])
def test_a_gateway_hears_its_own_topics_and_a_service_says_them(kind: str) -> None:
    topic = f"{wire.ROOT}/{kind}/{A}"
    assert may(A, SERVICES, "subscribe", topic)
    assert not may(B, SERVICES, "subscribe", topic)
    assert not may(A, SERVICES, "publish", topic)
    assert may(SERVICES[0], SERVICES, "publish", topic)
    assert not may(SERVICES[0], SERVICES, "subscribe", f"{wire.ROOT}/{kind}/+")


levels = st.sampled_from(["nabz", "v1", "v2", "up", "ask", "receipt", "task", "presence", A, B, "+", "#", "", "$SYS"])


@given(st.lists(levels, max_size=6), st.sampled_from(["publish", "subscribe"]))
def test_whatever_the_topic_a_gateway_has_five_of_its_own(words: list[str], action: acl.Action) -> None:
    topic = "/".join(words)
    kinds = acl.GATEWAY_PUBLISHES if action == "publish" else acl.GATEWAY_SUBSCRIBES
    assert may(A, SERVICES, action, topic) == (topic in {f"{wire.ROOT}/{kind}/{A}" for kind in kinds})


@pytest.mark.parametrize(
    ("name", "client_id", "will", "fits"),
    [
        (A, A, None, True),
        (A, A, wire.presence_topic(A), True),
        (A, A, wire.presence_topic(B), False),
        (A, B, None, False),
        (A, "", None, False),
        ("Mallory", "Mallory", None, False),
        ("", "", None, False),
        (SERVICES[0], SERVICES[0], None, True),
        (SERVICES[0], SERVICES[0] + ".2", None, True),
        (SERVICES[0], A, None, False),
    ],
)
def test_a_session_has_the_name_of_its_certificate(name: str, client_id: str, will: str | None, fits: bool) -> None:
    assert (refusal(name, SERVICES, client_id, will) == "") == fits


@pytest.mark.row(26)
def test_sessions_that_take_turns_are_a_clone_and_a_line_that_broke_is_not() -> None:
    clock = [0.0]
    book = Book(lambda: clock[0])
    for _ in range(3):  # the line broke thrice in a day
        clock[0] += 8 * 3600
        book.take_over(A, "192.0.2.1", "192.0.2.1")
    assert book.findings() == []
    for turn in range(acl.FLAPS):
        clock[0] += 30
        book.take_over(B, f"192.0.2.{turn % 2}", f"192.0.2.{(turn + 1) % 2}")
    (found,) = book.findings()
    assert (found.device, found.finding) == (B, "clone")
    assert found.detail.params["addresses"] == "192.0.2.0, 192.0.2.1"
    assert book.findings() == []


def test_the_first_refused_word_is_logged_and_all_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    book = Book(lambda: 0.0)
    for _ in range(1000):
        book.refuse(A, "publish", wire.batch_topic(B))
    assert (book.refused[A], book.counts["refused_publish"], len(caplog.records)) == (1000, 1000, 1)
    assert [found.finding for found in book.findings()] == ["forbidden_topic"]


def test_a_refused_filter_is_counted_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    book = Book(lambda: 0.0)
    for number in range(1000):
        book.refuse(A, "subscribe", f"$SYS/{number}")
    assert (book.counts["refused_filter"], len(caplog.records), book.findings()) == (1000, 0, [])


def test_a_budget_lets_an_honest_backlog_through_and_slows_a_flood() -> None:
    budget, now_s = Budget(), 1000.0
    for _ in range(720):  # of twelve hours, a batch a minute: five reads of 6 kB
        for size in (1, 1, 2, 20, 6000):
            wait_s = budget.wait_s(size, now_s)
            now_s += wait_s
    assert now_s - 1000.0 < 60
    budget, now_s, sent = Budget(), 0.0, 0
    while now_s < 10:
        now_s += budget.wait_s(64 * 1024, now_s)
        sent += 64 * 1024
    assert sent < 8 * 1024 * 1024  # once it was 1.4 GB in ten seconds
    budget, now_s, reads = Budget(), 0.0, 0
    while now_s < 60:
        now_s += budget.wait_s(1, now_s)
        reads += 1
    assert reads < 60_000  # of pings, say


# ---------------------------------------------------------------- the real thing


@contextlib.contextmanager
def listening(broker: EmbeddedBroker, take: Callable[[bytes], None]) -> Iterator[MqttClient]:
    """The collector, which hears what gateways send."""
    client, ready = MqttClient(mqtt.CallbackAPIVersion.VERSION2, reconnect_on_failure=False), threading.Event()
    client.on_message = lambda _client, _data, message: take(message.payload)
    client.on_subscribe = lambda *_words: ready.set()
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        client.subscribe(f"{wire.ROOT}/up/+", qos=1)
        assert ready.wait(60)
        yield client
    finally:
        client.leave()


@pytest.mark.parametrize("qos", [0, 2])
def test_a_gateway_that_publishes_with_another_qos_than_1_is_put_out(
    broker: EmbeddedBroker, authority: TestAuthority, visit, qos: int
) -> None:
    heard: list[bytes] = []
    with listening(broker, heard.append):
        honest, other = visit(authority.client(B), B), visit(authority.client(A), A)
        assert honest.come.wait(60)
        assert other.come.wait(60)
        other.mqtt.publish(wire.batch_topic(A), b"flood", qos=qos)
        assert other.gone.wait(60)
        honest.mqtt.publish(wire.batch_topic(B), b"batch", qos=1).wait_for_publish(60)
        wait_until(lambda: heard)
        assert heard == [b"batch"]
        assert not honest.gone.is_set()
        assert broker.book.counts["refused_qos"] >= 1


def test_the_goodbye_of_an_older_agent_with_qos_0_is_taken(
    broker: EmbeddedBroker, authority: TestAuthority, visit
) -> None:
    gateway = visit(authority.client(A), A)
    assert gateway.come.wait(60)
    gateway.mqtt.publish(wire.presence_topic(A), b"{}", qos=0)
    gateway.mqtt.publish(wire.batch_topic(A), b"batch", qos=1).wait_for_publish(60)
    assert not gateway.gone.is_set()
    assert broker.book.counts["refused_qos"] == 0


def test_a_gateway_that_floods_is_slowed_and_another_is_heard_at_once(
    broker: EmbeddedBroker, authority: TestAuthority, visit
) -> None:
    taken: list[int] = []
    done = threading.Event()

    def take(payload: bytes) -> None:
        taken.append(len(payload))
        if payload == b"batch":
            done.set()

    with listening(broker, take):
        honest, flooding = visit(authority.client(B), B), visit(authority.client(A), A)
        assert honest.come.wait(60)
        assert flooding.come.wait(60)
        start_s = time.monotonic()
        for _ in range(600):  # 30 MB
            flooding.mqtt.publish(wire.batch_topic(A), bytes(50_000), qos=1)
        time.sleep(2)
        sent_s = time.monotonic()
        honest.mqtt.publish(wire.batch_topic(B), b"batch", qos=1)
        assert done.wait(60)
        assert time.monotonic() - sent_s < 15  # two seconds where nothing else runs
        allowed = BURST_BYTES + (time.monotonic() - start_s + 1) * RATE_BYTES_S
        assert sum(taken) < allowed + 200_000


class Visitor:
    def __init__(self, port: int, files: Files, name: str) -> None:
        self.gone, self.come, self.code = threading.Event(), threading.Event(), ""
        self.mqtt = MqttClient(mqtt.CallbackAPIVersion.VERSION2, client_id=name, reconnect_on_failure=False)
        context = ssl.create_default_context(cafile=str(files.ca))
        context.load_cert_chain(files.cert, files.key)
        self.mqtt.tls_set_context(context)
        self.mqtt.on_connect = lambda _c, _d, _f, code, _p: self.gone.set() if code.is_failure else self.come.set()
        self.mqtt.on_disconnect = lambda *_words: self.gone.set()
        self.mqtt.connect("127.0.0.1", port)
        self.mqtt.loop_start()

    def close(self) -> None:
        self.mqtt.leave()


@contextlib.contextmanager
def raw_session(broker: EmbeddedBroker, authority: TestAuthority, name: str) -> Iterator[ssl.SSLSocket]:
    """A client that reads when the test does (MQTT 3.1.1, section 3.1)."""
    files = authority.client(name)
    context = ssl.create_default_context(cafile=str(files.ca))
    context.load_cert_chain(files.cert, files.key)
    body = b"\x00\x04MQTT\x04\x02\x00\x3c" + len(name).to_bytes(2, "big") + name.encode()
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", broker.ports[1]))
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as session:
            session.sendall(bytes((0x10, len(body))) + body)
            yield session


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path / "authority")


@pytest.fixture
def broker(authority: TestAuthority) -> Iterator[EmbeddedBroker]:
    made = EmbeddedBroker("127.0.0.1", 0, [Listener("127.0.0.1", 0, "tcp", authority.server())])
    made.start()
    yield made
    made.stop()


@pytest.fixture
def visit(broker: EmbeddedBroker) -> Iterator[Callable[[Files, str], Visitor]]:
    with contextlib.ExitStack() as stack:

        def come(files: Files, name: str) -> Visitor:
            made = Visitor(broker.ports[1], files, name)
            stack.callback(made.close)
            return made

        yield come


def test_half_open_connections_over_tls_hold_little_memory(broker: EmbeddedBroker) -> None:
    """asyncio's own buffers would be 256 KiB of each."""
    number, process = 200, psutil.Process()
    with contextlib.ExitStack() as stack:
        before, held = process.memory_info().rss, broker._amqtt._places["listener-1"]._held  # type: ignore[union-attr]
        for _ in range(number):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", broker.ports[1])))
            line.sendall(b"\x16\x03\x01\x02\x00\x01\x00")  # the begin of a ClientHello
        wait_until(lambda: len(held) == number)
        assert process.memory_info().rss - before < number * 128 * 1024


def test_the_revoked_are_put_out_at_once_and_not_let_in_again(
    broker: EmbeddedBroker, authority: TestAuthority, visit
) -> None:
    papers = authority.client(A)
    inside, other = visit(papers, A), visit(authority.client(B), B)
    assert inside.come.wait(60)
    assert other.come.wait(60)
    broker.refuse([A])
    assert inside.gone.wait(60)
    assert visit(papers, A).gone.wait(60)
    broker.refuse([])
    assert visit(papers, A).come.wait(60)
    assert not other.gone.is_set()


@pytest.mark.row(55)
def test_what_an_ended_session_has_sent_keeps_no_other_out(
    broker: EmbeddedBroker, authority: TestAuthority, visit
) -> None:
    """Thousands of small packets wait behind its budget: they are not worked off before the next one may begin."""
    with raw_session(broker, authority, A) as flooding:
        flooding.sendall(bytes((0x40, 2, 0, 7)) * 100_000)  # PUBACKs, section 3.4
        assert visit(authority.client(A), A).come.wait(30)


@pytest.mark.row(55)
def test_a_gateway_that_reads_nothing_is_given_no_more(broker: EmbeddedBroker, authority: TestAuthority, visit) -> None:
    """What it does not read waits in the broker, and its socket takes some megabytes before."""
    other = visit(authority.client(B), B)
    heard: list[bytes] = []
    other.mqtt.on_message = lambda _c, _d, message: heard.append(bytes(message.payload))
    other.mqtt.subscribe(wire.receipt_topic(B), qos=1)
    topic = wire.receipt_topic(A).encode()
    subscribe = b"\x00\x01" + len(topic).to_bytes(2, "big") + topic + b"\x01"
    with raw_session(broker, authority, A) as idle, listening(broker, lambda _payload: None) as service:
        idle.sendall(bytes((0x82, len(subscribe))) + subscribe)
        while b"\x90\x03\x00\x01\x01" not in idle.recv(4096):
            pass
        for _ in range(MAX_UNACKNOWLEDGED * 5 // 2):
            service.publish(wire.receipt_topic(A), bytes(8000), qos=1)
        service.publish(wire.receipt_topic(B), b"end", qos=1)
        wait_until(lambda: heard == [b"end"])
        assert broker._amqtt is not None
        session, _ = broker._amqtt._sessions[A]
        assert 0 < len(session.inflight_out) <= MAX_UNACKNOWLEDGED


def test_a_session_ends_with_its_certificate(broker: EmbeddedBroker, authority: TestAuthority, visit) -> None:
    short = visit(authority.client(A, ends_d=3 / 86_400), A)
    lasting = visit(authority.client(B), B)
    assert short.come.wait(60)
    assert short.gone.wait(60)
    assert lasting.come.is_set()
    assert not lasting.gone.is_set()


def test_sessions_that_put_each_other_out_are_found(broker: EmbeddedBroker, authority: TestAuthority, visit) -> None:
    papers = authority.client(A)
    visitors = []
    for _ in range(acl.FLAPS + 1):
        visitors.append(visit(papers, A))
        assert visitors[-1].come.wait(60)
    wait_until(lambda: sum(visitor.gone.is_set() for visitor in visitors) == acl.FLAPS)
    assert [(found.device, found.finding) for found in broker.book.findings()] == [(A, "flapping")]


def test_renewed_certificates_serve_the_next_handshake(broker: EmbeddedBroker, authority: TestAuthority, visit) -> None:
    def serial() -> str:
        context = ssl.create_default_context(cafile=str(authority.ca_file))
        papers = authority.client(A)
        context.load_cert_chain(papers.cert, papers.key)
        visitor = visit(papers, A)
        assert visitor.come.wait(60)
        line = visitor.mqtt.socket()
        assert isinstance(line, ssl.SSLSocket)
        certificate = line.getpeercert()
        assert certificate is not None
        return str(certificate["serialNumber"])

    before = serial()
    authority.server()
    broker.reload()
    assert serial() != before


def test_the_collector_comes_with_its_certificate_by_tls_and_by_websocket(authority: TestAuthority) -> None:
    files, mine = authority.server(), authority.client("nabz-collector")
    broker = EmbeddedBroker(
        "", 0, [Listener("127.0.0.1", 0, "tcp", files), Listener("127.0.0.1", 0, "websockets", files)]
    )
    broker.start()
    for port, transport in zip(broker.ports, ("tcp", "websockets"), strict=True):
        address = Address("127.0.0.1", port, True, transport, mine.ca, mine.cert, mine.key)  # type: ignore[arg-type]
        listener = Subscriber(address, None, lambda _moved: None, lambda: 0)  # type: ignore[arg-type]
        listener.start()
        assert listener.connected.wait(60)
        listener.stop()
    broker.stop()


def test_a_door_whose_certificate_is_missing_is_told_in_one_sentence(tmp_path: Path, authority: TestAuthority) -> None:
    files = authority.server()
    files.key.unlink()
    with pytest.raises(BrokerError, match=r"server.crt, .*server.key: are no readable certificate and its key"):
        EmbeddedBroker("127.0.0.1", 0, [Listener("127.0.0.1", 0, "tcp", files)]).start()


def test_a_peer_the_kernel_gave_up_on_is_gone_and_not_waited_for() -> None:
    """amqtt would read a TimeoutError for ever, and keep a gateway that came back from its new session."""

    async def story() -> None:
        line = asyncio.StreamReader()
        line.set_exception(TimeoutError(110, "Connection timed out"))
        with pytest.raises(ConnectionResetError, match="timed out"):
            await LimitedReader(None, line).read(1)

    asyncio.run(story())


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize("listen", ["0.0.0.0:1883", "192.0.2.1:1883", "[::]:1883", "broker.example.pk:1883"])
def test_nobody_is_let_in_from_the_network_without_tls(listen: str, tmp_path: Path) -> None:
    file = tmp_path / "collector.toml"
    file.write_text(f'[broker]\nlisten = "{listen}"\n')
    with pytest.raises(ConfigError, match=r'would let in anybody on the network; .* set tls_listen = "0.0.0.0:8883"'):
        load(file)
    file.write_text(f'[broker]\nlisten = "{listen}"\ntrust_network = true\n')
    assert load(file).broker.listen == listen


def test_gateways_are_told_tls_first_then_the_websocket(tmp_path: Path) -> None:
    file = tmp_path / "collector.toml"
    file.write_text(
        '[broker]\ntls_listen = "0.0.0.0:8883"\npublic = "b.example.pk:8883"\n'
        'websocket_listen = "0.0.0.0:443"\npublic_websocket = "b.example.pk:443"\n'
    )
    listeners = [(way.host, way.port, way.tls, way.transport) for way in load(file).broker.ways]
    assert listeners == [("b.example.pk", 8883, True, "tcp"), ("b.example.pk", 443, True, "websockets")]


def test_a_door_on_every_address_needs_one_to_be_told(tmp_path: Path) -> None:
    file = tmp_path / "collector.toml"
    file.write_text('[broker]\ntls_listen = "0.0.0.0:8883"\n')
    with pytest.raises(ConfigError, match="is no address to tell gateways; set public"):
        load(file)


# ---------------------------------------------------------------- who has no session yet


CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c"  # MQTT 3.1.1, section 3.1
PING, PONG = b"\xc0\x00", b"\xd0\x00"


@pytest.mark.row(55)
def test_half_open_connections_keep_no_neighbour_out_and_end_no_session() -> None:
    limits = ConnectionLimits(connections=100, per_address=100, waiting=8, waiting_per_address=4)
    broker = EmbeddedBroker("", 0, [Listener("127.0.0.1", 0, limits=limits)])
    broker.start()
    try:
        with contextlib.ExitStack() as stack:

            def line(address: str) -> socket.socket:
                place = ("127.0.0.1", broker.port)
                return stack.enter_context(socket.create_connection(place, 20, source_address=(address, 0)))

            session = line("127.0.0.2")
            session.sendall(CONNECT)
            assert session.recv(4) == b"\x20\x02\x00\x00"
            half_open = [line(f"127.0.0.{2 + number % 5}") for number in range(40)]
            assert half_open[0].recv(1) == b""
            neighbour = line("127.0.0.2")
            neighbour.sendall(CONNECT.replace(b"\x01c", b"\x01d"))
            assert neighbour.recv(4) == b"\x20\x02\x00\x00"
            for client in (session, neighbour):
                client.sendall(PING)
                assert client.recv(2) == PONG
    finally:
        broker.stop()


def test_the_listeners_of_gateways_bear_a_storm_of_one_address() -> None:
    """Many behind one address come back at once and are served slowly: none is put out by the next."""
    held = Occupancy(LIMITS)
    for number in range(LIMITS.waiting_of_one):
        held.add(number, "192.0.2.1", 0.0)
    assert held.is_over("192.0.2.1")
    assert held.to_give_way("192.0.2.1", LIMITS.patience_s - 1) is None
    assert held.to_give_way("192.0.2.1", LIMITS.patience_s) == 0
