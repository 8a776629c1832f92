"""Gateways whose clocks are wrong (rows 15 to 17 of the torture catalogue): in 1970, in 2036, and jumping about.

A real agent runs under libfaketime, which moves its wall clock, OpenSSL's too, and leaves the monotonic clocks alone.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agent import wire
from collector.store import Store, schema
from tests.faults import rig
from tests.helpers.ports import free_ports
from tests.helpers.processes import token_words

NEAR_MS = 2_000
SOON_S = 120.0  # until the first reading is held, from the agent's start
HOUR_S, YEARS_10_S = 3_600, 3650 * 86_400
WAKES = {"1970": 60 - int(time.time()), "2036": YEARS_10_S}
LIES = (HOUR_S, -HOUR_S, -300)  # jumps of a clock that goes on saying that it is synchronised


def faketime() -> Path:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found and os.environ.get("CI"):
        pytest.fail("faketime is not installed; see tests/packages.txt")
    if not found:
        pytest.skip("faketime is not installed (Debian: apt install faketime)")
    return found[0]


@dataclass
class House(rig.House):
    """With TLS at the broker and the door, and an agent whose wall clock is ours to set. Broker and collector are one
    process."""

    off_file: Path = field(init=False)
    synced: Path = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tls, self.door = free_ports(2)
        text = self.collector_toml.read_text().partition("[broker]")[0]
        self.collector_toml.write_text(
            f'{text}[broker]\nlisten = "127.0.0.1:{self.broker}"\ntls_listen = "127.0.0.1:{self.tls}"\n'
            f'[enrolment]\nlisten = "127.0.0.1:{self.door}"\n[measure]\nenabled = false\n'
        )
        self.off_file, self.synced = self.folder / "off", self.folder / "synced"
        clock = {"LD_PRELOAD": faketime(), "FAKETIME_TIMESTAMP_FILE": self.off_file, "FAKETIME_NO_CACHE": 1}
        path = f"PYTHONPATH={self.source}{os.pathsep}{rig.ROOT}"
        faked = [f"{name}={value}" for name, value in {**clock, "FAKETIME_DONT_FAKE_MONOTONIC": 1}.items()]
        work = (sys.executable, "-m", "tests.faults.clocks.clock_work", "agent", str(self.agent_toml), str(self.synced))
        self.argv["agent"] = ["env", path, *faked, *work]

    def set_clock(self, off_s: int, *, synced: bool) -> None:
        """How far the agent's wall clock is from ours, and what its kernel says of it."""
        beside = self.off_file.with_suffix(".new")
        beside.write_text(f"{off_s:+d}\n")
        self.synced.unlink(missing_ok=True)
        beside.replace(self.off_file)
        if synced:
            self.synced.touch()

    def join(self) -> None:
        """Enrolled by the right time, as an installer does it."""
        self.start("collector")
        self.wait_healthy()
        config = ("--config", str(self.collector_toml))
        facts = ("--code", "CLK-1", "--name", "Clocks", "--tier", "one", "--seats", "1", "--opening", "always")
        self.call(self.collector("center", "add", *config, *facts))
        token = json.loads(self.call(self.collector("token", "CLK-1", "--json", *config)))["token"]
        door = f"https://127.0.0.1:{self.door}"
        self.call(self.agent("enrol", door, *token_words(self.folder, token), "--config", str(self.agent_toml)))

    def rows(self, query: sa.Select[Any]) -> list[sa.Row[Any]]:
        with closing(Store.open(self.database)) as store, store.read() as conn:
            return list(conn.execute(query))

    def wait_for_readings(self, more: int) -> float:
        """Seconds until so many more are held."""
        began_s, had = time.monotonic(), self.count()
        rig.wait_for(lambda: self.count() >= had + more, f"{more} readings", SOON_S)
        return time.monotonic() - began_s

    def count(self) -> int:
        table = schema.readings["link"].c
        return len(self.rows(sa.select(table.seq)))


def ahead_ms() -> int:
    """How far the true time is ahead of this machine's monotonic clock."""
    return (time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) // 1_000_000


@dataclass(frozen=True)
class Dated:
    """Readings of the whole ordeal: how many, how many had a wall clock that was wrong by more than a minute, and how
    far from the truth each is filed, in milliseconds. `backwards`: not later than the one before."""

    readings: int
    misdated: int
    off_ms: Sequence[int]
    backwards: int


def dated(house: House) -> Dated:
    filed: dict[tuple[str, int], int] = {}
    for table in schema.readings.values():
        for row in house.rows(sa.select(table.c.spool, table.c.seq, table.c.wall_ms)):
            filed[row.spool, row.seq] = row.wall_ms
    stamps: dict[tuple[str, int], wire.Stamp] = {}
    for row in house.rows(sa.select(schema.evidence.c.body)):
        batch = wire.decode_batch(row.body)
        for seq, raw in enumerate(batch.readings, batch.first_seq):
            at = wire.decode_reading(bytes(raw)).at
            assert at is not None
            stamps[batch.spool, seq] = at
    true_ms = {key: at.mono_ms + ahead_ms() for key, at in stamps.items()}
    assert filed.keys() == stamps.keys()
    order = sorted(stamps)
    return Dated(
        readings=len(stamps),
        misdated=sum(abs(at.wall_ms - true_ms[key]) > 60_000 for key, at in stamps.items()),
        off_ms=sorted(abs(filed[key] - true_ms[key]) for key in stamps),
        backwards=sum(
            (filed[one] - filed[other]) * (stamps[one].mono_ms - stamps[other].mono_ms) < 0
            or (filed[one] == filed[other]) != (stamps[one].mono_ms == stamps[other].mono_ms)
            for one, other in itertools.pairwise(order)
        ),
    )


