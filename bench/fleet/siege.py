"""What an honest gateway feels of an attack: its receipts' times while strangers and one gateway do their worst.

Over TLS and through the real ingest: 10,000 half-open sockets from fifty addresses at each of the four listeners,
gateways that publish without end what is valid and what is not, one that uses QoS 2, a body of a gigabyte, bodies and
readers that are slow. Each lasts a while and has another gateway; told are receipts, an answer of the pages, memory and
log lines.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from agent import pack, wire
from agent.common.mqtt import Client
from bench.ground.processes import cost, now_ms
from bench.ground.returning import round_of
from bench.ground.whole import Ground, Member, ground
from collector.commands.simulation.gateway import Gateway
from collector.commands.simulation.readings import MINUTE_MS
from collector.common.config.endpoint import split_listen

PAUSE_S = 0.2  # between two batches of the honest gateway
PATIENCE_S = 60.0
ADDRESSES = 50
GIGABYTE = 10**9
TRICKLE_S = 1.0
FORM = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n\r\n"
BATCHES, SUBJECTS = 2_000, 1_000  # of a flood, before it begins again


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=15.0, metavar="S", help="of each attack (default 15)")
    parser.add_argument("--sockets", type=int, default=10_000, metavar="N", help="half-open ones (default 10,000)")
    parser.add_argument("--slow", type=int, default=1_000, metavar="N", help="slow ones (default 1,000)")
    parser.add_argument("--mbit", type=float, default=100.0, metavar="N", help="of a gateway that floods (default 100)")
    parser.add_argument("--attacks", nargs="*", choices=sorted(ATTACKS), help="these alone")
    parser.add_argument("--broker", choices=("embedded", "tended", "mosquitto"), default="embedded")


@dataclass
class Sender:
    """A gateway with a session of its own."""

    made: Ground
    member: Member
    sent_s: dict[int, float] = field(default_factory=dict)  # by last number
    took_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        device = self.member.gateway.device
        self.mqtt = Client(CallbackAPIVersion.VERSION2, client_id=device)
        self.mqtt.tls_set_context(self.member.context())
        self.mqtt.max_inflight_messages_set(1000)
        self.mqtt.reconnect_delay_set(1, 2)
        self.mqtt.on_connect = lambda client, *_words: client.subscribe(wire.receipt_topic(device), 1)
        self.mqtt.on_message = lambda _client, _data, message: self._receive(message)
        self.mqtt.connect("127.0.0.1", self.made.tls)
        self.mqtt.loop_start()

    def send(self) -> None:
        """A minute's readings."""
        gateway = self.member.gateway
        payload = batch(gateway, round_of(gateway.center, now_ms(), gateway.boot_ms))
        self.sent_s[gateway.next_seq - 1] = time.monotonic()
        self.mqtt.publish(wire.batch_topic(gateway.device), payload, qos=1)

    def _receive(self, message: mqtt.MQTTMessage) -> None:
        receipt = wire.decode_receipt(wire.unseal(bytes(message.payload))[0])
        if (sent_s := self.sent_s.pop(receipt.last_seq, None)) is not None:
            self.took_s.append(time.monotonic() - sent_s)


def batch(gateway: Gateway, raws: Sequence[bytes]) -> bytes:
    """The next of this gateway, packed as its agent does."""
    frame = wire.Batch(
        v=wire.VERSION, device=gateway.device, spool=gateway.spool, first_seq=gateway.next_seq,
        prev=gateway.chain.hex(), nonce=gateway.nonce, live=True, readings=[msgspec.Raw(raw) for raw in raws],
    )  # fmt: skip
    gateway.next_seq += len(raws)
    gateway.chain = wire.chain(gateway.chain, raws)
    body = wire.encode(frame)
    return pack.pack(body, gateway.key.sign(body))


# ---------------------------------------------------------------- the attacks


