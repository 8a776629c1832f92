"""The torture catalogue's page says what the tests do: every row is played, and has been seen red."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ROOT

_spec = importlib.util.spec_from_file_location("torture_page", ROOT / "docs" / "torture_page.py")
assert _spec is not None
assert _spec.loader is not None
torture_page = importlib.util.module_from_spec(_spec)
sys.modules["torture_page"] = torture_page
_spec.loader.exec_module(torture_page)

MARKED = """
import pytest

pytestmark = pytest.mark.row(19)
QUICK, FULL = 3, 2_000
RUNS = [pytest.param(1), pytest.param(2, marks=pytest.mark.control("a sync is left out", row=(6, 12)))]


@pytest.mark.slow
@pytest.mark.row(6, 7)
def test_a_power_cut(torture):
    cuts, name = (FULL, "x") if torture else (QUICK, "y")


@pytest.mark.parametrize("it", RUNS)
def test_a_bug(it): ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    return tmp_path / "tests"


def test_rows_counts_and_controls_are_read_from_the_marks(folder: Path) -> None:
    (folder / "test_it.py").write_text(MARKED)
    rows = torture_page.catalogue(folder)
    cut = torture_page.Test("tests/test_it.py", "test_a_power_cut", slow=True, counts=("cuts: 3, full 2,000",))
    bug = torture_page.Test("tests/test_it.py", "test_a_bug")
    assert rows[6].tests == rows[7].tests == [cut]
    assert rows[6].controls == rows[12].controls == [("a sync is left out", bug)]
    assert rows[19].tests == [cut, bug]
    assert str(cut) == "[a power cut](../tests/test_it.py) (cuts: 3, full 2,000; in the long run only)"


def test_a_row_without_a_test_or_a_control_is_found(folder: Path) -> None:
    (folder / "test_it.py").write_text("import pytest\n@pytest.mark.row(14)\ndef test_it(): ...\n")
    rows = torture_page.catalogue(folder)
    assert rows[14].tests
    assert not rows[14].controls
    assert not rows[13].tests


@pytest.mark.parametrize(
    ("number", "sentence"),
    [("360", "is marked for row 360, which the catalogue does not have"), ("SIX", "write the row's number itself")],
)
def test_a_mark_of_a_row_that_is_not_is_named(number: str, sentence: str, folder: Path) -> None:
    (folder / "test_it.py").write_text(f"import pytest\n@pytest.mark.row({number})\ndef test_it(): ...\n")
    with pytest.raises(ValueError, match=rf"tests/test_it\.py: test_it.* {sentence}"):
        torture_page.catalogue(folder)


@pytest.fixture(scope="module")
def rows() -> dict[int, Any]:
    found: dict[int, Any] = torture_page.catalogue()
    return found


@pytest.mark.parametrize("number", torture_page.HELD_TO)
def test_every_row_is_played_and_has_been_seen_red(number: int, rows: dict[int, Any]) -> None:
    row = rows[number]
    assert row.tests, f"row {number} ({row.fault}) is played by no test: mark one with @pytest.mark.row({number})"
    assert row.controls or number in torture_page.WITHOUT_CONTROL, (
        f"row {number} ({row.fault}) was never seen red: plant a bug and mark its test with "
        f'@pytest.mark.control("the bug", row={number}), or say why none can be in WITHOUT_CONTROL'
    )


def planted_edits() -> Iterator[tuple[str, str, str]]:
    """(test file, source file, text that is replaced) of every planted bug that is an edit of the source."""
    for path in sorted((ROOT / "tests" / "faults").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Tuple) and len(node.elts) == 3:
                words = [getattr(item, "value", None) for item in node.elts]
                if all(isinstance(word, str) for word in words) and re.match(
                    r"(agent|collector)/.+\.py$", str(words[0])
                ):
                    yield path.name, str(words[0]), str(words[1])


def test_every_planted_bug_finds_the_line_that_it_replaces() -> None:
    """A bug that cannot be planted is a control that shows nothing: seen here in a second, not in the long run."""
    edits = list(planted_edits())
    assert len(edits) > 20
    lost = [edit for edit in edits if edit[2] not in (ROOT / edit[1]).read_text()]
    assert not lost, "\n".join(f"{test}: {source} has no {text!r}" for test, source, text in lost)
