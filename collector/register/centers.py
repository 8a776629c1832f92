"""The register: who is under the programme. Rows are checked column by column before any is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from collector.register import dated
from collector.register.center import Center, from_row
from collector.register.columns import CODE, COLUMNS, LIFECYCLE, NEEDED, SHOWN, TIERS, Mistake, parse_cells
from collector.register.csv_file import read_rows
from collector.store import schema, upsert

__all__ = [
    "CODE", "COLUMNS", "LIFECYCLE", "NEEDED", "SHOWN", "TIERS", "Center", "CenterError", "Difference", "Import",
    "Mistake", "add", "all_centers", "do_import", "from_row", "get", "move", "parse_row", "plan_import",
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
    """What an import would do, or did. Nothing is written while there is a mistake."""

    added: tuple[Center, ...]
    changed: tuple[Center, ...]
    same: int
    mistakes: tuple[Mistake, ...]
    differences: tuple[Difference, ...] = ()


def _shown(value: object) -> str:
    return "nothing" if value in ("", None) else str(value)


# ---------------------------------------------------------------- asking


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


def plan_import(conn: sa.Connection, lines: Iterable[str], now_ms: int, from_ms: int | None = None) -> Import:
    """What importing this CSV (its first line names the columns) would do. Of a registered center it changes the facts
    that the file has a column for, and no others. Hours, tier, seats and provider hold from `from_ms`, or today, on."""
    return _planned(conn, lines, now_ms, dated.today_ms(now_ms) if from_ms is None else from_ms)[0]


def do_import(
    conn: sa.Connection, lines: Iterable[str], now_ms: int, from_ms: int | None = None, by: str = ""
) -> Import:
    """Writes what `plan_import` plans, if it has no mistakes. `by` is who says so."""
    since_ms = dated.today_ms(now_ms) if from_ms is None else from_ms
    plan, held = _planned(conn, lines, now_ms, since_ms)
    if not plan.mistakes:
        changed = dated.record(conn, held, plan.changed, since_ms, now_ms, by)
        upsert(conn, schema.centers, [center.row() for center in (*plan.added, *changed)])
    return plan


def _planned(
    conn: sa.Connection, lines: Iterable[str], now_ms: int, from_ms: int
) -> tuple[Import, dict[str, dated.DatedCenter]]:
    """The plan, and the centers as they are."""
    rows, mistakes = read_rows(lines)
    parsed: dict[str, tuple[int, dict[str, object]]] = {}
    for line, cells in rows:
        values, wrong = parse_cells(cells, line)
        mistakes += wrong
        code = str(values.get("center", ""))
        if code in parsed:
            mistakes.append(Mistake(line, "center", f"{code!r} stands on line {parsed[code][0]} already; keep one"))
        elif code and not wrong:
            parsed[code] = (line, values)
    held = dated.histories(conn, some_centers(conn, parsed).values())
    then = {code: center.at(from_ms) for code, center in held.items()}
    return _compare(then, parsed, mistakes, now_ms), held


def _compare(
    held: Mapping[str, Center],
    parsed: Mapping[str, tuple[int, dict[str, object]]],
    mistakes: list[Mistake],
    now_ms: int,
) -> Import:
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
        facts = before.facts()
        apart = [Difference(code, name, facts[name], value) for name, value in values.items() if facts[name] != value]
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
    facts = {"lifecycle": "applied", **values}
    return Center(code=str(facts.pop("center")), **facts)  # type: ignore[arg-type]


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


def parse_row(facts: Mapping[str, str], line: int) -> tuple[Center | None, list[Mistake]]:
    """A center from its columns as text, or every mistake of the row. Columns left out have their defaults."""
    values, mistakes = parse_cells({name: facts.get(name, "") for name in (*COLUMNS, *facts)}, line)
    return (None, mistakes) if mistakes else (_new(values), [])
