"""One more kind of reading, "room", in a copy of the tree: eight files by hand, and what is forgotten is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers import room

HAND = 8  # files, the drafted step of the database among them
LEFT = [
    "tests/project/test_kinds.py",
    "tests/project/test_names.py",
    "tests/project/test_docs.py::test_the_pages_made_from_the_code_are_as_the_code_is",
    "tests/project/test_docs.py::test_every_kind_of_reading_and_message_is_documented_with_a_golden_message",
    "tests/project/test_docs.py::test_every_probe_engine_and_profile_is_documented",
    "tests/agent/commands/test_probe.py",
    "tests/agent/probes/test_room.py",
    "tests/agent/test_wire.py",
    "tests/collector/ingest/test_transaction.py::test_every_kind_of_reading_finds_its_table",
    "tests/collector/commands/simulation/test_simulate.py::test_an_hour_brings_readings_of_every_kind_that_a_probe_brings",
    "tests/collector/store/test_migrate.py::test_the_steps_from_nothing_make_what_the_schema_has",
    "tests/collector/store/test_migrate.py::test_tables_made_at_once_are_as_the_steps_make_them",
    "tests/collector/store/test_roles.py::test_every_table_has_its_row",
    "tests/collector/web/test_i18n.py",
    "tests/collector/web/test_room_play.py",
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with everything done."""
    folder = tmp_path_factory.mktemp("tree")
    room.copy(folder)
    for name in room.EDITS:
        room.edit(folder, name)
    room.draft(folder)
    room.pages(folder)
    return folder


@pytest.mark.slow
def test_a_kind_is_eight_files_by_hand_and_goes_from_probe_to_page(tree: Path) -> None:
    assert len(room.EDITS) + 1 <= HAND
    done = room.tests(tree, *LEFT)
    assert done.returncode == 0, done.stdout[-6000:]


# What is left out, and the words of the failure that name it. The row goes alone: without it nothing else is asked.
FORGOTTEN = {
    "agent/probes/room.py": "agent/probes/room.py: is missing",
    "agent/probes/__init__.py": "agent/probes/__init__.py: PROBES has no line for room",
    "agent/common/text/en.json": "agent/common/text/en.json has no text for field.humidity_pct",
    "agent/common/text/ur.json": "agent/common/text/ur.json has no text for field.humidity_pct",
    "tests/wire/v1/room.json": "tests/wire/v1/room.json: is missing",
    "docs/wire.md": "docs/wire.md has fallen behind the code; run `make docs`",
}
NAMED_BY = (
    "tests/project/test_kinds.py",
    "tests/project/test_docs.py::test_the_pages_made_from_the_code_are_as_the_code_is",
    "tests/collector/store/test_migrate.py::test_the_steps_from_nothing_make_what_the_schema_has",
)


@pytest.mark.slow
def test_every_place_that_was_forgotten_is_named(tree: Path) -> None:
    wire = tree / "agent" / "wire.py"
    wire.write_text(wire.read_text("utf-8").replace(room.ROW, ""), "utf-8")
    done = room.tests(tree, "tests/project/test_kinds.py")
    assert "add its row to KINDS in agent/wire.py" in done.stdout, done.stdout[-3000:]
    shutil.copy(room.ROOT / "agent" / "wire.py", wire)
    room.edit(tree, "agent/wire.py")
    for name in FORGOTTEN:
        if (room.ROOT / name).exists():
            shutil.copy(room.ROOT / name, tree / name)
        else:
            (tree / name).unlink()
    max((tree / "collector" / "store" / "migrations").glob("m[0-9]*.py")).unlink()
    done = room.tests(tree, *NAMED_BY)
    unnamed = [words for words in (*FORGOTTEN.values(), 'changed: make migration WHY="') if words not in done.stdout]
    assert not unnamed, done.stdout[-6000:]
