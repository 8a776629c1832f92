"""Errors that any subcommand may meet."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from agent.common.command_line import parser_of
from collector.__main__ import main
from collector.commands import PROGRAM
from collector.commands.console import table
from collector.store import Store


def test_a_database_that_fails_half_way_is_told_without_its_statements(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Store.open(f"sqlite:///{tmp_path / 'nabz.db'}").close()
    with sqlite3.connect(tmp_path / "nabz.db") as conn:
        conn.execute("DROP TABLE centers")
    conn.close()
    assert main(["center", "list", "--data", str(tmp_path)]) == 1
    printed = capsys.readouterr().err
    assert "the database cannot do this: no such table: centers" in printed
    assert "SELECT" not in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    "words",
    [
        ("device", "list"), ("device", "revoke", "g1", "--reason", "gone"), ("enrolment", "list"), ("evidence", "ids"),
        ("report", "--center", "LHR-1", "--month", "2026-10"), ("person", "list"), ("drill",), ("center", "list"),
        ("center", "show", "LHR-1"), ("center", "test", "LHR-1"), ("token", "LHR-1"),
    ],
)  # fmt: skip
def test_who_only_looks_makes_no_register(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mistyped"
    try:
        code = main([*words, "--data", str(folder)])
    except SystemExit as error:
        raise AssertionError(capsys.readouterr().err) from error
    assert code == 1
    assert "holds no register; check [database] url" in capsys.readouterr().err
    assert not folder.exists()


READS = {"list", "show", "ids", "imports", "stories", "who", "status", "history", "funnel", "diff", "keys", "files"}
READING = [path for path in parser_of(PROGRAM, (), whole=True).leaves() if path[-1] in READS]


@pytest.mark.parametrize("path", READING, ids=" ".join)
def test_no_verb_that_reads_makes_anything(path: tuple[str, ...], tmp_path: Path) -> None:
    leaf = parser_of(PROGRAM, path[:1]).leaves()[path]
    words = ["7" for action in leaf._actions if not action.option_strings and action.nargs not in ("?", "*")]
    folder = tmp_path / "mistyped"
    with contextlib.suppress(SystemExit):  # an option of its own is wanting: nothing was done
        main([*path, *words, "--data", str(folder)])
    assert not folder.exists()


@pytest.mark.parametrize("width", [0, 30, 60])
def test_a_table_is_cut_to_the_terminal_and_whole_in_a_pipe(width: int) -> None:
    text = table(("code", "name"), [("LHE-1", "x" * 80), ("LHE-2", "short")], width=width)
    assert max(map(len, text.splitlines())) == (width or 87)
    assert ("…" in text) == bool(width)
    assert "LHE-1  x" in text
    assert "LHE-2  short" in text


def test_a_list_of_nothing_says_so_and_how_it_is_filled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store.open(f"sqlite:///{tmp_path / 'nabz.db'}").close()
    for words, said in {
        "flag list": "none\n", "incident list": "none\n",
        "center list": "none yet; for example: nabz-collector center import centers.csv\n",
        "device list": "none yet; for example: nabz-collector token LHR-014\n",
    }.items():  # fmt: skip
        assert main([*words.split(), "--data", str(tmp_path)]) == 0
        assert capsys.readouterr().out == said
        assert main([*words.split(), "--data", str(tmp_path), "--json"]) == 0
        assert capsys.readouterr().out == "[]\n"


PLAY = """
from collector.commands.console import Bar
with Bar("done") as bar:
    bar.share(0.5)
    bar.share(1.0)
with Bar("counted") as bar:
    assert list(bar.over(range(3), 3)) == [0, 1, 2]
with Bar("of no known number") as bar:
    assert list(bar.over(iter("abc"))) == ["a", "b", "c"]
with Bar("beside what is printed", is_seen=False) as bar:
    bar.share(1.0)
"""


def test_progress_is_for_a_terminal_alone() -> None:
    reader, writer = os.openpty()
    words = [sys.executable, "-c", PLAY]
    subprocess.run(words, check=True, stderr=writer)
    os.close(writer)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal is an error (EIO)
        while part := os.read(reader, 4096):
            shown += part
    os.close(reader)
    for said in (b"100.0 % done", b"100.0 % counted", b"1 of no known number"):
        assert said in shown
    assert b"beside" not in shown
    assert b"\x1b" not in shown, "no colour, and so none for NO_COLOR to take away"
    assert subprocess.run(words, check=True, stderr=subprocess.PIPE).stderr == b""


@pytest.mark.parametrize(("more", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_the_names_of_parts_have_colours_unless_somebody_wants_none(more: dict[str, str], is_coloured: bool) -> None:
    """https://no-color.org"""
    program = "from collector.commands.pilot import _teller; _teller()('agent', 'a line')"
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | more
    reader, writer = os.openpty()
    subprocess.run([sys.executable, "-c", program], check=True, stdout=writer, env=environment)
    os.close(writer)
    shown = os.read(reader, 4096)
    os.close(reader)
    assert b"a line" in shown
    assert (b"\x1b" in shown) == is_coloured
