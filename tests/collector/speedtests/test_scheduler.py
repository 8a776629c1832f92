"""A crowd over a real broker: all ask at once, a real measurement server counts, and nobody is lost or late."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt import client as mqtt

from agent import wire
from agent.common.mqtt import Client as MqttClient
from collector.brokers.embedded import EmbeddedBroker
from collector.ingest.mqtt.subscriber import Address, Subscriber
from collector.ingest.transaction import Ingest
from collector.run.runtime import PeriodicTask
from collector.speedtests import requests
from collector.speedtests.measure.admission import ByToken, UsedTokens
from collector.speedtests.measure.limits import Limits
from collector.speedtests.measure.server import MeasureServer
from collector.speedtests.policy import TAIL_MS
from collector.speedtests.scheduler import TestScheduler
from collector.store import Store, schema
from tests.collector.standard.timeless import timeless_standards

KEY = Ed25519PrivateKey.generate()
AT_ONCE = 5
FASTER = 20  # the collector's clock, so that what holds a place for seconds does not hold up the test
ABSENT = 2  # gateways that asked and went away
STANDARDS = timeless_standards()


class Clock:
    """The collector's time: real time, made to pass faster."""

    def __init__(self) -> None:
        self.start_s, self.start_ms = time.monotonic(), time.time_ns() // 1_000_000

    def __call__(self) -> int:
        return self.start_ms + int((time.monotonic() - self.start_s) * 1000 * FASTER)


