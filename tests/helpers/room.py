"""What a developer writes by hand for one more kind of reading, "room": temperature and humidity. Done in a copy of the
tree by tests/project/test_room.py; docs/developer/adding.md tells the same steps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.helpers import ROOT

COPIED = ("agent", "collector", "tests", "docs", "pyproject.toml", "README.md", "Makefile")
PLAY = ROOT / "tests" / "helpers" / "room_play.py"

STRUCT = '''class RoomReading(Reading, frozen=True, kw_only=True, omit_defaults=True, tag="room"):
    """The air of a room."""

    temperature_c: Number | None = None
    humidity_pct: Number | None = None


'''
ROW = """        Kind(
            struct=RoomReading,
            summary="the air of a room",
            figures=(Aggregate("temperature_c", "max"), Aggregate("humidity_pct", "avg")),
            chart=("temperature_c", "humidity_pct"),
        ),
"""
PROBE = '''"""The air of a room, as a sensor writes it into the file `room` of the state folder: °C, a space, and %."""

from __future__ import annotations

from collections.abc import Sequence

from agent.probes.probe import Context, ProbeFailed
from agent.wire import Reading, RoomReading


async def probe(context: Context) -> Sequence[Reading]:
    """Raises ProbeFailed when there is no sensor."""
    try:
        temperature, humidity = (context.settings.state_dir / "room").read_text("ascii").split()
        return [RoomReading(temperature_c=float(temperature), humidity_pct=float(humidity))]
    except (OSError, ValueError) as error:
        raise ProbeFailed("not_configured", f"no sensor has written its figures: {error}") from None
'''
TEST = """from agent.config import AgentSettings, AgentTable
from agent.probes.probe import Context
from agent.probes.room import probe
from agent.wire import RoomReading


async def measured(folder):
    return await probe(Context(settings=AgentSettings(agent=AgentTable(state_dir=str(folder))), deadline_s=1.0))


def test_what_the_sensor_wrote_is_the_reading(tmp_path):
    import asyncio

    (tmp_path / "room").write_text("24.5 41")
    assert asyncio.run(measured(tmp_path)) == [RoomReading(temperature_c=24.5, humidity_pct=41.0)]
"""
GOLDEN = (
    '{"kind":"room","at":{"wall_ms":1780000000000,"mono_ms":5000,"boot":"b","clock":"synced"},'
    '"temperature_c":24.5,"humidity_pct":41.0}'
)
WORDS = {"en": ("Room", "humidity"), "ur": ("کمرہ", "نمی")}  # a temperature has its word already


def words(lang: str) -> str:
    name, humidity = WORDS[lang]
    return f'  "kind.room": "{name}",\n  "field.humidity_pct": "{humidity}",\n'


# The file -> [(before what, what)]; a file that is new has no "before". `agent/wire.py` needs both of its pieces.
EDITS: dict[str, list[tuple[str, str]]] = {
    "agent/wire.py": [
        ("# ---------------------------------------------------------------- kinds: one row", STRUCT),
        ("        Kind(struct=BootReading", ROW),
    ],
    "agent/probes/room.py": [("", PROBE)],
    "agent/probes/__init__.py": [
        ('    "gateway": _loaded', '    "room": _loaded_at_first_use("agent.probes.room"),\n'),
    ],
    "agent/common/text/en.json": [('  "kind.gateway"', words("en"))],
    "agent/common/text/ur.json": [('  "kind.gateway"', words("ur"))],
    "tests/wire/v1/room.json": [("", GOLDEN)],
    "tests/agent/probes/test_room.py": [("", TEST)],
}
MIGRATION = "the next step, drafted"  # the one file besides that is committed, made by `make migration`


def copy(tree: Path) -> None:
    """The tree as it is, with the play among its tests."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", ".*cache"))
        else:
            shutil.copy(ROOT / name, tree / name)
    shutil.copy(PLAY, tree / "tests" / "collector" / "web" / "test_room_play.py")


def edit(tree: Path, name: str) -> None:
    """Writes one file as the developer would. Raises ValueError when the place is no longer there."""
    path = tree / name
    text = path.read_text("utf-8") if path.exists() else ""
    for before, piece in EDITS[name]:
        if before and text.count(before) != 1:
            raise ValueError(
                f"{name}: {before!r} stands there {text.count(before)} times; correct tests/helpers/room.py"
            )
        text = text.replace(before, piece + before) if before else piece
    path.write_text(text, "utf-8")


def run(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of Python in that tree, and on none of the real one's modules."""
    return subprocess.run(
        [sys.executable, *words], cwd=tree, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(tree), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONDONTWRITEBYTECODE": "1",
             "CI": os.environ.get("CI", "")},
    )  # fmt: skip


def draft(tree: Path) -> Path:
    """`make migration`: returns the file it wrote."""
    done = run(tree, "-m", "collector.store.draft", "Readings", "of", "rooms")
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[0])


def tests(tree: Path, *paths: str) -> subprocess.CompletedProcess[str]:
    return run(tree, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *paths)


def pages(tree: Path) -> Sequence[str]:
    """`make docs`: the pages that it wrote anew."""
    before = {path: path.read_bytes() for path in (tree / "docs").glob("*.*")}
    done = run(tree, "docs/generate.py")
    assert done.returncode == 0, done.stderr
    return sorted(path.name for path, was in before.items() if path.read_bytes() != was)
