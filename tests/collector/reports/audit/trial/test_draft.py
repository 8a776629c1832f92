"""A draft over past days: the same standard changes nobody, a harder one whom it should, and what no sheet tells is
named."""

from __future__ import annotations

import json
import operator
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from collector.__main__ import main
from collector.register.centers import Center
from collector.reports.audit.trial import draft, processes
from collector.reports.day_sheets import Availability, CriterionDay, DaySheet, packed_sheet, sheet_body
from collector.reports.ledger import BUCKETS
from collector.standard import read
from collector.standard.criteria import Figure, Standard
from collector.store import Store, schema, upsert
from tests.collector.standard.timeless import timeless, timeless_file

DAY = 86_400_000
BEGIN = 1_793_473_200_000  # 2026-11-01 00:00 in Pakistan
STANDARD = timeless()
LATENCY = "internet.latency"


def put(store: Store, code: str, owner: str, district: str, rtt_ms: float, days: int = 30) -> Center:
    center = Center(
        code=code, name=code, tier="one", seats_promised=10, lifecycle="declared", opening="always", owner=owner,
        district=district,
    )  # fmt: skip
    rows = []
    for i in range(days):
        latency = CriterionDay(
            criterion=LATENCY, subject="wan", counted=700, met=700 if rtt_ms <= 100 else 0, values=((rtt_ms, 700),),
            slots=(), covered=1400,
        )  # fmt: skip
        sheet = DaySheet(
            center=code, from_ms=BEGIN + i * DAY, to_ms=BEGIN + (i + 1) * DAY, standards=("x",),
            minutes=dict.fromkeys(BUCKETS, 0) | {"up": 1440}, before=0, lost=0, availability=Availability(),
            criteria=(latency,), seats=(), excused=(), sha256="",
        )  # fmt: skip
        body = sheet_body(sheet) if i % 2 else zlib.compress(packed_sheet(sheet))  # as it was stored before
        rows.append({"center": code, "day_ms": sheet.from_ms, "marks": 0, "made_ms": 1, "body": body})
    with store.write() as conn:
        upsert(conn, schema.centers, [center.row()])
        conn.execute(sa.insert(schema.day_sheets), rows)
    return center


@pytest.fixture
def centers(sqlite_store: Store) -> list[Center]:
    return [
        put(sqlite_store, "LHR-1", "Ali", "Lahore", 40.0),
        put(sqlite_store, "LHR-2", "Ali", "Lahore", 80.0),
        put(sqlite_store, "KHI-1", "Sara", "Karachi", 140.0),
    ]


def harder(**values: object) -> Standard:
    """The standard with another criterion of latency, and with that alone."""
    (one,) = (item for item in STANDARD.criteria if item.id == LATENCY)
    return replace(STANDARD, id="draft", criteria=(replace(one, **values),))  # type: ignore[arg-type]


def tried(store: Store, centers: list[Center], new: Standard) -> draft.DraftTrial:
    with store.read() as conn:
        return draft.tried(conn, centers, STANDARD, new, (BEGIN, BEGIN + 30 * DAY), lambda _share: None)


def test_the_same_standard_changes_nobody(sqlite_store: Store, centers: list[Center]) -> None:
    found = tried(sqlite_store, centers, STANDARD)
    assert (found.centers, found.sheets, found.changed, found.untold) == (3, 90, (), ())


def test_another_figure_changes_whom_it_should_by_district_and_owner(
    sqlite_store: Store, centers: list[Center]
) -> None:
    found = tried(sqlite_store, centers, harder(figure=Figure(dict.fromkeys(("one", "two", "three"), 60.0))))
    assert [(one.center, one.was, one.now) for one in found.changed] == [("LHR-2", "meets", "below")]
    assert found.changed[0].criteria == {LATENCY: ("meets", "below")}
    assert found.by_district == {"Lahore": {"meets > below": 1}}
    assert found.by_owner == {"Ali": {"meets > below": 1}}
    assert found.totals == {"below > below": 1, "meets > below": 1, "meets > meets": 1}
    milder = tried(sqlite_store, centers, harder(figure=Figure(dict.fromkeys(("one", "two", "three"), 150.0))))
    assert [(one.center, one.now) for one in milder.changed] == [("KHI-1", "meets")]


