"""Which part may know which: the contracts of pyproject.toml, and what an import really pulls in."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
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
        ("agent/uplink/session.py", "import collector.config", "the agent never imports the collector"),
        (
            "collector/ingest/transaction.py",
            "import agent.spool.queue",
            "the collector knows the agent only by the wire",
        ),
        ("collector/flags/machine.py", "import time", "judging is pure"),
        ("collector/simulate/run.py", "import collector.web.app", "the collector's rooms lie on floors"),
        ("collector/reports/render.py", "import time", "what plans and renders does no input or output"),
        ("agent/probes/link/ping.py", "import agent.scheduling.schedule", "no rooms import each other in a circle"),
        ("agent/seat/measure.py", "import agent.wire", "a seat knows only itself"),
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
    assert contract in next(line for line in done.stdout.splitlines() if line.endswith("BROKEN"))


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
