"""What the pages and the API ask of the database: plain functions of a connection, the same on both databases.

A center's state is one word, worst first: ``silent`` (nothing is heard), ``below`` (a flag is raised), ``watch`` (a
criterion is failing, not yet for long enough), ``unknown`` (not enough data for some criterion), ``waiting`` (never
heard), ``meets``, ``closed`` (nothing is wrong, and it is outside its opening hours), ``paused`` (suspended or closed
for good).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from agent import wire
from collector.common.scope import EVERYWHERE, PARTS, Scope
from collector.store import schema
from collector.store.cold import held
from collector.store.rollups import DAY_MS, HOUR_MS, rolled_until, summed, together, worst
from collector.store.schema import centers, changes, devices, flags, integrity, pulse, readings

STATES = ("silent", "below", "watch", "unknown", "waiting", "meets", "closed", "paused")
OPEN = ("raised", "recovering")
SORTS = ("worst", "name", "place", "since", "heard", "owner", "isp")
EXACT = ("province", "district", "city", "owner", "isp", "feeder", "exchange")  # columns that a filter names a value of

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Ranks:
    """How criteria weigh against each other: their severity (greater is worse), which of them mean silence, which
    must be known before a center can be said to meet the standard, which are notices, to be watched at most; and the
    opening hours (as the register has them) by which a center is closed now, each with when it opens next (ms)."""

    severity: Mapping[str, int] = field(default_factory=dict)
    silence: Collection[str] = ()
    required: Collection[str] = ()
    notices: Collection[str] = ()
    closed: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Filter:
    """Which centers are wanted. Empty fields ask for nothing; each word of `search` must be found somewhere."""

    state: str = ""
    province: str = ""
    search: str = ""
    sort: str = "worst"
    scope: Scope = EVERYWHERE
    district: str = ""
    city: str = ""
    owner: str = ""
    isp: str = ""
    feeder: str = ""
    exchange: str = ""

    @property
    def exact(self) -> Mapping[str, str]:
        """The columns that must have a value, each with it."""
        return {name: value for name in EXACT if (value := getattr(self, name))}


# ---------------------------------------------------------------- the list


def board(ranks: Ranks, codes: Collection[str] | None = None) -> sa.Subquery:
    """One row a center, of these or of all: facts, `rank` (place in STATES), worst flag, when it was last heard."""
    mine = sa.true() if codes is None else flags.c.center.in_(list(codes))
    worst, sums = _worst_flags(ranks).where(mine).subquery(), _sums_of_flags(ranks).where(mine).subquery()
    unknown = len(ranks.required) - sa.func.coalesce(sums.c.known, 0)
    rank = _rank(ranks, worst.c.weight, unknown)
    since = sa.case(
        (rank.in_(list(map(STATES.index, ("waiting", "paused")))), centers.c.since_ms),
        (rank == STATES.index("closed"), None),  # what it had before it closed has another beginning
        else_=sa.func.coalesce(worst.c.flag_since_ms, sums.c.since_ms),
    )
    return (
        sa.select(
            centers,
            rank.label("rank"),
            sa.func.coalesce(worst.c.weight, 0).label("weight"),
            worst.c.criterion,
            worst.c.subject,
            worst.c.reason,
            worst.c.verdict,
            worst.c.memory,
            worst.c.value,
            worst.c.bound,
            since.label("state_since_ms"),
            sa.func.coalesce(sums.c.open, 0).label("open_flags"),
            unknown.label("unknown"),
            pulse.c.heard_ms,
        )
        .select_from(
            centers.outerjoin(pulse, pulse.c.center == centers.c.center)
            .outerjoin(worst, (worst.c.center == centers.c.center) & (worst.c.place == 1))
            .outerjoin(sums, sums.c.center == centers.c.center)
        )
        .where(sa.true() if codes is None else centers.c.center.in_(list(codes)))
        .subquery("board")
    )


def _rank(ranks: Ranks, weight: sa.ColumnElement[int], unknown: sa.ColumnElement[int]) -> sa.Case[int]:
    """The place in STATES by the weight of the worst flag and the number of required criteria that are unknown."""
    return sa.case(
        (centers.c.lifecycle.in_(("suspended", "closed")), STATES.index("paused")),
        (weight >= _SILENT, STATES.index("silent")),
        (weight >= _BELOW, STATES.index("below")),
        (pulse.c.center.is_(None), STATES.index("waiting")),
        (weight >= _WATCH, STATES.index("watch")),
        (centers.c.opening.in_(list(ranks.closed)), STATES.index("closed")),
        (unknown > 0, STATES.index("unknown")),
        else_=STATES.index("meets"),
    )


# The weight of a flag: its kind in hundreds, the severity of its criterion in ones.
_SILENT, _BELOW, _WATCH, _UNKNOWN = 400, 300, 200, 100


def _worst_flags(ranks: Ranks) -> sa.Select[Any]:
    severity = sa.case(dict(ranks.severity), value=flags.c.criterion, else_=0) if ranks.severity else sa.literal(0)
    kind = sa.case(
        (flags.c.state.in_(OPEN) & flags.c.criterion.in_(list(ranks.silence)), _SILENT),
        (flags.c.state.in_(OPEN) & flags.c.criterion.not_in(list(ranks.notices)), _BELOW),
        (flags.c.state != "clear", _WATCH),
        else_=_UNKNOWN,
    )
    weight = kind + severity
    place = sa.func.row_number().over(
        partition_by=flags.c.center, order_by=(weight.desc(), flags.c.since_ms, flags.c.criterion)
    )
    return sa.select(
        flags.c.center,
        flags.c.criterion,
        flags.c.subject,
        flags.c.reason,
        flags.c.verdict,
        flags.c.memory,
        flags.c.value,
        flags.c.bound,
        flags.c.since_ms.label("flag_since_ms"),
        weight.label("weight"),
        place.label("place"),
    ).where((flags.c.state != "clear") | (flags.c.verdict == "unknown"))


def _sums_of_flags(ranks: Ranks) -> sa.Select[Any]:
    known = (flags.c.verdict != "unknown") & flags.c.criterion.in_(list(ranks.required))
    return sa.select(
        flags.c.center,
        sa.func.count(sa.distinct(sa.case((known, flags.c.criterion)))).label("known"),
        sa.func.sum(sa.case((flags.c.state.in_(OPEN), 1), else_=0)).label("open"),
        sa.func.max(flags.c.since_ms).label("since_ms"),
    ).group_by(flags.c.center)


def matching(table: sa.Subquery, wanted: Filter, *, with_state: bool = True) -> list[sa.ColumnElement[bool]]:
    """What a filter says of a center, as conditions on a board."""
    conditions = within(table, wanted.scope)
    conditions += [table.c[name] == value for name, value in wanted.exact.items()]
    if with_state and wanted.state in STATES:
        conditions.append(table.c.rank == STATES.index(wanted.state))
    columns = ("center", "name", "city", "district", "province", "owner", "isp", "feeder", "exchange")
    conditions += [
        sa.or_(*(sa.func.lower(table.c[name]).contains(word, autoescape=True) for name in columns))
        for word in wanted.search.lower().split()[:8]
    ]
    return conditions


def within(table: sa.FromClause, scope: Scope) -> list[sa.ColumnElement[bool]]:
    """What `Scope.includes` says of a center, as conditions on a table that has its columns."""
    return [table.c[name].in_(values) for name, values in scope.parts.items()]


def _order(table: sa.Subquery, sort: str) -> Sequence[sa.ColumnElement[Any]]:
    orders: dict[str, Sequence[sa.ColumnElement[Any]]] = {
        "worst": (table.c.rank, table.c.weight.desc(), table.c.state_since_ms, table.c.center),
        "name": (sa.func.lower(table.c.name), table.c.center),
        "place": (table.c.province, table.c.city, table.c.center),
        "since": (table.c.state_since_ms.desc().nulls_last(), table.c.center),
        "heard": (table.c.heard_ms.desc().nulls_last(), table.c.center),
        "owner": (table.c.owner, table.c.center),
        "isp": (table.c.isp, table.c.center),
    }
    return orders[sort if sort in orders else "worst"]


def counts(conn: sa.Connection, ranks: Ranks, wanted: Filter) -> dict[str, int]:
    """How many centers are in each state, under the filter but for its state. Every state has its key."""
    table = board(ranks)
    query = sa.select(table.c.rank, sa.func.count()).where(*matching(table, wanted, with_state=False))
    by_rank = {row[0]: row[1] for row in conn.execute(query.group_by(table.c.rank))}
    return {state: by_rank.get(place, 0) for place, state in enumerate(STATES)}


def page(conn: sa.Connection, ranks: Ranks, wanted: Filter, *, limit: int, offset: int = 0) -> list[dict[str, Any]]:
    """The centers under the filter, in its order, each with `state` and its worst flag."""
    table = board(ranks)
    query = sa.select(table).where(*matching(table, wanted)).order_by(*_order(table, wanted.sort))
    return [stated(dict(row), ranks) for row in conn.execute(query.limit(limit).offset(offset)).mappings()]


def some(conn: sa.Connection, ranks: Ranks, codes: Collection[str], scope: Scope = EVERYWHERE) -> list[dict[str, Any]]:
    """The rows of these centers that are in the scope, in the order worst first."""
    table = board(ranks, codes)
    query = sa.select(table).where(*within(table, scope)).order_by(*_order(table, "worst"))
    return [stated(dict(row), ranks) for row in conn.execute(query).mappings()]


def one(conn: sa.Connection, ranks: Ranks, code: str) -> dict[str, Any] | None:
    return next(iter(some(conn, ranks, [code])), None)


def pulses(conn: sa.Connection, ranks: Ranks, codes: Collection[str] | None = None) -> list[sa.RowMapping]:
    """(center, rank, criterion, heard_ms and where it is) of these centers, or of all: what a live page follows."""
    table = board(ranks, codes)
    places = (table.c[name] for name in PARTS)
    query = sa.select(table.c.center, table.c.rank, table.c.criterion, table.c.heard_ms, *places)
    return list(conn.execute(query).mappings())


def openings(conn: sa.Connection) -> list[str]:
    """The opening hours that centers have, each once, as the register has them."""
    return list(conn.scalars(sa.select(centers.c.opening).distinct()))


def provinces(conn: sa.Connection, scope: Scope = EVERYWHERE) -> list[str]:
    mine = (centers.c.province != "", *within(centers, scope))
    query = sa.select(centers.c.province).where(*mine).distinct().order_by(centers.c.province)
    return list(conn.scalars(query))


def stated(row: Row, ranks: Ranks) -> dict[str, Any]:
    """A row of the board as pages show it: its state as a word, and when it opens."""
    values = {**row}
    values["state"] = STATES[values.pop("rank")]
    del values["weight"]
    values["opens_ms"] = ranks.closed.get(values["opening"]) if values["state"] == "closed" else None
    return values


# ---------------------------------------------------------------- one center


def flags_of(conn: sa.Connection, code: str) -> list[sa.RowMapping]:
    query = sa.select(flags).where(flags.c.center == code).order_by(flags.c.criterion, flags.c.subject)
    return list(conn.execute(query).mappings())


def open_flags_of(conn: sa.Connection, code: str, *, limit: int, offset: int = 0) -> tuple[int, list[sa.RowMapping]]:
    """(how many there are, some of them): the flags of a center that are not clear, the oldest first."""
    mine = (flags.c.center == code) & flags.c.state.in_(OPEN)
    count = conn.scalar(sa.select(sa.func.count()).select_from(flags).where(mine)) or 0
    query = sa.select(flags).where(mine).order_by(flags.c.since_ms, flags.c.criterion, flags.c.subject)
    return count, list(conn.execute(query.limit(limit).offset(offset)).mappings())


def changes_of(conn: sa.Connection, code: str, limit: int = 50) -> list[sa.RowMapping]:
    """How its flags moved, newest first."""
    query = sa.select(changes).where(changes.c.center == code).order_by(changes.c.at_ms.desc(), changes.c.id.desc())
    return list(conn.execute(query.limit(limit)).mappings())


def devices_of(conn: sa.Connection, code: str, limit: int = 20) -> list[sa.RowMapping]:
    """Its gateways in the order in which they enrolled, the last ones."""
    query = sa.select(devices).where(devices.c.center == code).order_by(devices.c.enrolled_ms.desc(), devices.c.device)
    return list(conn.execute(query.limit(limit)).mappings())[::-1]


def integrity_of(conn: sa.Connection, code: str, limit: int = 20) -> list[sa.RowMapping]:
    """Findings about the honesty of what this center's gateways sent, newest first."""
    query = sa.select(integrity).where(integrity.c.center == code).order_by(integrity.c.id.desc())
    return list(conn.execute(query.limit(limit)).mappings())


