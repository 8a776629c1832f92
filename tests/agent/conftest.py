"""A real broker on a free port and a tiny collector that keeps what it is sent and seals receipts."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.client import Client as AnyClient
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from agent import identity, pack, wire
from agent.common.mqtt import Client
from tests.helpers.ports import free_port


class WireBroker:
    """Nabz's own broker as a process of its own, to be killed and started again on the same port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [sys.executable, "-m", "collector", "broker", "--listen", f"127.0.0.1:{self.port}"]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as made:
                if made.getsockname() != made.getpeername():  # a port of nobody's may connect to itself
                    return
            time.sleep(0.05)
        raise TimeoutError("the broker does not listen")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class LittleCollector:
    """Keeps every batch it hears, in order, and answers with a receipt as told by ``answer``."""

    def __init__(self, port: int) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.public_key = self.key.public_key().public_bytes_raw()
        self.batches: list[wire.Batch] = []
        self.presence: list[wire.Presence] = []
        self.asks: list[tuple[bytes, bytes]] = []  # (body, signature)
        self.held: dict[tuple[str, int], bytes] = {}
        self.packed: list[bool] = []  # whether each batch was
        self.answer: Callable[[wire.Batch], wire.Receipt | None] = receipt_for
        self.sign: Callable[[bytes], bytes] = self.key.sign
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="collector")
        self._client.on_message = self._take
        self._client.on_connect = lambda client, *_rest: client.subscribe(
            [(f"{wire.ROOT}/{word}/+", 1) for word in ("up", "presence", "ask")]
        )
        self._client.reconnect_delay_set(0.1, 0.1)  # type: ignore[arg-type]
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _take(self, _client: AnyClient, _data: object, message: MQTTMessage) -> None:
        if "/presence/" in message.topic:
            self.presence.append(wire.decode_presence(bytes(message.payload)))
            return
        body, signature = pack.unseal(bytes(message.payload))
        self.packed.append(pack.is_packed(bytes(message.payload)))
        if "/ask/" in message.topic:
            self.asks.append((body, signature))
            return
        batch = wire.decode_batch(body)
        self.batches.append(batch)
        for number, raw in enumerate(batch.readings, batch.first_seq):
            self.held[batch.spool, number] = bytes(raw)
        receipt = self.answer(batch)
        if receipt is not None:
            self.tell(wire.receipt_topic(batch.device), wire.encode(receipt))

    def tell(self, topic: str, body: bytes) -> None:
        self._client.publish(topic, wire.seal(body, self.sign), qos=1)

    def close(self) -> None:
        self._client.leave()


def receipt_for(batch: wire.Batch) -> wire.Receipt:
    return wire.Receipt(
        v=wire.VERSION,
        device=batch.device,
        spool=batch.spool,
        first_seq=batch.first_seq,
        last_seq=batch.last_seq,
        chain=batch.last_chain().hex(),
        nonce="nonce-2",
        at_ms=time.time_ns() // 1_000_000,
    )


@pytest.fixture(scope="module")
def wire_broker() -> Iterator[WireBroker]:
    """One for a module."""
    broker = WireBroker(free_port())
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def mortal_broker() -> Iterator[WireBroker]:
    """One that a test may kill and start."""
    broker = WireBroker(free_port())
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def little_collector(wire_broker: WireBroker) -> Iterator[LittleCollector]:
    collector = LittleCollector(wire_broker.port)
    yield collector
    collector.close()


@pytest.fixture
def enrolled(tmp_path: Path, wire_broker: WireBroker, little_collector: LittleCollector) -> identity.Identity:
    """A gateway's identity in ``tmp_path / "state"``, trusting the little collector."""
    return identity_at(tmp_path / "state", wire_broker.port, little_collector)


def identity_at(state: Path, broker_port: int, collector: LittleCollector) -> identity.Identity:
    key = identity.make_key(state)
    known = identity.Enrolled(
        device=identity.device_name(key.public_key().public_bytes_raw()),
        center="PB-LHR-001",
        name="Lahore One",
        collector_key=collector.public_key,
        broker_host="127.0.0.1",
        broker_port=broker_port,
        measure_url="",
        enrolled_ms=1,
        nonce="nonce-1",
    )
    identity.save(state, known)
    return identity.load(state)


@pytest.fixture
def collector_at() -> Iterator[Callable[[int, Path], tuple[identity.Identity, LittleCollector]]]:
    """Makes a little collector at the broker on a port, and an identity in a folder that trusts it."""
    made: list[LittleCollector] = []

    def make(port: int, state: Path) -> tuple[identity.Identity, LittleCollector]:
        made.append(LittleCollector(port))
        return identity_at(state, port, made[-1]), made[-1]

    yield make
    for collector in made:
        collector.close()


@pytest.fixture
def enrolled_at_mortal_broker(
    tmp_path: Path, mortal_broker: WireBroker
) -> Iterator[tuple[identity.Identity, LittleCollector]]:
    collector = LittleCollector(mortal_broker.port)
    yield identity_at(tmp_path / "state", mortal_broker.port, collector), collector
    collector.close()
