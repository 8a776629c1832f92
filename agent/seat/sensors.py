"""What a machine says of itself, one sensor at a time: one that fails or talks nonsense is unknown, the others stand.

Drivers answer EAGAIN, nothing, -1 or 65535, and psutil gives up the whole list over one of them (its issues 2477 and
2382): so temperatures are read here file by file, as Linux shows them (Documentation/hwmon/sysfs-interface).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from agent.common.errors import describe

Value = TypeVar("Value")
Note = Callable[[str], None]

SANE_CELSIUS = (-40.0, 150.0)  # absent sensors answer 0 K, 255 or nonsense
HWMON = ("class/hwmon/hwmon*/temp*_input", "class/hwmon/hwmon*/device/temp*_input")
ZONES = "class/thermal/thermal_zone*/temp"  # of boards without hwmon


def sensed(what: str, read: Callable[[], Value], note: Note | None = None) -> Value | None:
    """What ``read`` returns; None where it fails, whatever by: drivers and libraries have no list of their errors."""
    try:
        return read()
    except Exception as error:
        if note is not None:
            note(f"{what} cannot be read: {describe(error)}")
        return None


def within(value: float | None, low: float, high: float) -> float | None:
    """``value`` where it can be true. What the wire would refuse costs its own field, not the reading."""
    return value if value is not None and low <= value <= high else None


def share_pct(value: float | None) -> float | None:
    return within(value, 0.0, 100.0)


def hottest_c(sys_dir: Path = Path("/sys"), note: Note | None = None) -> float | None:
    """The hottest sensor with a believable value; None where the machine shows none (Windows, most virtual ones)."""
    low, high = SANE_CELSIUS
    for patterns in (HWMON, (ZONES,)):
        files = (file for pattern in patterns for file in sorted(sys_dir.glob(pattern)))
        values = [sensed(str(file), lambda file=file: int(file.read_bytes()) / 1000, note) for file in files]  # type: ignore[misc]
        sane = [value for value in values if value and low < value < high]
        if sane:
            return max(sane)
    return None
