"""What is sent of the past, again, or not at all: each cheat through a real broker and ingest, and what finds it."""

from __future__ import annotations

import copy
import math
import random
from contextlib import closing
from pathlib import Path

import pytest

from agent import wire
from collector.reports import day_store, schedule
from collector.store import Store
from tests.collector.conftest import Gateway
from tests.faults.cheats.cheats import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    STANDARDS,
    Cheat,
    Collector,
    cases,
    collector,
    enrolled,
    find,
)


def invent_the_past(here: Collector, mine: Gateway) -> None:
    here.live(mine)
    here.now_ms += 3 * HOUR
    old = [wire.encode_reading(here.stamped(wire.UpsReading(output_state="online"), NOON - HOUR, "x"))]
    here.send(mine.batch(old, live=False, nonce=here.nonce()))


def rewrite(here: Collector, mine: Gateway) -> None:
    """Other bytes under a number that was sent: of a tampered spool, or of a copy of the machine."""
    first, chain = mine.next_seq, mine.chain
    here.live(mine)
    here.send(mine.sealed([mine.ups(here.now_ms, battery_charge_pct=99)], first, chain))


def begin_anew(here: Collector, mine: Gateway) -> None:
    """The spool with the bad hours is deleted."""
    here.live(mine)
    here.now_ms += 2 * HOUR
    mine.spool, mine.next_seq, mine.chain = "f" * 32, 1, wire.GENESIS
    here.live(mine)


def leave_out(here: Collector, mine: Gateway) -> None:
    """Some readings in the middle never come."""
    here.live(mine)
    hidden = mine.batch([mine.ups(here.now_ms)])
    assert hidden.payload
    for _ in range(50):
        here.now_ms += MINUTE
        here.live(mine)


def put_the_clock_back(here: Collector, mine: Gateway) -> None:
    """A time server of the owner's own says that it is two hours ago."""
    here.live(mine)
    here.now_ms += MINUTE
    early = here.stamped(wire.UpsReading(output_state="online"), here.now_ms - 2 * HOUR, "x")
    here.send(mine.batch([wire.encode_reading(early)], nonce=here.nonce()))


def work_with_an_old_backup(here: Collector, mine: Gateway) -> None:
    """A copy of the machine with its key and spool of an hour ago goes on from there."""
    here.live(mine)
    sequence, chain = mine.next_seq, mine.chain
    here.live(mine)
    here.now_ms += HOUR
    mine.next_seq, mine.chain = sequence, chain
    here.send(mine.batch([mine.ups(here.now_ms, battery_charge_pct=50)], nonce=here.nonce()))


def play_yesterday_again(here: Collector, mine: Gateway) -> None:
    """A script that sends each reading of the UPS a second time, with the time of today."""
    dice, now_ms = random.Random(5), here.now_ms
    day = [
        (round(dice.gauss(228, 2), 1), round(dice.uniform(20, 40)), 1500.0 + dice.randint(0, 300)) for _ in range(200)
    ]
    for at_ms in (now_ms - 30 * HOUR, now_ms - 5 * HOUR):
        for first in range(0, 200, 100):
            raws = []
            for number, (volts, load, left_s) in enumerate(day[first : first + 100], first):
                values = {"output_state": "online", "input_voltage_v": volts, "load_pct": load, "runtime_s": left_s}
                raws.append(mine.ups(at_ms + number * MINUTE, **values))
            here.send(mine.batch(raws, live=False))


def play_a_good_hour_again(here: Collector, mine: Gateway) -> None:
    """The link's own good hour stands twice in place of a bad one, with new times."""
    dice = random.Random(5)
    hour = [(round(dice.gauss(18, 2), 2), round(dice.gauss(25, 3), 2), round(dice.uniform(0, 4), 2)) for _ in range(60)]
    for back_h in (20, 9, 5):
        raws = []
        for minute, (median, p95, jitter) in enumerate(hour):
            reading = wire.LinkReading(subject="wan", rtt_median_ms=median, rtt_p95_ms=p95, jitter_ms=jitter)
            raws.append(wire.encode_reading(here.stamped(reading, here.now_ms - back_h * HOUR + minute * MINUTE)))
        here.send(mine.batch(raws, live=False))


