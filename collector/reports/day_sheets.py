"""Day sheets: what one day says of one center, and how the days of a month are merged. Pure.

A sheet is a function of that day's readings, facts, calendar and standards; everything in a month's report that is
counted is a sum of its sheets.
"""

from __future__ import annotations

import gc
import hashlib
import sys
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agent.common.reasons import Reason
from collector.reports.exclusions import Exclusion
from collector.reports.ledger import BUCKETS, NOTHING, Bucket, Ledger

SHEET_FORMAT = 1
APART = b"\x01"  # a body that begins so has its values apart; one without is JSON alone, compressed by zlib

Key = tuple[str, str]  # criterion, subject


class CriterionDay(msgspec.Struct, frozen=True, kw_only=True):
    """What a day's readings say of one criterion and subject. `values` are [value, how often], `covered` open minutes
    with a sample, `unused` [reason, how many] tests that were granted and not made."""

    criterion: str
    subject: str
    counted: int
    met: int
    values: tuple[tuple[float, int], ...]
    slots: tuple[int, ...]
    covered: int
    not_counted: tuple[tuple[Reason, int], ...] = ()
    unused: tuple[tuple[str, int], ...] = ()


class Availability(msgspec.Struct, frozen=True, kw_only=True):
    """Open minutes that are not excused: the line as its readings had it; power by the UPS, and off where the gateway
    proved that it was without."""

    line_up: int = 0
    line_down: int = 0
    mains: int = 0
    battery: int = 0
    off: int = 0

    def __add__(self, other: Availability) -> Availability:
        names = self.__struct_fields__
        return Availability(**{name: getattr(self, name) + getattr(other, name) for name in names})


class ExcusedTime(msgspec.Struct, frozen=True, kw_only=True):
    """An exclusion and the open minutes that it took out of this day, those of earlier ones left out."""

    exclusion: Exclusion
    minutes: int


class DaySheet(msgspec.Struct, frozen=True, kw_only=True):
    """One center and day. `lost` are open minutes that are ours by losses; `sha256` is of the readings.
    `offline` are measured open minutes that are known by readings alone that were kept while their gateway was offline:
    within that time their order is its own word."""

    center: str
    from_ms: int
    to_ms: int
    standards: tuple[str, ...]  # digests of the versions that hold on the day
    minutes: dict[str, int]
    before: int
    lost: int
    availability: Availability
    criteria: tuple[CriterionDay, ...]
    seats: tuple[dict[str, Any], ...]
    excused: tuple[ExcusedTime, ...]
    sha256: str
    offline: int = 0
    format: int = SHEET_FORMAT

    @property
    def ledger(self) -> Ledger:
        found: dict[Bucket, int] = {name: self.minutes[name] for name in BUCKETS}
        return Ledger(found, self.before)


@dataclass
class Samples:
    """What the readings of a period say of one criterion and subject."""

    values: Counter[float] = field(default_factory=Counter)
    counted: int = 0
    met: int = 0
    days: int = 0
    slots: set[int] = field(default_factory=set)
    covered: int = 0
    not_counted: Counter[Reason] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)

    def add(self, day: CriterionDay) -> None:
        self.counted += day.counted
        self.met += day.met
        self.days += day.counted > 0
        self.slots.update(day.slots)
        self.covered += day.covered
        self.add_values(day.values)
        for reason, count in day.not_counted:
            self.not_counted[reason] += count
        for cause, count in day.unused:
            self.unused[cause] += count

    def add_values(self, values: Iterable[tuple[float, int]]) -> None:
        """Most of the work of a month: `Counter.update` takes twice as long."""
        known = self.values
        for value, count in values:
            known[value] = known.get(value, 0) + count


