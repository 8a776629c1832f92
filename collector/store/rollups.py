"""Sums of hours and days, for charts of weeks: made once an hour is over, and made again when more of it comes late.

An hour is summed from its readings, a day (of Pakistan's clocks) from its hours. Ingest marks the hours that had ended
when their readings came; a mark is taken away in the transaction that sums the hour again. An hour that has just ended
needs no mark: it is summed SETTLE_MS later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from agent.common.center_time import UTC_AHEAD_MS
from collector.store import Store, schema, upsert
from collector.store.cold import held
from collector.store.months import raw_from

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
DAY_STARTS_MS = DAY_MS - UTC_AHEAD_MS  # midnight at the centers, as time of the UTC day
SETTLE_MS = 600_000  # a transaction of readings is long over by then, and no clock of ours is so wrong
ROLLED = "rolled_until_ms"  # in `about`: all hours before are summed, but for those marked late
MOST = 24  # hours summed in one look, so that other housekeeping gets its turn


def day_of(at_ms: int) -> int:
    """When the day of that time began in Pakistan."""
    return at_ms - (at_ms - DAY_STARTS_MS) % DAY_MS


def roll(store: Store, now_ms: int, most: int = MOST) -> int:
    """Sums what is due, each hour in a transaction of its own; returns the hours summed. Call it again and again."""
    made = 0
    while made < most and (_next_hour(store, now_ms) or _late_hour(store)):
        made += 1
    return made


def rolled_until(conn: sa.Connection) -> int:
    """Hours before this have their sums, but for late ones being made again; 0 when none has been made."""
    return int(conn.scalar(_ABOUT, {"name": ROLLED}) or 0)


_ABOUT = sa.select(schema.about.c.value).where(schema.about.c.name == sa.bindparam("name"))


def _next_hour(store: Store, now_ms: int) -> bool:
    with store.keep() as conn:
        until_ms = rolled_until(conn)
        settled_ms = (now_ms - SETTLE_MS) // HOUR_MS * HOUR_MS
        if until_ms >= settled_ms:
            return False
        firsts = (
            conn.scalar(sa.select(sa.func.min(table.c.wall_ms)).where(table.c.wall_ms >= until_ms))
            for table in (schema.readings[kind] for kind in schema.FIGURES)
        )
        hour_ms = min((int(first) // HOUR_MS * HOUR_MS for first in firsts if first is not None), default=settled_ms)
        is_settled = hour_ms < settled_ms
        if is_settled:
            sum_hour(conn, hour_ms)
        upsert(conn, schema.about, [{"name": ROLLED, "value": str(min(hour_ms + HOUR_MS, settled_ms))}])
        return is_settled


def _late_hour(store: Store) -> bool:
    late = schema.late_hours.c
    with store.keep() as conn:
        hour_ms = conn.scalar(sa.select(sa.func.min(late.hour_ms)))
        if hour_ms is None:
            return False
        # Locked by a transaction that is bringing more, a mark waits; so the sums below see all that it stood for.
        marks = sa.select(late.center).where(late.hour_ms == hour_ms).with_for_update(skip_locked=True)
        codes = list(conn.scalars(marks))
        conn.execute(sa.delete(schema.late_hours).where(late.hour_ms == hour_ms, late.center.in_(codes)))
        if hour_ms >= raw_from(conn):  # else its readings have been dropped
            sum_hour(conn, hour_ms, codes)
        return bool(codes)


def sum_hour(conn: sa.Connection, hour_ms: int, codes: Sequence[str] | None = None) -> None:
    """Sums an hour, and its day, of these centers or of all. Where nothing is left of one, it has no sum."""
    day_ms = day_of(hour_ms)
    for kind in schema.FIGURES:
        for table, from_ms in ((schema.hours[kind], hour_ms), (schema.days[kind], day_ms)):
            conn.execute(sa.delete(table).where(table.c.from_ms == from_ms, table.c.center.in_(codes or ())))
        raw = held.readings(conn, kind, codes, hour_ms, hour_ms + HOUR_MS)
        hour = raw.c.wall_ms.between(hour_ms, hour_ms + HOUR_MS - 1)
        mine = [] if codes is None else [raw.c.center.in_(codes)]
        _put(conn, schema.hours[kind], summed(kind, sa.literal(hour_ms, sa.BigInteger), raw).where(hour, *mine))
        hours = schema.hours[kind].c
        day = hours.from_ms.between(day_ms, day_ms + DAY_MS - 1)
        mine = [] if codes is None else [hours.center.in_(codes)]
        _put(conn, schema.days[kind], _day_of_hours(kind, day_ms).where(day, *mine))


def _put(conn: sa.Connection, table: sa.Table, rows: sa.Select[Any]) -> None:
    insert = sqlite.insert(table) if conn.dialect.name == "sqlite" else postgresql.insert(table)
    keys = [column.name for column in table.primary_key]
    names = [column.name for column in table.columns]
    changed = {name: insert.excluded[name] for name in names if name not in keys}
    conn.execute(insert.from_select(names, rows).on_conflict_do_update(index_elements=keys, set_=changed))


# ---------------------------------------------------------------- the sums themselves


def summed(kind: str, from_ms: sa.ColumnElement[int], source: sa.FromClause) -> sa.Select[Any]:
    """Readings (of `source`) as rows of the sums' tables, one a center and subject; more with another grouping."""
    raw = source.c
    figures = [
        part.label(name)
        for figure in schema.FIGURES[kind].values()
        for name, part in _parts(figure.name, figure.how, raw[figure.field])
    ]
    chosen = sa.select(raw.center, raw.subject, from_ms.label("from_ms"), sa.func.count().label("n"), *figures)
    return chosen.where(schema.of_record(kind, source)).group_by(raw.center, raw.subject)


