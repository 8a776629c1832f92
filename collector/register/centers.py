"""The register: who is under the programme. Rows are checked column by column before any is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from agent.common.errors import describe
from collector.register import dated, facts
from collector.register.center import Center, from_row
from collector.register.columns import (
    CODE,
    COLUMNS,
    LIFECYCLE,
    NEEDED,
    PAUSED,
    SHOWN,
    TIERS,
    Mistake,
    parse_cells,
    parse_fact,
)
from collector.register.facts import Fact, FactChange, Recording
from collector.store import center_states, schema, upsert
from collector.store.journal import journaled

__all__ = [
    "CODE", "COLUMNS", "LIFECYCLE", "NEEDED", "PAUSED", "SHOWN", "TIERS", "Center", "CenterError", "Difference",
    "Import", "Mistake", "add", "all_centers", "compare", "from_row", "get", "move", "parse_row", "set_fact",
    "some_centers",
]  # fmt: skip


class CenterError(Exception):
    """A center cannot be what was asked; one sentence with the thing, the rule and the fix."""


@dataclass(frozen=True)
class Difference:
    """One fact of a center that an import changes."""

    center: str
    column: str
    before: object
    after: object

    def __str__(self) -> str:
        return f"{self.center}: {self.column}: {_shown(self.before)} -> {_shown(self.after)}"


@dataclass(frozen=True)
class Import:
    """What an import would do, or did. Nothing is written while there is a mistake; then there is no `number`. What
    `waits` holds when a second person has confirmed it."""

    added: tuple[Center, ...]
    changed: tuple[Center, ...]
    same: int
    mistakes: tuple[Mistake, ...]
    differences: tuple[Difference, ...] = ()
    number: int | None = None
    waits: bool = False


def _shown(value: object) -> str:
    return "nothing" if value in ("", None) else str(value)


# ---------------------------------------------------------------- asking


def all_centers(conn: sa.Connection) -> list[Center]:
    return [from_row(row) for row in conn.execute(sa.select(schema.centers).order_by(schema.centers.c.center))]


def some_centers(conn: sa.Connection, codes: Iterable[str]) -> dict[str, Center]:
    """Those of `codes` that exist, by code."""
    return facts.centers_by_code(conn, codes)


def get(conn: sa.Connection, code: str) -> Center:
    """Raises CenterError when there is none."""
    by_center = some_centers(conn, [code])
    if not by_center:
        raise CenterError(f"center {code!r}: is not registered; see `nabz-collector center list`")
    return by_center[code]


# ---------------------------------------------------------------- changing


def add(conn: sa.Connection, columns: Mapping[str, str], now_ms: int, by: str = "") -> Center:
    """One new center from its columns as text. Raises CenterError with every mistake."""
    center, mistakes = parse_row(columns, 0)
    if center is None:
        raise CenterError("\n".join(map(str, mistakes)))
    if center.code in some_centers(conn, [center.code]):
        raise CenterError(f"center {center.code!r}: is registered already; change it with `center import`")
    center = dataclasses.replace(center, since_ms=now_ms, changed_ms=now_ms)
    today_ms = dated.today_ms(now_ms)
    how = Recording(from_ms=today_ms, now_ms=now_ms, today_ms=today_ms, by=by, source="registered")
    upsert(conn, schema.centers, [center.row()])
    journaled(conn, schema.centers, center.code)
    center_states.refresh(conn, [center.code], now_ms)
    facts.register(conn, [center], how)
    return center


def move(
    conn: sa.Connection, code: str, lifecycle: str, now_ms: int, by: str = "", reason: str = "",
    evidence: tuple[Mapping[str, object], ...] = (),
) -> Center:  # fmt: skip
    """The center in its next lifecycle, from today. Raises CenterError when no such step exists."""
    center = get(conn, code)
    if lifecycle not in LIFECYCLE[center.lifecycle]:
        raise CenterError(f"center {code!r}: {_no_step(center.lifecycle, lifecycle)}")
    today_ms = dated.today_ms(now_ms)
    how = Recording(from_ms=today_ms, now_ms=now_ms, today_ms=today_ms, by=by, reason=reason, evidence=evidence)
    facts.record(conn, [FactChange(code, "lifecycle", lifecycle)], how, {code: center})
    return dated.apply(conn, [code], now_ms)[code]


def set_fact(conn: sa.Connection, code: str, name: str, text: str, how: Recording) -> Fact:
    """Records one fact of a center from its text. Raises CenterError; FactError where a second person is the first."""
    center = get(conn, code)
    try:
        value = parse_fact(name, text)
    except ValueError as error:
        raise CenterError(f"center {code!r}: {name}: {describe(error)}") from None
    if name == "lifecycle":
        raise CenterError(f"center {code!r}: a stage is no fact to set; run `nabz-collector center move {code} STAGE`")
    how = facts.with_hours_over(how, changes := [FactChange(code, name, value)], {code: center})
    facts.record(conn, changes, how, {code: center})
    if how.holds and how.from_ms <= how.now_ms:
        dated.apply(conn, [code], how.now_ms)
    return facts.facts_of(conn, [code])[code][-1]


def compare(
    held: Mapping[str, Center],
    parsed: Mapping[str, tuple[int, dict[str, object]]],
    mistakes: list[Mistake],
    now_ms: int,
) -> Import:
    """Pure. What these rows of a file (line, values by column) would add and change of the centers held."""
    added: list[Center] = []
    changed: list[Center] = []
    differences: list[Difference] = []
    absent: dict[str, None] = {}
    for code, (line, values) in parsed.items():
        before = held.get(code)
        if before is None:
            center = _new(values)
            absent |= {} if center else dict.fromkeys(_absent(values))
            added += [dataclasses.replace(center, since_ms=now_ms, changed_ms=now_ms)] if center else []
            continue
        now = before.facts()
        apart = [Difference(code, name, now[name], value) for name, value in values.items() if now[name] != value]
        if rule := _wrong_step(before, values):
            mistakes.append(Mistake(line, "lifecycle", rule))
        elif apart:
            new = {item.column: item.after for item in apart}
            since_ms = now_ms if "lifecycle" in new else before.since_ms
            changed.append(dataclasses.replace(before, **new, since_ms=since_ms, changed_ms=now_ms))  # type: ignore[arg-type]
            differences += apart
    mistakes += [Mistake(1, name, "is missing; a new center needs this column") for name in absent]
    same = len(parsed) - len(added) - len(changed)
    in_order = tuple(sorted(mistakes, key=lambda mistake: mistake.line))
    return Import(tuple(added), tuple(changed), same, in_order, tuple(differences))


def _new(values: Mapping[str, object]) -> Center | None:
    """A center that is not registered yet; it needs more than a code."""
    if _absent(values):
        return None
    stated = {"lifecycle": "applied", **values}
    return Center(code=str(stated.pop("center")), **stated)  # type: ignore[arg-type]


def _absent(values: Mapping[str, object]) -> list[str]:
    return [name for name in NEEDED if name not in values]


def _wrong_step(before: Center, values: Mapping[str, object]) -> str:
    """Why the center cannot get the file's lifecycle; or nothing. A file that an old list went into reopens nobody."""
    after = str(values.get("lifecycle", before.lifecycle))
    if after != before.lifecycle and before.lifecycle == "closed":
        return f"is closed and no file reopens it; run `nabz-collector center move {before.code} {after}`"
    if after != before.lifecycle and after not in LIFECYCLE[before.lifecycle]:
        return _no_step(before.lifecycle, after)
    return ""


def _no_step(before: str, after: str) -> str:
    return f"no step leads from {before} to {after}; from {before} go to {' or '.join(LIFECYCLE[before])}"


def parse_row(columns: Mapping[str, str], line: int) -> tuple[Center | None, list[Mistake]]:
    """A center from its columns as text, or every mistake of the row. Columns left out have their defaults."""
    values, mistakes = parse_cells({name: columns.get(name, "") for name in (*COLUMNS, *columns)}, line)
    return (None, mistakes) if mistakes else (_new(values), [])
