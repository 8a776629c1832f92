"""A collector at a time of the play's own, for cheats that go through a real broker and ingest.

Time is the play's own, so that "after how long" is a figure: from the cheat to its row among the findings.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from _pytest.mark import ParameterSet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt import client as mqtt

from agent import wire
from agent.common.mqtt import Client as MqttClient
from collector.brokers.embedded import EmbeddedBroker
from collector.brokers.endpoints import Address
from collector.common.messages import Message
from collector.ingest import server_results, spools
from collector.ingest.mqtt.subscriber import Subscriber
from collector.ingest.transaction import Ingest
from collector.judging import fast_lane, patterns, place_facts, shared_seats
from collector.judging.evaluate import judge_group
from collector.speedtests import challenges
from collector.speedtests.measure.record import Record, RecordedDirection, encode
from collector.store import Store, nonces, schema
from tests.collector.conftest import Gateway
from tests.collector.standard.timeless import timeless_standards
from tests.helpers.waiting import wait_until

NOON = 1_795_071_600_000  # Thursday 2026-11-19 12:00 in Karachi
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
KEY = Ed25519PrivateKey.generate()
STANDARDS = timeless_standards()
PTCL, OTHER = 17557, 9541


class Collector:
    """A collector with a broker, ingest and one joined measurement server, at a time of the play's choosing."""

    def __init__(self, store: Store, broker: EmbeddedBroker) -> None:
        self.store, self.now_ms, self.tests = store, NOON, itertools.count()
        self.server_key = Ed25519PrivateKey.generate()
        ingest = Ingest(store, KEY, lambda c, g, n: judge_group(c, server_results.attach(c, g, n), STANDARDS, n))
        self.listener = Subscriber(Address("127.0.0.1", broker.port), ingest, lambda _codes: None, lambda: self.now_ms)
        self.listener.start()
        assert self.listener.connected.wait(60)
        self.client = MqttClient(mqtt.CallbackAPIVersion.VERSION2)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        public = self.server_key.public_key().public_bytes_raw()
        row = {"name": "pie", "url": "https://pie.example", "public_key": public, "tests_at_once": 5}
        with store.write() as conn:
            conn.execute(sa.insert(schema.measure_servers).values(**row, joined_ms=1))

    def close(self) -> None:
        self.client.leave()
        self.listener.stop()

    def count(self, table: sa.Table = schema.evidence) -> int:
        with self.store.read() as conn:
            return conn.scalar(sa.select(sa.func.count()).select_from(table)) or 0

    def send(self, message: Message, *, filed: bool = True) -> None:
        """Through the broker, until it is held."""
        before = self.count()
        self.client.publish(message.topic, message.payload, qos=1)
        if filed:
            wait_until(lambda: self.count() > before)

    def nonce(self) -> str:
        with self.store.write() as conn:
            return nonces.current(conn, self.now_ms)

    def live(self, mine: Gateway, *readings: wire.Reading) -> None:
        raws = [wire.encode_reading(self.stamped(one)) for one in readings] or [mine.ups(self.now_ms)]
        self.send(mine.batch(raws, nonce=self.nonce()))

    def stamped(self, reading: wire.Reading, at_ms: int | None = None, boot: str = "b") -> wire.Reading:
        at_ms = self.now_ms if at_ms is None else at_ms
        at = wire.Stamp(wall_ms=at_ms, mono_ms=at_ms - NOON + 40 * DAY, boot=boot, clock="synced")
        return msgspec.structs.replace(reading, at=at)

    def grant(self, mine: Gateway) -> str:
        test = f"t{next(self.tests)}"
        who = {"center": mine.center, "device": mine.device, "server": "pie", "purpose": "routine", "state": "granted"}
        times = {"asked_ms": self.now_ms, "granted_ms": self.now_ms, "expires_ms": self.now_ms + 5 * MINUTE}
        with self.store.write() as conn:
            conn.execute(sa.insert(schema.grants).values(test_id=test, **who, **times))
        return test

    def see(self, test: str, mine: Gateway, down: float = 60.0, **facts: object) -> None:
        """The measurement server signs what it saw of a test."""
        at_ms = [100 * n for n in range(41)]
        way = RecordedDirection(bytes=10**7, at_ms=at_ms, total=[round(down * 12_500 * n) for n in range(41)])
        start = {"address": "203.0.113.7", "started_ms": self.now_ms, "witnessed": True, "min_rtt_ms": 18.0}
        record = Record(test=test, server="pie", device=mine.device, seconds=9.0, end="idle", connections=7, down=way,
                        up=way, **(start | facts))  # type: ignore[arg-type]  # fmt: skip
        with self.store.write() as conn:
            server_results.take_record(conn, encode(record, self.server_key.sign), self.now_ms, STANDARDS)

    def result(self, mine: Gateway, test: str, down: float = 60.0, **facts: object) -> wire.SpeedReading:
        figures = {"download_mbps": down, "capacity_down_mbps": down, "upload_mbps": down, "capacity_up_mbps": down}
        start = {"subject": "wan", "server": "https://pie.example", "engine": "librespeed", "test_id": test}
        return wire.SpeedReading(**(start | figures | facts))  # type: ignore[arg-type]

    def findings(self) -> set[str]:
        with self.store.read() as conn:
            return set(conn.scalars(sa.select(schema.integrity.c.finding)))

    def wait_for(self, finding: str, most_ms: int) -> int:
        """How long until the finding is there, with what the collector does by itself meanwhile; in steps of a
        minute at first, of an hour later."""
        began_ms = self.now_ms
        while finding not in self.findings():
            assert self.now_ms - began_ms <= most_ms, (finding, self.findings())
            self.now_ms += MINUTE if self.now_ms - began_ms < HOUR else HOUR
            with self.store.write() as conn:
                server_results.count_unreported(conn, self.now_ms, STANDARDS)
                spools.report_holes(conn, self.now_ms)
                doubts = [
                    *place_facts.findings(conn, self.now_ms, {"PTCL": [PTCL]}), *fast_lane.findings(conn, self.now_ms),
                    *patterns.findings(conn, self.now_ms),
                ]  # fmt: skip
                place_facts.record(conn, doubts, self.now_ms)
                place_facts.insert(conn, shared_seats.findings(conn, self.now_ms), self.now_ms)
                challenges.settle(conn, self.now_ms)
        return self.now_ms - began_ms