# ---------------------------------------------------------------- series


HOURS_FROM_MS, DAYS_FROM_MS = 3 * DAY_MS, 120 * DAY_MS  # spans drawn from sums


def series(
    conn: sa.Connection,
    kind: str,
    code: str,
    from_ms: int,
    to_ms: int,
    fields: Sequence[str],
    max_points: int,
    subject: str | None = None,
) -> dict[str, list[float | None]]:
    """Columns `t` (ms, the mean time of each bucket) and one per field, of at most `max_points` rows.

    Weeks are drawn from the sums of hours, months of them from those of days, what has no sums yet from readings.
    Where readings are missing for longer than `gap_ms` of their kind and two buckets, a row of None stands between, so
    that whoever draws a line lifts the pen. Raises KeyError for a kind or field that `schema.FIGURES` does not have.
    """
    step_ms = max(1, -(-(to_ms - from_ms) // max_points))
    if to_ms - from_ms < HOURS_FROM_MS:
        wanted = [schema.FIGURES[kind][name].field for name in fields]
        names = ["subject", "engine", *wanted]
        source = held.readings(conn, kind, [code], from_ms, to_ms, names)
        query = _of_readings(source, kind, code, (from_ms, to_ms), step_ms, fields, subject)
    else:
        table, least_ms = (schema.days, DAY_MS) if to_ms - from_ms >= DAYS_FROM_MS else (schema.hours, HOUR_MS)
        step_ms = max(step_ms, least_ms)
        sums = _with_tail(conn, table[kind], kind, code, (from_ms, to_ms), least_ms, subject)
        figures = (together(name, schema.FIGURES[kind][name].how, sums) for name in fields)
        bucket = ((sums.c.at_ms - from_ms) // step_ms).label("bucket")
        query = sa.select(sa.func.avg(sums.c.at_ms), *figures).group_by(bucket).order_by(bucket)
    rows = conn.execute(query).all()
    points = _with_gaps([(round(row[0]), *row[1:]) for row in rows], max(wire.KINDS[kind].gap_ms or to_ms, 2 * step_ms))
    columns: dict[str, list[float | None]] = {"t": [point[0] for point in points]}
    for place, name in enumerate(fields, 1):
        columns[name] = [None if point[place] is None else round(float(point[place]), 3) for point in points]
    return columns


def _of_readings(
    source: sa.FromClause,
    kind: str,
    code: str,
    span: tuple[int, int],
    step_ms: int,
    fields: Sequence[str],
    subject: str | None,
) -> sa.Select[Any]:
    raw, (from_ms, to_ms) = source.c, span
    bucket = ((raw.wall_ms - from_ms) // step_ms).label("bucket")
    figures = (worst(figure.how, raw[figure.field]) for figure in (schema.FIGURES[kind][name] for name in fields))
    mine = [raw.center == code, raw.wall_ms >= from_ms, raw.wall_ms < to_ms, schema.of_record(kind, source)]
    mine += [] if subject is None else [raw.subject == subject]
    return sa.select(sa.func.avg(raw.wall_ms), *figures).where(*mine).group_by(bucket).order_by(bucket)


def _with_tail(
    conn: sa.Connection,
    table: sa.Table,
    kind: str,
    code: str,
    span: tuple[int, int],
    least_ms: int,
    subject: str | None,
) -> sa.Subquery:
    """The sums of a span, each at the middle of its time, and the readings of the hours that have none yet."""
    from_ms, to_ms = span
    tail_ms = max(from_ms, rolled_until(conn))
    one = [] if subject is None else [table.c.subject == subject]
    held = sa.select((table.c.from_ms + least_ms // 2).label("at_ms"), *list(table.c)[3:]).where(
        table.c.center == code, table.c.from_ms > from_ms - least_ms, table.c.from_ms < min(to_ms, tail_ms), *one
    )
    raw = readings[kind].c
    hour = raw.wall_ms // HOUR_MS * HOUR_MS + HOUR_MS // 2
    one = [] if subject is None else [raw.subject == subject]
    fresh = summed(kind, hour, readings[kind]).where(
        raw.center == code, raw.wall_ms >= tail_ms, raw.wall_ms < to_ms, *one
    )
    rest = fresh.group_by(hour).subquery()
    names = [rest.c.from_ms.label("at_ms"), *list(rest.c)[3:]]
    return sa.union_all(held, sa.select(*names)).subquery()


def _with_gaps(points: Sequence[tuple[Any, ...]], longest_ms: int) -> list[tuple[Any, ...]]:
    """The points, with an empty one in the middle of each pause longer than that."""
    result = list(points[:1])
    for before, after in itertools.pairwise(points):
        if after[0] - before[0] > longest_ms:
            result.append(((before[0] + after[0]) // 2, *(None for _ in after[1:])))
        result.append(after)
    return result


class LastBeacon(NamedTuple):
    """When a gateway was last heard by its second path, and how far its clock was ahead then (negative: behind; None:
    about right)."""

    device: str
    heard_ms: int
    clock_off_s: int | None


def last_beacons(conn: sa.Connection, code: str, after_ms: int) -> list[LastBeacon]:
    """Of the gateways of this center that were heard by their second path later than that, the newest first."""
    beacons = schema.beacons.c
    query = sa.select(beacons.device, beacons.received_ms, beacons.off_s)
    query = query.where(beacons.center == code, beacons.received_ms > after_ms)
    return [LastBeacon(*row) for row in conn.execute(query.order_by(beacons.received_ms.desc(), beacons.device))]


def last_beacon(conn: sa.Connection, code: str, after_ms: int) -> LastBeacon | None:
    """The newest of `last_beacons`."""
    return next(iter(last_beacons(conn, code, after_ms)), None)
