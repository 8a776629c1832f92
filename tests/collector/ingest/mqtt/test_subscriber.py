"""The listener: receipts only after the commit, bounded memory, patience with a database that is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt import client as mqtt

from agent import wire
from agent.common.mqtt import Client as MqttClient
from collector.brokers.embedded import EmbeddedBroker
from collector.brokers.endpoints import Address
from collector.common.messages import Message
from collector.ingest import delivery as groups
from collector.ingest.delivery import IngestWorker, Unacknowledged
from collector.ingest.mqtt.subscriber import Subscriber
from collector.ingest.transaction import Ingest, Taken
from collector.store import Store, schema
from tests.helpers.peers import peer, welcome
from tests.helpers.waiting import wait_until

NOW = 1_795_000_000_000
KEY = Ed25519PrivateKey.generate()


def held(store: Store) -> int:
    with store.read() as conn:
        return conn.scalar(sa.select(sa.func.count()).select_from(schema.evidence)) or 0


class Judge:
    """A judge that can be made to find the database away, as a statement of its own would."""

    def __init__(self) -> None:
        self.away = False
        self.broken = False
        self.asked = 0

    def __call__(self, _conn: sa.Connection, _group: Sequence[object], _now_ms: int) -> None:
        self.asked += 1
        if self.away:
            raise sa.exc.OperationalError("INSERT", {}, Exception("database or disk is full"))


@pytest.fixture
def judge() -> Judge:
    return Judge()


@pytest.fixture
def ingest(sqlite_store: Store, judge: Judge) -> Ingest:
    return Ingest(sqlite_store, KEY, judge)


@pytest.fixture
def diary() -> list[object]:
    """What a worker did, in order."""
    return []


@pytest.fixture
def worker(ingest: Ingest, sqlite_store: Store, diary: list[object]) -> Iterator[IngestWorker]:
    made = IngestWorker(
        ingest,
        publish=lambda receipts: diary.append((len(receipts), held(sqlite_store))),
        notify=diary.append,
        now_ms=lambda: NOW,
        pause=lambda paused: diary.append("pause" if paused else "resume"),
    )
    made.start()
    yield made
    made.stop()


def delivery(message: Message, diary: list[object]) -> Unacknowledged:
    return Unacknowledged(message, lambda: diary.append("acknowledged"))


def test_receipts_follow_the_commit_and_acknowledgements_follow_the_receipts(
    worker: IngestWorker, sqlite_store: Store, gateway, diary: list[object]
) -> None:
    mine = gateway(sqlite_store)
    worker.offer(delivery(mine.batch([mine.ups()]), diary))
    wait_until(lambda: len(diary) == 3)
    # When the receipt leaves, another connection sees the batch already.
    assert diary == [(1, 1), {"LHR-1"}, "acknowledged"]
    assert worker.readings == 1


def test_many_messages_are_one_commit(worker: IngestWorker, sqlite_store: Store, gateway, judge: Judge, diary) -> None:
    mine = gateway(sqlite_store)
    with sqlite_store.write():  # until all are in the queue
        worker.offer(delivery(mine.batch([mine.ups()]), diary))
        time.sleep(0.3)
        for _ in range(150):
            worker.offer(delivery(mine.batch([mine.ups()]), diary))
    wait_until(lambda: diary.count("acknowledged") == 151)
    assert judge.asked <= 3


@pytest.mark.row(22)
def test_while_the_database_is_away_nothing_is_said_and_then_all_of_it(
    worker: IngestWorker, sqlite_store: Store, gateway, judge: Judge, diary: list[object]
) -> None:
    mine = gateway(sqlite_store)
    judge.away = True
    worker.offer(delivery(mine.batch([mine.ups()]), diary))
    wait_until(lambda: judge.asked >= 2)
    assert diary == ["pause"]
    assert held(sqlite_store) == 0
    # Nothing more is taken into memory meanwhile.
    assert not worker.offer(delivery(mine.batch([mine.ups()]), diary))
    judge.away = False
    wait_until(lambda: "acknowledged" in diary)
    assert diary == ["pause", "resume", (1, 1), {"LHR-1"}, "acknowledged"]


def test_a_stop_while_the_database_is_away_is_quick_and_silent(
    ingest: Ingest, sqlite_store: Store, gateway, judge: Judge, diary: list[object]
) -> None:
    mine = gateway(sqlite_store)
    judge.away = True
    worker = IngestWorker(ingest, diary.append, diary.append, lambda: NOW)
    worker.start()
    worker.offer(delivery(mine.batch([mine.ups()]), diary))
    wait_until(lambda: judge.asked)
    began_s = time.monotonic()
    worker.stop()
    assert time.monotonic() - began_s < groups.LONGEST_PAUSE_S / 2
    assert diary == []


@pytest.mark.row(22, 23)
def test_memory_is_bounded_and_the_broker_waits(ingest: Ingest, sqlite_store: Store, gateway) -> None:
    mine = gateway(sqlite_store)
    message = mine.batch([mine.ups()])
    worker = IngestWorker(ingest, lambda _receipts: None, lambda _codes: None, lambda: NOW)  # not started: nobody takes
    for number in range(groups.QUEUE):  # of many senders: one that has many waiting is dropped
        assert worker.offer(Unacknowledged(Message(f"{message.topic}{number % 200}", b""), lambda: None))
    offered = threading.Thread(target=worker.offer, args=(Unacknowledged(message, lambda: None),))
    offered.start()
    offered.join(0.5)
    assert offered.is_alive()
    worker.start()
    offered.join(60)
    assert not offered.is_alive()
    worker.stop()


def test_gateways_with_a_backlog_are_slowed_while_a_queue_waits(ingest: Ingest, sqlite_store: Store, gateway) -> None:
    senders = [gateway(sqlite_store, center=f"LHR-{number}") for number in range(10)]
    paces: list[int] = []

    def publish(receipts: Sequence[Message]) -> None:
        paces.extend(wire.decode_receipt(wire.unseal(receipt.payload)[0]).pace_ms for receipt in receipts)

    worker = IngestWorker(ingest, publish, lambda _codes: None, lambda: NOW)
    long_ago_s = time.monotonic() - 60
    for message in [mine.batch([mine.ups()]) for _ in range(2 * groups.GROUP // 10) for mine in senders]:
        worker.offer(Unacknowledged(message, lambda: None, long_ago_s))
    worker.start()
    wait_until(lambda: len(paces) == 2 * groups.GROUP, 60)
    worker.offer(Unacknowledged(senders[0].batch([senders[0].ups()]), lambda: None))
    wait_until(lambda: len(paces) > 2 * groups.GROUP, 60)
    worker.stop()
    assert paces[groups.GROUP] > 0  # in a queue
    assert paces[-1] == 0  # alone


def test_a_group_that_can_never_be_taken_does_not_end_the_worker(
    sqlite_store: Store, gateway, diary: list[object]
) -> None:
    class Broken(Ingest):
        def take(self, messages: Sequence[Message], now_ms: int, pace_ms: int = 0) -> Taken:
            if b"junk" in messages[0].payload:
                raise ZeroDivisionError
            return super().take(messages, now_ms, pace_ms)

    mine = gateway(sqlite_store)
    worker = IngestWorker(Broken(sqlite_store, KEY, Judge()), diary.append, lambda _codes: None, lambda: NOW)
    worker.start()
    worker.offer(delivery(Message("t", b"junk"), diary))
    wait_until(lambda: diary == ["acknowledged"])
    worker.offer(delivery(mine.batch([mine.ups()]), diary))
    wait_until(lambda: len(diary) == 3)
    worker.stop()
    assert held(sqlite_store) == 1


# ---------------------------------------------------------------- with a real broker


class Ear:
    """A gateway's side of the broker: sends batches and hears receipts."""

    def __init__(self, port: int, device: str) -> None:
        self.receipts: list[wire.Receipt] = []
        self._heard = threading.Event()
        self._client = MqttClient(mqtt.CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _client, _data, message: self._take(bytes(message.payload))
        self._client.on_subscribe = lambda *_words: self._heard.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe(wire.receipt_topic(device), qos=1)
        assert self._heard.wait(60)

    def _take(self, payload: bytes) -> None:
        body, signature = wire.unseal(payload)
        KEY.public_key().verify(signature, body)
        self.receipts.append(wire.decode_receipt(body))

    def send(self, message: Message) -> None:
        self._client.publish(message.topic, message.payload, qos=1)

    def deliver(self, messages: Sequence[Message]) -> None:
        """Sends until each has its receipt, as gateways do: the broker may lose any of it."""
        left = {wire.decode_batch(wire.unseal(message.payload)[0]).last_seq: message for message in messages}
        until_s = time.monotonic() + 60
        while left:
            assert time.monotonic() < until_s, f"no receipts of {sorted(left)}"
            for message in left.values():
                self.send(message)
            again_s = time.monotonic() + 3
            while left and time.monotonic() < again_s:
                time.sleep(0.01)
                left = {seq: item for seq, item in left.items() if seq not in {r.last_seq for r in self.receipts}}

    def close(self) -> None:
        self._client.leave()


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    made = EmbeddedBroker("127.0.0.1", 0)
    made.start()
    yield made
    made.stop()


def listening(port: int, ingest: Ingest) -> Subscriber:
    made = Subscriber(Address("127.0.0.1", port), ingest, lambda _codes: None, lambda: NOW)
    made.start()
    assert made.connected.wait(60)
    return made


def test_it_counts_as_connected_once_the_broker_has_taken_its_subscriptions(ingest: Ingest) -> None:
    """What a gateway sends before that may reach nobody."""
    with peer(welcome) as broker:
        made = Subscriber(Address("127.0.0.1", broker.port), ingest, lambda _codes: None, lambda: NOW)
        made.start()
        assert broker.here.wait(60)
        wait_until(lambda: made._client is not None and made._client.is_connected())
        assert not made.connected.wait(0.3)
        made.stop()


def test_a_gateway_gets_receipts_over_a_real_broker(
    broker: EmbeddedBroker, ingest: Ingest, sqlite_store: Store, gateway
) -> None:
    mine = gateway(sqlite_store)
    ear, made = Ear(broker.port, mine.device), listening(broker.port, ingest)
    ear.deliver([mine.batch([mine.ups()]) for _ in range(50)])
    made.stop()
    ear.close()
    assert {receipt.last_seq for receipt in ear.receipts} == set(range(1, 51))
    assert held(sqlite_store) == 50


def test_the_database_coming_back_is_enough_for_the_real_session_too(
    broker: EmbeddedBroker, ingest: Ingest, sqlite_store: Store, gateway, judge: Judge
) -> None:
    mine = gateway(sqlite_store)
    ear, made = Ear(broker.port, mine.device), listening(broker.port, ingest)
    judge.away = True
    batches = [mine.batch([mine.ups()]) for _ in range(3)]
    ear.send(batches[0])
    wait_until(lambda: not made.connected.is_set())
    assert ear.receipts == []
    judge.away = False
    ear.deliver(batches)
    made.stop()
    ear.close()
    assert held(sqlite_store) == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # which ends the collector
def test_a_listener_that_cannot_listen_again_after_an_outage_is_not_called_alive(
    broker: EmbeddedBroker, ingest: Ingest, sqlite_store: Store, gateway, judge: Judge, tmp_path: Path
) -> None:
    """Its certificates went while the database was away. Else it would live on, hear nobody, and nobody would know."""
    mine = gateway(sqlite_store)
    ear, made = Ear(broker.port, mine.device), listening(broker.port, ingest)
    judge.away = True
    ear.send(mine.batch([mine.ups()]))
    wait_until(lambda: not made.connected.is_set())
    made._address = replace(made._address, tls=True, ca=tmp_path / "gone.pem")
    judge.away = False
    wait_until(lambda: not made.is_alive())
    made.stop()
    ear.close()


def test_a_broker_that_comes_late_or_comes_again_is_found(
    ingest: Ingest, sqlite_store: Store, gateway, free_port: int
) -> None:
    mine = gateway(sqlite_store)
    made = Subscriber(Address("127.0.0.1", free_port), ingest, lambda _codes: None, lambda: NOW)
    made.start()
    for number in (1, 2):
        broker = EmbeddedBroker("127.0.0.1", free_port)
        broker.start()
        assert made.connected.wait(60)
        ear = Ear(free_port, mine.device)
        ear.deliver([mine.batch([mine.ups()])])
        assert held(sqlite_store) == number
        ear.close()
        broker.stop()
        wait_until(lambda: not made.connected.is_set())
    made.stop()
