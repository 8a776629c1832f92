"""What seats say of themselves where they are asked: read without a name, told on request, and counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.probes.seats.registry import conditions
from agent.seat.condition import ConditionReader, in_use, packages_days, parse
from agent.seat.snapshot import SeatCondition
from agent.wire import SeatFacts

PERSON = "UID=1000\nUSER=somebody\nACTIVE=1\nSTATE=active\nREMOTE=0\nCLASS=user\n"


@pytest.mark.parametrize(
    ("session", "present"),
    [
        (PERSON, True),
        (PERSON.replace("STATE=active", "STATE=closing"), False),
        (PERSON.replace("REMOTE=0", "REMOTE=1"), False),
        (PERSON.replace("CLASS=user", "CLASS=greeter"), False),
        ("", False),
    ],
)
def test_a_person_who_sits_there_is_a_session_and_no_name(tmp_path: Path, session: str, present: bool) -> None:
    (tmp_path / "1").write_text(session)
    assert in_use(tmp_path) is present


def test_the_age_of_updates_is_that_of_the_last_package(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("x")
    os.utime(tmp_path / "status", (1_000_000, 1_000_000))
    files = (str(tmp_path / "status"), str(tmp_path / "missing"))
    assert packages_days(1_000_000 + 86_400 * 40, files) == 40.0
    assert packages_days(0, files) == 0.0
    assert packages_days(0, files[1:]) is None


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b'{"days": 12, "products": [397568, 393472]}', (12.0, True)),
        (b'{"days": null, "products": [393472]}', (None, False)),
        (b'{"days": -1, "products": []}', (None, None)),
        (b'{"days": 3, "products": 397568}', (3.0, True)),
        (b"[]", (None, None)),
        (b"", (None, None)),
    ],
)
def test_what_windows_says_of_updates_and_antivirus(answer: bytes, found: tuple[float | None, bool | None]) -> None:
    assert parse(answer) == found


def test_this_machine_tells_its_system() -> None:
    assert ConditionReader()().system.startswith("debian-")


def test_only_counts_of_all_seats_are_made() -> None:
    found = conditions(
        [
            SeatCondition(in_use=True, system="windows-11", updated_days=3.0, antivirus=True),
            SeatCondition(in_use=True, system="windows-11", updated_days=36.0, antivirus=False),
            SeatCondition(in_use=False, system="debian-13"),
        ]
    )
    facts = SeatFacts(
        seats=3, systems={"debian-13": 1, "windows-11": 2}, updates_known=2, updates_late=1, antivirus_on=1,
        antivirus_off=1,
    )  # fmt: skip
    assert found == {"in_use": 2, "facts": facts}
    assert conditions([]) == {"in_use": None, "facts": None}
