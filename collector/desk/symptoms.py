"""What is wrong at a center, by kind of trouble: flags that are raised, and signs of more. Pure.

A *sign* is a center that shows the same as its neighbours without a raised flag: it is not heard, its mains are cut, or
a flag of its line is on its way. Signs open no incident by themselves; they say how far one reaches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from collector.standard.criteria import Severity

Family = Literal["power", "line", "dark", "seats", "gateway", "collector", "month", "other"]
Scope = Literal["center", "feeder", "exchange", "provider", "district", "province", "country", "collector"]

SEVERITIES: tuple[Severity, ...] = ("notice", "info", "warning", "serious", "urgent")
SIGN = ""  # the criterion of a member that only shows signs

# Of the readings that a criterion judges. Silence is dark until something tells why.
FAMILIES: Mapping[str, Family] = {
    "link": "line", "speed": "line", "ups": "power", "seats": "seats", "gateway": "gateway", "silence": "dark",
    "fleet": "collector", "clocks": "collector", "audit": "collector",
}  # fmt: skip

# What a named cause of silence (collector.judging.flags.cause.Name) makes of it.
OF_CAUSE: Mapping[str, Family] = {
    "mains_carried": "power", "ups_exhausted": "power", "isp_down": "line", "portal": "line", "dns": "line",
    "filtered": "line", "mtu": "line", "collector": "collector",
}  # fmt: skip

SHARED: tuple[Family, ...] = ("power", "line", "dark")  # what neighbours may have in common
ON_A_LINE: tuple[Family, ...] = ("line", "dark")  # what a line that fails may look like
TIED_MS = 120_000  # a line that fails so soon after the mains was without power


@dataclass(frozen=True)
class CenterPlace:
    """Where a center hangs; what is not known is empty."""

    center: str
    feeder: str = ""
    exchange: str = ""
    isp: str = ""
    city: str = ""
    district: str = ""
    province: str = ""

    @property
    def code(self) -> str:
        """As the calendar calls it."""
        return self.center


@dataclass(frozen=True)
class Symptom:
    """A flag that was raised. `change` is the row that says so."""

    center: str
    criterion: str
    subject: str
    family: Family
    severity: Severity
    began_ms: int
    change: int | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return self.center, self.criterion, self.subject


@dataclass(frozen=True)
class CenterSign:
    """A center's trouble as its neighbours may share it, and since when."""

    center: str
    family: Family  # power, line or dark
    began_ms: int


def family_of(reading: str, began_ms: int, cut_ms: int | None = None) -> Family:
    """Of a flag of this kind of reading. `cut_ms`: since when the center's mains are cut, if they are; a line, or a
    whole gateway, that failed with them has no trouble of its own."""
    family = FAMILIES.get(reading, "other")
    is_tied = cut_ms is not None and began_ms >= cut_ms - TIED_MS
    return "power" if family in ON_A_LINE and is_tied else family


def is_long_cut(began_ms: int, cut_ms: int | None) -> bool:
    """Whether this began so long after the mains were cut that another cause can be told from the cut."""
    return cut_ms is not None and began_ms > cut_ms + TIED_MS


def worst(severities: list[Severity]) -> Severity:
    return max(severities, key=SEVERITIES.index, default="notice")
