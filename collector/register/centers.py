"""The register: who is under the programme. Rows are checked column by column before any is written."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from agent.common.errors import describe
from collector.register.opening_hours import Opening
from collector.register.opening_hours import parse as parse_hours
from collector.store import schema, upsert

TIERS = ("one", "two", "three")
LIFECYCLE = {
    "applied": ("probation", "declared", "closed"),
    "probation": ("declared", "watch", "suspended", "closed"),
    "declared": ("watch", "suspended", "closed"),
    "watch": ("declared", "suspended", "closed"),
    "suspended": ("probation", "declared", "watch", "closed"),
    "closed": ("applied",),
}
CODE = re.compile(r"[A-Z0-9][A-Z0-9-]{0,31}")
MAX_TEXT = 200
MAX_SEATS = 500  # as many as one roll call carries


class CenterError(Exception):
    """A center cannot be what was asked; one sentence with the thing, the rule and the fix."""


@dataclass(frozen=True, kw_only=True)
class Center:
    """One row of the register. `since_ms` is when its lifecycle began, `changed_ms` when any of this last changed."""

    code: str
    name: str
    tier: str
    seats_promised: int
    opening: str
    lifecycle: str
    owner: str = ""
    building: str = ""
    city: str = ""
    district: str = ""
    province: str = ""
    isp: str = ""
    feeder: str = ""
    latitude: float | None = None
    longitude: float | None = None
    since_ms: int = 0
    changed_ms: int = 0

    @property
    def hours(self) -> Opening:
        return parse_hours(self.opening)

    def row(self) -> dict[str, object]:
        """As the table has it."""
        fields = dataclasses.asdict(self)
        return {"center": fields.pop("code"), **fields}

    def facts(self) -> dict[str, object]:
        """What people state about a center: all but its times."""
        return {name: value for name, value in self.row().items() if name not in ("since_ms", "changed_ms")}


@dataclass(frozen=True)
class Mistake:
    """`line` of the file (1 is its first), `column` by its head, `rule` it breaks and the fix in one sentence."""

    line: int
    column: str
    rule: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.column}: {self.rule}" if self.line else f"{self.column}: {self.rule}"


@dataclass(frozen=True)
class Import:
    """What an import would do, or did. Nothing is written while there is a mistake."""

    added: tuple[Center, ...]
    changed: tuple[Center, ...]
    same: int
    mistakes: tuple[Mistake, ...]


# ---------------------------------------------------------------- asking


def from_row(row: sa.Row[tuple[object, ...]]) -> Center:
    fields = dict(row._mapping)
    return Center(code=fields.pop("center"), **fields)


def all_centers(conn: sa.Connection) -> list[Center]:
    return [from_row(row) for row in conn.execute(sa.select(schema.centers).order_by(schema.centers.c.center))]


def some_centers(conn: sa.Connection, codes: Iterable[str]) -> dict[str, Center]:
    """Those of `codes` that exist, by code."""
    rows = conn.execute(sa.select(schema.centers).where(schema.centers.c.center.in_(sorted(set(codes)))))
    return {center.code: center for center in map(from_row, rows)}


def get(conn: sa.Connection, code: str) -> Center:
    """Raises CenterError when there is none."""
    found = some_centers(conn, [code])
    if not found:
        raise CenterError(f"center {code!r}: is not registered; see `nabz-collector center list`")
    return found[code]


# ---------------------------------------------------------------- changing


def add(conn: sa.Connection, facts: Mapping[str, str], now_ms: int) -> Center:
    """One new center from its columns as text. Raises CenterError with every mistake."""
    center, mistakes = parse_row(facts, 0)
    if center is None:
        raise CenterError("\n".join(map(str, mistakes)))
    if center.code in some_centers(conn, [center.code]):
        raise CenterError(f"center {center.code!r}: is registered already; change it with `center import`")
    center = dataclasses.replace(center, since_ms=now_ms, changed_ms=now_ms)
    upsert(conn, schema.centers, [center.row()])
    return center


def move(conn: sa.Connection, code: str, lifecycle: str, now_ms: int) -> Center:
    """The center in its next lifecycle. Raises CenterError when no such step exists."""
    center = get(conn, code)
    if lifecycle not in LIFECYCLE[center.lifecycle]:
        raise CenterError(f"center {code!r}: {_no_step(center.lifecycle, lifecycle)}")
    moved = dataclasses.replace(center, lifecycle=lifecycle, since_ms=now_ms, changed_ms=now_ms)
    upsert(conn, schema.centers, [moved.row()])
    return moved


def plan_import(conn: sa.Connection, lines: Iterable[str], now_ms: int) -> Import:
    """What importing this CSV (its first line names the columns) would do."""
    rows, mistakes = _read(lines)
    parsed: dict[str, tuple[int, Center]] = {}
    for line, facts in rows:
        center, wrong = parse_row(facts, line)
        mistakes += wrong
        if center and center.code in parsed:
            before = parsed[center.code][0]
            mistakes.append(
                Mistake(line, "center", f"{center.code!r} stands on line {before} already; keep one of them")
            )
        elif center:
            parsed[center.code] = (line, center)
    return _compare(some_centers(conn, parsed), parsed, mistakes, now_ms)


def do_import(conn: sa.Connection, lines: Iterable[str], now_ms: int) -> Import:
    """Writes what `plan_import` plans, if it has no mistakes."""
    plan = plan_import(conn, lines, now_ms)
    if not plan.mistakes:
        upsert(conn, schema.centers, [center.row() for center in plan.added + plan.changed])
    return plan


def _compare(
    held: Mapping[str, Center], parsed: Mapping[str, tuple[int, Center]], mistakes: list[Mistake], now_ms: int
) -> Import:
    added: list[Center] = []
    changed: list[Center] = []
    for code, (line, center) in parsed.items():
        before = held.get(code)
        if before is None:
            added.append(dataclasses.replace(center, since_ms=now_ms, changed_ms=now_ms))
        elif before.lifecycle != center.lifecycle and center.lifecycle not in LIFECYCLE[before.lifecycle]:
            mistakes.append(Mistake(line, "lifecycle", _no_step(before.lifecycle, center.lifecycle)))
        elif before.facts() != center.facts():
            since_ms = before.since_ms if before.lifecycle == center.lifecycle else now_ms
            changed.append(dataclasses.replace(center, since_ms=since_ms, changed_ms=now_ms))
    same = len(parsed) - len(added) - len(changed)
    return Import(tuple(added), tuple(changed), same, tuple(sorted(mistakes, key=lambda mistake: mistake.line)))


def _no_step(before: str, after: str) -> str:
    return f"no step leads from {before} to {after}; from {before} go to {' or '.join(LIFECYCLE[before])}"


def _read(lines: Iterable[str]) -> tuple[list[tuple[int, dict[str, str]]], list[Mistake]]:
    reader = csv.reader(lines, strict=True)
    try:
        head = [cell.strip().lstrip("\ufeff") for cell in next(reader, [])]
        if mistakes := _check_head(head):
            return [], mistakes
        rows = []
        for cells in reader:
            if len(cells) == len(head):
                rows.append((reader.line_num, dict(zip(head, cells, strict=True))))
            elif cells:
                rule = f"has {len(cells)} cells, the head names {len(head)}; quote cells that hold a comma"
                mistakes.append(Mistake(reader.line_num, "row", rule))
    except (csv.Error, UnicodeDecodeError) as error:
        return [], [Mistake(reader.line_num, "row", f"is not CSV in UTF-8 ({describe(error)}); save the file as such")]
    return rows, mistakes


def _check_head(head: Sequence[str]) -> list[Mistake]:
    known = f"columns are {', '.join(COLUMNS)}"
    strange = [Mistake(1, name or "(empty)", f"is no column; {known}") for name in head if name not in COLUMNS]
    absent = [Mistake(1, name, "is missing; add this column") for name in NEEDED if name not in head]
    twice = [Mistake(1, name, "stands twice; keep one") for name in sorted(set(head)) if head.count(name) > 1]
    return strange + absent + twice


# ---------------------------------------------------------------- one row: a rule for each column


def parse_row(facts: Mapping[str, str], line: int) -> tuple[Center | None, list[Mistake]]:
    """A center from its columns as text, or every mistake of the row. Columns left out have their defaults."""
    mistakes = [
        Mistake(line, name, f"is no column; columns are {', '.join(COLUMNS)}") for name in facts.keys() - COLUMNS
    ]
    values: dict[str, object] = {}
    for name, column in COLUMNS.items():
        try:
            values[name] = column.parse(facts.get(name, "").strip())
        except ValueError as error:
            mistakes.append(Mistake(line, name, describe(error)))
    if mistakes:
        return None, mistakes
    return Center(code=str(values.pop("center")), **values), []  # type: ignore[arg-type]


def _code(text: str) -> str:
    if not CODE.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not 1 to 32 capital letters, digits and hyphens; write e.g. LHR-014")
    return text


def _text(text: str) -> str:
    if len(text) > MAX_TEXT or any(not letter.isprintable() for letter in text):
        raise ValueError(f"must be one line of at most {MAX_TEXT} printable letters; shorten or clean it")
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


def _opening(text: str) -> str:
    return parse_hours(_text(text)).text


def _lifecycle(text: str) -> str:
    if (text or "applied") not in LIFECYCLE:
        raise ValueError(f"{text[:40]!r} is none of {', '.join(LIFECYCLE)}; write one of them")
    return text or "applied"


def _degrees(least: float, most: float) -> Callable[[str], float | None]:
    """Decimal degrees of a place in Pakistan: its bounds catch latitude and longitude changed about."""

    def parse(text: str) -> float | None:
        if not text:
            return None
        try:
            degrees = float(text)
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
    "opening": Column(_opening, needed=True),
    "latitude": Column(_degrees(23, 38)),
    "longitude": Column(_degrees(60, 78)),
    "lifecycle": Column(_lifecycle),
}
NEEDED = tuple(name for name, column in COLUMNS.items() if column.needed)
SHOWN = tuple(name for name, column in COLUMNS.items() if column.shown)
