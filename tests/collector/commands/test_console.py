"""Errors that any subcommand may meet."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from collector.__main__ import main
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
