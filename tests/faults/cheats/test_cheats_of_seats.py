"""Seats and power supplies: each cheat through a real broker and ingest, and what finds it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import sqlalchemy as sa

from agent import wire
from agent.config import SeatsSection
from agent.probes.seats.registry import Registry
from agent.seat.snapshot import Snapshot
from collector.judging.patterns.limits import RULES
from collector.store import schema
from tests.collector.conftest import Gateway
from tests.faults.cheats.cheats import (
    DAY,
    HOUR,
    MINUTE,
    Cheat,
    Collector,
    cases,
    enrolled,
    find,
)


def one_pc_as_forty_seats(here: Collector, mine: Gateway) -> None:
    dice, seats = random.Random(5), [f"s{n}" for n in range(6)]
    raws = []
    for n in range(RULES.rounds + 2):
        cpu, memory = round(dice.uniform(1, 60), 1), round(dice.uniform(20, 60), 1)
        columns = wire.SeatColumns(id=seats, state=["healthy"] * 6, why=[""] * 6, cpu_pct=[cpu] * 6,
                                   memory_pct=[memory] * 6)  # fmt: skip
        reading = wire.SeatsReading(known=6, healthy=6, seats=columns)
        raws.append(wire.encode_reading(here.stamped(reading, here.now_ms - (60 - n) * MINUTE)))
    here.send(mine.batch(raws, live=False))


def many_seats_of_one_machine(here: Collector, mine: Gateway) -> None:
    """A program poses as six PCs from one address, in virtual machines that share the host's disk."""
    roll = Registry(None)
    for number in range(6):
        facts = (f"mac:{number:016x}", "disk:00000000000000aa")
        seat = Snapshot(id=f"s{number:016x}", name=f"S{number}", at_ms=0, nonce="0" * 32, facts=facts, is_virtual=True)
        roll.take(seat, 0, "192.168.1.7")
    reading = roll.call(1000, SeatsSection())
    assert reading is not None
    here.live(mine, reading)


def seats_of_another_center(here: Collector, mine: Gateway) -> None:
    columns = wire.SeatColumns(id=["s1", "s2"], state=["healthy"] * 2, why=[""] * 2)
    for gateway in (mine, enrolled(here.store, "KHI-1")):
        here.live(gateway, wire.SeatsReading(known=2, healthy=2, seats=columns))


def pretend_a_ups(here: Collector, mine: Gateway) -> None:
    """A script that says the same for ever."""
    values = {"output_state": "online", "input_voltage_v": 228.0, "load_pct": 30.0, "runtime_s": 1800.0}
    now_ms = here.now_ms
    for first in range(0, 620, 100):
        raws = [mine.ups(now_ms - (640 - n) * MINUTE, **values) for n in range(first, first + 100)]
        here.send(mine.batch(raws, live=False))


def seats_in_containers(here: Collector, mine: Gateway) -> None:
    """Each with load of its own and an address of its own; the kernel beneath them began once."""
    seats, dice = [f"s{n}" for n in range(6)], random.Random(5)
    columns = wire.SeatColumns(
        id=seats, state=["healthy"] * 6, why=[""] * 6, cpu_pct=[round(dice.uniform(1, 60), 1) for _ in seats],
        memory_pct=[round(dice.uniform(20, 60), 1) for _ in seats], uptime_s=[4000.0 + n / 10 for n in range(6)],
    )  # fmt: skip
    here.live(mine, wire.SeatsReading(known=6, healthy=6, seats=columns))


def a_ups_that_carries_nothing(here: Collector, mine: Gateway) -> None:
    """It stands beside the PCs, which are plugged into the wall."""
    now_ms, seats = here.now_ms, wire.SeatColumns(id=["s1"], state=["healthy"], why=[""])
    for first in range(0, 640, 40):
        raws = []
        for minute in range(first, first + 40):
            at_ms = now_ms - (650 - minute) * MINUTE
            empty = wire.UpsReading(output_state="online", input_voltage_v=226.0 + minute % 4, load_pct=0.0)
            work = wire.SeatsReading(known=1, healthy=1, seats=seats)
            raws += [wire.encode_reading(here.stamped(one, at_ms)) for one in (empty, work)]
        here.send(mine.batch(raws, live=False))


def a_ups_that_sees_no_cut(here: Collector, mine: Gateway) -> None:
    """A script, where the neighbours on the feeder lose the mains each day."""
    neighbours = [enrolled(here.store, f"LHR-{n}") for n in range(2, 6)]
    with here.store.write() as conn:
        conn.execute(sa.update(schema.centers).values(feeder="F-1"))
    for gateway in (mine, *neighbours):
        here.live(gateway, wire.UpsReading(output_state="online", input_voltage_v=228.0))
    facts = {"subject": "ups", "revision": 0, "open": False, "facts": "{}"}
    rows = [
        {"center": gateway.center, "noted_ms": at_ms, "recorded_ms": at_ms, "from_ms": at_ms, "last_ms": at_ms, **facts}
        for gateway in neighbours
        for at_ms in range(here.now_ms - 6 * DAY, here.now_ms, DAY)
    ]
    with here.store.write() as conn:
        conn.execute(sa.insert(schema.cuts), rows)


def a_ups_that_promised_more(here: Collector, mine: Gateway) -> None:
    """The gateway dies of a cut, two minutes after half an hour was left."""
    here.live(mine, wire.UpsReading(output_state="battery", runtime_s=1800.0))
    died_ms = here.now_ms + 2 * MINUTE
    here.now_ms += HOUR
    here.live(mine, wire.BootReading(previous_end="power", last_alive_ms=died_ms))


CHEATS: dict[str, Cheat] = {
    "one PC is forty seats": (one_pc_as_forty_seats, "twin_seats", DAY),
    "a machine poses as seats: its disk": (many_seats_of_one_machine, "one_machine", MINUTE),
    "a machine poses as seats: its address": (many_seats_of_one_machine, "one_address", MINUTE),
    "seats are virtual machines": (many_seats_of_one_machine, "virtual_seats", MINUTE),
    "seats of another center": (seats_of_another_center, "shared_seat", MINUTE),
    "a UPS is a script": (pretend_a_ups, "ups_frozen", DAY),
    "seats are containers": (seats_in_containers, "one_boot", MINUTE),
    "a UPS carries nothing": (a_ups_that_carries_nothing, "ups_unloaded", DAY),
    "a UPS sees no cut": (a_ups_that_sees_no_cut, "ups_never_cut", MINUTE),
    "a UPS promised more": (a_ups_that_promised_more, "ups_contradicted", DAY),
}


@pytest.mark.row(61)
@pytest.mark.parametrize("name", cases(CHEATS))
def test_a_cheat_is_found_in_its_time(tmp_path: Path, name: str) -> None:
    find(tmp_path, name, CHEATS[name])
