"""The power of the whole server side is cut: database, broker and collector on one disk, while gateways go on sending.

After each cut everything starts on what had reached the disk. Whatever had a receipt by then must be held, and at the
end everything promised must be held once: gateways forget on a receipt, and have no other copy.
"""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from paho.mqtt.client import Client as AnyClient
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from agent import wire
from agent.common.mqtt import Client
from collector.store import Store, schema
from tests.faults import rig
from tests.faults.databases import Database, Postgres, Sqlite
from tests.faults.master import check
from tests.faults.mosquitto import mosquitto
from tests.faults.power.power import Power, plugged_in

pytestmark = pytest.mark.root

SHORT_CUTS, CUTS = 1, 50
DISK_BYTES = 400 << 20
SPEEDUP = 30
Promise = tuple[str, str, int, int]  # device, spool, first, last


class Receipts:
    """Every receipt that the broker gave out, by whoever it was for."""

    def __init__(self, port: int) -> None:
        self._lock = threading.Lock()
        self._held: set[Promise] = set()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_words: client.subscribe(wire.receipt_topic("+"), qos=1)
        self._client.on_message = self._hear
        self._client.reconnect_delay_set(0.1, 0.5)
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()

    def _hear(self, _client: AnyClient, _data: object, message: MQTTMessage) -> None:
        receipt = wire.decode_receipt(wire.unseal(message.payload)[0])
        with self._lock:
            self._held.add((receipt.device, receipt.spool, receipt.first_seq, receipt.last_seq))

    def so_far(self) -> set[Promise]:
        with self._lock:
            return set(self._held)

    def close(self) -> None:
        self._client.leave()


def missing(database: str, promises: set[Promise]) -> int:
    """Receipted readings that the database does not hold."""
    store = Store.open(database)
    with store.read() as conn:
        rows = conn.execute(sa.select(schema.spools.c.device, schema.spools.c.spool, schema.spools.c.ranges)).all()
    store.close()
    held = {(row.device, row.spool): json.loads(row.ranges) for row in rows}
    return sum(
        last - first + 1
        for device, spool, first, last in promises
        if not any(low <= first and last <= high for low, high, *_ in held.get((device, spool), []))
    )


def suffer(
    power: Power,
    folder: Path,
    make: Callable[[Path], Database],
    cuts: int,
    seed: int,
    drain_s: float = 90,
    centers: int = 40,
) -> Counter[str]:
    """Cuts at random moments under load from an agent and simulated centers; the figures of all of it."""
    chance = random.Random(seed)
    database = make(power.live)
    house = rig.House(folder, server=power.live, database=database.url)
    house.argv["broker"] = mosquitto(house, power.live / "mosquitto")
    receipts = Receipts(house.broker)
    figures: Counter[str] = Counter()
    truth, config = folder / "truth.jsonl", str(house.collector_toml)

    def stops() -> None:
        house.processes["collector"].send_signal(signal.SIGSTOP)

    def ends() -> None:
        for name in ("collector", "broker"):
            house.kill(name)
        database.kill()

    try:
        house.open()
        minutes = (10 * cuts + 8) * SPEEDUP / 60
        fleet = ("--centers", str(centers), "--seed", str(seed), "--minutes", str(minutes), "--speedup", str(SPEEDUP))
        own = ("--data", str(folder / "fleet"), "--database", house.database)  # its keys outlive the cut
        house.argv["fleet"] = house.collector("simulate", "--config", config, *own, *fleet, "--truth", str(truth))
        house.start("fleet")
        rig.wait_for(lambda: len(receipts.so_far()) > centers, "the fleet's first receipts")
        for _ in range(cuts):
            time.sleep(chance.uniform(0.5, 4))
            power.lose(stops, ends)
            promises = receipts.so_far()
            database.start()
            figures += Counter(cuts=1, receipted=sum(last - first + 1 for _, _, first, last in promises))
            figures["lost"] += missing(database.url, promises)
            house.start("broker")
            house.start("collector")
            house.wait_healthy()
        house.processes["fleet"].wait(minutes * 60 / SPEEDUP + 60 + drain_s)
        agent = rig.account(house, house.deliver(drain_s))
        fleet_found = check(house.database, {}, truth)
        figures += Counter(agent_promised=agent.promised, agent_unclean=not agent.clean)
        figures += Counter({f"fleet_{word}": getattr(fleet_found, word) for word in ("promised", "lost")})
        figures["fleet_unclean"] = not fleet_found.clean
        print(agent, fleet_found)
        return figures
    finally:
        print(dict(figures))
        receipts.close()
        house.close()
        database.kill()


@pytest.mark.row(7)
@pytest.mark.slow
@pytest.mark.parametrize("make", [Sqlite, Postgres], ids=["sqlite", "postgresql"])
def test_a_power_cut_of_the_server_side_takes_back_no_receipt(
    make: Callable[[Path], Database], seed: int, torture: bool, tmp_path: Path
) -> None:
    cuts = CUTS if torture else SHORT_CUTS
    with plugged_in(DISK_BYTES) as power:
        figures = suffer(power, tmp_path, make, cuts, seed, centers=40 if torture else 10)
    assert figures["cuts"] == cuts
    assert figures["fleet_promised"] > 50
    faults = ("lost", "agent_unclean", "fleet_unclean", "fleet_lost")
    assert {name: figures[name] for name in faults} == dict.fromkeys(faults, 0)


@pytest.mark.slow  # the same setting is seen in a quarter of the time by test_kill
@pytest.mark.control("a COMMIT is answered before it is on the disk", row=7)
def test_a_database_that_commits_before_it_syncs_is_seen(seed: int, tmp_path: Path) -> None:
    late = "-c synchronous_commit=off -c wal_writer_delay=10000"
    with plugged_in(DISK_BYTES) as power:
        figures = suffer(power, tmp_path, lambda disk: Postgres(disk, late), 1, seed, drain_s=5)
    assert figures["lost"] + figures["fleet_lost"] > 0