@given(
    st.lists(st.integers(-20, 60), max_size=12, unique=True), st.booleans(),
    st.tuples(*[st.none() | st.integers(-25, 65).map(lambda n: n / 4000) | st.floats(-0.03, 0.07)] * 2),
    st.sampled_from([1, 300, 70_000]), st.booleans(),
)  # fmt: skip
def test_samples_that_meet_a_figure_are_those_that_one_by_one_would(
    thousandths: list[int], at_least: bool, both: tuple[float | None, float | None], often: int, is_apart: bool
) -> None:
    values = tuple((value / (1000 if is_apart else 3000), often) for value in sorted(thousandths))
    day = CriterionDay(criterion=LATENCY, subject="wan", counted=9, met=9, values=values, slots=(), covered=9)
    other = msgspec.structs.replace(day, criterion="x")  # its values lie between
    sheet = DaySheet(
        center="C", from_ms=0, to_ms=1, standards=(), minutes=dict.fromkeys(BUCKETS, 0), before=0, lost=0,
        availability=Availability(), criteria=(other, day, other, day), seats=(), excused=(), sha256="",
    )  # fmt: skip
    period = draft.TriedPeriod({LATENCY: draft.bounds_of("at_least" if at_least else "at_most", both)})
    period.add(sheet_body(sheet))
    meets = operator.ge if at_least else operator.le
    one_by_one = tuple(
        2 * sum(count for value, count in values if bound is not None and meets(value, bound)) for bound in both
    )
    assert period.met == ({(LATENCY, "wan"): one_by_one} if values else {})


def test_a_rule_of_months_that_asks_for_more_days_leaves_nobody_decided(
    sqlite_store: Store, centers: list[Center]
) -> None:
    rule = harder().criteria[0].month
    found = tried(sqlite_store, centers, harder(month=replace(rule, min_days=31)))
    assert {one.now for one in found.changed} == {"not enough data"}


@pytest.mark.parametrize(
    "values", [{"fields": ("jitter_ms",)}, {"when": "open_hours"}, {"only": {"x": frozenset({"y"})}}, {"id": "other"}]
)
def test_what_no_sheet_tells_is_named(sqlite_store: Store, centers: list[Center], values: dict[str, object]) -> None:
    (old,) = harder().criteria
    if all(getattr(old, name) == value for name, value in values.items()):
        values = {"when": "always"}
    found = tried(sqlite_store, centers, harder(**values))
    assert found.untold == (str(values.get("id", LATENCY)),)
    assert found.changed == ()


def test_a_sheet_that_is_due_or_of_another_day_does_not_count(sqlite_store: Store, centers: list[Center]) -> None:
    with sqlite_store.write() as conn:
        conn.execute(sa.update(schema.day_sheets).where(schema.day_sheets.c.center == "KHI-1").values(made_ms=None))
    with sqlite_store.read() as conn:
        found = draft.tried(conn, centers, STANDARD, harder(), (BEGIN + DAY, BEGIN + 30 * DAY), lambda _share: None)
    assert (found.centers, found.sheets) == (2, 58)


@pytest.mark.slow
def test_several_processes_find_the_same(sqlite_store: Store, centers: list[Center]) -> None:
    hard = harder(figure=Figure(dict.fromkeys(("one", "two", "three"), 60.0)))
    question = draft.DraftQuestion(STANDARD, hard, (BEGIN, BEGIN + 30 * DAY))
    shares: list[float] = []  # of three parts, each with all three centers
    opened = partial(closed_after, str(sqlite_store.url))
    assert processes.tried_by(2, opened, centers * 50, question, shares.append).totals == {
        "below > below": 3, "meets > below": 3, "meets > meets": 3,
    }  # fmt: skip
    assert processes.tried_by(1, opened, centers, question, shares.append) == tried(sqlite_store, centers, hard)
    assert shares == [1 / 3, 2 / 3, 1.0, 1.0]


@contextmanager
def closed_after(url: str) -> Iterator[Store]:
    with closing(Store.open(url)) as store:
        yield store


def test_the_command_tells_it(sqlite_store: Store, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "draft.toml").write_bytes(timeless_file().replace(f'"{STANDARD.id}"'.encode(), b'"draft"'))
    assert read((tmp_path / "draft.toml").read_bytes(), "draft").id == "draft"
    words = ["standard", "try", str(tmp_path / "draft.toml"), "--data", str(tmp_path)]
    put(sqlite_store, "LHR-1", "Ali", "Lahore", 40.0)
    (tmp_path / "held.toml").write_bytes(timeless_file())
    (tmp_path / "nabz.toml").write_text(f'[standard]\nfiles = ["{tmp_path}/held.toml"]\n')
    words += ["--config", str(tmp_path / "nabz.toml")]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["draft"] == "draft"
    assert main(words) == 0
    assert f"draft instead of {STANDARD.id}: 0 of 1 centers change" in capsys.readouterr().out
    assert main([*words, "--days", "0"]) == 2
