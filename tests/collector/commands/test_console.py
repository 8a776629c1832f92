"""Errors that any subcommand may meet."""

from __future__ import annotations

import sqlite3
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
        ("report", "--center", "LHR-1", "--month", "2026-10"), ("person", "list"), ("drill",),
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
