"""What the agent may use: bounds of its unit as the kernel tells them, of its spool and of its speed tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.commands.status import lines
from agent.local.ceilings import Ceiling, ceilings, cpu_quota_pct, own_folder


def unit(tmp_path: Path, **files: str) -> dict[str, Path]:
    folder = tmp_path / "cgroup" / "system.slice" / "nabz-agent.service"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text + "\n")
    (tmp_path / "own").write_text("0::/system.slice/nabz-agent.service\n")
    return {"own": tmp_path / "own", "cgroups": tmp_path / "cgroup"}


def found(**places: Path) -> dict[str, Ceiling]:
    made = ceilings(
        spool_bytes=2 << 20, spool_max_bytes=64 << 20, speed_used_mb=120.0, speed_budget_mb=8000.0, **places
    )
    return {ceiling.name: ceiling for ceiling in made}


def test_the_bounds_of_a_unit_are_read_with_what_is_used(tmp_path: Path) -> None:
    places = unit(tmp_path, cpu_max="100000 100000", memory_max=str(320 << 20), memory_current=str(60 << 20))
    known = found(**places)
    assert (known["cpu"].most, known["memory"].used, known["memory"].most) == (100.0, 60.0, 320.0)
    assert (known["spool"].used, known["spool"].most, known["speed_month"].used) == (2.0, 64.0, 120.0)


@pytest.mark.parametrize("text", ["", "max 100000", "x y", "100000 0", "100000", "-5 100000"])
def test_no_quota_is_none(text: str) -> None:
    assert cpu_quota_pct(text) is None


def test_without_a_unit_nothing_is_invented(tmp_path: Path) -> None:
    places = unit(tmp_path, cpu_max="max 100000", memory_max="max")
    known = found(**places)
    assert (known["cpu"].most, known["memory"].used, known["memory"].most) == (None, None, None)
    assert own_folder(tmp_path / "none", tmp_path) is None
    (tmp_path / "own").write_text("0::/../../etc\n")
    assert own_folder(tmp_path / "own", tmp_path) is None


def test_the_command_shows_each_with_its_bound() -> None:
    view: dict[str, object] = {
        "uplink": "connected", "spool_readings": 0, "spool_bytes": 0,
        "ceilings": [
            {"name": "memory", "unit": "MB", "used": 60.0, "most": 320.0},
            {"name": "cpu", "unit": "%", "used": None, "most": 100.0},
            {"name": "spool", "unit": "MB", "used": 2.0, "most": None},
        ],
    }  # fmt: skip
    assert "limits  memory 60 of 320 MB, cpu at most 100 %, spool 2 MB" in lines(view)
