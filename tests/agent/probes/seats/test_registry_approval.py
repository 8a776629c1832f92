"""What people decide about the roll: who counts, which parts are right, what a seat is called."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.__main__ import main
from agent.common.reading_codes import fault
from agent.config import SeatsSection
from agent.probes.parts import SeatParts, grown, lost
from agent.probes.seats import registry_file
from agent.probes.seats.registry import FIRST_DAY_MS, Policy, Registry, is_let_in
from agent.probes.seats.registry_file import Order, SeatRecord
from agent.seat.snapshot import Drive, Snapshot
from agent.wire import SeatsReading

LIMITS = SeatsSection(missing_after_s=180.0)
NOON_MS = 1_800_000_000_000
SSD, HDD = Drive(id="a" * 16, size_gb=256.1), Drive(id="b" * 16, size_gb=1000.2)


def said(number: int = 1, **more: Any) -> Snapshot:
    plain = Snapshot(
        id=f"s{number:016x}", name=f"SEAT-{number:02}", at_ms=NOON_MS, nonce="0" * 32, facts=(f"mac:{number:016x}",)
    )
    return replace(plain, **more)


def called(roll: Registry, now_ms: int = 0) -> SeatsReading:
    reading = roll.call(now_ms, LIMITS)
    assert reading is not None
    assert reading.seats is not None
    return reading


def agent(folder: Path, *words: str) -> int:
    settings = folder / "agent.toml"
    settings.write_text(f'[agent]\nstate_dir = "{folder}"\n')
    return main(["seats", *words, "--config", str(settings)])


# ---------------------------------------------------------------- who counts


@pytest.mark.parametrize(
    ("policy", "later_ms", "counts"),
    [
        ("first", FIRST_DAY_MS, True),
        ("first", FIRST_DAY_MS + 1, False),
        ("always", 10 * FIRST_DAY_MS, True),
        ("never", 0, False),
    ],
)
def test_new_hardware_counts_as_the_policy_says(policy: Policy, later_ms: int, counts: bool) -> None:
    first = SeatRecord(id="s1", name="", facts=(), since_ms=NOON_MS)
    assert is_let_in(policy, [first], said(2, at_ms=NOON_MS + later_ms), "192.0.2.7") is counts


def test_the_first_day_does_not_begin_in_1970() -> None:
    unset = SeatRecord(id="s1", name="", facts=(), since_ms=1000)
    assert is_let_in("first", [unset], said(2), "")


def test_a_new_seat_is_named_and_not_counted_until_it_is_approved(tmp_path: Path) -> None:
    roll = Registry(tmp_path, 0, "never")
    roll.take(said(1), 0)
    reading = called(roll)
    assert (reading.known, reading.healthy) == (0, 0)
    assert reading.seats is not None
    assert (reading.seats.id, reading.seats.waiting) == ([], ["SEAT-01"])
    registry_file.give(tmp_path, Order(do="approve", seat=said(1).id))
    assert called(roll).healthy == 1
    assert not list(tmp_path.glob(registry_file.ORDERS))
    # And still so after a restart.
    assert Registry(tmp_path, 0, "never").seats[said(1).id].approved


def test_who_was_on_the_roll_before_there_was_approval_stays_on_it(tmp_path: Path) -> None:
    (tmp_path / "seats.json").write_text('[{"id": "s1", "name": "A", "facts": ["mac:1"], "off": false}]')
    assert Registry(tmp_path, 0, "never").seats["s1"].approved


# ---------------------------------------------------------------- the commands


def test_people_list_approve_rename_and_forget_seats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roll = Registry(tmp_path, 0, "never")
    for number in (1, 2, 3):
        roll.take(said(number), number)
    roll.save()
    capsys.readouterr()
    assert agent(tmp_path, "approve", "SEAT-01") == 0
    assert agent(tmp_path, "rename", "SEAT-01", "DESK-1") == 0
    # What was ordered shows at once, though the agent has not taken it up yet.
    assert agent(tmp_path, "approve", "DESK-1", "--json") == 0
    assert agent(tmp_path, "forget", "SEAT-03") == 0
    capsys.readouterr()
    assert agent(tmp_path, "list", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["state"]) for row in rows] == [("DESK-1", "counted"), ("SEAT-02", "new")]
    assert called(roll, 70_001).healthy == 1
    assert agent(tmp_path, "approve", "--all") == 0
    reading = called(roll, 70_002)
    assert reading.seats is not None
    assert reading.seats.id == ["DESK-1", "SEAT-02"]
    # The seat goes on calling itself as it did; the name given here stands.
    roll.take(said(1), 70_003)
    assert roll.seats[said(1).id].called == "DESK-1"


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (("approve",), "--all"),
        (("approve", "NOBODY"), "no seat 'NOBODY'"),
        (("forget", "DESK"), "2 seats are called 'DESK'"),
        (("rename", "SEAT-01", "Ali's PC"), "at most 32"),
    ],
)
def test_a_wrong_seat_is_one_line_and_exit_2(
    words: tuple[str, ...], rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roll = Registry(tmp_path)
    for number, name in ((1, "SEAT-01"), (2, "DESK"), (3, "DESK")):
        roll.take(said(number, name=name), 0)
    roll.save()
    assert agent(tmp_path, *words) == 2
    said_so = capsys.readouterr().err
    assert rule in said_so
    assert said_so.count("\n") == 1
    assert not list(tmp_path.glob(registry_file.ORDERS))


def test_a_gateway_without_seats_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert agent(tmp_path, "list") == 0
    assert "no seat has reported" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    ["", "[", "[]", '{"do":"burn","seat":"s1","name":""}', '{"do":"rename","seat":"s1","name":"<b>"}', "[" * 9999],
)
def test_a_file_that_holds_no_order_is_removed_and_changes_nothing(tmp_path: Path, text: str) -> None:
    roll = Registry(tmp_path)
    roll.take(said(1), 0)
    (tmp_path / "seats-order-0.json").write_text(text)
    assert called(roll).healthy == 1
    assert not list(tmp_path.glob(registry_file.ORDERS))


# ---------------------------------------------------------------- parts


def test_a_part_that_goes_is_unhealthy_until_people_accept_it(tmp_path: Path) -> None:
    roll = Registry(tmp_path)
    roll.take(said(memory_mb=16_000.0, drives=(SSD, HDD)), 0)
    roll.save()
    # The accepted parts outlive the agent.
    roll = Registry(tmp_path, 0)
    roll.take(said(memory_mb=8_000.0, drives=(SSD,)), 70_000)
    reading = called(roll, 70_000)
    assert reading.seats is not None
    assert reading.unhealthy == 1
    gone = "memory_gone:left_gb=8,all_gb=16;disk_gone:size_gb=1000.2"
    assert reading.seats.faults == {reading.seats.id[0]: gone}
    assert reading.seats.changed == [gone]
    registry_file.give(tmp_path, Order(do="accept", seat=said().id))
    reading = called(roll, 70_001)
    assert reading.seats is not None
    assert (reading.healthy, reading.seats.changed) == (1, [])


def test_a_part_that_comes_back_or_is_added_needs_no_word() -> None:
    roll = Registry(None)
    roll.take(said(memory_mb=8_000.0, drives=(SSD,)), 0)
    roll.take(said(memory_mb=16_000.0, drives=(SSD, HDD)), 1)
    assert called(roll, 1).healthy == 1
    # From then on it is missed when it goes.
    roll.take(said(memory_mb=8_000.0, drives=(SSD,)), 2)
    assert called(roll, 2).unhealthy == 1
    roll.take(said(memory_mb=16_000.0, drives=(SSD, HDD)), 3)
    assert called(roll, 3).healthy == 1


def test_what_cannot_be_read_is_not_gone() -> None:
    accepted = SeatParts(memory_mb=8_000.0, drives={SSD.id: SSD.size_gb})
    assert lost(accepted, SeatParts()) == []
    assert grown(accepted, SeatParts()) == accepted
    # Firmware that takes a little more memory has not taken a module.
    assert lost(accepted, SeatParts(memory_mb=7_600.0)) == []
    assert lost(accepted, SeatParts(memory_mb=7_500.0)) == [fault("memory_gone", left_gb=7.5, all_gb=8.0)]


def test_a_failing_disk_is_unhealthy() -> None:
    roll = Registry(None)
    roll.take(said(drives=(replace(SSD, health="failing"), HDD)), 0)
    reading = called(roll)
    assert reading.seats is not None
    assert list(reading.seats.faults.values()) == ["disk_failing:size_gb=256.1"]
