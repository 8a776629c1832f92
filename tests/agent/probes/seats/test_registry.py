"""The roll: healthy, unhealthy, missing, off; learned once, written rarely."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.common import code_text
from agent.config import SeatsSection
from agent.probes.seats.registry import MAX_FAULTS, MAX_SEATS, Registry, RegistryFull, judge_seat
from agent.probes.seats.registry_file import SeatRecord
from agent.seat.snapshot import Disk, Drive, Snapshot
from agent.wire import SeatColumns

LIMITS = SeatsSection(missing_after_s=180.0)
MINUTE_MS = 60_000


def said(number: int = 1, **more: Any) -> Snapshot:
    facts = (f"mac:{number:016x}",)
    return replace(
        Snapshot(id=f"s{number:016x}", name=f"SEAT-{number:02}", at_ms=0, nonce="0" * 32, facts=facts), **more
    )


def called(roll: Registry, now_ms: int) -> SeatColumns:
    reading = roll.call(now_ms, LIMITS)
    assert reading is not None
    assert reading.seats is not None
    assert reading.known == len(reading.seats.id)
    return reading.seats


def test_a_seat_is_healthy_while_it_reports_and_missing_when_it_falls_silent() -> None:
    roll = Registry(None)
    roll.take(said(), 0)
    assert called(roll, 180_000).state == ["healthy"]
    silent = called(roll, 180_001)
    assert (silent.state, silent.faults) == (["missing"], {"SEAT-01": "silent:silent_s=180"})
    # A missing seat shows no old values.
    assert silent.cpu_pct == [], "nothing is known of any seat"
    roll.take(said(), 200_000)
    assert called(roll, 200_000).state == ["healthy"]


def test_off_is_not_missing() -> None:
    roll = Registry(None)
    roll.take(said(), 0)
    roll.take(said(state="stopping"), 1000)
    assert called(roll, 100 * MINUTE_MS).state == ["off"]


def test_the_time_of_a_last_word_is_told_for_a_quarter_of_an_hour() -> None:
    roll = Registry(None)
    roll.take(said(1), 0)
    roll.take(said(2), 0)
    roll.take(said(3, state="stopping"), 0)
    assert called(roll, 60_000).quiet_s == [None, None, 60.0]
    roll.take(said(1), 180_000)
    assert called(roll, 200_000).quiet_s == [None, 200.0, 200.0]
    roll.take(said(1), 901_000)
    assert called(roll, 901_000).quiet_s == []


@pytest.mark.parametrize(
    ("values", "faults"),
    [
        ({"memory_pct": 99.0}, "memory:used_pct=99,limit_pct=97"),
        ({"disks": (Disk(role="system", total_gb=1.0, used_pct=98.0),)}, "disk:used_pct=98,limit_pct=97"),
        ({"temperature_c": 99.0}, "hot:now_c=99,limit_c=95"),
        (
            {"cpu_pct": 100.0, "memory_pct": 99.0, "temperature_c": 96.4},
            "memory:used_pct=99,limit_pct=97;hot:now_c=96,limit_c=95",
        ),
    ],
)
def test_an_unhealthy_seat_says_why_in_codes(values: dict[str, Any], faults: str) -> None:
    roll = Registry(None)
    roll.take(said(**values), 0)
    reading = called(roll, 0)
    assert (reading.state, reading.faults, reading.why) == (["unhealthy"], {"SEAT-01": faults}, [""])


def test_a_pc_at_work_is_in_use_and_healthy() -> None:
    roll = Registry(None)
    roll.take(said(cpu_pct=100.0, memory_pct=60.0, temperature_c=71.0), 0)
    reading = called(roll, 0)
    assert (reading.state, reading.faults, reading.cpu_pct) == (["healthy"], {}, [100.0])


def test_healthy_seats_cost_no_byte_for_what_is_wrong_with_others() -> None:
    roll = Registry(None)
    for number in range(1, 51):
        roll.take(said(number), 0)
    healthy = msgspec.json.encode(called(roll, 0))
    assert b"faults" not in healthy
    roll.take(said(50, memory_pct=98.0), 1)
    assert len(msgspec.json.encode(called(roll, 1).faults)) < 50


def test_more_faults_than_the_wire_takes_are_cut_between_two_codes() -> None:
    roll = Registry(None)
    failing = tuple(Drive(id=f"d{number}", size_gb=1000.5 + number, health="failing") for number in range(16))
    roll.take(said(drives=failing), 0)
    text = called(roll, 0).faults["SEAT-01"]
    assert len(text) <= MAX_FAULTS
    assert {code.code for code in code_text.decode(text, "seat_fault")} == {"seat_fault.disk_failing"}


def test_a_value_at_its_limit_or_unknown_is_healthy() -> None:
    seat = SeatRecord(id="s", name="", facts=(), last=said(memory_pct=97.0), heard_ms=0)
    assert judge_seat(seat, 0, 0, LIMITS) == ("healthy", [])


def test_the_counts_add_up() -> None:
    roll = Registry(None)
    for number in range(1, 6):
        roll.take(said(number), 0)
    roll.take(said(1, memory_pct=100.0), 400_000)
    roll.take(said(2), 400_000)
    roll.take(said(3, state="stopping"), 400_000)
    reading = roll.call(400_000, LIMITS)
    assert reading is not None
    assert (reading.known, reading.healthy, reading.unhealthy, reading.missing, reading.off) == (5, 1, 1, 2, 1)


def test_a_seat_is_called_by_its_name_unless_two_share_it() -> None:
    roll = Registry(None)
    roll.take(said(1, name="DESK"), 0)
    roll.take(said(2, name="DESK"), 0)
    roll.take(said(3, name=""), 0)
    roll.take(said(4), 0)
    assert sorted(called(roll, 0).id) == ["SEAT-04", *(f"s{number:016x}" for number in (1, 2, 3))]


def test_a_cloned_identity_is_noticed_and_forgotten_when_it_ends() -> None:
    roll = Registry(None)
    roll.take(said(1), 0)
    roll.take(said(1, facts=("mac:ffffffffffffffff",)), 1000)
    assert called(roll, 1000).faults == {"SEAT-01": "clone"}
    for minute in range(1, 17):
        roll.take(said(1, facts=("mac:ffffffffffffffff",)), minute * MINUTE_MS)
    assert called(roll, 16 * MINUTE_MS).state == ["healthy"]


def test_after_a_restart_silence_proves_nothing_until_it_has_lasted(tmp_path: Path) -> None:
    first = Registry(tmp_path)
    first.take(said(1), 0)
    first.save()
    again = Registry(tmp_path, now_ms=1000)
    assert again.call(2000, LIMITS) is None
    assert called(again, 181_001).state == ["missing"]
    assert called(again, 181_001).faults == {"SEAT-01": "unheard:silent_s=180"}
    # All heard again: no need to wait.
    heard = Registry(tmp_path, now_ms=1000)
    heard.take(said(1), 2000)
    assert called(heard, 2000).state == ["healthy"]


def test_who_said_goodbye_is_still_off_after_a_restart(tmp_path: Path) -> None:
    roll = Registry(tmp_path)
    roll.take(said(1), 0)
    roll.take(said(1, state="stopping"), 61_000)
    roll.save()
    assert called(Registry(tmp_path, now_ms=5), 6).state == ["off"]


def test_heartbeats_write_nothing(tmp_path: Path) -> None:
    roll = Registry(tmp_path)
    roll.take(said(1), 0)
    roll.call(0, LIMITS)
    before = (tmp_path / "seats.json").stat().st_mtime_ns
    for minute in range(1, 100):
        roll.take(said(1, cpu_pct=float(minute)), minute * MINUTE_MS)
        roll.call(minute * MINUTE_MS, LIMITS)
    assert (tmp_path / "seats.json").stat().st_mtime_ns == before


def test_seats_that_come_in_one_minute_are_one_write_before_the_call_that_counts_them(tmp_path: Path) -> None:
    roll = Registry(tmp_path)
    for number in range(1, 21):
        roll.take(said(number), number)
    roll.take(said(2, name="RENAMED"), 30)
    roll.take(said(3, state="stopping"), 31)
    assert not (tmp_path / "seats.json").exists(), "no seat is a write of its own"
    assert len(called(roll, MINUTE_MS).id) == 20
    seats = Registry(tmp_path).seats
    assert len(seats) == 20
    assert seats[said(2).id].name == "RENAMED"
    assert seats[said(3).id].said_goodbye


def test_a_roll_that_cannot_be_written_still_holds_in_memory(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    roll = Registry(tmp_path / "state")
    roll.take(said(1), 0)
    assert called(roll, 0).state == ["healthy"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"id":1}]', "[" * 100_000, "null"])
def test_a_spoilt_file_is_an_empty_roll(tmp_path: Path, text: str) -> None:
    (tmp_path / "seats.json").write_text(text)
    assert Registry(tmp_path).seats == {}


def test_a_roll_is_bounded() -> None:
    roll = Registry(None)
    for number in range(MAX_SEATS):
        roll.take(said(number), 0)
    with pytest.raises(RegistryFull, match="takes no more"):
        roll.take(said(MAX_SEATS), 0)
    # Those on it are still heard.
    roll.take(said(1), 1)
    assert called(roll, 1).state == ["healthy"] * MAX_SEATS


def test_seats_that_are_there_at_once_and_share_an_address_a_card_or_a_hypervisor_are_told() -> None:
    roll = Registry(None)
    for number in (1, 2, 3):
        roll.take(said(number), 0, "192.168.1.7")
    roll.take(said(4, facts=("mac:0000000000000001", "board:1")), 0, "192.168.1.8")
    roll.take(said(5, facts=("board:1",), is_virtual=True), 0, "127.0.0.1")
    roll.take(said(6, facts=("board:1",), is_virtual=False), 0, "127.0.0.1")
    found = called(roll, 1000)
    assert found.state == ["healthy"] * 6, "nothing of this is a fault of the seat"
    assert found.faults == {
        "SEAT-01": "one_address:n=3;one_machine:n=2",
        "SEAT-02": "one_address:n=3",
        "SEAT-03": "one_address:n=3",
        "SEAT-04": "one_machine:n=2",
        "SEAT-05": "virtual",
    }


def test_an_address_that_went_on_to_another_pc_is_shared_by_nobody() -> None:
    roll = Registry(None)
    roll.take(said(1), 0, "192.168.1.7")
    roll.take(said(1, state="stopping"), 1000, "192.168.1.7")
    roll.take(said(2), 2000, "192.168.1.7")
    assert "SEAT-02" not in called(roll, 3000).faults
