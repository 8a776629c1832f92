"""Long absences (rows 18 of the catalogue): a day without a broker, and a month; a real agent brings it all home.

The spool is the agent's own file, filled with the minutes it would have measured meanwhile. What comes first on return
is the newest; what does not come is exactly what the shed readings name.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from agent import wire
from agent.scheduling.schedule import value_of
from agent.spool.queue import Spool
from agent.spool.record import Head
from agent.spool.status import SpoolStats
from collector.commands.simulation import readings
from collector.commands.simulation.fleet import make_fleet
from collector.commands.simulation.readings import MINUTE_MS
from collector.store import Store, schema
from tests.faults import rig
from tests.faults.master import Account

LIVE_S = 60.0
CENTER = next(center for center in make_fleet(100, 1) if center.seats == 20)


def round_of(at_ms: int, boot_ms: int) -> list[wire.Reading]:
    """Link, gateway, UPS and seats of one minute, as they are measured with all probes on."""
    dice = random.Random(at_ms // MINUTE_MS)
    made = [
        readings.link(CENTER, at_ms, dice, offline=True, slow=False),
        readings.gateway(at_ms, dice, boot_ms),
        readings.ups(CENTER, at_ms, dice, None),
        readings.seats(CENTER, dice, is_open=True, broken=None),
    ]
    at = readings.stamp(CENTER, at_ms, boot_ms, 0)
    return [msgspec.structs.replace(item, at=at) for item in made]


def filled(path: Path, rounds: int, max_bytes: int) -> tuple[SpoolStats, Head]:
    """The spool after so many minutes without a receipt, until now, and its end."""
    until_ms = time.time_ns() // 1_000_000
    boot_ms = until_ms - (rounds + 1) * MINUTE_MS
    now_ms = [boot_ms]
    spool = Spool(path, stamp=lambda: readings.stamp(CENTER, now_ms[0], boot_ms, 0), max_bytes=max_bytes)
    for back in range(rounds, 0, -1):
        now_ms[0] = until_ms - back * MINUTE_MS
        made = round_of(now_ms[0], boot_ms)
        spool.append([wire.encode_reading(item) for item in made], value_of(made), now_ms[0])
    stats, head = spool.stats(), spool.head()
    spool.close()
    return stats, head


@dataclass(frozen=True)
class Homecoming:
    """`visible_s`: from the broker's return until the center's state is one measured after it; `first_is_live`: of all
    that came then, the first batch was."""

    account: Account
    visible_s: float
    lag_s: float
    drained_s: float
    first_is_live: bool
    spool: SpoolStats


def came_home(house: rig.House, rounds: int, max_bytes: int, drain_s: float, *, meets_no_broker: bool) -> Homecoming:
    """`meets_no_broker`: the broker is away too and comes back later than the agent, which measures meanwhile."""
    try:
        house.open()
        rig.wait_for(lambda: rig.newest(house, "link") is not None, "the first reading")
        house.stop("agent")
        stats, end = filled(house.folder / "agent" / "spool.db", rounds, max_bytes)
        before = evidence_rows(house)
        if meets_no_broker:
            house.kill("broker")
            house.start("agent")
            time.sleep(5)
            house.start("broker")
        else:
            house.start("agent")
        visible_s, lag_s, drained_s = watched(house, end, stats.shed, drain_s)
        first = evidence_of(house, before + 1)
        house.stop("agent")
        promises = house.heads()
        house.start("agent")
        at_last = [(spool, last, stats.shed if spool == end.spool else 0) for spool, (last, _) in promises.items()]
        rig.wait_for(lambda: all(missing(house, spool, last) <= shed for spool, last, shed in at_last), "the rest")
        house.stop("agent")
        return Homecoming(
            account=rig.account(house, promises),
            visible_s=visible_s,
            lag_s=lag_s,
            drained_s=drained_s,
            first_is_live=first.live,
            spool=stats,
        )
    finally:
        house.close()


def watched(house: rig.House, end: Head, shed: int, drain_s: float) -> tuple[float, float, float]:
    """Seconds until the newest state is seen, the worst age of it from then on, seconds until the backlog is here."""
    began_s, visible_s, worst_s = time.monotonic(), 0.0, 0.0
    while True:
        passed_s = time.monotonic() - began_s
        left = missing(house, end.spool, end.seq) - shed
        assert passed_s < drain_s, f"not drained within {drain_s:g} s: {left} of {end.seq} outstanding"
        newest = rig.newest(house, "link")
        age_s = (time.time_ns() / 1e6 - (newest or {"at": {"wall_ms": 0}})["at"]["wall_ms"]) / 1000
        if not visible_s and age_s < passed_s:
            visible_s = passed_s
        elif visible_s:
            worst_s = max(worst_s, age_s)
        if visible_s and left <= 0:
            return visible_s, worst_s, passed_s
        time.sleep(0.2)


def missing(house: rig.House, spool: str, last: int) -> int:
    """How many of a spool's numbers are not held."""
    return last - sum(min(end, last) - begin + 1 for begin, end, *_ in ranges(house, spool) if begin <= last)