def play_one_hour_again(here: Collector, mine: Gateway) -> None:
    """An hour of yesterday in place of one bad hour of today, once."""
    dice, day = random.Random(5), 24 * 60
    drift = [228 + 4 * math.sin(n / 400) + dice.gauss(0, 1) for n in range(2 * day)]
    mains = [(float(round(volts)), float(round(dice.uniform(20, 40)))) for volts in drift]
    mains[day + 603 : day + 663] = mains[617:677]
    began_ms = here.now_ms - 2 * day * MINUTE
    for first in range(0, 2 * day, 96):
        raws = [
            mine.ups(began_ms + number * MINUTE, output_state="online", input_voltage_v=volts, load_pct=load)
            for number, (volts, load) in enumerate(mains[first : first + 96], first)
        ]
        here.send(mine.batch(raws, live=False))


def keep_a_slow_clock(here: Collector, mine: Gateway) -> None:
    """Half an hour behind from the first reading on, so that bad evenings fall after closing."""
    for _ in range(3):
        here.now_ms += MINUTE
        late = here.stamped(wire.UpsReading(output_state="online"), here.now_ms - 30 * MINUTE)
        here.send(mine.batch([wire.encode_reading(late)], nonce=here.nonce()))


def share_a_key(here: Collector, mine: Gateway) -> None:
    """Two centers with one gateway's key behind one VPN, each with a spool of its own."""
    twin = copy.copy(mine)
    twin.spool = "e" * 32
    for gateway in (mine, twin):
        here.live(gateway)


CHEATS: dict[str, Cheat] = {
    "an hour is played again": (play_one_hour_again, "repeated_values", DAY),
    "the past is invented": (invent_the_past, "past", 0),
    "the spool is rewritten": (rewrite, "equivocation", 0),
    "the spool is deleted": (begin_anew, "new_spool", 0),
    "readings are left out": (leave_out, "hole", HOUR),
    "yesterday is played again": (play_yesterday_again, "repeated_values", DAY),
    "an old backup is a second gateway": (work_with_an_old_backup, "equivocation", 0),
    "the clock is kept slow": (keep_a_slow_clock, "past", 0),
    "two centers share a key": (share_a_key, "new_spool", 0),
    "the clock is put back": (put_the_clock_back, "past", 0),
    "a good hour is played again": (play_a_good_hour_again, "repeated_values", DAY),
}


@pytest.mark.row(61)
@pytest.mark.parametrize("name", cases(CHEATS, "the past is invented"))
def test_a_cheat_is_found_in_its_time(tmp_path: Path, name: str) -> None:
    find(tmp_path, name, CHEATS[name])


@pytest.mark.row(61)
@pytest.mark.slow
def test_minutes_in_which_the_agent_was_stopped_are_unknown_and_unexplained(tmp_path: Path) -> None:
    """Two bad hours of an open day are left out; what is sent before and after does not fill them."""
    with closing(Store.open(f"sqlite:///{tmp_path}/nabz.db")) as store, collector(store) as here:
        mine = enrolled(store, "LHR-1")
        for first, last in ((-90, 0), (120, 210)):
            minutes = range(first, last)
            readings = [wire.LinkReading(subject="wan", rtt_median_ms=20.0, loss_pct=0.0) for _ in minutes]
            raws = [
                wire.encode_reading(here.stamped(one, NOON + minute * MINUTE))
                for minute, one in zip(minutes, readings, strict=True)
            ]
            here.now_ms = NOON + last * MINUTE
            here.send(mine.batch(raws, live=False))
        now_ms = NOON + 2 * DAY
        day_store.begin_days(store, now_ms)
        while day_store.make(store, STANDARDS, now_ms):
            pass
        with store.read() as conn:
            report = schedule.told(conn, "LHR-1", "2026-11", STANDARDS, now_ms)
    (day,) = [day for day in report["days"] if day["from_ms"] <= NOON < day["from_ms"] + DAY]
    assert day["unknown_unexplained"] + day["up"] == 24 * 60
    assert day["up"] == pytest.approx(180, abs=4)  # a reading speaks for the minute beside it, too
    assert day["unknown_explained"] == day["excused"] == day["ours"] == 0
