"""The register: every row checked before any is written, every mistake with its line, column, rule and fix."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from collector.__main__ import main
from collector.register import centers
from collector.register.centers import CenterError
from collector.store import Store, schema

NOW = 1_795_000_000_000
HEAD = "center,name,tier,seats_promised,opening,latitude,longitude,lifecycle"
GOOD = "LHR-1,Lahore One,one,20,Mon-Sat 09:00-21:00,31.5,74.3,applied"
ROW = {"center": "LHR-1", "name": "Lahore One", "tier": "one", "seats_promised": "20", "opening": "always"}


def imported(store: Store, *lines: str) -> centers.Import:
    with store.write() as conn:
        return centers.do_import(conn, lines, NOW)


def codes(store: Store) -> list[str]:
    with store.read() as conn:
        return [center.code for center in centers.all_centers(conn)]


def test_a_column_has_a_rule_a_field_and_a_place_in_the_table() -> None:
    """Each name that stands in only some of the three is told with the file that lacks it."""
    names = {
        "collector/register/centers.py: COLUMNS": set(centers.COLUMNS) | {"since_ms", "changed_ms"},
        "collector/register/centers.py: Center": {field.name for field in fields(centers.Center)} - {"code"}
        | {"center"},
        "collector/store/schema.py: centers": set(schema.centers.c.keys()),
    }
    every = set[str]().union(*names.values())
    lacks = [f"{place}: has no {name!r}" for place, found in names.items() for name in sorted(every - found)]
    assert not lacks, "\n".join(lacks)


def test_an_import_adds_then_changes_then_finds_nothing_to_do(either_store: Store) -> None:
    first = imported(either_store, HEAD, GOOD)
    assert [center.code for center in first.added] == ["LHR-1"]
    second = imported(either_store, HEAD, GOOD.replace("20", "30"))
    assert [(center.code, center.seats_promised) for center in second.changed] == [("LHR-1", 30)]
    third = imported(either_store, HEAD, GOOD.replace("20", "30"))
    assert (third.added, third.changed, third.same) == ((), (), 1)
    with either_store.read() as conn:
        center = centers.get(conn, "LHR-1")
    assert (center.name, center.latitude, center.since_ms, center.hours.text) == (
        "Lahore One", 31.5, NOW, "Mon-Sat 09:00-21:00",
    )  # fmt: skip


def test_nothing_is_written_while_there_is_a_mistake(either_store: Store) -> None:
    done = imported(either_store, HEAD, GOOD, "LHR-2,,four,zero,sometimes,74.3,31.5,gone")
    assert codes(either_store) == []
    assert [(mistake.line, mistake.column) for mistake in done.mistakes] == [
        (3, "name"), (3, "tier"), (3, "seats_promised"), (3, "opening"), (3, "latitude"), (3, "longitude"),
        (3, "lifecycle"),
    ]  # fmt: skip
    assert str(done.mistakes[1]) == "line 3: tier: 'four' is no tier; write one, two or three"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["center,name,tier,seats_promised"], "line 1: opening: is missing"),
        ([f"{HEAD},colour", f"{GOOD},red"], "line 1: colour: is no column; columns are center, name"),
        ([f"{HEAD},name", f"{GOOD},x"], "line 1: name: stands twice"),
        ([HEAD, GOOD, GOOD], "line 3: center: 'LHR-1' stands on line 2 already"),
        ([HEAD, f"{GOOD},extra"], "line 2: row: has 9 cells, the head names 8"),
        ([HEAD, '"LHR-1,Lahore'], "line 2: row: is not CSV"),
        ([HEAD, GOOD.replace("LHR-1", "lhr 1")], "line 2: center: 'lhr 1' is not 1 to 32 capital letters"),
        ([HEAD, GOOD.replace("Lahore One", "x" * 201)], "line 2: name: must be one line"),
        ([HEAD, GOOD.replace("Lahore One", "a\x1b[2Jb")], "line 2: name: must be one line"),
        ([HEAD, GOOD.replace("31.5", "nan")], "line 2: latitude: nan lies outside Pakistan"),
        ([HEAD, GOOD.replace(",20,", ",0000000019999999,")], "line 2: seats_promised: '0000000019999999' is not a"),
        ([HEAD, GOOD.replace(",20,", ",٢٠,")], "line 2: seats_promised: '٢٠' is not a whole number"),
        ([], "line 1: center: is missing"),
    ],
)
def test_each_mistake_is_told_with_its_place(sqlite_store: Store, lines: list[str], told: str) -> None:
    assert str(imported(sqlite_store, *lines).mistakes[0]).startswith(told)


def test_columns_may_come_in_any_order_after_a_byte_order_mark(sqlite_store: Store) -> None:
    done = imported(sqlite_store, "\ufefftier,center,opening,name,seats_promised", "two,KHI-1,always,Karachi,9")
    assert [(center.code, center.tier, center.lifecycle) for center in done.added] == [("KHI-1", "two", "applied")]


def test_a_dry_run_writes_nothing(sqlite_store: Store) -> None:
    with sqlite_store.write() as conn:
        plan = centers.plan_import(conn, [HEAD, GOOD], NOW)
    assert len(plan.added) == 1
    assert codes(sqlite_store) == []


def test_a_lifecycle_moves_by_known_steps_only(sqlite_store: Store) -> None:
    imported(sqlite_store, HEAD, GOOD)
    with sqlite_store.write() as conn:
        moved = centers.move(conn, "LHR-1", "probation", NOW + 5)
        assert (moved.lifecycle, moved.since_ms) == ("probation", NOW + 5)
        with pytest.raises(CenterError, match="no step leads from probation to applied; from probation go to declared"):
            centers.move(conn, "LHR-1", "applied", NOW + 6)
    wrong = imported(sqlite_store, HEAD, GOOD)  # the file still says `applied`
    assert str(wrong.mistakes[0]).startswith("line 2: lifecycle: no step leads from probation to applied")


def test_a_lifecycle_that_stays_keeps_its_beginning(sqlite_store: Store) -> None:
    imported(sqlite_store, HEAD, GOOD)
    with sqlite_store.write() as conn:
        changed = centers.do_import(conn, [HEAD, GOOD.replace("20", "30")], NOW + 9).changed[0]
    assert (changed.since_ms, changed.changed_ms) == (NOW, NOW + 9)


def test_adding_tells_every_mistake_and_refuses_a_second_time(sqlite_store: Store) -> None:
    with sqlite_store.write() as conn:
        with pytest.raises(CenterError, match=r"tier: 'x' is no tier.*\n.*opening"):
            centers.add(conn, ROW | {"tier": "x", "opening": ""}, NOW)
        assert centers.add(conn, ROW, NOW).code == "LHR-1"
        with pytest.raises(CenterError, match="is registered already"):
            centers.add(conn, ROW, NOW)
        with pytest.raises(CenterError, match="'KHI-1': is not registered"):
            centers.get(conn, "KHI-1")


def test_every_lifecycle_leads_somewhere_and_only_to_known_ones() -> None:
    for steps in centers.LIFECYCLE.values():
        assert steps
        assert set(steps) <= set(centers.LIFECYCLE)


# ---------------------------------------------------------------- the command


def test_the_command_imports_lists_and_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path / "data")]
    file = tmp_path / "centers.csv"
    file.write_text(f"{HEAD}\n{GOOD}\n", encoding="utf-8")
    assert main(["center", "import", str(file), "--dry-run", *data]) == 0
    assert capsys.readouterr().out == "1 new, 0 changed, 0 as before; a dry run: nothing was written\n"
    assert main(["center", "import", str(file), *data]) == 0
    assert main(["center", "list", "--json", *data]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])[0]["center"] == "LHR-1"
    assert main(["center", "move", "LHR-1", "probation", *data]) == 0
    assert main(["center", "show", "LHR-1", *data]) == 0
    assert "probation" in capsys.readouterr().out


def test_the_command_fails_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path / "data")]
    assert main(["center", "show", "LHR-1", *data]) == 1
    assert "is not registered" in capsys.readouterr().err
    assert main(["center", "import", str(tmp_path / "absent.csv"), *data]) == 1
    assert "cannot be read" in capsys.readouterr().err
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe")
    assert main(["center", "import", str(tmp_path / "bytes.csv"), *data]) == 1
    assert "is not CSV in UTF-8" in capsys.readouterr().err
    words = ["--name", "Lahore One", "--tier", "nine", "--seats-promised", "20", "--opening", "always"]
    assert main(["center", "add", "--code", "LHR-1", *words, *data]) == 1
    assert "tier: 'nine' is no tier" in capsys.readouterr().err
