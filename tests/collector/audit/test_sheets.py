"""Day sheets and closed reports that somebody changed, and what became of the register: each is named."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from collector.audit.sheets import unlike
from collector.register.dated import day_of
from collector.reports import revisions, schedule
from collector.store import Store, schema
from tests.collector.audit.closed_month import CODE, audited, close, played, run
from tests.collector.empty_stores import empty_store
from tests.timelines.order_play import BEGIN, CODES, MONTH, REPORTED, STANDARDS, make_play

DAY_MS = schema.day_sheets.c.day_ms
MINE = (schema.day_sheets.c.center == CODE) & (DAY_MS == BEGIN - 9 * 3_600_000)
REPORT = schema.reports.c.center == CODE


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = played(tmp_path_factory.mktemp("audit"), make_play(4), "ready", 4)
    close(path)
    return path


@pytest.fixture
def store(before: Path, tmp_path: Path) -> Iterator[Store]:
    shutil.copy(before, tmp_path / "nabz.db")
    store = empty_store(tmp_path / "nabz.db")
    yield store
    store.close()


def sheet(store: Store) -> dict[str, Any]:
    with store.read() as conn:
        body = conn.scalar(sa.select(schema.day_sheets.c.body).where(MINE))
    return msgspec.json.decode(zlib.decompress(bytes(body)))  # type: ignore[arg-type, no-any-return]


def report(store: Store) -> dict[str, Any]:
    with store.read() as conn:
        return revisions.report_of(conn, CODE, MONTH, 1)


def put_report(store: Store, found: dict[str, Any], **values: object) -> None:
    run(store, sa.update(schema.reports).where(REPORT).values(body=revisions.packed(found), **values))


def kinds(store: Store) -> list[str]:
    return list(dict.fromkeys(one.kind for one in audited(store, with_log=False).found))


def test_a_closed_month_is_as_it_was_signed(store: Store) -> None:
    for code in CODES:
        done = audited(store, code)
        assert done.is_true, [one.reason for one in done.found]
        assert done.is_reported
    assert report(store)["exclusions"][0]["code"] == "closure"


def test_an_edited_day_sheet_is_named_with_its_day_and_bucket(store: Store) -> None:
    found = sheet(store)
    found["minutes"]["up"] += 60
    found["minutes"]["unknown_unexplained"] -= 60
    run(store, sa.update(schema.day_sheets).where(MINE).values(body=zlib.compress(msgspec.json.encode(found))))
    first = audited(store, with_log=False).found.first
    assert first is not None
    assert (first.kind, first.reason.params["part"]) == ("sheet_differs", "minutes.up")
    assert first.reason.params["day"] == day_of(BEGIN)


def test_a_deleted_day_sheet_is_named(store: Store) -> None:
    run(store, sa.delete(schema.day_sheets).where(MINE))
    first = audited(store, with_log=False).found.first
    assert first is not None
    assert (first.kind, first.reason.params["day"]) == ("sheet_missing", day_of(BEGIN))


def test_a_report_that_was_edited_is_named_even_with_its_digest(store: Store) -> None:
    found = report(store)
    found["ledger"]["up"] += 60
    put_report(store, found)
    assert kinds(store) == ["report_edited", "report_differs"]
    put_report(store, found, sha256=schedule.sha256_of(found))
    done = audited(store, with_log=False)
    assert [one.kind for one in done.found] == ["report_differs"]
    assert done.found.first.reason.params["part"] == "ledger.up"  # type: ignore[union-attr]


def test_an_exclusion_that_was_dropped_is_named(store: Store) -> None:
    found = report(store)
    found["exclusions"] = []
    put_report(store, found, sha256=schedule.sha256_of(found))
    first = audited(store, with_log=False).found.first
    assert first is not None
    assert (first.kind, first.reason.params["exclusion"]) == ("exclusion_dropped", "closure")


def test_a_body_that_is_no_report_is_named(store: Store) -> None:
    run(store, sa.update(schema.reports).where(REPORT).values(body=b"nothing"))
    assert kinds(store) == ["report_edited"]


def test_rows_sheets_and_report_that_were_all_changed_alike_are_named_by_the_row(store: Store) -> None:
    table = schema.readings["link"]
    run(store, sa.update(table).where(table.c.center == CODE).values(rtt_median_ms=1.0))
    run(store, sa.update(schema.day_sheets).values(made_ms=None))
    with store.read() as conn:
        _kept, anew = schedule.closed_and_anew(conn, CODE, "2026-11", STANDARDS, REPORTED)
    put_report(store, anew, sha256=schedule.sha256_of(anew))
    assert kinds(store) == ["reading_differs"]


def test_a_fact_that_was_changed_in_place_shows_in_sheets_and_report(store: Store) -> None:
    f = schema.facts.c
    run(store, sa.update(schema.facts).where(f.center == CODE, f.name == "opening").values(value='"Tue 09:00-10:00"'))
    assert kinds(store)[0] == "sheet_differs"


def test_what_differs_between_two_values_is_told_by_its_path() -> None:
    old, new = {"a": [1, {"b": 2}], "c": None}, {"a": [1, {"b": 3}], "d": 4}
    assert list(unlike(old, new)) == [("a[1].b", "2", "3"), ("d", "-", "4")]
    assert list(unlike({"a": [1]}, {"a": [1, 2]})) == [("a", "[1]", "[1,2]")]