def _parts(field: str, how: str, column: sa.ColumnElement[Any]) -> list[tuple[str, sa.ColumnElement[Any]]]:
    if how == "avg":
        return [(f"{field}_sum", sa.func.sum(column)), (f"{field}_n", sa.func.count(column))]
    return [(field, worst(how, column))]


def worst(how: str, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """How several readings become one figure: `how` of `wire.Aggregate`."""
    if how == "avg":
        return sa.func.avg(column)
    if how in ("min", "max"):
        return sa.func.min(column) if how == "min" else sa.func.max(column)
    met = column.is_not(None) if how == "any" else column == how.removeprefix("is ")
    return sa.func.max(sa.case((met, 1), else_=0))


def together(field: str, how: str, sums: sa.FromClause) -> sa.ColumnElement[Any]:
    """How several rows of sums become one figure."""
    if how == "avg":
        return sa.func.sum(sums.c[f"{field}_sum"]) / sa.func.nullif(sa.func.sum(sums.c[f"{field}_n"]), 0)
    return sa.func.min(sums.c[field]) if how == "min" else sa.func.max(sums.c[field])


def _day_of_hours(kind: str, day_ms: int) -> sa.Select[Any]:
    hours = schema.hours[kind].c
    figures: list[sa.ColumnElement[Any]] = []
    for name, figure in schema.FIGURES[kind].items():
        if figure.how == "avg":
            figures += [sa.func.sum(hours[f"{name}_{part}"]) for part in ("sum", "n")]
        else:
            figures.append(sa.func.min(hours[name]) if figure.how == "min" else sa.func.max(hours[name]))
    first = sa.literal(day_ms, sa.BigInteger)
    return sa.select(hours.center, hours.subject, first, sa.func.sum(hours.n), *figures).group_by(
        hours.center, hours.subject
    )


def seat_hours(conn: sa.Connection, center: str, since_ms: int) -> float | None:
    """How many hours seats were in use since then: the mean of each hour, added up. None where no seat tells."""
    c = schema.hours["seats"].c
    mine = (c.center == center) & (c.from_ms >= since_ms) & (c.in_use_n > 0)
    total = conn.scalar(sa.select(sa.func.sum(c.in_use_sum / c.in_use_n)).where(mine))
    return None if total is None else float(total)
