"""A month over all centers: each counted once, by the facts of its report; the same in all three kinds of files."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agent.common.center_time import TZ
from agent.common.words import plain
from collector.__main__ import main
from collector.common.scope import Scope
from collector.reports import revisions
from collector.reports.fleet import files, summary
from collector.reports.fleet.summary import FleetMonth
from collector.reports.ledger import BUCKETS
from collector.reports.monthly import period
from collector.reports.schedule import told
from collector.store import Store, schema, upsert
from tests.collector.reports.test_monthly import AFTER, STANDARDS
from tests.collector.web.conftest import center_row

MONTH = "2026-02"
FROM_MS = period(MONTH, TZ, AFTER).from_ms
PUNJAB = Scope(province=frozenset({"Punjab"}))


def body(code: str, district: str, verdicts: dict[str, str], **ledger: int) -> dict[str, Any]:
    minutes = {**dict.fromkeys(BUCKETS, 0), **ledger}
    return {
        "format": 5, "month": MONTH, "from_ms": FROM_MS,
        "center": {
            "code": code, "name": "=1+1", "owner": "Trust", "district": district, "province": "P", "isp": "PTCL",
        },
        "ledger": {"open": sum(minutes.values()), **minutes},
        "criteria": [{"criterion": name, "subject": "", "verdict": word} for name, word in verdicts.items()],
        "availability": {"line": {"up": 90, "down": 10, "pct": 90.0}, "power": {"mains": 50, "battery": 30, "off": 20}},
    }  # fmt: skip


@pytest.fixture
def store(either_store: Store) -> Store:
    """Three centers of two districts that have a closed month, the second revised; a fourth whose month is open."""
    with either_store.write() as conn:
        upsert(conn, schema.centers, [center_row(f"C-{i}", i) for i in range(4)])
        put(conn, "C-0", 1, body("C-0", "Lahore", {"a": "meets", "b": "below"}, up=600, excused=100))
        put(conn, "C-1", 1, body("C-1", "Lahore", {"a": "below"}, up=1))
        put(conn, "C-1", 2, body("C-1", "Lahore", {"a": "meets", "b": "meets"}, up=300, down=100))
        put(
            conn, "C-2", 1, body("C-2", "Karachi South", {"a": "not enough data", "b": "watch"}, unknown_unexplained=50)
        )
        put(conn, "C-3", 1, None)
    return either_store


def put(conn: sa.Connection, code: str, number: int, report: dict[str, Any] | None, from_ms: int = FROM_MS) -> None:
    row = {
        "center": code, "from_ms": from_ms, "revision": number, "opened_ms": 1, "why": "{}", "marks": 0,
        "closed_ms": None if report is None else 2, "sha256": "x", "body": report and revisions.packed(report),
    }  # fmt: skip
    upsert(conn, schema.reports, [row])


def found(store: Store, by: summary.Part = "district", **more: Any) -> FleetMonth:
    with store.read() as conn:
        return summary.of_month(conn, MONTH, FROM_MS, by, **more)


def test_each_center_counts_once_by_its_newest_closed_report(store: Store) -> None:
    month = found(store)
    south, lahore = month.groups
    assert (lahore["group"], lahore["centers"], lahore["below"], lahore["meets"], lahore["revised"]) == (
        "Lahore", 2, 1, 1, 1,
    )  # fmt: skip
    assert (lahore["open_minutes"], lahore["up_minutes"], lahore["up_pct"]) == (1100, 900, 90.0)
    assert (south["watch"], south["not_enough_data"], south["up_pct"]) == (1, 0, 0.0)
    assert (month.total["centers"], month.open, month.total["line_pct"], month.total["power_pct"]) == (3, 1, 90.0, 80.0)
    assert {"group": "Lahore", "criterion": "b", "below": 1, "watch": 0, "not_enough_data": 0, "meets": 1} in (
        month.criteria
    )


@pytest.mark.parametrize("by", summary.PARTS)
def test_groups_add_up_to_all_whatever_they_are_by(store: Store, by: summary.Part) -> None:
    month = found(store, by)
    for name, count in month.total.items():
        if isinstance(count, int):
            assert sum(group[name] for group in month.groups) == count  # type: ignore[misc]


BELOW, MEETS = {"a": "below"}, {"a": "meets"}
# Center -> verdicts of a month and those before it, the newest first, and the level that those come to.
HISTORIES: dict[str, tuple[list[dict[str, str]], str]] = {
    "C-0": ([BELOW, MEETS, BELOW], "plan"),
    "C-1": ([BELOW, BELOW, BELOW], ""),
    "C-2": ([BELOW, {}, MEETS, BELOW], "notice"),
    "C-3": ([BELOW, BELOW, BELOW], "inspection"),
}


@pytest.fixture
def years(either_store: Store) -> Store:
    """Months before the one that is asked for; of C-2 one is missing, of C-1 the last was below before its revision."""
    with either_store.write() as conn:
        upsert(conn, schema.centers, [center_row(f"C-{i}", i) for i in range(4)])
        for code, (history, _) in HISTORIES.items():
            for month, verdicts in zip(("2026-02", "2026-01", "2025-12", "2025-11"), history, strict=False):
                if verdicts:
                    from_ms = period(month, TZ, AFTER).from_ms
                    owner = {"center": {**body(code, "Lahore", {})["center"], "owner": "A" if code < "C-2" else "B"}}
                    put(conn, code, 1, body(code, "Lahore", verdicts) | owner, from_ms)
        put(conn, "C-1", 2, body("C-1", "Lahore", MEETS))
    return either_store


def test_what_follows_is_said_by_center_owner_and_district(years: Store) -> None:
    standard = STANDARDS.at(AFTER)
    month = found(years, "owner", standard=standard)
    assert {row["center"]: row["level"] for row in month.centers} == {code: one[1] for code, one in HISTORIES.items()}
    assert month.levels == [
        {"group": "A", "level": "plan", "centers": 1},
        {"group": "B", "level": "notice", "centers": 1},
        {"group": "B", "level": "inspection", "centers": 1},
    ]
    assert found(years, standard=standard).levels[0] == {"group": "Lahore", "level": "notice", "centers": 1}
    assert month.consequences.is_example
    assert found(years).levels == []
    with years.read() as conn:
        assert standard is not None
        levels = {code: summary.level_of(conn, code, FROM_MS, standard) for code in HISTORIES}
    assert {code: level.id if level else "" for code, level in levels.items()} == {
        code: one[1] for code, one in HISTORIES.items()
    }


@pytest.mark.parametrize(
    ("lang", "words"), [("en", "Notice to the owner (example, not official)"), ("ur", "\u0645\u062b\u0627\u0644")]
)
def test_the_workbook_names_it_and_says_that_it_is_an_example(years: Store, lang: str, words: str) -> None:
    book = files.fleet_workbook(found(years, standard=STANDARDS.at(AFTER)), plain(lang))
    with zipfile.ZipFile(io.BytesIO(book)) as parts:
        assert words in parts.read("xl/sharedStrings.xml").decode()
        assert '<row r="4"' in parts.read("xl/worksheets/sheet4.xml").decode()


def test_an_account_gets_the_centers_of_its_scope(store: Store) -> None:
    month = found(store, scope=PUNJAB)
    assert [row["center"] for row in month.centers] == ["C-0"]
    assert month.open == 0


def test_the_files_say_the_same_and_run_nothing(store: Store) -> None:
    month = found(store)
    rows = list(csv.DictReader(io.StringIO(files.fleet_csv(month))))
    assert [row["group"] for row in rows] == ["Karachi South", "Lahore", ""]
    assert json.loads(files.fleet_json(month))["groups"][1]["up_minutes"] == int(rows[1]["up_minutes"]) == 900
    book = files.fleet_workbook(month, plain("ur"))
    assert book == files.fleet_workbook(month, plain("ur"))
    with zipfile.ZipFile(io.BytesIO(book)) as parts:
        sheets = [parts.read(f"xl/worksheets/sheet{i}.xml").decode() for i in (1, 2, 3)]
        texts = parts.read("xl/sharedStrings.xml").decode()
    assert "<v>900</v>" in sheets[0]
    assert 'rightToLeft="1"' in sheets[0]
    assert "=1+1" in texts
    assert "<f>" not in "".join(sheets)


def test_the_command_says_it_and_names_a_month_that_has_no_report(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--database", str(store.url), "--data", str(tmp_path)]
    book = tmp_path / "m.xlsx"
    words = ["report", "--all", "--month", MONTH, "--by", "provider", *common]
    assert main([*words, "--xlsx", str(book)]) == 0
    assert zipfile.is_zipfile(book)
    assert main([*words, "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("2026-02,provider,PTCL,3,1,1,0,1,1,")
    assert main(["report", "--all", "--month", "2026-01", *common]) == 2
    assert "no report of it is closed yet" in capsys.readouterr().err


# ---------------------------------------------------------------- who was given one


def test_who_was_given_a_revision_is_kept_and_shown(store: Store) -> None:
    with store.write() as conn:
        for name, number, by in (("Sara", 1, ""), ("Trust", 1, "Ali"), ("Sara", 2, "")):
            revisions.give(conn, "C-1", FROM_MS, number, name, 7 + number, given_by=by)
        revisions.give(conn, "C-1", FROM_MS, 2, "Sara", 20)
    with store.read() as conn:
        history = told(conn, "C-1", MONTH, STANDARDS, AFTER)["revision"]["history"]
    given = [[(row["person"], row["means"], row["given_by"]) for row in one["given"]] for one in history]
    assert given == [[("Sara", "page", ""), ("Trust", "file", "Ali")], [("Sara", "page", "")]]


def test_the_command_records_to_whom_a_closed_report_is_passed_on(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [
        "--month",
        MONTH,
        "--database",
        str(store.url),
        "--data",
        str(tmp_path),
        "--output",
        str(tmp_path / "r.json"),
    ]
    assert main(["report", "--center", "C-1", "--given-to", "Bint-e-Hawa Trust", *common]) == 0
    with store.read() as conn:
        (row,) = revisions.recipients_of(conn, "C-1", FROM_MS)
    assert (row["person"], row["revision"], row["means"]) == ("Bint-e-Hawa Trust", 2, "file")
    assert main(["report", "--center", "C-1", "--given-to", " ", *common]) == 2
    assert capsys.readouterr().err
