"""What people met in the field: each condition once, with the value that is right.

`NAME.snmprec` is served by a card, `NAME.nut` is what `upsc` would list, `NAME.story.json` runs over time: through
settling, the watch and the collector's cuts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import wire
from agent.probes.ups import nut, settle
from agent.probes.ups.draft import Memory
from agent.scheduling.power import Known, update_known
from collector.judging.flags import backup

FIELD = Path(__file__).parent / "field"
NUTS = sorted(FIELD.glob("*.nut"))
CARDS = sorted(FIELD.glob("*.snmprec"))
STORIES = sorted(FIELD.glob("*.story.json"))
TOLERANCE = {
    "battery_charge_pct": 1, "load_pct": 1, "input_voltage_v": 1, "output_voltage_v": 1, "input_frequency_hz": 0.11,
    "battery_temp_c": 1, "battery_voltage_v": 0.11, "runtime_s": 60, "on_battery_s": 1,
}  # fmt: skip
START_MS = 1_790_000_000_000

Look = Callable[..., wire.UpsReading]


def silent(_line: str) -> None:
    return None


def right(reading: wire.UpsReading, path: Path) -> None:
    """Raises AssertionError for the first field that is wrong. `accept` lists other values that can be defended."""
    document = json.loads(path.with_suffix(".json").read_text())
    assert (reading.failure.cause if reading.failure else None) == document.get("failure")
    for name, wanted in document["expected"].items():
        accepted = [wanted["value"], *wanted.get("accept", [])] if isinstance(wanted, dict) else [wanted]
        assert any(agrees(getattr(reading, name), value, TOLERANCE.get(name, 0)) for value in accepted), (
            name,
            accepted,
        )


def agrees(got: object, wanted: object, tolerance: float) -> bool:
    if isinstance(wanted, (int, float)) and not isinstance(wanted, bool) and isinstance(got, (int, float)):
        return abs(got - wanted) <= tolerance
    return got == wanted


def variables_of(path: Path) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in path.read_text().splitlines())}


@pytest.mark.parametrize("path", NUTS, ids=lambda path: path.stem)
def test_a_driver_is_read_as_is_right(path: Path) -> None:
    reading, _ = settle.settle(nut.gather(variables_of(path), silent), Memory(), 0.0, silent)
    right(reading or wire.UpsReading(failure=wire.Failure("not_ready")), path)


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_a_card_is_read_as_is_right(card: Callable[..., Any], look: Look, path: Path) -> None:
    right(look(card(path.stem).target()), path)


# ---------------------------------------------------------------- over time


def play(story: dict[str, Any]) -> Iterator[tuple[int, wire.UpsReading]]:
    """The readings that are kept, with their seconds."""
    memory, known = Memory(), Known()
    for second, variables in looks(story):
        reading, memory = settle.settle(nut.gather(variables, silent), memory, float(second), silent)
        assert reading is not None
        at = wire.Stamp(wall_ms=START_MS + second * 1000, mono_ms=second * 1000, boot="b", clock="synced")
        known, reading = update_known(known, msgspec.structs.replace(reading, at=at, subject="ups"))
        yield second, reading


def looks(story: dict[str, Any]) -> Iterator[tuple[int, dict[str, str]]]:
    for span in story["spans"]:
        count = max(1, (span["to_s"] - span["from_s"]) // span["every_s"])
        for number in range(count):
            share = number / max(1, count - 1)
            now = {
                name: value if isinstance(value, str) else f"{value[0] + (value[1] - value[0]) * share:.1f}"
                for name, value in span["variables"].items()
            }
            yield span["from_s"] + number * span["every_s"], {**story["base"], **now}


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.name.partition(".")[0])
def test_a_story_ends_in_the_cuts_and_last_gasps_that_are_right(path: Path) -> None:
    story = json.loads(path.read_text())
    wanted = story["expected"]
    kept = list(play(story))

    gasps = [(second, reading.last_gasp) for second, reading in kept if reading.last_gasp]
    if "gasps_of" in wanted:
        assert gasps
        assert {gasp for _, gasp in gasps} <= set(wanted["gasps_of"])
        assert wanted["first_gasp_s"][0] <= gasps[0][0] <= wanted["first_gasp_s"][1]
    else:
        assert gasps == wanted["gasps"]
    cuts = backup.cuts_in(backup.charge_of(it, START_MS + s * 1000, str(s)) for s, it in kept)
    assert len(cuts) == wanted["cuts"]
    if "backup_min" in wanted:
        assert wanted["backup_min"][0] <= cuts[0].backup_s / 60 <= wanted["backup_min"][1]
