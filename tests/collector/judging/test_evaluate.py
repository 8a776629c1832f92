"""Judging inside ingest's transaction: what is read, what is written, and what late readings may not do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa

from agent.common.reasons import Reason, decode
from agent.wire import LinkReading, Stamp, UpsReading, encode_reading
from collector.judging.evaluate import FreshReading, judge_group, judge_readings
from collector.register.centers import Center
from collector.standard import Standards, examples
from collector.store import Store, schema, upsert
from tests.collector.standard.timeless import timeless, timeless_standards

NOON = 1_769_972_400_000 + 12 * 3_600_000  # Monday 2026-02-02 12:00 in Karachi
SECOND = 1000
MINUTE = 60_000
STANDARDS = timeless_standards()
SECOND_BEGINS = examples()[1].valid_from_ms
CENTER = Center(
    code="LHR-001", name="Lahore", tier="three", seats_promised=10, opening="Mon-Sat 09:00-21:00", lifecycle="declared"
)


@pytest.fixture
def store(either_store: Store) -> Store:
    return either_store


def link(wall_ms: int, loss_pct: float, received_ms: int | None = None, subject: str = "") -> FreshReading:
    at = Stamp(wall_ms=wall_ms, mono_ms=0, boot="b", clock="synced")
    reading = LinkReading(at=at, subject=subject, loss_pct=loss_pct, rtt_median_ms=20.0, jitter_ms=1.0)
    return FreshReading("link", reading, wall_ms, received_ms or wall_ms)


def ups(wall_ms: int, **values: str) -> FreshReading:
    at = Stamp(wall_ms=wall_ms, mono_ms=0, boot="b", clock="synced")
    return FreshReading("ups", UpsReading(at=at, output_state="online", **values), wall_ms, wall_ms)  # type: ignore[arg-type]


def ingest(store: Store, *fresh: FreshReading, center: Center = CENTER, standards: Standards = STANDARDS) -> int:
    """One transaction of the collector: judged, then kept as the newest of its stream."""
    with store.write() as conn:
        moved = judge_readings(conn, center, fresh, standards, max(reading.received_ms for reading in fresh))
        for reading in fresh:
            row = {
                "center": center.code, "kind": reading.kind, "subject": reading.reading.subject, "device": "g0",
                "wall_ms": reading.wall_ms, "received_ms": reading.received_ms,
                "body": encode_reading(reading.reading).decode(),
            }  # fmt: skip
            upsert(conn, schema.latest, [row], newer_by="wall_ms")
    return moved


def flag(store: Store, criterion: str = "internet.loss", subject: str = "") -> sa.Row[tuple[object, ...]]:
    with store.read() as conn:
        query = sa.select(schema.flags).where(schema.flags.c.criterion == criterion, schema.flags.c.subject == subject)
        return conn.execute(query).one()


@contextmanager
def statements(store: Store) -> Iterator[list[str]]:
    """The first words of what is asked of the database meanwhile."""
    heard: list[str] = []

    def listen(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        heard.append(statement.split()[0])

    sa.event.listen(store._writer, "before_cursor_execute", listen)
    yield heard
    sa.event.remove(store._writer, "before_cursor_execute", listen)


def test_a_change_is_written_with_the_numbers_that_made_it(store: Store) -> None:
    for minute in range(6):
        ingest(store, link(NOON + minute * MINUTE, 30.0))
    with store.read() as conn:
        pending, raised = conn.execute(sa.select(schema.changes).order_by(schema.changes.c.id)).all()
    assert (pending.was, pending.now, pending.at_ms) == ("clear", "pending", NOON + 4 * MINUTE)
    assert (raised.now, raised.value, raised.bound) == ("raised", 30.0, 2.0)
    found = Reason.of("verdict.at_most", value=30.0, bound=2.0, unit="%")
    assert decode(raised.reason) == Reason.of("change.below_in_enough_of_the_last_readings", found=found)
    assert raised.standard == "example-2026-3"
    assert raised.queued_ms is None
    assert flag(store).state == "raised"


def test_a_transaction_that_fails_leaves_no_trace(store: Store) -> None:
    class Cut(Exception):
        pass

    def cut_short() -> None:
        with store.write() as conn:
            judge_readings(conn, CENTER, [link(NOON, 30.0)], STANDARDS, NOON)
            raise Cut

    with pytest.raises(Cut):
        cut_short()
    with store.read() as conn:
        assert conn.execute(sa.select(schema.flags)).all() == []
        assert conn.execute(sa.select(schema.changes)).all() == []


def test_the_first_verdict_is_kept_and_equal_ones_after_it_write_nothing(store: Store) -> None:
    ingest(store, link(NOON, 0.0))
    assert flag(store).verdict == "meets"
    assert flag(store, "presence.silent").verdict == "meets"
    with store.write() as conn, statements(store) as heard:
        judge_readings(conn, CENTER, [link(NOON + MINUTE, 0.0)], STANDARDS, NOON + MINUTE)
    assert heard == ["SELECT", "SELECT"]


def test_many_centers_are_judged_with_as_many_questions_as_one(store: Store) -> None:
    bad = [link(NOON + minute * MINUTE, 30.0) for minute in range(5)]
    group = [(replace(CENTER, code=f"C-{i}"), bad) for i in range(100)]
    with store.write() as conn, statements(store) as heard:
        assert judge_group(conn, group, STANDARDS, NOON) == 100
    assert heard == ["SELECT", "SELECT", "INSERT", "INSERT", "SELECT"]  # the last: whether states of centers are rows


def test_readings_of_one_batch_are_judged_in_the_order_they_were_taken(store: Store) -> None:
    ingest(store, link(NOON + 20 * SECOND, 0.0), link(NOON, 30.0), link(NOON + 10 * SECOND, 30.0))
    assert flag(store).state == "clear"  # two of eight is what chance brings, and is remembered
    assert flag(store).memory == "[true, true, false]"


def test_late_readings_move_nothing_though_they_are_fresh_and_the_flags_row_is_old(store: Store) -> None:
    ingest(store, link(NOON, 0.0))
    ingest(store, link(NOON + 5 * MINUTE, 0.0))  # equal verdict: the flag's row still says NOON
    late = [link(NOON + MINUTE + i * 10 * SECOND, 90.0, received_ms=NOON + 5 * MINUTE) for i in range(12)]
    assert ingest(store, *late) == 0
    assert flag(store).state == "clear"


def test_a_reading_too_old_to_speak_for_now_moves_nothing_even_as_the_newest(store: Store) -> None:
    old = [link(NOON + i * 10 * SECOND, 90.0, received_ms=NOON + 60 * MINUTE) for i in range(12)]
    assert ingest(store, *old) == 0


def test_each_line_of_a_center_has_its_own_flag(store: Store) -> None:
    for minute in range(6):
        at_ms = NOON + minute * MINUTE
        ingest(store, link(at_ms, 30.0, subject="radio"), link(at_ms, 0.0, subject="fibre"))
    assert flag(store, subject="radio").state == "raised"
    assert flag(store, subject="fibre").state == "clear"


def test_a_criterion_that_is_no_longer_asked_lets_its_flag_go_and_says_so(store: Store) -> None:
    for minute in range(6):
        ingest(store, link(NOON + minute * MINUTE, 30.0))
    newer = replace(
        timeless(),
        id="example-2026-3",
        valid_from_ms=NOON + 6 * MINUTE,
        criteria=tuple(item for item in timeless().criteria if item.id != "internet.loss"),
    )
    older = replace(timeless(), valid_to_ms=NOON + 6 * MINUTE)
    assert ingest(store, link(NOON + 7 * MINUTE, 30.0), standards=Standards.of([older, newer])) == 1
    assert flag(store).state == "clear"
    with store.read() as conn:
        last = conn.execute(sa.select(schema.changes).order_by(schema.changes.c.id.desc())).first()
    assert last is not None
    gone = Reason.of("verdict.retired", standard="example-2026-3")
    assert decode(last.reason) == Reason.of("change.no_longer_asked", found=gone)


def test_a_folder_in_which_the_first_example_had_the_seconds_criteria_keeps_their_flags(store: Store) -> None:
    """For some days the first version's file was edited in place: what it raised stands under the second."""
    noon = SECOND_BEGINS + 12 * 60 * MINUTE
    edited = Standards.of([replace(timeless(), id="example-2026-1")])
    broken = [ups(noon + minute * MINUTE, battery_status="fault") for minute in range(12)]
    for fresh in broken:
        ingest(store, fresh, standards=edited)
    assert flag(store, "power.battery_fault").state == "raised"
    shipped = Standards.of(examples())
    assert ingest(store, ups(noon + 12 * MINUTE, battery_status="fault"), standards=shipped) == 0
    assert flag(store, "power.battery_fault").state == "raised"
    for minute in range(13, 50):
        ingest(store, ups(noon + minute * MINUTE, battery_status="normal"), standards=shipped)
    assert flag(store, "power.battery_fault").state == "clear"


