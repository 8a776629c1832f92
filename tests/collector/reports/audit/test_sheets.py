"""Day sheets and closed reports that somebody changed, and what became of the register: each is named."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from collector.__main__ import main
from collector.log.sequencing import LogSigner
from collector.register import centers
from collector.register.dated import day_of
from collector.reports import monthly, revisions, schedule
from collector.reports.audit import processes, verify
from collector.reports.audit.sheets import unlike
from collector.reports.audit.verify import AuditQuestion
from collector.reports.day_sheets import stored_sheet
from collector.reports.render import as_html, as_json
from collector.store import Store, schema
from tests.collector.reports.audit.closed_month import CODE, LOG_KEY, NAME, ORIGIN, audited, close, played, run
from tests.timelines.plays.order_play import BEGIN, CODES, MONTH, REPORTED, STANDARDS, make_play

DAY_MS = schema.day_sheets.c.day_ms
MINE = (schema.day_sheets.c.center == CODE) & (DAY_MS == BEGIN - 9 * 3_600_000)
REPORT = schema.reports.c.center == CODE


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = played(tmp_path_factory.mktemp("audit"), make_play(4), "ready", 4)
    close(path)
    return path


def sheet(store: Store) -> dict[str, Any]:
    with store.read() as conn:
        body = conn.scalar(sa.select(schema.day_sheets.c.body).where(MINE))
    return msgspec.to_builtins(stored_sheet(bytes(body)))  # type: ignore[arg-type, no-any-return]


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


@pytest.mark.slow
def test_sheets_that_another_process_makes_are_the_same_and_differences_are_named(store: Store) -> None:
    opened = partial(closed_after, str(store.url))
    for _ in range(2):
        with processes.sheets_beside(opened, CODE, NAME, STANDARDS, REPORTED) as made, store.read() as conn:
            question = AuditQuestion(CODE, NAME, STANDARDS, REPORTED)
            span = question.span.from_ms, question.span.to_ms
            assert made() == list(processes.sheets_anew(conn, CODE, span, STANDARDS, REPORTED))
            done = verify.verify(conn, question, made=made)
        assert done.sheets == 30
        if done.is_true:
            found = sheet(store)
            found["minutes"]["up"] += 1
            run(store, sa.update(schema.day_sheets).where(MINE).values(body=zlib.compress(msgspec.json.encode(found))))
    assert done.found.first is not None
    assert done.found.first.kind == "sheet_differs"


@contextmanager
def closed_after(url: str) -> Iterator[Store]:
    with closing(Store.open(url)) as store:
        yield store


def test_an_edited_day_sheet_is_named_with_its_day_and_bucket(store: Store) -> None:
    found = sheet(store)
    found["minutes"]["up"] += 60
    found["minutes"]["unknown_unexplained"] -= 60
    run(store, sa.update(schema.day_sheets).where(MINE).values(body=zlib.compress(msgspec.json.encode(found))))
    first = audited(store, with_log=False).found.first
    assert first is not None
    assert (first.kind, first.reason.params["part"]) == ("sheet_differs", "minutes.up")
    assert first.reason.params["day"] == day_of(BEGIN)


@pytest.mark.parametrize("kind", ["of another center", "of another day", "none", "no JSON"])
def test_a_sheet_in_anothers_place_is_named_and_holds_up_no_months_close(store: Store, kind: str) -> None:
    d = schema.day_sheets.c
    other = {
        "of another center": (d.center == CODES[1]) & (DAY_MS == BEGIN - 9 * 3_600_000),
        "of another day": (d.center == CODE) & (DAY_MS == BEGIN + 15 * 3_600_000),
    }
    with store.read() as conn:
        body = conn.scalar(sa.select(d.body).where(other[kind])) if kind in other else b"x"
    run(store, sa.update(schema.day_sheets).where(MINE).values(body=zlib.compress(b"x") if kind == "no JSON" else body))
    assert ("sheet_differs" in kinds(store)) == (kind != "no JSON")  # which one of another format is not, too
    with store.read() as conn:
        both = [centers.get(conn, code) for code in CODES[:2]]
        kept, anew = (
            monthly.build_some(conn, both, NAME, STANDARDS, REPORTED, anew=is_anew) for is_anew in (False, True)
        )
    assert kept == anew


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


# ---------------------------------------------------------------- the proof that a report carries

KEY = LogSigner(ORIGIN, LOG_KEY).public


@pytest.fixture
def carried(store: Store) -> dict[str, Any]:
    """A report as somebody keeps it as a file."""
    with store.read() as conn:
        return msgspec.json.decode(as_json(schedule.told(conn, CODE, NAME, STANDARDS, REPORTED)))  # type: ignore[no-any-return]


def test_a_closed_report_carries_the_proof_that_it_is_in_the_log(carried: dict[str, Any]) -> None:
    assert list(schedule.unproven(carried, KEY)) == []
    page = as_html(carried)
    assert carried["proof"]["leaf"] in page
    assert f'شفافیت کے لاگ <bdi dir="ltr">{ORIGIN}</bdi>' in page


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda r: r["criteria"][0].update(verdict="meets"), "report: its sha256 is"),
        (lambda r: r["center"].update(code="LHR-2"), "report: its center is LHR-2"),
        (lambda r: r["proof"].update(entry=r["proof"]["entry"].replace("LHR-1", "X")), "leaf: its text"),
        (lambda r: r["proof"].update(number=r["proof"]["number"] + 1), "leaf 6: is not in the tree"),
        (lambda r: r["proof"]["hashes"].pop(), "leaf 5: is not in the tree"),
        (lambda r: r["proof"].update(origin="other.example/log"), "checkpoint: is of 'nabz.example/log'"),
        (lambda r: r["proof"].update(checkpoint=r["proof"]["checkpoint"].replace("\n", "\n1", 1)), "checkpoint: is no"),
        (lambda r: r["proof"].update(checkpoint=7), "report: carries no proof"),
        (lambda r: r.pop("proof"), "report: carries no proof"),
        (lambda r: r["proof"].update(hashes=["é"]), "proof: cannot be read"),
    ],
)  # fmt: skip
def test_a_report_that_was_changed_is_not_the_one_in_the_log(
    carried: dict[str, Any], change: Callable[[dict[str, Any]], object], sentence: str
) -> None:
    change(carried)
    assert any(one.startswith(sentence) for one in schedule.unproven(carried, KEY))


def test_the_command_checks_a_report_that_somebody_kept(
    carried: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.json"
    path.write_text(as_json(carried))
    words = ["report", "--check-json", str(path)]
    assert main([*words, "--log-key", str(KEY)]) == 0
    assert f"is leaf 5 of the log {ORIGIN}" in capsys.readouterr().out
    assert main(words) == 0
    assert "not proven: the log's key" in capsys.readouterr().out
    path.write_text(as_json({**carried, "month": "2026-10"}))
    assert main([*words, "--log-key", str(KEY)]) == 1
    path.write_text("[1]")
    assert main(words) == 2
