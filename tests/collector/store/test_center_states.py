"""The rows of states say what the board says, whatever happens, and remember the last day."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from agent.wire import LinkReading, Stamp
from collector.common.scope import Scope
from collector.ingest import pulse
from collector.judging.clock import ClockWatch
from collector.judging.current import ranks_of
from collector.judging.evaluate import FreshReading, judge_readings
from collector.judging.silence import sweep
from collector.register import centers, imports
from collector.register.centers import Center
from collector.store import Store, center_states, queries, schema
from collector.store.queries import Filter
from tests.collector.standard.timeless import timeless_standards

NOON = 1_769_972_400_000 + 12 * 3_600_000  # Monday 2026-02-02 12:00 in Karachi
MINUTE, HOUR = 60_000, 3_600_000
STANDARDS = timeless_standards()
RANKS = ranks_of(STANDARDS.at(NOON))
ROW = {"tier": "three", "seats_promised": "10", "opening": "Mon-Sat 09:00-21:00", "isp": "PTCL", "feeder": "F-1"}
PLACES = (("Lahore", "Punjab"), ("Karachi", "Sindh"), ("Quetta", "Balochistan"))
FILTERS = (
    Filter(), Filter(sort="name"), Filter(sort="place"), Filter(sort="heard"), Filter(state="below"),
    Filter(state="closed"), Filter(state="unknown"), Filter(state="silent"),
    Filter(province="Sindh"), Filter(search="C-2 ptcl"), Filter(search="%"),
    Filter(scope=Scope(province=frozenset({"Sindh", "Punjab"})), search="two"),
)  # fmt: skip


@pytest.fixture
def store(either_store: Store) -> Store:
    """Three centers, their rows made."""
    with either_store.write() as conn:
        for number, (city, province) in enumerate(PLACES, 1):
            word = ("One", "Two", "Three")[number - 1]
            center = {"center": f"C-{number}", "name": f"{city} {word}", "city": city, "province": province, **ROW}
            centers.add(conn, center, NOON - 9 * HOUR)
        assert center_states.settle(conn, RANKS, NOON - 9 * HOUR)
        assert not center_states.settle(conn, RANKS, NOON - 9 * HOUR)
    return either_store


def link(loss_pct: float, wall_ms: int) -> FreshReading:
    at = Stamp(wall_ms=wall_ms, mono_ms=0, boot="b", clock="synced")
    return FreshReading("link", LinkReading(at=at, loss_pct=loss_pct, rtt_median_ms=20.0), wall_ms, wall_ms)


def take(store: Store, code: str, at_ms: int, loss_pct: float = 0.0) -> None:
    """As a transaction of ingest: judged, then heard."""
    with store.write() as conn:
        judge_readings(conn, centers.get(conn, code), [link(loss_pct, at_ms)], STANDARDS, at_ms)
        row = {"center": code, "device": "g", "heard_ms": at_ms, "due_ms": at_ms + 15 * MINUTE}
        pulse.record(conn, [row | {"backlog_ms": None, "clock_ms": None}])
        center_states.heard(conn, [code], at_ms)


def agrees(store: Store, now_ms: int = NOON) -> dict[str, str]:
    """The state of each center, once the rows and the board have been seen to say the same under every filter."""
    with store.read() as conn:
        for closed in ({}, {ROW["opening"]: 7}):
            ranks = replace(RANKS, closed=closed)
            assert center_states.is_current(conn, ranks)
            for wanted in FILTERS:
                rows = center_states.page(conn, ranks, wanted, now_ms, limit=10)
                assert all(len(row.pop("hours_ranks")) == 24 for row in rows)
                assert rows == queries.page(conn, ranks, wanted, limit=10), wanted
                assert center_states.counts(conn, ranks, wanted) == queries.counts(conn, ranks, wanted), wanted
            whole = [row["center"] for row in queries.page(conn, ranks, Filter(), limit=10)]
            for offset in range(len(whole) + 1):  # each page sorts the states alone in which it lies
                pages = [center_states.page(conn, ranks, Filter(), now_ms, limit=n, offset=offset) for n in (1, 2)]
                assert [[row["center"] for row in page] for page in pages] == [
                    whole[offset : offset + 1], whole[offset : offset + 2],
                ]  # fmt: skip
            pulses = sorted(map(tuple, (row.values() for row in center_states.pulses(conn, ranks))))
            assert pulses == sorted(map(tuple, (row.values() for row in queries.pulses(conn, ranks))))
        return {row["center"]: row["state"] for row in queries.page(conn, RANKS, Filter(), limit=10)}


def test_the_rows_follow_what_ingest_the_sweep_the_clock_and_the_register_change(store: Store) -> None:
    assert agrees(store)["C-1"] == "waiting"
    take(store, "C-1", NOON)
    take(store, "C-2", NOON)
    assert agrees(store) == {"C-1": "unknown", "C-2": "unknown", "C-3": "waiting"}
    for minute in range(1, 40):
        take(store, "C-1", NOON + minute * MINUTE, loss_pct=60.0)
    assert agrees(store)["C-1"] == "below"
    with store.write() as conn:
        sweep(conn, STANDARDS, NOON + 60 * MINUTE)
    assert agrees(store)["C-2"] == "silent"
    with store.write() as conn:
        centers.move(conn, "C-2", "closed", NOON + 60 * MINUTE, by="Amna", reason="rain")
    assert agrees(store)["C-2"] == "paused"


def test_the_rows_follow_an_import_and_its_undoing(store: Store) -> None:
    lines = ["center,name,tier,seats_promised,opening,city", "C-9,Multan Nine,one,5,always,Multan"]
    with store.write() as conn:
        done = imports.do_import(conn, lines, NOON, by=imports.Origin(by="Amna", reason="new"))
    assert agrees(store)["C-9"] == "waiting"
    with store.write() as conn:
        imports.undo(conn, done.number, imports.Origin(by="Amna", reason="a mistake"), NOON)
    assert "C-9" not in agrees(store)


def test_a_clock_that_goes_back_takes_the_rows_along(store: Store) -> None:
    take(store, "C-1", NOON)
    passed = [0]
    watch = ClockWatch(lambda: passed[0])
    with store.write() as conn:
        watch.follow(conn, NOON)
        passed[0] += MINUTE
        watch.follow(conn, NOON - 5 * HOUR)
    agrees(store, NOON - 5 * HOUR)


def test_rows_of_other_weights_are_not_used_and_made_anew(store: Store) -> None:
    take(store, "C-1", NOON)
    other = replace(RANKS, required=())
    with store.read() as conn:
        assert not center_states.is_current(conn, other)
        assert center_states.counts(conn, other, Filter())["meets"] == 1
    with store.write() as conn:
        assert center_states.settle(conn, other, NOON)
    with store.read() as conn:
        assert center_states.is_current(conn, other)
        assert center_states.counts(conn, other, Filter())["meets"] == 1


def test_each_hour_has_the_worst_rank_of_its_time(store: Store) -> None:
    take(store, "C-1", NOON)  # waiting until then: unknown from then on
    for minute in range(1, 40):
        take(store, "C-1", NOON + minute * MINUTE, loss_pct=60.0)
    for minute in range(40, 100):
        take(store, "C-1", NOON + minute * MINUTE)

    def hours(now_ms: int) -> str:
        with store.read() as conn:
            return str(center_states.page(conn, RANKS, Filter(search="C-1"), now_ms, limit=1)[0]["hours_ranks"])

    assert hours(NOON + 99 * MINUTE) == "-" * 13 + "4" * 9 + "13"
    assert hours(NOON + 5 * HOUR) == "-" * 9 + "4" * 9 + "13" + "3333"
    assert hours(NOON + 90 * HOUR) == "3" * 24
    assert hours(NOON - HOUR) == hours(NOON)  # a clock that went back


def test_before_the_first_settling_lists_are_asked_of_the_board(either_store: Store) -> None:
    with either_store.write() as conn:
        centers.add(conn, {"center": "C-1", "name": "Lahore One", **ROW}, NOON)
        assert conn.scalar(sa.select(sa.func.count()).select_from(schema.center_states)) == 0
        assert [row["state"] for row in center_states.page(conn, RANKS, Filter(), NOON, limit=5)] == ["waiting"]
        assert center_states.openings(conn) == [ROW["opening"]]
        assert [row["hours_ranks"] for row in center_states.some(conn, RANKS, ["C-1"], Scope(), NOON)] == [""]


def test_what_is_kept_of_a_center_is_what_center_has() -> None:
    assert set(center_states.SEARCHED) - {"center"} <= set(Center.__dataclass_fields__)