def test_before_the_second_example_began_its_criteria_judge_nothing(store: Store) -> None:
    noon, shipped = SECOND_BEGINS - 12 * 60 * MINUTE, Standards.of(examples())
    for minute in range(12):
        ingest(store, ups(noon + minute * MINUTE, battery_status="fault"), standards=shipped)
    with store.read() as conn:
        found = set(conn.execute(sa.select(schema.flags.c.criterion)).scalars())
    assert "power.battery_low" in found
    assert "power.battery_fault" not in found


def test_where_no_standard_holds_nothing_is_judged(store: Store) -> None:
    ended = Standards.of([replace(timeless(), valid_to_ms=NOON)])
    assert ingest(store, link(NOON, 90.0), standards=ended) == 0
    with store.read() as conn:
        assert conn.execute(sa.select(schema.flags)).all() == []


def test_a_wait_survives_a_restart_between_readings(store: Store) -> None:
    """All of a flag is in its row: nothing is remembered in the process."""
    at = Stamp(wall_ms=NOON, mono_ms=0, boot="b", clock="synced")
    off = UpsReading(at=at, output_state="bypass")
    for second in range(0, 301, 30):
        at_ms = NOON + second * SECOND
        ingest(store, FreshReading("ups", off, at_ms, at_ms))
    assert flag(store, "power.protected").state == "raised"
    assert flag(store, "power.protected").since_ms == NOON + 300 * SECOND