@contextmanager
def quiet(_made: Ground, _options: argparse.Namespace) -> Iterator[None]:
    yield


def half_open(
    port_of: Callable[[Ground], int],
) -> Callable[[Ground, argparse.Namespace], contextlib.AbstractContextManager[None]]:
    @contextmanager
    def attack(made: Ground, options: argparse.Namespace) -> Iterator[None]:
        port = port_of(made)
        with ExitStack() as stack:
            for number in range(options.sockets):
                client = stack.enter_context(socket.socket())
                client.bind((f"127.0.2.{number % ADDRESSES + 1}", 0))
                client.setblocking(False)
                with contextlib.suppress(OSError):
                    client.connect(("127.0.0.1", port))
            yield

    return attack


Payloads = Callable[[Member], list[bytes]]


def publishing(
    number: int, payloads_of: Payloads, qos: int = 1
) -> Callable[[Ground, argparse.Namespace], contextlib.AbstractContextManager[None]]:
    @contextmanager
    def attack(made: Ground, options: argparse.Namespace) -> Iterator[None]:
        member, file = made.members[number], made.folder / "flood"
        file.write_bytes(msgspec.msgpack.encode(payloads_of(member)))
        named = [str(word) for word in (made.tls, member.ca, member.cert, member.key, member.gateway.device, file)]
        made.start("flood", [sys.executable, "-m", "bench.fleet.flood", *named, str(qos), str(options.mbit)])
        try:
            yield
        finally:
            made.stop("flood")

    return attack


def live_batches(member: Member) -> list[bytes]:
    """Each of another minute, as the contract wants them."""
    rounds = (round_of(member.gateway.center, now_ms() - back * MINUTE_MS, 0) for back in range(BATCHES, 0, -1))
    return [batch(member.gateway, raws) for raws in rounds]


def many_subjects(member: Member) -> list[bytes]:
    """Links of a thousand names."""
    raws = round_of(member.gateway.center, now_ms(), 0)[:1]
    renamed = [raws[0].replace(b'"wan"', f'"line-{number}"'.encode()) for number in range(SUBJECTS)]
    assert len(set(renamed)) == SUBJECTS
    return [batch(member.gateway, renamed[begin : begin + 20]) for begin in range(0, SUBJECTS, 20)]


