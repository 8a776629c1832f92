"""Off, asleep, unplugged and broken, told apart."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.config import AgentSettings, SeatsSection
from agent.probes.probe import Context
from agent.probes.seats.reachability import MOST_AT_ONCE, SilentSeat, cause, echo, is_on, look, parse_arp
from agent.probes.seats.registry import Registry
from agent.probes.seats.seats import mono_ms, probe
from agent.seat.clocks import slept_s
from agent.seat.identity import fact
from agent.seat.snapshot import Snapshot
from agent.wire import SeatsReading

LIMITS = SeatsSection(missing_after_s=180.0)
MAC = "3c:52:82:11:22:33"
FACTS = (fact("mac", MAC),)
ARP = """IP address       HW type     Flags       HW address            Mask     Device
192.0.2.7        0x1         0x2         3c:52:82:11:22:33     *        eth0
192.0.2.8        0x1         0x0         00:00:00:00:00:00     *        eth0
192.0.2.9        0x1         0x2         00:00:00:00:00:00     *        eth0
garbage
192.0.2.10       0x1         what        3c:52:82:11:22:34     *        eth0
"""


def said(**more: Any) -> Snapshot:
    return replace(Snapshot(id="s0123456789abcdef", name="SEAT-01", at_ms=0, nonce="0" * 32, facts=FACTS), **more)


def silent(address: str = "192.0.2.7", *, requested: bool = False) -> SilentSeat:
    return SilentSeat(id="s1", address=address, facts=FACTS, probed=requested)


# ---------------------------------------------------------------- while it lasts


def test_the_kernels_table_of_neighbours_is_read() -> None:
    assert parse_arp(ARP) == {"192.0.2.7": MAC}
    assert parse_arp("") == {}


@pytest.mark.parametrize(
    ("echoed", "requested", "before", "mac_now", "on"),
    [
        (True, False, {}, MAC, True),
        (True, False, {}, None, True),  # beyond a router there is no neighbour entry
        (False, False, {"192.0.2.7": MAC}, MAC, False),  # an old memory of it proves nothing
        (False, True, {"192.0.2.7": MAC}, MAC, True),  # a firewall drops echoes, ARP it must answer
        (False, True, {}, None, False),
        (True, True, {"192.0.2.7": MAC}, "3c:52:82:aa:bb:cc", False),  # another machine has its address now
    ],
)
def test_a_machine_is_on_when_it_and_no_other_answers(
    echoed: bool, requested: bool, before: dict[str, str], mac_now: str | None, on: bool
) -> None:
    assert is_on(silent(requested=requested), echoed, before, mac_now) is on


def test_many_silent_seats_are_asked_at_once_and_bounded(tmp_path: Path) -> None:
    requested: list[str] = []

    async def ask(address: str) -> bool:
        requested.append(address)
        return False

    many = [replace(silent(f"192.0.2.{number}"), id=f"s{number}") for number in range(250)]
    assert len(asyncio.run(look(many, ask, tmp_path / "none"))) == MOST_AT_ONCE == len(requested)


def test_this_machine_answers_and_no_name_does() -> None:
    assert asyncio.run(echo("127.0.0.1"))
    assert not asyncio.run(echo("no.such.host.invalid"))


def test_the_roll_says_whether_a_silent_pc_is_on() -> None:
    roll = Registry(None)
    roll.take(said(), 0, "192.0.2.7")
    assert roll.silent(60_000, LIMITS) == []
    (requested,) = roll.silent(200_000, LIMITS)
    assert (requested.address, requested.probed) == ("192.0.2.7", False)
    for answers, code in ((True, "silent_on"), (False, "silent_gone")):
        roll.note_answers({requested.id: answers})
        reading = roll.call(200_000, LIMITS)
        assert reading is not None
        assert reading.seats is not None
        assert reading.missing == 1
        assert reading.seats.faults == {"SEAT-01": f"{code}:silent_s=200"}
    assert roll.silent(200_000, LIMITS)[0].probed
    # Heard again: what the network said is past.
    roll.take(said(), 260_000, "192.0.2.7")
    assert roll.seats[requested.id].answers is None


def test_the_probe_asks_the_network_after_who_is_missing() -> None:
    roll = Registry(None, mono_ms() - 1_000_000)
    roll.take(said(facts=()), mono_ms() - 900_000, "127.0.0.1")
    (reading,) = asyncio.run(probe(Context(settings=AgentSettings(seats=LIMITS), deadline_s=5.0, registry=roll)))
    assert isinstance(reading, SeatsReading)
    assert reading.seats is not None
    assert [text.partition(":")[0] for text in reading.seats.faults.values()] == ["silent_on"]


# ---------------------------------------------------------------- afterwards

BEFORE = said(uptime_s=10_000.0, slept_s=0.0, running_s=9_000.0)


@pytest.mark.parametrize(
    ("now", "word"),
    [
        (said(uptime_s=60.0, slept_s=0.0, running_s=30.0), "off"),
        (said(uptime_s=12_400.0, slept_s=2_300.0, running_s=9_100.0), "asleep"),
        (said(uptime_s=12_400.0, slept_s=0.0, running_s=20.0), "stopped"),
        (said(uptime_s=12_400.0, slept_s=0.0, running_s=11_400.0), "network"),
    ],
)
def test_a_seat_that_comes_back_tells_what_its_silence_was(now: Snapshot, word: str) -> None:
    assert cause(BEFORE, now, 2400.0) == word
    roll = Registry(None)
    roll.take(BEFORE, 0)
    roll.take(now, 2_400_000)
    reading = roll.call(2_400_000, LIMITS)
    assert reading is not None
    assert reading.seats is not None
    assert reading.seats.state == ["healthy"]
    assert reading.seats.faults == {"SEAT-01": f"back_{word}:silent_s=2400"}
    # Not for ever.
    roll.take(now, 2_400_000 + 31 * 60_000)
    later = roll.call(2_400_000 + 31 * 60_000, LIMITS)
    assert later is not None
    assert "silent_s=2400" not in str(later)


def test_clocks_that_do_not_tell_give_no_cause() -> None:
    assert cause(said(), said(), 2400.0) is None


def test_who_said_goodbye_owes_no_explanation() -> None:
    roll = Registry(None)
    roll.take(replace(BEFORE, state="stopping"), 0)
    roll.take(said(uptime_s=60.0, running_s=30.0), 2_400_000)
    assert roll.seats[said().id].back_ms is None


def test_sleep_is_the_clock_that_runs_on_less_the_one_that_stops() -> None:
    assert slept_s(lambda: 100.0, lambda: 160.5) == 60.5
    assert slept_s(lambda: 100.0, lambda: 99.9) == 0.0
    here = slept_s()
    assert here is not None
    assert here >= 0
