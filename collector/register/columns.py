"""The columns of the register: one rule for each, from a cell's text to the fact it states."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent.common.errors import describe
from agent.common.files import clean, refused_sign
from collector.register.opening_hours import parse as parse_hours

TIERS = ("one", "two", "three")
LIFECYCLE = {
    "applied": ("inspected", "probation", "declared", "closed"),
    "inspected": ("probation", "declared", "closed"),
    "probation": ("declared", "watch", "suspended", "closed"),
    "declared": ("watch", "suspended", "closed"),
    "watch": ("declared", "suspended", "closed"),
    "suspended": ("probation", "declared", "watch", "closed"),
    "closed": ("applied",),
}
PAUSED = ("suspended", "closed")  # in which a center is not judged
CODE = re.compile(r"[A-Z0-9][A-Z0-9-]{0,31}")
MAX_TEXT = 200
MAX_SEATS = 500  # as many as one roll call carries


@dataclass(frozen=True)
class Mistake:
    """`line` of the file (1 is its first), `column` by its head, `rule` it breaks and the fix in one sentence."""

    line: int
    column: str
    rule: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.column}: {self.rule}" if self.line else f"{self.column}: {self.rule}"


def parse_cells(cells: Mapping[str, str], line: int) -> tuple[dict[str, object], list[Mistake]]:
    """The facts that these cells state, by column, and every mistake. An empty cell of a lifecycle states nothing."""
    values: dict[str, object] = {}
    mistakes: list[Mistake] = []
    for name, cell in cells.items():
        text = clean(cell)
        if name not in COLUMNS:
            mistakes.append(Mistake(line, name, f"is no column; columns are {', '.join(COLUMNS)}"))
        elif text or name != "lifecycle":
            try:
                values[name] = _parsed(COLUMNS[name], text)
            except ValueError as error:
                mistakes.append(Mistake(line, name, describe(error)))
    return values, mistakes


def parse_fact(name: str, text: str) -> object:
    """One fact from its text. Raises ValueError with the rule and the fix."""
    if name not in COLUMNS or name == "center":
        raise ValueError(
            f"{name[:40]!r} is no fact; facts are {', '.join(item for item in COLUMNS if item != 'center')}"
        )
    return _parsed(COLUMNS[name], clean(text))


def _parsed(column: Column, text: str) -> object:
    """What is no name says by its own rule what is wrong, but for a sign that nobody sees: that is named."""
    if column.parse not in (_text, _name) and (sign := refused_sign(text)):
        raise ValueError(f"has {sign}; take it out")
    return column.parse(text)


def _code(text: str) -> str:
    if not CODE.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not 1 to 32 capital letters, digits and hyphens; write e.g. LHR-014")
    return text


def _text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"must be one line of at most {MAX_TEXT} printable letters; shorten it")
    if sign := refused_sign(text, urdu=True):
        raise ValueError(f"must be one line of printable letters, and has {sign}; take it out")
    return text


def _name(text: str) -> str:
    if not text:
        raise ValueError("is empty; write the center's name")
    return _text(text)


def _tier(text: str) -> str:
    if text not in TIERS:
        raise ValueError(f"{text[:40]!r} is no tier; write one, two or three")
    return text


def _seats(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10) or not 1 <= int(text) <= MAX_SEATS:
        raise ValueError(f"{text[:40]!r} is not a whole number from 1 to {MAX_SEATS}; write the seats promised")
    return int(text)


def _count(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ValueError(f"{text[:40]!r} is not a whole number; write how many, or nothing")
    return int(text)


def _figure(most: float, unit: str) -> Callable[[str], float | None]:
    def parse(text: str) -> float | None:
        if not text:
            return None
        try:
            figure = float(text.replace(",", "."))
        except ValueError:
            raise ValueError(f"{text[:40]!r} is not a number; write {unit}") from None
        if not 0 < figure <= most:
            raise ValueError(f"{figure:g} is not above 0 and up to {most:g}; write {unit}")
        return figure

    return parse


def _opening(text: str) -> str:
    return parse_hours(_text(text)).text


def _lifecycle(text: str) -> str:
    if text not in LIFECYCLE:
        raise ValueError(f"{text[:40]!r} is none of {', '.join(LIFECYCLE)}; write one of them")
    return text


def _degrees(least: float, most: float) -> Callable[[str], float | None]:
    """Decimal degrees of a place in Pakistan: its bounds catch latitude and longitude changed about."""

    def parse(text: str) -> float | None:
        if not text:
            return None
        try:
            degrees = float(text.replace(",", "."))  # as Excel writes it where the comma is the decimal sign
        except ValueError:
            raise ValueError(f"{text[:40]!r} is not a number; write decimal degrees") from None
        if not least <= degrees <= most:
            raise ValueError(f"{degrees:g} lies outside Pakistan ({least:g} to {most:g}); write decimal degrees")
        return degrees

    return parse


@dataclass(frozen=True)
class Column:
    """One fact about a center. `parse` makes it of a cell's text, or raises ValueError with the rule and the fix. A row
    must have those `needed`. One that is `shown` stands on the center's page as it is; its label is `center.NAME`."""

    parse: Callable[[str], object]
    needed: bool = False
    shown: bool = False


COLUMNS: Mapping[str, Column] = {
    "center": Column(_code, needed=True),
    "name": Column(_name, needed=True),
    "owner": Column(_text),
    "building": Column(_text),
    "city": Column(_text),
    "district": Column(_text),
    "province": Column(_text),
    "tier": Column(_tier, needed=True),
    "seats_promised": Column(_seats, needed=True),
    "isp": Column(_text, shown=True),
    "feeder": Column(_text, shown=True),
    "exchange": Column(_text, shown=True),
    "opening": Column(_opening, needed=True),
    "latitude": Column(_degrees(23, 38)),
    "longitude": Column(_degrees(60, 78)),
    "contract_down_mbps": Column(_figure(100_000, "Mbit/s")),
    "contract_up_mbps": Column(_figure(100_000, "Mbit/s")),
    "contact": Column(_text),
    "phone": Column(_text),
    "cabins": Column(_count),
    "meeting_rooms": Column(_count),
    "training_rooms": Column(_count),
    "seat_price_rs": Column(_count),
    "generator_kva": Column(_figure(10_000, "kVA")),
    "lifecycle": Column(_lifecycle),
}
NEEDED = tuple(name for name, column in COLUMNS.items() if column.needed)
SHOWN = tuple(name for name, column in COLUMNS.items() if column.shown)
