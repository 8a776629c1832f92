"""After an outage many gateways have a backlog and the collector is slower than all of them: what is live passes first.

Real uplinks on real spools, a real broker, the real listener and ingest, made slow by its judge.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from agent import identity, wire
from agent.spool.queue import Spool
from agent.uplink.session import Uplink
from collector.brokers.embedded import EmbeddedBroker
from collector.brokers.endpoints import Address
from collector.ingest.mqtt.subscriber import Subscriber
from collector.ingest.transaction import Ingest
from tests.faults.hostile.wire_soak import Desk, Gateway

HOUR_MS = 3_600_000
LIVE_S = 1.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def stamp(ago_ms: int = 0) -> wire.Stamp:
    return wire.Stamp(wall_ms=now_ms() - ago_ms, mono_ms=time.monotonic_ns() // 1_000_000, boot="b", clock="synced")


def reading(ago_ms: int = 0) -> bytes:
    return wire.encode_reading(wire.UpsReading(at=stamp(ago_ms), load_pct=1.0))


class SlowIngest(Ingest):
    """Takes so long over each batch, and notes how late live readings are when they are committed."""

    each_s = 0.0
    lags_s: list[float]
    backlog = 0

    def take(self, messages: Sequence[object], now: int, pace_ms: int = 0) -> object:  # type: ignore[override]
        time.sleep(self.each_s * len(messages))
        taken = super().take(messages, now, pace_ms)  # type: ignore[arg-type]
        for message in messages:
            batch = wire.decode_batch(wire.unseal(message.payload)[0])  # type: ignore[attr-defined]
            newest_ms = wire.decode_reading(bytes(batch.readings[-1])).at.wall_ms
            if batch.live:
                self.lags_s.append((now_ms() - newest_ms) / 1000)
            else:
                self.backlog += 1
        return taken


async def gateway(folder: Path, number: int, desk: Desk, port: int, until: asyncio.Event) -> int:
    """Lives with a backlog and something new every second; answers how many readings it could not deliver."""
    key = identity.make_key(folder / f"state{number}")
    device = desk.enrol(Gateway(f"P-{number}", key)).device
    collector = desk.key.public_key().public_bytes_raw()
    facts = {"center": f"P-{number}", "name": "", "measure_url": "", "enrolled_ms": 1, "collector_key": collector}
    mine = identity.Identity(device=device, broker_host="127.0.0.1", broker_port=port, key=key, **facts)  # type: ignore[arg-type]
    spool = Spool(folder / f"state{number}" / "spool.db", stamp=stamp)
    for ago in range(12):
        spool.append([reading((12 - ago) * HOUR_MS)] * 250, "low", now_ms() - (12 - ago) * HOUR_MS)
    uplink = Uplink(mine, spool, stamp=stamp, on_task=lambda _task: None)
    running = asyncio.create_task(uplink.run())
    while not until.is_set():
        spool.append([reading()], "low", now_ms())
        uplink.readings_waiting()
        await asyncio.sleep(LIVE_S)
    running.cancel()
    await asyncio.wait([running])
    left = spool.stats().readings
    spool.close()
    return left


def drained(folder: Path, gateways: int, each_s: float, seconds: float) -> SlowIngest:
    desk = Desk(folder / "desk")
    ingest = SlowIngest(desk.store, desk.key, lambda *_group: None)
    ingest.each_s, ingest.lags_s = each_s, []
    broker = EmbeddedBroker("127.0.0.1", 0)
    broker.start()
    listener = Subscriber(Address("127.0.0.1", broker.port), ingest, lambda _moved: None, now_ms)
    listener.start()
    assert listener.connected.wait(60)

    async def story() -> None:
        until = asyncio.Event()
        tasks = [asyncio.create_task(gateway(folder, n, desk, broker.port, until)) for n in range(gateways)]
        await asyncio.sleep(seconds)
        until.set()
        await asyncio.gather(*tasks)

    asyncio.run(story())
    listener.stop()
    broker.stop()
    with desk.store.read() as conn:
        assert conn.scalar(sa.text("SELECT count(*) FROM evidence")) is not None
    desk.store.close()
    return ingest


@pytest.mark.slow
@pytest.mark.parametrize(("gateways", "each_s", "least"), [(20, 0.02, 100), (3, 0.2, 10)])
@pytest.mark.row(23)
def test_live_readings_pass_while_a_backlog_drains(gateways: int, each_s: float, least: int, tmp_path: Path) -> None:
    """The second is a database that takes 200 ms for each batch (row 23)."""
    done = drained(tmp_path, gateways, each_s, seconds=25)
    lags_s = sorted(done.lags_s)
    p99_s = lags_s[int(len(lags_s) * 0.99)]
    print(
        f"live n={len(lags_s)}: median {statistics.median(lags_s):.2f} s, p99 {p99_s:.2f} s, worst {lags_s[-1]:.2f} s; "
    )
    print(f"backlog batches meanwhile: {done.backlog}")
    assert done.backlog > least
    assert p99_s < 60
