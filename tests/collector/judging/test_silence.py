"""Silence: what the sweep asks, whom it puts off, and when it says that the collector itself is deaf."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from agent.common.reasons import Reason, decode
from collector.judging.silence import Swept, listening_again, sweep
from collector.register.centers import Center
from collector.standard import Standards
from collector.store import Store, schema, upsert
from tests.collector.standard.timeless import timeless_standards

NOON = 1_769_972_400_000 + 12 * 3_600_000  # Monday 2026-02-02 12:00 in Karachi
MINUTE = 60_000
HOUR = 60 * MINUTE
STANDARDS = timeless_standards()


@pytest.fixture
def store(either_store: Store) -> Store:
    return either_store


def heard(
    store: Store, code: str, at_ms: int, lifecycle: str = "declared", opening: str = "Mon-Sat 09:00-21:00"
) -> None:
    center = Center(code=code, name=code, tier="one", seats_promised=5, opening=opening, lifecycle=lifecycle)
    pulse = {"center": code, "device": "g0", "heard_ms": at_ms, "due_ms": at_ms + 5 * MINUTE}
    with store.write() as conn:
        upsert(conn, schema.centers, [center.row()])
        upsert(conn, schema.pulse, [pulse])


def swept(store: Store, now_ms: int) -> Swept:
    with store.write() as conn:
        return sweep(conn, STANDARDS, now_ms)


def due_ms(store: Store, code: str) -> int | None:
    with store.read() as conn:
        return conn.scalar(sa.select(schema.pulse.c.due_ms).where(schema.pulse.c.center == code))


def test_nobody_is_looked_at_before_their_time(store: Store) -> None:
    heard(store, "A", NOON)
    assert swept(store, NOON + 5 * MINUTE - 1) == Swept(0, 0, "hears")


def test_the_question_is_answered_by_the_index(sqlite_store: Store) -> None:
    with sqlite_store.read() as conn:
        plan = conn.exec_driver_sql("EXPLAIN QUERY PLAN SELECT * FROM pulse WHERE due_ms <= 1").fetchall()
    assert "USING INDEX ix_pulse_due_ms" in plan[0][3]


def test_one_who_is_not_silent_enough_is_put_off_to_the_very_moment(store: Store) -> None:
    heard(store, "A", NOON)
    assert swept(store, NOON + 5 * MINUTE) == Swept(1, 0, "hears")
    assert due_ms(store, "A") == NOON + 15 * MINUTE + 1
    assert swept(store, NOON + 15 * MINUTE) == Swept(0, 0, "hears")
    assert swept(store, NOON + 15 * MINUTE + 1) == Swept(1, 1, "hears")
    assert due_ms(store, "A") is None


def test_silence_of_the_day_that_is_noticed_at_night_waits_for_the_opening(store: Store) -> None:
    heard(store, "A", NOON)
    assert swept(store, NOON + 10 * HOUR) == Swept(1, 0, "hears")
    assert due_ms(store, "A") == NOON + 21 * HOUR + 1
    assert swept(store, NOON + 21 * HOUR + 1).changed == 1


def test_a_center_that_never_opens_is_never_silent(store: Store) -> None:
    heard(store, "A", NOON, opening="daily closed")
    assert swept(store, NOON + HOUR) == Swept(1, 0, "hears")
    assert due_ms(store, "A") is None


def test_the_paused_are_not_counted_among_those_who_should_be_heard(store: Store) -> None:
    for code in range(8):
        heard(store, f"P-{code}", NOON, lifecycle="closed")
    for code in range(6):
        heard(store, f"A-{code}", NOON + 14 * MINUTE)
    heard(store, "B", NOON)
    found = swept(store, NOON + 16 * MINUTE)
    assert (found.changed, found.ear) == (1, "hears")


def test_half_of_the_fleet_quiet_makes_the_collector_deaf_and_less_does_not(store: Store) -> None:
    for quiet, ear in ((3, "deaf"), (2, "hears")):
        for code in range(6):
            heard(store, f"A-{code}", NOON if code < quiet else NOON + 15 * MINUTE)
        assert swept(store, NOON + 16 * MINUTE).ear == ear
        with store.write() as conn:
            conn.execute(sa.delete(schema.flags))


def test_a_deaf_collector_looks_again_and_accuses_nobody(store: Store) -> None:
    for code in range(6):
        heard(store, f"A-{code}", NOON)
    assert swept(store, NOON + 16 * MINUTE) == Swept(6, 1, "deaf")
    assert due_ms(store, "A-0") == NOON + 17 * MINUTE
    assert swept(store, NOON + 17 * MINUTE) == Swept(6, 0, "deaf")
    with store.read() as conn:
        (change,) = conn.execute(sa.select(schema.changes)).all()
    assert (change.center, change.criterion, change.value) == ("*", "collector.deaf", 100.0)
    found = decode(change.reason).params["found"]
    assert isinstance(found, Reason)
    assert (found.code, found.params["n"], found.params["whole"]) == ("fleet.quiet", 6, 6)


def test_when_it_hears_again_the_quiet_get_their_whole_time_and_the_heard_keep_theirs(store: Store) -> None:
    for code in range(6):
        heard(store, f"A-{code}", NOON)
    swept(store, NOON + 16 * MINUTE)
    for code in range(5):
        heard(store, f"A-{code}", NOON + 30 * MINUTE)
    assert swept(store, NOON + 30 * MINUTE) == Swept(1, 1, "hears again")
    assert due_ms(store, "A-5") == NOON + 45 * MINUTE
    assert due_ms(store, "A-0") == NOON + 35 * MINUTE


def test_a_deaf_collector_stays_deaf_while_too_few_are_open_to_tell(store: Store) -> None:
    for code in range(6):
        heard(store, f"A-{code}", NOON)
    swept(store, NOON + 16 * MINUTE)
    assert swept(store, NOON + 10 * HOUR).ear == "deaf"


def test_a_start_after_a_pause_gives_everybody_their_whole_time(store: Store) -> None:
    heard(store, "A", NOON - 20 * HOUR)
    with store.write() as conn:
        listening_again(conn, STANDARDS, NOON)
    assert due_ms(store, "A") == NOON + 15 * MINUTE


def test_a_start_while_others_were_heard_just_now_puts_nobody_off(store: Store) -> None:
    heard(store, "A", NOON)
    heard(store, "B", NOON + 10 * MINUTE)
    with store.write() as conn:
        listening_again(conn, STANDARDS, NOON + 11 * MINUTE)
    assert due_ms(store, "A") == NOON + 5 * MINUTE


def test_a_start_with_an_empty_register_is_nothing(store: Store) -> None:
    with store.write() as conn:
        listening_again(conn, STANDARDS, NOON)
        assert sweep(conn, STANDARDS, NOON) == Swept(0, 0, "hears")


def test_without_a_standard_nobody_is_silent(store: Store) -> None:
    heard(store, "A", NOON)
    with store.write() as conn:
        assert sweep(conn, Standards(()), NOON + HOUR) == Swept(0, 0, "hears")


def cut(store: Store, code: str, at_ms: int, to_ms: int | None = None) -> None:
    row = {"center": code, "subject": "ups", "noted_ms": at_ms, "revision": 1, "from_ms": at_ms, "last_ms": at_ms,
           "to_ms": to_ms, "carried": None, "facts": "{}", "recorded_ms": at_ms, "open": to_ms is None}  # fmt: skip
    with store.write() as conn:
        upsert(conn, schema.cuts, [row])


def test_a_national_outage_makes_no_deaf_collector(store: Store) -> None:
    """Nine said that the mains are cut before their UPSs ran dry: each is silent by itself."""
    for others in (3, 6):
        for code in range(9 + others):
            heard(store, f"A-{code}", NOON if code < 9 else NOON + 15 * MINUTE)
            if code < 9:
                cut(store, f"A-{code}", NOON - HOUR)
        assert swept(store, NOON + 16 * MINUTE) == Swept(9, 9, "hears")
        with store.write() as conn:
            conn.execute(sa.delete(schema.flags))


def test_a_line_of_ours_that_falls_while_loads_are_shed_makes_us_deaf_all_the_same(store: Store) -> None:
    for code in range(12):
        heard(store, f"A-{code}", NOON)
        if code < 6:
            cut(store, f"A-{code}", NOON - HOUR, NOON - MINUTE if code == 0 else None)
    found = swept(store, NOON + 16 * MINUTE)
    assert (found.ear, found.changed) == ("deaf", 1), "of seven that had mains all are quiet"
