"""Importing a file of the register: what it would change, doing it, and taking it back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from collector.register import dated, facts
from collector.register.centers import CenterError, Import, compare, some_centers
from collector.register.columns import Mistake, parse_cells
from collector.register.csv_file import read_rows
from collector.register.dated import DatedCenter
from collector.register.facts import Fact, FactChange, Recording
from collector.store import center_states, schema, upsert
from collector.store.journal import journaled

_i = schema.imports.c


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Who imports what: the file's name and the SHA-256 of its bytes. `second` has confirmed what is back-dated."""

    by: str = ""
    reason: str = ""
    file: str = ""
    sha256: str = ""
    second: str = ""


@dataclass(frozen=True)
class Undone:
    """An import that was taken back: its facts, and the centers that are gone since it had added them."""

    facts: tuple[Fact, ...]
    removed: tuple[str, ...]


def plan_import(conn: sa.Connection, lines: Iterable[str], now_ms: int, from_ms: int | None = None) -> Import:
    """What importing this CSV (its first line names the columns) would do. Of a registered center it changes the facts
    that the file has a column for, and no others. They hold from `from_ms`, or today, on."""
    return _planned(conn, lines, now_ms, dated.today_ms(now_ms) if from_ms is None else from_ms)[0]


def do_import(
    conn: sa.Connection, lines: Iterable[str], now_ms: int, from_ms: int | None = None, by: str | Origin = ""
) -> Import:
    """Writes what `plan_import` plans, if it has no mistakes. Raises FactError where a second person is the first."""
    origin = Origin(by=by) if isinstance(by, str) else by
    today_ms = dated.today_ms(now_ms)
    since_ms = today_ms if from_ms is None else from_ms
    plan, held = _planned(conn, lines, now_ms, since_ms)
    if plan.mistakes:
        return plan
    number = _note(conn, origin, since_ms, now_ms)
    how = Recording(
        from_ms=since_ms, now_ms=now_ms, today_ms=today_ms, by=origin.by, reason=origin.reason, source="import",
        import_id=number, second=origin.second,
    )  # fmt: skip
    upsert(conn, schema.centers, [center.row() for center in plan.added])
    for center in plan.added:
        journaled(conn, schema.centers, center.code)
    center_states.refresh(conn, [center.code for center in plan.added], now_ms)
    new = Recording(
        from_ms=min(since_ms, today_ms), now_ms=now_ms, today_ms=min(since_ms, today_ms), by=origin.by,
        reason=origin.reason, source="import", import_id=number,
    )  # fmt: skip
    facts.register(conn, plan.added, new)
    changes = _changes(plan)
    how = facts.with_hours_over(how, changes, held)
    facts.record(conn, changes, how, held)
    if how.holds and since_ms <= now_ms:
        dated.apply(conn, {item.center for item in plan.differences}, now_ms)
    return Import(
        plan.added, plan.changed, plan.same, (), plan.differences, number, bool(plan.differences) and not how.holds
    )


def needs_second(conn: sa.Connection, lines: Iterable[str], now_ms: int, from_ms: int | None = None) -> bool:
    """Whether what is over would be otherwise."""
    today_ms = dated.today_ms(now_ms)
    since_ms = today_ms if from_ms is None else from_ms
    plan, held = _planned(conn, lines, now_ms, since_ms)
    how = Recording(from_ms=since_ms, now_ms=now_ms, today_ms=today_ms, by="", source="import")
    return bool(plan.differences) and facts.with_hours_over(how, _changes(plan), held).is_backdated


def _changes(plan: Import) -> list[FactChange]:
    return [FactChange(item.center, item.column, item.after) for item in plan.differences]


def _note(conn: sa.Connection, origin: Origin, from_ms: int, now_ms: int) -> int:
    row = {
        "at_ms": now_ms, "imported_by": origin.by, "file": origin.file, "sha256": origin.sha256, "from_ms": from_ms,
        "reason": origin.reason,
    }  # fmt: skip
    number = int(conn.execute(sa.insert(schema.imports).values(row).returning(_i.id)).scalar_one())
    journaled(conn, schema.imports, number)
    return number


def _planned(
    conn: sa.Connection, lines: Iterable[str], now_ms: int, from_ms: int
) -> tuple[Import, dict[str, DatedCenter]]:
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
    return compare(then, parsed, mistakes, now_ms), held