def enrolled(store: Store, center: str) -> Gateway:
    made = Gateway(center)
    with store.write() as conn:
        row = {"device": made.device, "center": center, "public_key": made.public_key}
        conn.execute(sa.insert(schema.devices).values(**row, enrolled_ms=NOON - 30 * DAY))
        facts = {"name": center, "tier": "one", "seats_promised": 20, "opening": "always", "isp": "PTCL"}
        times = {"lifecycle": "active", "since_ms": 1, "changed_ms": 1}
        conn.execute(sa.insert(schema.centers).values(center=center, **facts, **times))
    return made


@contextmanager
def collector(store: Store) -> Iterator[Collector]:
    broker = EmbeddedBroker("127.0.0.1", 0)
    broker.start()
    here = Collector(store, broker)
    try:
        yield here
    finally:
        here.close()
        broker.stop()


Cheat = tuple[Callable[[Collector, Gateway], None], str, int]  # its play, its finding, how long that takes at most, ms


def cases(cheats: Mapping[str, Cheat], *quick: str) -> list[ParameterSet]:
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in cheats]


def find(folder: Path, name: str, cheat: Cheat) -> None:
    """Plays a cheat; fails unless its finding is there in time."""
    play, finding, most_ms = cheat
    with closing(Store.open(f"sqlite:///{folder}/nabz.db")) as store, collector(store) as here:
        play(here, enrolled(store, "LHR-1"))
        after_ms = here.wait_for(finding, most_ms)
    print(f"{name}: {finding} after {after_ms // MINUTE} min")
