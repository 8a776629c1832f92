"""The form of vendor knowledge: which object says what, in which unit, and which numbers mean "unknown".

A profile is a table of objects under one root. Several objects may speak of the same field: the first that says
something wins, so a table is also an order of trust. Parsing is pure: (object, raw value) -> value or None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent.probes.ups.scales import is_unknown

Raw = int | float | bytes | str | None
Parsed = float | bool | str

TEXTS = frozenset({"manufacturer", "model", "firmware", "serial"})
TOTALS = frozenset({"load_pct"})  # of several lines the largest counts; of everything else the first live line
WORDS = "#words"  # the field of objects that give words of evidence, not a value (agent.probes.ups.draft)
LIMIT = "#"  # before the name of a limit or nominal value: read once, as texts are
MEASURED = frozenset({WORDS, "#real_power_w"})  # what is asked for at every poll all the same
_NUMBER = re.compile(r"\s*([-+]?\d+(?:[.,]\d+)?)")


@dataclass(frozen=True, slots=True)
class Obj:
    """One object of a MIB. `oid` is relative to the profile's root and names no instance; `name` is the MIB's own.
    Several OIDs, separated by blanks, are lines (phases) that the vendor spelled as objects of their own.

    `scale` turns the raw number into the field's unit. `enum` maps raw numbers, `words` raw texts (in lower case) to
    values, `judge` makes one of a raw number; a raw value outside them says nothing. `unknown` lists raw numbers that
    say nothing here besides the usual ones.
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
    judge: Callable[[float], str] | None = None
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
    """One vendor's MIB. `source` names the document; `maker` stands in when no object tells the manufacturer. `devices`
    says that the first arc of every instance numbers the UPSs behind the card."""

    name: str
    root: str
    source: str
    objects: tuple[Obj, ...]
    maker: str | None = None
    devices: bool = False

    def bases(self, obj: Obj) -> list[str]:
        """The object's full OIDs; one that starts with a dot lies outside the root."""
        return [oid[1:] if oid.startswith(".") else f"{self.root}.{oid}" for oid in obj.oid.split()]


def parse(obj: Obj, raw: Raw) -> Parsed | None:
    """What one raw value says in the field's unit, or None: unknown, out of the enumeration, or of no usable type.
    Numbers that every agent uses for "unknown" are left out here, so that a line without a meter is no line."""
    if obj.field in TEXTS:
        return text_of(raw)
    number = number_of(raw)
    if obj.words is not None:
        return obj.words.get((text_of(raw) or "").lower())
    if obj.judge is not None:
        return obj.judge(number) or None if number is not None else None
    if obj.enum is not None:
        return obj.enum.get(int(number)) if number is not None and number == int(number) else None
    if number is None or number in obj.unknown:
        return None
    return None if is_unknown(obj.field, number * obj.scale, obj.scale) else number * obj.scale


def number_of(raw: Raw) -> float | None:
    """A number from whatever type an agent chose to send: integers, floats, or text such as ``230.5 VAC``."""
    if isinstance(raw, (int, float)):
        return float(raw) if abs(raw) < 1e15 else None
    words = text_of(raw)
    match = _NUMBER.match(words) if words else None
    return float(match.group(1).replace(",", ".")) if match and len(match.group(1)) < 16 else None


def text_of(raw: Raw) -> str | None:
    """Printable text without the padding (blanks, NULs, newlines) that cards add; None when nothing is left."""
    if raw is None:
        return None
    words = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    words = words.partition("\0")[0] if words.strip("\0") else ""
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in words).split())
    return words[:200] or None
