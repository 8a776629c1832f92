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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agent.common.reasons import Reason
from collector.reports.exclusions import Exclusion
from collector.reports.ledger import BUCKETS, NOTHING, Bucket, Ledger

SHEET_FORMAT = 1
APART = b"\x02"  # a body that begins so has its values apart; one without is JSON alone, compressed by zlib
FORMER_APART = b"\x01"

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
        minutes: dict[Bucket, int] = {name: self.minutes[name] for name in BUCKETS}
        return Ledger(minutes, self.before)


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


class SheetTally(msgspec.Struct, frozen=True, array_like=True):
    """Of one criterion and subject what a draft of a standard needs. Of its `distinct` values, in thousandths, `least`
    and `most`; `valued` samples have one. `codes`: as which types of `array` the values, less `least`, and how often
    each was found are stored; a value as "d" is itself, not in thousandths."""

    criterion: str
    subject: str
    counted: int
    met: int
    covered: int
    slots: tuple[int, ...]
    distinct: int
    least: int
    most: int
    valued: int
    codes: str

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of its values, and of how often each was found."""
        return self.distinct * ITEM_BYTES[self.codes[0]], self.distinct * ITEM_BYTES[self.codes[1]]


class SheetTallies(msgspec.Struct, frozen=True, array_like=True):
    """`minutes` in the order of BUCKETS."""

    minutes: tuple[int, ...]
    criteria: tuple[SheetTally, ...]


TALLIED = ("criterion", "subject", "counted", "met", "covered", "slots")  # of a criterion's day, in both parts
EXACT = 1e12  # below it, a thousandth is a whole number that a float has exactly
ITEM_BYTES = {code: array(code).itemsize for code in "BHId"}


def packed_sheet(sheet: DaySheet) -> bytes:
    return msgspec.json.encode(sheet)


def sheet_body(sheet: DaySheet) -> bytes:
    """For the table, in three parts compressed each for itself, so that a draft over a nation's days reads little of
    them: APART, the lengths of the first two, the tallies as JSON, the values of all criteria in the order of the
    tallies, and the sheet as JSON without what those have. Values ascend, so that those beyond a figure are counted
    without looking at all; numbers are little-endian, as narrow as they can be."""
    tallies, figures = tallied(sheet)
    ascending = all(list(day.values) == sorted(day.values) for day in sheet.criteria)
    if not ascending or set(sheet.minutes) != set(BUCKETS) or sys.byteorder != "little":
        return zlib.compress(packed_sheet(sheet))
    rest = [
        msgspec.structs.replace(day, criterion="", subject="", counted=0, met=0, covered=0, slots=(), values=())
        for day in sheet.criteria
    ]
    head = zlib.compress(msgspec.json.encode(tallies))
    middle = zlib.compress(figures)
    tail = zlib.compress(packed_sheet(msgspec.structs.replace(sheet, minutes={}, criteria=tuple(rest))))
    return APART + len(head).to_bytes(4, "little") + len(middle).to_bytes(4, "little") + head + middle + tail


def tallied(sheet: DaySheet) -> tuple[SheetTallies, bytes]:
    """What a draft needs, and the values."""
    figures, tallies = bytearray(), []
    for day in sheet.criteria:
        tally, part = _tally(day)
        tallies.append(tally)
        figures += part
    return SheetTallies(tuple(sheet.minutes.get(name, 0) for name in BUCKETS), tuple(tallies)), bytes(figures)


def _tally(day: CriterionDay) -> tuple[SheetTally, bytes]:
    pairs = sorted(day.values)
    values: array[Any] = array("d", [value for value, _ in pairs])
    counts = [count for _, count in pairs]
    thousandths, least, most = _thousandths(values), 0, 0
    if thousandths and thousandths[-1] - thousandths[0] < 1 << 32:
        least, most = thousandths[0], thousandths[-1]
        values = _narrow([value - least for value in thousandths])
    often = _narrow(counts)
    tally = SheetTally(
        day.criterion, day.subject, day.counted, day.met, day.covered, day.slots, len(pairs), least, most, sum(counts),
        values.typecode + often.typecode,
    )  # fmt: skip
    return tally, values.tobytes() + often.tobytes()


def _thousandths(values: Sequence[float]) -> list[int]:
    """None at all where they would not come back as they are."""
    if not all(abs(value) < EXACT for value in values):
        return []
    whole = [round(1000 * value) for value in values]
    return whole if all(one / 1000 == value for one, value in zip(whole, values, strict=True)) else []


def _narrow(numbers: list[int]) -> array[Any]:
    most = max(numbers, default=0)
    return array("B" if most < 1 << 8 else "H" if most < 1 << 16 else "I", numbers)


def tallies_of(body: bytes) -> tuple[SheetTallies, bytes] | None:
    """What a draft needs, and the values, which are still compressed; None where a body is of another format."""
    if body[:1] == APART:
        head, middle, _ = _parts(body)
        return _tallies.decode(zlib.decompress(head)), middle
    sheet = stored_sheet(body)
    if sheet is None:
        return None
    tallies, figures = tallied(sheet)
    return tallies, zlib.compress(figures, 0)


def _parts(body: bytes) -> tuple[bytes, bytes, bytes]:
    middle = 9 + int.from_bytes(body[1:5], "little")
    tail = middle + int.from_bytes(body[5:9], "little")
    return body[9:middle], body[middle:tail], body[tail:]


def stored_sheet(body: bytes) -> DaySheet | None:
    """Of the table; None where it is of another format."""
    if body[:1] == FORMER_APART:
        return _former_sheet(body)
    if body[:1] != APART:
        return unpacked_sheet(zlib.decompress(body))
    head, middle, tail = _parts(body)
    try:
        tallies, figures = _tallies.decode(zlib.decompress(head)), memoryview(zlib.decompress(middle))
        sheet = unpacked_sheet(zlib.decompress(tail))
        return None if sheet is None else _whole(sheet, tallies, figures)
    except (msgspec.DecodeError, ValueError, zlib.error):
        return None


def _whole(sheet: DaySheet, tallies: SheetTallies, figures: memoryview) -> DaySheet:
    """Raises ValueError."""
    criteria, at = [], 0
    for day, tally in zip(sheet.criteria, tallies.criteria, strict=True):
        middle, end = at + tally.sizes[0], at + sum(tally.sizes)
        values = list(numbers_of(figures[at:middle], tally.codes[0]))
        counts = numbers_of(figures[middle:end], tally.codes[1])
        if tally.codes[0] != "d":
            values = [(value + tally.least) / 1000 for value in values]
        counted = {name: getattr(tally, name) for name in TALLIED}
        whole = tuple(zip(values, counts, strict=True))
        criteria.append(msgspec.structs.replace(day, values=whole, **counted))
        at = end
    if at != len(figures):
        raise ValueError(f"{len(figures)} bytes of values, {at} of them told")
    minutes = dict(zip(BUCKETS, tallies.minutes, strict=True))
    return msgspec.structs.replace(sheet, criteria=tuple(criteria), minutes=minutes)


def numbers_of(part: memoryview, code: str) -> Sequence[Any]:
    return part.cast(code)  # type: ignore[call-overload, no-any-return]  # of ITEM_BYTES


def _former_sheet(body: bytes) -> DaySheet | None:
    """As bodies were for some weeks: JSON without values; how many each criterion has, values, counts, all int32."""
    end = 5 + int.from_bytes(body[1:5], "little")
    sheet = unpacked_sheet(zlib.decompress(body[5:end]))
    if sheet is None:
        return None
    figures, at, criteria = array("i", zlib.decompress(body[end:])), len(sheet.criteria), []
    for day, count in zip(sheet.criteria, figures, strict=False):
        values = [value / 1000 for value in figures[at : at + count]]
        pairs = tuple(zip(values, figures[at + count : at + 2 * count], strict=True))
        criteria.append(msgspec.structs.replace(day, values=pairs))
        at += 2 * count
    return msgspec.structs.replace(sheet, criteria=tuple(criteria))


_tallies = msgspec.json.Decoder(SheetTallies)
_sheets = msgspec.json.Decoder(DaySheet)


def unpacked_sheet(body: bytes) -> DaySheet | None:
    """None where it is of another format: it is made anew."""
    try:
        sheet = _sheets.decode(body)
    except msgspec.DecodeError:
        return None
    return sheet if sheet.format == SHEET_FORMAT else None
