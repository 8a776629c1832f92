"""The register: every row checked before any is written, every mistake with its line, column, rule and fix."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from collector.__main__ import main
from collector.register import centers, imports
from collector.register.centers import CenterError
from collector.store import Store, schema

NOW = 1_795_000_000_000
HEAD = "center,name,tier,seats_promised,opening,latitude,longitude,lifecycle"
HEAD5 = "center,name,tier,seats_promised,opening"
URDU = "ای\u200cروزگار مرکز"
GOOD = "LHR-1,Lahore One,one,20,Mon-Sat 09:00-21:00,31.5,74.3,applied"
ROW = {"center": "LHR-1", "name": "Lahore One", "tier": "one", "seats_promised": "20", "opening": "always"}


def imported(store: Store, *lines: str) -> centers.Import:
    with store.write() as conn:
        return imports.do_import(conn, lines, NOW)


def codes(store: Store) -> list[str]:
    with store.read() as conn:
        return [center.code for center in centers.all_centers(conn)]


def test_a_column_has_a_rule_a_field_and_a_place_in_the_table() -> None:
    """Each name that stands in only some of the three is told with the file that lacks it."""
    names = {
        "collector/register/centers.py: COLUMNS": set(centers.COLUMNS) | {"since_ms", "changed_ms"},
        "collector/register/centers.py: Center": {field.name for field in fields(centers.Center)} - {"code", "rules"}
        | {"center"},
        "collector/store/schema/register.py: centers": set(schema.centers.c.keys()),
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
    ("lines", "sentence"),
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
def test_each_mistake_is_told_with_its_place(sqlite_store: Store, lines: list[str], sentence: str) -> None:
    assert str(imported(sqlite_store, *lines).mistakes[0]).startswith(sentence)


def test_columns_may_come_in_any_order_after_a_byte_order_mark(sqlite_store: Store) -> None:
    done = imported(sqlite_store, "\ufefftier,center,opening,name,seats_promised", "two,KHI-1,always,Karachi,9")
    assert [(center.code, center.tier, center.lifecycle) for center in done.added] == [("KHI-1", "two", "applied")]


def test_a_dry_run_writes_nothing(sqlite_store: Store) -> None:
    with sqlite_store.write() as conn:
        plan = imports.plan_import(conn, [HEAD, GOOD], NOW)
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
        changed = imports.do_import(conn, [HEAD, GOOD.replace("20", "30")], NOW + 9).changed[0]
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
    assert "holds no register" in capsys.readouterr().err
    assert main(["center", "import", str(tmp_path / "absent.csv"), *data]) == 1
    assert "cannot be read" in capsys.readouterr().err
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe")
    assert main(["center", "import", str(tmp_path / "bytes.csv"), *data]) == 1
    assert "is not CSV in UTF-8" in capsys.readouterr().err
    words = ["--name", "Lahore One", "--tier", "nine", "--seats-promised", "20", "--opening", "always"]
    assert main(["center", "add", "--code", "LHR-1", *words, *data]) == 1
    assert "tier: 'nine' is no tier" in capsys.readouterr().err
    assert main(["center", "show", "LHR-1", *data]) == 1
    assert "is not registered" in capsys.readouterr().err


# ---------------------------------------------------------------- files as people save them

NEW = "LHR-014,Model Town,two,20,Mon-Sat 09:00-21:00"


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD5}\n{NEW}\n",
        f"\ufeff{HEAD5}\r\n{NEW}\r\n",
        f"{HEAD5}\n{NEW}\n".replace(",", ";"),
        f"{HEAD5}\n{NEW}\n".replace(",", "\t"),
        f"sep=;\n{HEAD5}\n{NEW}\n".replace(",", ";"),
        f'"{HEAD5}"\n"{NEW}"\n'.replace(",", '","'),
        f"\n,,,,\n{HEAD5}\n\n,,,,\n{NEW}\n;,,,,\n,,,,\n".replace(";", ""),
        f"{HEAD5},,\n{NEW},,\n,,,,,,\n",
        f"Center,Name,Tier,Seats Promised,Opening,City,ISP\n{NEW}\n",  # Excel leaves out empty last cells
        f"{HEAD5}\n{NEW}\n".replace("Model Town", "\u00a0Model\u00a0Town ").replace("LHR-014", "\u00a0LHR-014"),
    ],
)
def test_a_register_is_read_as_spreadsheets_save_it(sqlite_store: Store, text: str) -> None:
    done = imported(sqlite_store, *text.splitlines(keepends=True))
    assert done.mistakes == ()
    assert [(center.code, center.name, center.seats_promised) for center in done.added] == [
        ("LHR-014", "Model Town", 20)
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_the_command_takes_a_file_of_any_encoding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoding: str
) -> None:
    (tmp_path / "c.csv").write_bytes(f"{HEAD5}\r\n{NEW}\r\n".replace("Model Town", URDU).encode(encoding))
    assert main(["center", "import", str(tmp_path / "c.csv"), "--data", str(tmp_path / "db")]) == 0
    assert main(["center", "list", "--json", "--data", str(tmp_path / "db")]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])[0]["name"] == URDU


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        (
            "Model\u200bTown",
            "line 2: name: must be one line of printable letters, and has U+200B ZERO WIDTH SPACE as letter 6",
        ),
        (f"{URDU}\u202e", "line 2: name: must be one line of printable letters, and has U+202E RIGHT-TO-LEFT OVERRIDE"),
    ],
)
def test_a_refused_sign_is_named_by_code_point_and_place(sqlite_store: Store, cell: str, sentence: str) -> None:
    assert str(imported(sqlite_store, HEAD5, NEW.replace("Model Town", cell)).mistakes[0]).startswith(sentence)
    assert str(imported(sqlite_store, HEAD5, NEW.replace("LHR-014", "LHR\u200e-014")).mistakes[0]) == (
        "line 2: center: has U+200E LEFT-TO-RIGHT MARK as letter 4; take it out"
    )


@pytest.mark.parametrize("row", [f"{NEW},,x", "LHR-014,Model Town,two", f"x{NEW},y"])
def test_a_cell_under_no_name_or_a_needed_one_left_out_is_a_mistake(sqlite_store: Store, row: str) -> None:
    assert [mistake.column for mistake in imported(sqlite_store, f"{HEAD5},", row).mistakes][:1] == ["row"]


# ---------------------------------------------------------------- what an import may touch

FULL = "center,name,owner,city,tier,seats_promised,isp,feeder,exchange,opening,latitude,longitude"
WHOLE = "LHR-101,Johar Town,Owner A,Lahore,two,20,ISP-A,F-7,ISP-A Johar Town,Mon-Sat 09:00-21:00,31.46,74.27"


def test_an_import_touches_only_the_columns_it_has_and_says_what_it_changes(either_store: Store) -> None:
    imported(either_store, FULL, WHOLE)
    done = imported(either_store, "center,opening", "LHR-101,Mon-Sat 10:00-16:00")
    assert [str(item) for item in done.differences] == ["LHR-101: opening: Mon-Sat 09:00-21:00 -> Mon-Sat 10:00-16:00"]
    with either_store.read() as conn:
        center = centers.get(conn, "LHR-101")
    assert (center.city, center.isp, center.feeder, center.exchange, center.owner) == (
        "Lahore", "ISP-A", "F-7", "ISP-A Johar Town", "Owner A",
    )  # fmt: skip
    emptied = imported(either_store, "center,isp", "LHR-101,")  # the file has the column, and says: none
    assert [str(item) for item in emptied.differences] == ["LHR-101: isp: ISP-A -> nothing"]


def test_an_import_reopens_nothing(either_store: Store) -> None:
    imported(either_store, FULL, WHOLE)
    with either_store.write() as conn:
        centers.move(conn, "LHR-101", "closed", NOW)
    assert imported(either_store, "center,name,lifecycle", "LHR-101,Johar Town East,").mistakes == ()
    again = imported(either_store, f"{FULL},lifecycle", f"{WHOLE},applied")
    assert str(again.mistakes[0]) == (
        "line 2: lifecycle: is closed and no file reopens it; run `nabz-collector center move LHR-101 applied`"
    )
    with either_store.read() as conn:
        assert (centers.get(conn, "LHR-101").lifecycle, centers.get(conn, "LHR-101").name) == (
            "closed", "Johar Town East",
        )  # fmt: skip


def test_a_new_center_needs_more_columns_than_a_known_one(sqlite_store: Store) -> None:
    done = imported(sqlite_store, "center,opening", "LHR-7,always", "LHR-8,always")
    assert [str(mistake) for mistake in done.mistakes] == [
        f"line 1: {name}: is missing; a new center needs this column" for name in ("name", "tier", "seats_promised")
    ]


def test_a_dry_run_of_the_command_shows_the_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path / "data")]
    (tmp_path / "full.csv").write_text(f"{FULL}\n{WHOLE}\n")
    (tmp_path / "new.csv").write_text("center,isp\nLHR-101,ISP-B\n")
    assert main(["center", "import", str(tmp_path / "full.csv"), *data]) == 0
    capsys.readouterr()
    assert main(["center", "import", str(tmp_path / "new.csv"), "--dry-run", *data]) == 0
    assert capsys.readouterr().out == (
        "LHR-101: isp: ISP-A -> ISP-B\n0 new, 1 changed, 0 as before; a dry run: nothing was written\n"
    )
    assert main(["center", "import", str(tmp_path / "new.csv"), *data]) == 1
    assert capsys.readouterr().out.endswith("nothing was written: look at the differences, then repeat with --yes\n")
    assert main(["center", "import", str(tmp_path / "new.csv"), "--yes", "--json", *data]) == 0
    assert json.loads(capsys.readouterr().out)["differences"] == [
        {"center": "LHR-101", "column": "isp", "before": "ISP-A", "after": "ISP-B"}
    ]
