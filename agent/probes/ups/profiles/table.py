"""The form of vendor knowledge: which object says what, in which unit, and which numbers mean "unknown".

A profile is a table of objects under one root. Several objects may speak of the same field: the first that says
something wins, so a table is also an order of trust. Parsing is pure: (object, raw value) -> value or None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

Raw = int | float | bytes | str | None
Parsed = float | bool | str

TEXTS = frozenset({"manufacturer", "model", "firmware", "serial"})
TOTALS = frozenset({"load_pct"})  # of several lines the largest counts; of everything else the first live line
# All-ones of 8 to 32 bits and their tenfold: what agents send for "I do not know" (quirks seen on many cards)
NEVER = frozenset({-1, 65534, 65535, 655350, 2147483647, -2147483648, 4294967294, 4294967295, -9999})
_NUMBER = re.compile(r"\s*([-+]?\d+(?:[.,]\d+)?)")


@dataclass(frozen=True, slots=True)
class Obj:
    """One object of a MIB. `oid` is relative to the profile's root and names no instance; `name` is the MIB's own.
    Several OIDs, separated by blanks, are lines (phases) that the vendor spelled as objects of their own.

    `scale` turns the raw number into the field's unit. `enum` maps raw numbers, `words` raw texts (in lower case) to
    values; a raw value outside them says nothing. `unknown` lists raw numbers that say nothing here besides `NEVER`.
    `lines` is how many instances to ask for: phases of a table. `exact` means that `oid` already names the one
    instance. `rows` picks rows of a table by what another column says they measure. `standing` marks a column of a
    table of alarms, whose rows come and go: it is walked while the device says that some stand.
    """

    field: str
    oid: str
    name: str
    scale: float = 1.0
    enum: Mapping[int, str | bool] | None = None
    words: Mapping[str, str | bool] | None = None
    unknown: frozenset[int] = frozenset()
    lines: int = 1
    exact: bool = False
    rows: Rows | None = None
    standing: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """Only the rows whose `column` (relative OID, indexed by the row's first arc) holds one of `ids`."""

    column: str
    ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Profile:
    """One vendor's MIB. `source` names the document; `maker` stands in when no object tells the manufacturer."""

    name: str
    root: str
    source: str
    objects: tuple[Obj, ...]
    maker: str | None = None

    def bases(self, obj: Obj) -> list[str]:
        """The object's full OIDs; one that starts with a dot lies outside the root."""
        return [oid[1:] if oid.startswith(".") else f"{self.root}.{oid}" for oid in obj.oid.split()]


def parse(obj: Obj, raw: Raw) -> Parsed | None:
    """What one raw value says in the field's unit, or None: unknown, out of the enumeration, or of no usable type."""
    if obj.field in TEXTS:
        return text_of(raw)
    number = number_of(raw)
    if obj.words is not None:
        return obj.words.get((text_of(raw) or "").lower())
    if obj.enum is not None:
        return obj.enum.get(int(number)) if number is not None and number == int(number) else None
    if number is None or number in NEVER or number in obj.unknown:
        return None
    value = number * obj.scale
    return None if value in NEVER else value


def number_of(raw: Raw) -> float | None:
    """A number from whatever type an agent chose to send: integers, floats, or text such as ``230.5 VAC``."""
    if isinstance(raw, (int, float)):
        return float(raw) if abs(raw) < 1e15 else None
    words = text_of(raw)
    found = _NUMBER.match(words) if words else None
    return float(found.group(1).replace(",", ".")) if found and len(found.group(1)) < 16 else None


def text_of(raw: Raw) -> str | None:
    """Printable text without the padding (blanks, NULs, newlines) that cards add; None when nothing is left."""
    if raw is None:
        return None
    words = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    words = words.partition("\0")[0] if words.strip("\0") else ""
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in words).split())
    return words[:200] or None