def lived(house: House, off_s: int) -> tuple[float, Dated]:
    """An agent wakes at a wrong time and connects; the line goes, it measures on and loses its power; when it is back,
    so is the time; then its clock jumps about. Returns how long it took to connect."""
    try:
        house.join()
        house.set_clock(off_s, synced=False)
        house.start("agent")
        connect_s = house.wait_for_readings(1)
        house.wait_for_readings(2)
        house.kill("collector")
        time.sleep(4)
        house.kill("agent")
        house.start("collector")
        house.wait_healthy()
        house.set_clock(0, synced=True)
        house.start("agent")
        house.wait_for_readings(3)
        for lie_s in LIES:
            house.set_clock(lie_s, synced=True)
            house.wait_for_readings(2)
        house.set_clock(0, synced=True)
        promises = house.deliver(60)
        account = rig.account(house, promises)
        assert account.clean, account
        return connect_s, dated(house)
    finally:
        house.close()


@pytest.mark.slow
@pytest.mark.row(15, 16, 17)
def test_a_gateway_that_wakes_at_a_wrong_time_connects_and_all_it_measured_gets_its_time(
    torture: bool, tmp_path: Path
) -> None:
    lives = 10 if torture else 1
    connects, off_ms, misdated = [], [], 0
    for number in range(lives):
        for name in WAKES if torture else ("1970",):
            folder = tmp_path / f"{name}-{number}"
            folder.mkdir()
            connect_s, found = lived(House(folder), WAKES[name])
            print(f"{name}: connected in {connect_s:.1f} s; {found.readings} readings, worst {found.off_ms[-1]} ms off")
            assert found.misdated > 0  # there was something to put right, and evidence has it still
            assert found.off_ms[-1] <= NEAR_MS
            assert found.backwards == 0
            connects, off_ms, misdated = [*connects, connect_s], [*off_ms, *found.off_ms], misdated + found.misdated
    print(f"connects: n {len(connects)}, median {statistics.median(connects):.1f} s, worst {max(connects):.1f} s;")
    print(f"readings: n {len(off_ms)}, {misdated} with a wrong clock; median {statistics.median(off_ms)} ms off")
    assert max(connects) < SOON_S


# ---------------------------------------------------------------- the play


def played(source: Path, seed: int, jumps: int) -> dict[str, int]:
    found: dict[str, int] = rig.work("tests.faults.clocks.clock_work", "jumps", seed, jumps, source=source)
    print(found)
    return found


FAULTS = ("missing", "altered", "far_off", "of_1970", "backwards", "twice", "out_of_slot", "slots_missed")


@pytest.mark.row(15, 17)
def test_whatever_clocks_do_readings_keep_their_order_and_tests_their_slots(seed: int, torture: bool) -> None:
    jumps = 10_000 if torture else 160
    found = played(rig.ROOT, seed, jumps)
    assert found["jumps"] == jumps
    assert found["dated"] > 0
    assert found["tests"] > 0
    assert {name: found[name] for name in FAULTS if found.get(name)} == {}


FORGETFUL = [
    (
        "collector/ingest/transaction.py",
        "writer.boots = boot_clocks.load(",
        "writer.boots = boot_clocks.BootClocks() or (",
    )
]
NOT_MOVED = [
    (
        "collector/ingest/times/boot_clocks.py",
        "for key in sorted(boots.better)",
        "for key in sorted(boots.better & set())",
    )
]
BY_WALL = [
    (
        "collector/ingest/rows.py",
        "dated(stamp.mono_ms, figures[stamp.boot], self.now_ms, when.from_ms)",
        "stamp.wall_ms",
    )
]
SLOTS_BY_WALL = [("agent/uplink/trust.py", "self._wall() if self._ahead_ms is None else", "self._wall() if True else")]


def seen(edits: list[tuple[str, str, str]], folder: Path) -> set[str]:
    found = played(rig.plant(folder, edits), seed=3, jumps=160)
    return {name for name in FAULTS if found.get(name)}


@pytest.mark.control("the clock of a boot is forgotten after each batch", row=15)
def test_a_collector_that_forgets_clocks_is_seen(tmp_path: Path) -> None:
    assert "far_off" in seen(FORGETFUL, tmp_path)


@pytest.mark.control("readings stay where receipt had put them", row=15)
def test_a_repair_that_leaves_stored_readings_is_seen(tmp_path: Path) -> None:
    assert "far_off" in seen(NOT_MOVED, tmp_path)


@pytest.mark.control("readings are filed by the wall clock", row=17)
def test_a_collector_that_believes_every_clock_is_seen(tmp_path: Path) -> None:
    assert {"of_1970", "backwards"} <= seen(BY_WALL, tmp_path)


@pytest.mark.control("speed tests are planned by the wall clock", row=17)
def test_a_plan_by_the_wall_clock_is_seen(tmp_path: Path) -> None:
    assert "out_of_slot" in seen(SLOTS_BY_WALL, tmp_path)
