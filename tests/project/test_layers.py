"""Which part may know which: the contracts of pyproject.toml, and what an import really pulls in."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.helpers.texts import tree

LINT = [str(Path(sys.prefix) / "bin" / "lint-imports"), "--no-cache"]


def loaded_by(module: str) -> set[str]:
    """The top-level names that a fresh interpreter holds after importing `module`."""
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_every_contract_between_the_parts_is_kept() -> None:
    done = subprocess.run(LINT, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert f"Contracts: {len(contracts)} kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("where", "line", "contract"),
    [
        ("agent/uplink/session.py", "import collector.common.config", "the agent never imports the collector"),
        (
            "collector/ingest/transaction.py",
            "import agent.spool.queue",
            "the collector knows the agent only by the wire",
        ),
        ("collector/judging/flags/machine.py", "import time", "judging is pure"),
        ("collector/desk/follow.py", "import collector.web.app", "the collector's rooms lie on floors"),
        ("collector/reports/render.py", "import time", "what plans and renders does no input or output"),
        ("agent/probes/link/ping.py", "import agent.scheduling.schedule", "no rooms import each other in a circle"),
        ("agent/seat/measure.py", "import agent.wire", "a seat knows only itself"),
        (
            "agent/common/errors.py",
            "import cryptography",
            "what the seat shares with the agent needs the standard library",
        ),
    ],
)
def test_a_breach_of_each_contract_is_seen(where: str, line: str, contract: str, tmp_path: Path) -> None:
    """A copy of the tree with one wrong import: what the test above finds silent must be able to speak."""
    for name in ("agent", "collector"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "vendor"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / where).open("a") as file:
        file.write(f"\n{line}\n")
    done = subprocess.run(LINT, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert contract in next(line for line in done.stdout.splitlines() if " BROKEN" in line)


@pytest.mark.parametrize("module", ["agent", "agent.wire", "agent.__main__", "agent.service"])
def test_the_agent_pulls_in_nothing_of_the_collectors(module: str) -> None:
    assert not loaded_by(module) & {"collector", "fastapi", "starlette", "sqlalchemy", "psycopg", "pydantic", "amqtt"}


def test_help_of_the_agent_is_quick_because_it_loads_next_to_nothing() -> None:
    ours = {"agent", "msgspec", "paho", "cryptography", "pysnmp", "psutil", "asyncio"}
    assert loaded_by("agent.__main__") & ours == {"agent"}


def test_a_seat_needs_nothing_but_psutil() -> None:
    beyond = loaded_by("agent.seat.__main__") - set(sys.stdlib_module_names) - loaded_by("sys")
    assert {name for name in beyond if not name.startswith("_")} == {"agent", "psutil"}


def test_every_package_folder_says_that_it_is_one() -> None:
    """A folder without `__init__.py` would be a namespace package: found by luck, and by whoever comes first."""
    for top in ("agent", "collector"):
        for path in (ROOT / top).rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), path.parent


def modules() -> dict[str, Path]:
    """Every module of both programs, dotted, with its file; steps of the database's tables are data, not rooms."""
    files = [
        path for top in ("agent", "collector") for path in (ROOT / top).rglob("*.py") if "migrations" not in path.parts
    ]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def foreign_imports(known: dict[str, Path]) -> Iterator[tuple[str, str, str]]:
    """(module, room, name): `name` of a room is imported by a module that lives outside of it."""
    inside = rooms(known)
    for module, path in known.items():
        for node in ast.walk(tree(path)):
            if (
                isinstance(node, ast.ImportFrom)
                and node.module
                and node.module.partition(".")[0] in ("agent", "collector")
            ):
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    parts = (whole if whole in known or node.module in inside else node.module).split(".")
                    for depth in range(2, len(parts)):
                        room = ".".join(parts[:depth])
                        if room in inside and not f"{module}.".startswith(f"{room}."):
                            yield module, room, parts[depth]


def rooms(known: dict[str, Path]) -> set[str]:
    return {name for name, path in known.items() if path.name == "__init__.py" and "." in name}


def entry_of(path: Path) -> list[str]:
    """The names in a room's `__all__`."""
    for node in tree(path).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def test_a_room_is_entered_by_what_its_first_page_names_and_by_nothing_else() -> None:
    """`__all__` in a room's `__init__.py` is its entry: what others import is named there, and nothing besides."""
    known = modules()
    used: dict[str, set[str]] = {room: set() for room in rooms(known) if not room.endswith(".commands")}
    wrong = []
    for module, room, name in foreign_imports(known):
        if room in used:
            used[room].add(name)
            if name not in entry_of(known[room]):
                wrong.append(f"{module} imports {name} of {room}: name it in {room}.__all__, or import something else")
    assert not wrong, "\n".join(wrong)
    idle = {
        room: [name for name in entry_of(known[room]) if f"{room}.{name}" in known and name not in names]
        for room, names in used.items()
    }
    assert not {room: names for room, names in idle.items() if names}, "named as an entry and imported by nobody"


def test_every_room_says_what_it_is_for_and_is_of_a_size_that_a_reader_can_survey() -> None:
    known = modules()
    for room in rooms(known):
        assert ast.get_docstring(tree(known[room])), f"{room}: its __init__.py has no docstring"
        files = [path for path in known[room].parent.glob("*.py") if path.name != "__init__.py"]
        assert room.endswith(".commands") or len(files) <= 14, f"{room} has {len(files)} files: split it"


def crowded(top: Path) -> dict[Path, int]:
    """Folders below `top` with more than 14 Python files; what every folder may have does not count."""
    files = [path for path in top.rglob("*.py") if path.name not in ("__init__.py", "conftest.py")]
    return {folder: number for folder, number in Counter(path.parent for path in files).items() if number > 14}


def test_folders_of_tests_and_benches_are_of_a_size_that_a_reader_can_survey() -> None:
    assert not {folder: number for top in ("tests", "bench") for folder, number in crowded(ROOT / top).items()}


def test_a_crowded_folder_is_seen(tmp_path: Path) -> None:
    for number in range(15):
        (tmp_path / f"test_{number}.py").touch()
    assert crowded(tmp_path) == {tmp_path: 15}
