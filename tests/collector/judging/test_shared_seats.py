"""One PC on two roll calls: a finding at both centers, once a day, and none for one that moved or is switched off."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from agent import wire
from agent.common.reasons import Reason, decode
from collector.judging import place_facts, shared_seats
from collector.judging.shared_seats import FRESH_MS, REPEAT_MS, SeatsSeen, SharedSeats, shared
from collector.store import Store, schema, upsert

NOW_MS = 1_780_000_000_000
MINUTE_MS = 60_000


@pytest.fixture
def store(either_store: Store) -> Store:
    return either_store


def call(center: str, *seats: str) -> SeatsSeen:
    return SeatsSeen(center=center, device=f"g{center}", seats=frozenset(seats))


def test_each_center_is_told_of_each_other_and_of_nobody_else() -> None:
    found = shared([call("A", "s1", "s2", "s3"), call("B", "s2", "s3", "s4"), call("C", "s3"), call("D", "s5")])
    assert [(item.center, item.other, item.seats) for item in found] == [
        ("A", "B", ("s2", "s3")), ("A", "C", ("s3",)), ("B", "A", ("s2", "s3")), ("B", "C", ("s3",)),
        ("C", "A", ("s3",)), ("C", "B", ("s3",)),
    ]  # fmt: skip
    assert found[0] == SharedSeats(center="A", device="gA", other="B", seats=("s2", "s3"))


def roll(store: Store, center: str, received_ms: int, **states: str) -> None:
    columns = wire.SeatColumns(id=list(states), state=list(states.values()), why=[""] * len(states))  # type: ignore[arg-type]
    stamp = wire.Stamp(mono_ms=1, boot="0" * 32, wall_ms=received_ms, clock="synced")
    reading = wire.SeatsReading(at=stamp, subject="lan", known=len(states), seats=columns)
    row = {
        "center": center, "kind": "seats", "subject": "lan", "device": f"g{center}", "wall_ms": received_ms,
        "received_ms": received_ms, "body": wire.encode_reading(reading).decode(),
    }  # fmt: skip
    with store.write() as conn:
        upsert(conn, schema.latest, [row])


def findings(store: Store) -> list[tuple[str, Reason]]:
    with store.read() as conn:
        rows = conn.execute(sa.select(schema.integrity).order_by(schema.integrity.c.id)).all()
    assert {row.finding for row in rows} <= {"shared_seat"}
    return [(row.center, decode(row.detail)) for row in rows]


def looked(store: Store, now_ms: int) -> int:
    with store.keep() as conn:
        return place_facts.insert(conn, shared_seats.findings(conn, now_ms), now_ms)


def test_it_is_written_once_a_day_at_both_centers(store: Store) -> None:
    roll(store, "LHR-001", NOW_MS, s1="healthy", s2="unhealthy", s3="healthy")
    roll(store, "LHR-002", NOW_MS, s2="healthy", s4="healthy")
    assert looked(store, NOW_MS) == 2
    assert findings(store) == [
        (code, Reason.of("finding.seats_elsewhere", n=1, seats=["s2"], center=other))
        for code, other in (("LHR-001", "LHR-002"), ("LHR-002", "LHR-001"))
    ]
    roll(store, "LHR-001", NOW_MS + MINUTE_MS, s2="healthy", s4="healthy")
    assert looked(store, NOW_MS + MINUTE_MS) == 0, "the pair has been named today, whichever PCs they are"
    roll(store, "LHR-001", NOW_MS + REPEAT_MS, s2="healthy")
    roll(store, "LHR-002", NOW_MS + REPEAT_MS, s2="healthy")
    assert looked(store, NOW_MS + REPEAT_MS + 1) == 2


@pytest.mark.parametrize("state", ["missing", "off"])
def test_a_pc_that_moved_or_sleeps_is_in_one_place(store: Store, state: str) -> None:
    roll(store, "LHR-001", NOW_MS, s2=state)
    roll(store, "LHR-002", NOW_MS, s2="healthy")
    assert looked(store, NOW_MS) == 0


def test_an_old_roll_call_and_one_that_cannot_be_read_say_nothing(store: Store) -> None:
    roll(store, "LHR-001", NOW_MS - FRESH_MS, s2="healthy")
    roll(store, "LHR-002", NOW_MS, s2="healthy")
    roll(store, "LHR-003", NOW_MS, s2="healthy")
    with store.write() as conn:
        conn.execute(sa.update(schema.latest).where(schema.latest.c.center == "LHR-003").values(body="{"))
    assert looked(store, NOW_MS) == 0