def ranges(house: rig.House, spool: str) -> list[tuple[int, int, str, str]]:
    store = Store.open(house.database)
    with store.read() as conn:
        text = conn.scalar(sa.select(schema.spools.c.ranges).where(schema.spools.c.spool == spool))
    store.close()
    return msgspec.json.decode(text, type=list[tuple[int, int, str, str]]) if text else []


def evidence_rows(house: rig.House) -> int:
    store = Store.open(house.database)
    with store.read() as conn:
        newest = conn.scalar(sa.select(sa.func.max(schema.evidence.c.id)))
    store.close()
    return int(newest or 0)


def evidence_of(house: rig.House, row: int) -> wire.Batch:
    store = Store.open(house.database)
    with store.read() as conn:
        body = conn.scalar(sa.select(schema.evidence.c.body).where(schema.evidence.c.id == row))
    store.close()
    assert body is not None
    return wire.decode_batch(body)


@pytest.mark.row(18)
def test_after_a_partition_the_newest_comes_first_and_nothing_is_missing(torture: bool, tmp_path: Path) -> None:
    rounds = 1440 if torture else 90
    back = came_home(rig.House(tmp_path), rounds, 64 << 20, drain_s=600 if torture else 60, meets_no_broker=torture)
    print(rounds, "minutes without a broker:", back)
    assert back.account.promised > 4 * rounds
    assert back.account.clean
    assert back.account.shed == 0
    assert back.first_is_live
    assert back.visible_s < LIVE_S
    assert back.lag_s < LIVE_S


UNRECEIPTED = 12  # held already when the line went, shed all the same as no receipt had come: three rounds at most


@pytest.mark.slow
@pytest.mark.row(18)
def test_after_a_month_what_is_missing_is_exactly_what_was_shed(torture: bool, tmp_path: Path) -> None:
    """The quick one fills a small file, so that there is something to shed."""
    rounds, max_bytes = (43_200, 64 << 20) if torture else (150, 96 << 10)
    back = came_home(rig.House(tmp_path), rounds, max_bytes, drain_s=3600 if torture else 60, meets_no_broker=torture)
    print(rounds, "minutes without a broker:", back)
    assert back.spool.bytes <= max_bytes
    assert back.account.clean
    assert back.account.held + back.account.shed == back.account.promised
    assert 0 <= back.spool.shed - back.account.shed <= UNRECEIPTED
    assert torture or back.account.shed > 0


BACKLOG_FIRST = [
    ("agent/uplink/window.py", "    if fresh:\n        return", "    if fresh and not backlog:\n        return"),
]


@pytest.mark.slow
@pytest.mark.control("the backlog is sent before what is new", row=18)
def test_an_agent_that_sends_the_oldest_first_is_seen(tmp_path: Path) -> None:
    house = rig.House(tmp_path, source=rig.plant(tmp_path, BACKLOG_FIRST))
    back = came_home(house, 90, 64 << 20, drain_s=60, meets_no_broker=False)
    assert not back.first_is_live