@dataclass
class MergedMonth:
    """The sheets of a period, merged. The order in which they are added does not matter, but for `evidence`."""

    ledger: Ledger = NOTHING
    lost: int = 0
    offline: int = 0
    availability: Availability = field(default_factory=Availability)
    found: dict[Key, Samples] = field(default_factory=dict)
    seats: list[Mapping[str, Any]] = field(default_factory=list)
    excused: list[ExcusedTime] = field(default_factory=list)
    digests: list[tuple[int, str]] = field(default_factory=list)
    days: dict[int, Ledger] = field(default_factory=dict)  # by when they begin
    open_days: int = 0  # with an open minute that the center answers for

    def add(self, sheet: DaySheet) -> None:
        book = self.days[sheet.from_ms] = sheet.ledger
        self.ledger += book
        self.lost += sheet.lost
        self.offline += sheet.offline
        self.open_days += book.owed > 0
        self.availability += sheet.availability
        for day in sheet.criteria:
            self.found.setdefault((day.criterion, day.subject), Samples()).add(day)
        self.seats += sheet.seats
        self.excused += sheet.excused
        self.digests.append((sheet.from_ms, sheet.sha256))

    @property
    def sha256(self) -> str:
        """Of the days' digests, in the order of the days."""
        return hashlib.sha256("\n".join(digest for _, digest in sorted(self.digests)).encode()).hexdigest()


@contextmanager
def uncollected() -> Iterator[None]:
    """Without Python's search for cycles, of which sheets have none: it took a third of the close of a month."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def merged(sheets: Iterable[DaySheet]) -> MergedMonth:
    month = MergedMonth()
    for sheet in sheets:
        month.add(sheet)
    return month


# ---------------------------------------------------------------- as it is stored


def packed_sheet(sheet: DaySheet) -> bytes:
    return msgspec.json.encode(sheet)


def sheet_body(sheet: DaySheet) -> bytes:
    """For the table: APART, the length of the next part, the JSON without values, the values; both parts compressed.
    Values are whole thousandths in ascending order, so that a draft counts those beyond a figure without reading all:
    of each criterion how many, then their values, then how often each was found, all int32, little-endian."""
    figures = _figures(sheet)
    if figures is None or sys.byteorder != "little":
        return zlib.compress(packed_sheet(sheet))
    criteria = tuple(msgspec.structs.replace(day, values=()) for day in sheet.criteria)
    head = zlib.compress(packed_sheet(msgspec.structs.replace(sheet, criteria=criteria)))
    return APART + len(head).to_bytes(4, "little") + head + zlib.compress(figures.tobytes())


def _figures(sheet: DaySheet) -> array[int] | None:
    """None where they would not come back as they are."""
    figures = array("i", [len(day.values) for day in sheet.criteria])
    try:
        for day in sheet.criteria:
            whole = [round(1000 * value) for value, _ in day.values]
            if whole != sorted(whole) or [value / 1000 for value in whole] != [value for value, _ in day.values]:
                return None
            figures.extend(whole)
            figures.extend(count for _, count in day.values)
    except (OverflowError, ValueError):
        return None
    return figures


def parts_of(body: bytes) -> tuple[bytes, bytes | None]:
    """The JSON of a sheet, and its values, still compressed, where they are apart."""
    if body[:1] != APART:
        return zlib.decompress(body), None
    end = 5 + int.from_bytes(body[1:5], "little")
    return zlib.decompress(body[5:end]), body[end:]


def figures_of(packed: bytes, criteria: int) -> list[tuple[array[int], array[int]]]:
    """Of each criterion its values, in thousandths, and how often each was found. Raises ValueError, zlib.error."""
    figures = array("i", zlib.decompress(packed))
    found, at = [], criteria
    for count in figures[:criteria]:
        found.append((figures[at : at + count], figures[at + count : at + 2 * count]))
        at += 2 * count
    if at != len(figures):
        raise ValueError(f"values of {criteria} criteria: {len(figures)} figures")
    return found


def stored_sheet(body: bytes) -> DaySheet | None:
    """Of the table; None where it is of another format."""
    text, packed = parts_of(body)
    sheet = unpacked_sheet(text)
    if sheet is None or packed is None:
        return sheet
    try:
        figures = figures_of(packed, len(sheet.criteria))
    except (ValueError, zlib.error):
        return None
    criteria = tuple(
        msgspec.structs.replace(day, values=tuple(zip([value / 1000 for value in values], counts, strict=True)))
        for day, (values, counts) in zip(sheet.criteria, figures, strict=True)
    )
    return msgspec.structs.replace(sheet, criteria=criteria)


_sheets = msgspec.json.Decoder(DaySheet)


def unpacked_sheet(body: bytes) -> DaySheet | None:
    """None where it is of another format: it is made anew."""
    try:
        sheet = _sheets.decode(body)
    except msgspec.DecodeError:
        return None
    return sheet if sheet.format == SHEET_FORMAT else None