def junk(size: int) -> Payloads:
    return lambda _member: [os.urandom(size) for _ in range(max(1, 1_000_000 // size))]


@contextmanager
def long_body(made: Ground, _options: argparse.Namespace) -> Iterator[None]:
    place = made.settings.web_url.removeprefix("http://").split(":")
    with socket.create_connection((place[0], int(place[1])), 20) as client:
        client.sendall(f"POST /login HTTP/1.1\r\nHost: n\r\nContent-Length: {GIGABYTE}\r\n\r\n".encode())
        with contextlib.suppress(OSError):
            for _ in range(GIGABYTE // 65_536):
                client.sendall(bytes(65_536))
        yield


def trickles(head: bytes) -> Callable[[Ground, argparse.Namespace], contextlib.AbstractContextManager[None]]:
    """From all addresses, each as many as one may have: `head`, then a byte of a body whenever the pages would wait."""

    @contextmanager
    def attack(made: Ground, options: argparse.Namespace) -> Iterator[None]:
        ended = threading.Event()
        with ExitStack() as stack:
            clients = [_client(stack, f"127.0.2.{number % ADDRESSES + 1}") for number in range(options.slow)]
            for client in clients:
                with contextlib.suppress(OSError):
                    client.connect(("127.0.0.1", _web_port(made)))
                    client.sendall(head)
            sender = threading.Thread(target=_trickle, args=(clients, ended))
            sender.start()
            try:
                yield
            finally:
                ended.set()
                sender.join()

    return attack


def _client(stack: ExitStack, address: str) -> socket.socket:
    client = stack.enter_context(socket.socket())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)  # the least: an answer does not fit, and is not read
    client.bind((address, 0))
    client.settimeout(2)
    return client


def _trickle(clients: Sequence[socket.socket], ended: threading.Event) -> None:
    while not ended.wait(TRICKLE_S):
        for client in clients:
            with contextlib.suppress(OSError):
                client.send(b"a")


def _web_port(made: Ground) -> int:
    return int(made.settings.web_url.rpartition(":")[2])


ATTACKS = {
    "nothing": quiet,
    "half-open at the broker": half_open(lambda made: made.tls),
    "half-open at the pages": half_open(_web_port),
    "half-open at the enrolment": half_open(lambda made: split_listen(made.settings.enrolment.listen)[1]),
    "half-open at the measurement": half_open(lambda made: split_listen(made.settings.measure.listen)[1]),
    "a gateway floods": publishing(1, live_batches),
    "small junk": publishing(2, junk(16)),
    "large junk": publishing(3, junk(60_000)),
    "1,000 subjects": publishing(4, many_subjects),
    "QoS 2": publishing(5, live_batches, qos=2),
    "a body of 1 GB": long_body,
    "slow bodies": trickles(b"POST /login HTTP/1.1\r\nHost: n\r\n" + FORM),
    "slow reads": trickles(b"GET /static/nabz.css HTTP/1.1\r\nHost: n\r\n\r\n" * 20),
}


# ---------------------------------------------------------------- the play


def run(options: argparse.Namespace) -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with (
        tempfile.TemporaryDirectory() as folder,
        ground(Path(folder), 6, broker=options.broker, is_whole=True) as made,
    ):
        made.serve()
        honest = Sender(made, made.members[0])
        attacks = {name: ATTACKS[name] for name in options.attacks or ATTACKS}
        print(f"{options.broker}, TLS 1.3, SQLite; load {os.getloadavg()[0]:.1f}")
        slowest_s = max(_played(made, honest, name, attack, options) for name, attack in attacks.items())
        honest.mqtt.leave()
    return 0 if slowest_s < 2.0 else 1


def _played(
    made: Ground,
    honest: Sender,
    name: str,
    attack: Callable[[Ground, argparse.Namespace], contextlib.AbstractContextManager[None]],
    options: argparse.Namespace,
) -> float:
    """Returns the 99th percentile of the receipts' times."""
    honest.took_s.clear()
    before, page_s, peak = _log_lines(made), 0.0, 0
    with attack(made, options):
        until_s, sent = time.monotonic() + options.seconds, 0
        while time.monotonic() < until_s:
            honest.send()
            sent += 1
            if sent % 10 == 1:
                page_s = max(page_s, _page_s(made))
                peak = max(peak, cost(made.processes["collector"].pid).rss_bytes)
            time.sleep(PAUSE_S)
        end_s = time.monotonic() + PATIENCE_S
        while honest.sent_s and time.monotonic() < end_s:
            time.sleep(0.05)
    times = sorted(honest.took_s)
    lost, honest.sent_s = len(honest.sent_s), {}
    median_s, worst_s = (times[int(len(times) * share)] if times else PATIENCE_S for share in (0.5, 0.99))
    lines = _log_lines(made) - before
    print(
        f"{name:<28} receipts p50 {median_s:.2f} s, p99 {worst_s:.2f} s (n {len(times)}, without one {lost}); page "
        f"{page_s:.2f} s; {peak / 1e6:.0f} MB; {lines * 60 / options.seconds:.0f} log lines a minute",
        flush=True,
    )
    return worst_s if not lost else PATIENCE_S


def _page_s(made: Ground) -> float:
    begun_s = time.monotonic()
    with urllib.request.urlopen(f"{made.settings.web_url}/login", timeout=PATIENCE_S) as answer:
        answer.read()
    return time.monotonic() - begun_s


def _log_lines(made: Ground) -> int:
    return len((made.folder / "collector.log").read_text().splitlines())
