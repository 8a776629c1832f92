"""Ingest workers on one shared subscription of Mosquitto, over one PostgreSQL; one and another is killed outright.

Nothing promised is lost or doubled, and what a killed worker had in its hands is not late: its gateways lack a receipt
and send it again, and another worker takes it.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.store import Store, schema
from tests.faults import rig
from tests.faults.stacks import served_by

WORKERS = ("worker1", "worker2")
WORKER = f"ingest worker 2 at {socket.gethostname()}"
LATE_MS = 60_000


def latest_of(house: rig.House) -> int:
    """The longest time from a reading of the real agent to its commit, in milliseconds."""
    found = 0
    with closing(Store.open(house.database)) as store, store.read() as conn:
        spools = list(house.heads())
        for table in schema.readings.values():
            late = sa.func.max(table.c.received_ms - table.c.wall_ms)
            found = max(found, conn.scalar(sa.select(late).where(table.c.spool.in_(spools))) or 0)
    return found


def taken(house: rig.House, worker: str) -> int:
    """Readings that a worker says it took, of the last time it was stopped in order."""
    counts = re.findall(r"ingest_worker_stopping: .*readings=(\d+)", (house.folder / f"{worker}.log").read_text())
    return int(counts[-1]) if counts else 0


def late(house: rig.House) -> list[str]:
    """The parts that `/healthz` names."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{house.web}/healthz", timeout=10) as answer:
            return list(json.load(answer).get("late", ()))
    except urllib.error.HTTPError as error:
        with error:
            return list(json.load(error)["late"])


def worker_of(pid: int) -> int:
    """The process of the second worker that this collector started."""
    done = subprocess.run(
        ["pgrep", "-P", str(pid), "-f", "ingest --worker 2"], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[0])


@pytest.mark.slow
@pytest.mark.row(2)
def test_a_worker_that_is_killed_leaves_nothing_lost_doubled_or_late(seed: int, torture: bool, tmp_path: Path) -> None:
    kills = 30 if torture else 2
    with served_by(tmp_path, "postgresql", "mosquitto") as (house, _base):
        house.collector_toml.write_text(house.collector_toml.read_text() + "[ingest]\nshared = true\n")
        for worker in WORKERS:
            house.argv[worker] = house.collector("ingest", "--config", str(house.collector_toml))

        def blow(turn: int, chance: random.Random) -> None:
            for worker in WORKERS:
                if worker not in house.processes:
                    house.start(worker)
            time.sleep(3)  # until they share the work
            house.kill(WORKERS[turn % 2])
            time.sleep(chance.uniform(0, 2))
            house.start(WORKERS[turn % 2])
            time.sleep(3)

        try:
            ordeal = rig.suffer(house, "workers", kills, seed, blow=blow)
            late_ms = latest_of(house)
        finally:
            for worker in WORKERS:
                house.stop(worker)
        shares = [taken(house, worker) for worker in WORKERS]
    print(kills, "workers killed:", ordeal, f"latest {late_ms} ms, the workers took {shares}")
    assert ordeal.clean, ordeal
    assert ordeal.fleet.promised > 100 * kills
    assert late_ms < LATE_MS
    assert sum(shares) > 0, "workers that are there take their share"


@pytest.mark.slow
def test_a_broker_without_shared_subscriptions_is_named_and_one_worker_does_without(tmp_path: Path) -> None:
    with served_by(tmp_path, "postgresql", "amqtt") as (house, _base):
        try:
            house.open()
            argv = house.collector("ingest", "--config", str(house.collector_toml))
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120, cwd=house.source)
            assert done.returncode == 1
            assert f"127.0.0.1:{house.broker}: does not speak MQTT 5, which several ingest workers need" in done.stderr
            rig.wait_for(lambda: rig.newest(house, "link") is not None, "the agent's first reading")
            promised = house.deliver(60)  # `serve` alone goes on
            assert rig.account(house, promised).lost == 0
        finally:
            house.close()


@pytest.mark.slow
def test_serve_starts_its_workers_again_and_takes_them_along(tmp_path: Path) -> None:
    with served_by(tmp_path, "postgresql", "mosquitto") as (house, _base):
        house.collector_toml.write_text(house.collector_toml.read_text() + "[ingest]\nworkers = 2\n")
        log = house.folder / "collector.log"
        try:
            house.open()
            rig.wait_for(lambda: log.read_text().count("INFO subscribed:") == 2, "both workers")
            rig.wait_for(lambda: rig.newest(house, "link") is not None, "the agent's first reading")
            promised = house.deliver(60)
            assert rig.account(house, promised).lost == 0
            hangs = worker_of(house.processes["collector"].pid)
            os.kill(hangs, signal.SIGSTOP)
            rig.wait_for(lambda: WORKER in late(house), "a worker that hangs to be named", 120)
            os.kill(hangs, signal.SIGCONT)
            rig.wait_for(lambda: WORKER not in late(house), "it to go on", 120)
            house.processes["collector"].send_signal(signal.SIGTERM)
            assert house.processes.pop("collector").wait(30) == 0
            assert "ingest_worker_stopping" in log.read_text()  # the worker's own last word
        finally:
            house.close()