# ---------------------------------------------------------------- taking back


def undo(conn: sa.Connection, number: int, origin: Origin, now_ms: int) -> Undone:
    """Takes an import back. Raises CenterError; FactError where days that are over would be otherwise and no second
    person is named."""
    row = conn.execute(sa.select(schema.imports).where(_i.id == number)).one_or_none()
    if row is None or row.undone_ms is not None:
        known = "does not exist" if row is None else f"was taken back by {row.undone_by or 'somebody'} already"
        raise CenterError(f"import {number}: {known}; see `nabz-collector center imports`")
    mine = (fact for fact in facts.of_import(conn, number) if fact.recorded_ms == row.at_ms)  # numbers may come again
    own = [fact for fact in mine if fact.state != "withdrawn"]
    today_ms = dated.today_ms(now_ms)
    whole = facts.facts_of(conn, {fact.center for fact in own})
    added = _added(number, whole)
    if any(
        fact.state == "holds"
        and (fact.from_ms < today_ms if fact.center in added else facts.is_over(fact, now_ms, today_ms))
        for fact in own
    ):
        facts.another(origin.by, origin.second)
    _check_unused(conn, number, added, whole)
    facts.withdraw(conn, own, origin.by, origin.reason, now_ms)
    _remove(conn, added, now_ms)
    dated.apply(conn, {fact.center for fact in own} - added, now_ms)
    values = {"undone_ms": now_ms, "undone_by": origin.by, "undone_why": origin.reason}
    conn.execute(sa.update(schema.imports).where(_i.id == number).values(values))
    journaled(conn, schema.imports, number)
    return Undone(tuple(own), tuple(sorted(added)))


def follow_undone(conn: sa.Connection, at_ms: int, sha256: str, now_ms: int) -> set[str]:
    """Of an import of a file that was taken back, as the journal tells: the centers that it had added go again, and
    are returned. Its facts are withdrawn already."""
    mine = (_i.at_ms == at_ms) & (_i.sha256 == sha256) & _i.undone_ms.is_not(None)
    removed: set[str] = set()
    for number in conn.scalars(sa.select(_i.id).where(mine)):
        whole = facts.facts_of(conn, {fact.center for fact in facts.of_import(conn, number)})
        idle = {code for code, own in whole.items() if all(fact.state == "withdrawn" for fact in own)}
        removed |= _added(number, whole) & idle
    _remove(conn, removed, now_ms)
    return removed


def _added(number: int, whole: dict[str, list[Fact]]) -> set[str]:
    """The centers whose first fact is of this import."""
    return {code for code, own in whole.items() if own[0].import_id == number and own[0].source == "import"}


def _remove(conn: sa.Connection, codes: set[str], now_ms: int) -> None:
    conn.execute(sa.delete(schema.centers).where(schema.centers.c.center.in_(sorted(codes))))
    center_states.refresh(conn, codes, now_ms)


def _check_unused(conn: sa.Connection, number: int, added: set[str], whole: dict[str, list[Fact]]) -> None:
    """What an import added goes with it, unless somebody has built on it."""
    later = {code for code in added if any(f.import_id != number and f.state != "withdrawn" for f in whole[code])}
    if later:
        raise CenterError(f"import {number}: {min(later)} was changed since; take that back first, or close the center")
    for table in (schema.devices, schema.tokens):
        used = conn.scalar(sa.select(sa.func.min(table.c.center)).where(table.c.center.in_(sorted(added))))
        if used is not None:
            raise CenterError(
                f"import {number}: {used} has a gateway or a token; run `nabz-collector center move {used} closed`"
            )


def listed(conn: sa.Connection, most: int = 100) -> list[dict[str, object]]:
    """The newest imports, with how many facts each has and how many wait for a second person."""
    f = schema.facts.c
    pending = sa.and_(f.is_backdated, f.confirmed_ms.is_(None), f.withdrawn_ms.is_(None))
    counts = sa.func.count(f.id).label("facts"), sa.func.count(sa.case((pending, 1))).label("waiting")
    query = sa.select(schema.imports, *counts).select_from(schema.imports.outerjoin(schema.facts, f.import_id == _i.id))
    rows = conn.execute(query.group_by(*schema.imports.c).order_by(_i.id.desc()).limit(most))
    return [dict(row._mapping) for row in rows]