class Server:
    """A measurement server with room for more than it is promised, in a thread of its own: it counts for itself."""

    def __init__(self) -> None:
        limits = Limits(tests_at_once=100, test_idle_s=TAIL_MS / 1000 / FASTER / 6, tests_per_address=10**6)
        self.refused: list[str] = []
        admit = ByToken(KEY.public_key().public_bytes_raw(), requests.HERE, UsedTokens(None, 0), self.refused.append)
        self.loop = asyncio.new_event_loop()
        self.most = 0
        self.tests: list[object] = []  # asyncio itself holds its tasks weakly
        self.server = MeasureServer(limits=limits, admit=admit)
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.port = self._call(self.server.start("127.0.0.1", 0))[1]
        self.watch = asyncio.run_coroutine_threadsafe(self._watch(), self.loop)

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    async def _watch(self) -> None:
        while True:
            self.most = max(self.most, len(self.server.sessions.running))
            await asyncio.sleep(0.002)

    def test(self, task: wire.Task, done: Callable[[], None]) -> None:
        self.tests.append(asyncio.run_coroutine_threadsafe(self._test(task, done), self.loop))

    async def _test(self, task: wire.Task, done: Callable[[], None]) -> None:
        """What a gateway does on its turn: bytes on two connections, then its result."""
        await asyncio.gather(*(self._pull(task) for _ in range(2)))
        done()

    async def _pull(self, task: wire.Task) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        target = f"/garbage?ckSize=1&test={task.id}&token={task.token}"
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.readline()).split()[1] == b"200"
        while await reader.read(1 << 18):
            pass
        writer.close()

    def close(self) -> None:
        self.watch.cancel()
        self._call(self.server.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class Crowd:
    """Gateways behind one MQTT session: they ask, and test as soon as they have their task."""

    def __init__(self, port: int, server: Server, gateways: list[Any], clock: Clock) -> None:
        self.gateways = {gateway.device: gateway for gateway in gateways}
        self.server, self.clock = server, clock
        self.order: list[str] = []
        self._lock = threading.Lock()
        ready = threading.Event()
        self.client = MqttClient(mqtt.CallbackAPIVersion.VERSION2)
        self.client.max_inflight_messages_set(0)
        self.client.on_message = lambda _client, _data, message: self._take(bytes(message.payload))
        self.client.on_subscribe = lambda *_words: ready.set()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.client.subscribe(wire.task_topic("+"), qos=1)
        assert ready.wait(60)

    def ask(self, device: str, expires_ms: int, purpose: Any = "routine") -> None:
        facts = {"v": 1, "device": device, "id": f"t-{device}", "want": "speed", "purpose": purpose}
        wish = wire.Ask(expires_ms=expires_ms, **facts)  # type: ignore[arg-type]
        sealed = wire.seal(wire.encode(wish), self.gateways[device].key.sign)
        self.client.publish(wire.ask_topic(device), sealed, qos=1)

    def _take(self, payload: bytes) -> None:
        body, signature = wire.unseal(payload, wire.MAX_SMALL_BYTES)
        KEY.public_key().verify(signature, body)
        task = wire.decode_task(body)
        if task.id in self.order:
            return
        self.order.append(task.id)
        if task.device in list(self.gateways)[:ABSENT]:
            return  # it went away: nobody hears of this turn again
        self.server.test(task, lambda: self._report(task))

    def _report(self, task: wire.Task) -> None:
        now_ms = self.clock()
        at = wire.Stamp(wall_ms=now_ms, mono_ms=now_ms % 10**9, boot="b", clock="synced")
        reading = wire.SpeedReading(at=at, test_id=task.id, download_mbps=90.0, upload_mbps=40.0, purpose=task.purpose)
        with self._lock:
            batch = self.gateways[task.device].batch([wire.encode_reading(reading)])
        self.client.publish(batch.topic, batch.payload, qos=1)

    def close(self) -> None:
        self.client.leave()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    made = EmbeddedBroker("127.0.0.1", 0)
    made.start()
    yield made
    made.stop()


def most_at_once(rows: list[Any]) -> int:
    """The most turns that held a place together, by the times of their rows."""
    moves = [(row.granted_ms, 1) for row in rows if row.granted_ms]
    moves += [(row.closed_ms, -1) for row in rows if row.granted_ms]
    running = most = 0
    for _, step in sorted(moves):
        running += step
        most = max(most, running)
    return most


@pytest.mark.slow
def test_a_crowd_asks_at_once_and_no_more_run_than_there_are_places(
    server: Server, broker: EmbeddedBroker, sqlite_store: Store, gateway, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    number = 200 if request.config.getoption("--torture") else 40
    store, clock = sqlite_store, Clock()
    crowd = Crowd(broker.port, server, [gateway(store, f"C-{n}") for n in range(number)], clock)
    with store.write() as conn:
        requests.record_own_server(conn, f"http://127.0.0.1:{server.port}", b"k", AT_ONCE, clock(), runs=True)
    ingest = Ingest(store, KEY, lambda conn, group, now_ms: requests.record_group(conn, group, STANDARDS, now_ms))
    listener = Subscriber(Address("127.0.0.1", broker.port), ingest, lambda _codes: None, clock)
    pacer = PeriodicTask("pacer", 0.02, TestScheduler(store, KEY, listener.publish, lambda _codes: None, clock).look)
    late = list(crowd.gateways)[-1]
    listener.start()
    assert listener.connected.wait(60)
    until_ms = clock() + 10**7
    for device in crowd.gateways:
        crowd.ask(device, clock() + 4 * FASTER * 1000 if device == late else until_ms)
        crowd.ask(device, until_ms)  # asked twice: no second turn
    began_s = time.monotonic()
    pacer.start()
    try:
        rows: list[Any] = []
        while len(rows) < number or any(row.state in ("asked", "granted") for row in rows):
            assert time.monotonic() - began_s < 120, [row.state for row in rows]
            time.sleep(0.05)
            with store.read() as conn:
                rows = list(conn.execute(sa.select(schema.grants)))
    finally:
        pacer.stop()
        listener.stop()
        crowd.close()
    took_s = time.monotonic() - began_s
    print(f"{number} asks, {took_s:.1f} s; most at once: rows {most_at_once(rows)}, server {server.most}")
    assert most_at_once(rows) <= AT_ONCE
    assert server.most <= AT_ONCE
    assert server.refused == []
    by_device = {row.device: row for row in rows}
    # Nobody starved: all had a turn but the one whose wish ended first; those who went away are closed as rows.
    assert [by_device[device].state for device in list(crowd.gateways)[:ABSENT]] == ["expired"] * ABSENT
    assert {row.state for row in rows if row.device not in list(crowd.gateways)[:ABSENT]} <= {"done", "expired"}
    assert all(row.closed_ms and row.reason for row in rows)
    done = [row for row in rows if row.state == "done"]
    assert len(done) >= number - ABSENT - 1
    # Fair: turns were given in the order of asking.
    given = sorted((row for row in rows if row.granted_ms), key=lambda row: row.granted_ms)
    times = [row.asked_ms for row in given]
    assert all(earlier <= later for earlier, later in itertools.pairwise(times))
    assert server.most >= AT_ONCE - 2  # and the places were used
