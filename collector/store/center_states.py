"""The state of each center as a row, so that a list of the whole fleet is one question of one table.

A row is derived: `queries.board` says what it holds, and whoever changes a flag, a center or when one was first heard
calls `refresh` in the same transaction. The rows depend on how criteria weigh against each other; the weights are kept
in `about`, `settle` makes all rows anew when a standard changes them, and until then lists are asked of the board.

Whether a center is closed now depends on the time alone, so it is decided while reading. `hours_ranks` remembers the
worst rank of each of the last 24 hours; between two changes a center stays as it was, so nobody has to write it hourly.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from collector.common.scope import PARTS, Scope
from collector.store import queries, schema, upsert
from collector.store.queries import STATES, Filter, Ranks
from collector.store.rollups import HOUR_MS

RANKS = "ranks"  # in `about`
HOURS = 24
NOT_KNOWN = "-"
SEARCHED = ("center", "name", "city", "district", "province", "owner", "isp", "feeder", "exchange")
FLAG = ("criterion", "subject", "reason", "verdict", "memory", "value", "bound")
COPIED = (
    "center", "rank", "weight", *FLAG, "state_since_ms", "open_flags", "unknown",
    "opening", "owner", "city", "district", "province", "isp", "feeder", "exchange",
)  # fmt: skip
_UNKNOWN, _WAITING, _MEETS, _CLOSED, _PAUSED = map(STATES.index, ("unknown", "waiting", "meets", "closed", "paused"))

_STATES = schema.center_states
_s, _p = schema.center_states.c, schema.pulse.c


# ---------------------------------------------------------------- writing


def settle(conn: sa.Connection, ranks: Ranks, now_ms: int) -> bool:
    """Makes the rows of all centers anew if they are of other weights than these; whether it did."""
    text = _text(ranks)
    if _held(conn) == text:
        return False
    upsert(conn, schema.about, [{"name": RANKS, "value": text}])
    conn.execute(sa.delete(schema.center_states).where(_s.center.not_in(sa.select(schema.centers.c.center))))
    _write(conn, ranks, None, now_ms)
    return True


def refresh(conn: sa.Connection, codes: Collection[str], now_ms: int) -> None:
    """The rows of these centers, after their flags or facts have changed. Those that are gone have none."""
    text = _held(conn) if codes else None
    if text is None:
        return
    gone = set(codes) - _write(conn, _parsed(text), sorted(set(codes)), now_ms)
    if gone:
        conn.execute(sa.delete(schema.center_states).where(_s.center.in_(sorted(gone))))


def renew(conn: sa.Connection, now_ms: int) -> None:
    """The rows of all centers, after something has changed of many."""
    if (text := _held(conn)) is not None:
        _write(conn, _parsed(text), None, now_ms)


def heard(conn: sa.Connection, codes: Collection[str], now_ms: int) -> None:
    """`refresh` for those of these centers that nobody had heard of."""
    query = sa.select(_s.center).where(_s.center.in_(sorted(codes)), _s.rank == _WAITING)
    refresh(conn, conn.scalars(query).all() if codes else (), now_ms)


def _write(conn: sa.Connection, ranks: Ranks, codes: Sequence[str] | None, now_ms: int) -> set[str]:
    table = queries.board(ranks, codes)
    columns = [table.c[name] for name in (*COPIED, "name")]
    before = sa.select(_s.center, _s.rank, _s.hour, _s.hours_ranks)
    if codes is not None:
        before = before.where(_s.center.in_(codes))
    known = {row.center: row for row in conn.execute(before)}
    rows = [_row(row, known.get(row["center"]), now_ms) for row in conn.execute(sa.select(*columns)).mappings()]
    upsert(conn, schema.center_states, rows)
    return {row["center"] for row in rows}


def _row(row: sa.RowMapping, before: Any, now_ms: int) -> dict[str, Any]:
    hour = now_ms // HOUR_MS
    ranks = hours_ranks(before.hours_ranks, before.hour, before.rank, now_ms) if before else NOT_KNOWN * HOURS
    return {
        **{name: row[name] for name in COPIED},
        "hour": max(hour, before.hour) if before else hour,
        "hours_ranks": ranks[:-1] + min(ranks[-1].replace(NOT_KNOWN, "9"), str(row["rank"])),
        "name_key": row["name"].lower(),
        "words": "\n".join(str(row[name]) for name in SEARCHED).lower(),
    }


def hours_ranks(ranks: str, hour: int, rank: int, now_ms: int) -> str:
    """The worst rank of each of the last 24 hours, the running one last, of a row that was written in `hour` and has
    had that rank since."""
    return (ranks + str(rank) * min(HOURS, max(0, now_ms // HOUR_MS - hour)))[-HOURS:]


def _held(conn: sa.Connection) -> str | None:
    return conn.scalar(sa.select(schema.about.c.value).where(schema.about.c.name == RANKS))


def _text(ranks: Ranks) -> str:
    """What the rows depend on of these weights, as it is kept."""
    parts = [dict(sorted(ranks.severity.items())), *map(sorted, (ranks.silence, ranks.required, ranks.notices))]
    return msgspec.json.encode(parts).decode()


def _parsed(text: str) -> Ranks:
    severity, silence, required, notices = msgspec.json.decode(
        text, type=tuple[dict[str, int], list[str], list[str], list[str]]
    )
    return Ranks(severity, silence, required, notices)


# ---------------------------------------------------------------- reading


def is_current(conn: sa.Connection, ranks: Ranks) -> bool:
    """Whether the rows are of these weights."""
    return _held(conn) == _text(ranks)


def openings(conn: sa.Connection) -> Sequence[str]:
    """The opening hours that centers have, each once, as the register has them."""
    if _held(conn) is None:
        return queries.openings(conn)
    return conn.scalars(sa.select(_s.opening).group_by(_s.rank, _s.opening)).all()


def counts(conn: sa.Connection, ranks: Ranks, wanted: Filter) -> dict[str, int]:
    """As `queries.counts`."""
    return _counts(conn, ranks, wanted) if is_current(conn, ranks) else queries.counts(conn, ranks, wanted)


def page(
    conn: sa.Connection, ranks: Ranks, wanted: Filter, now_ms: int, *, limit: int, offset: int = 0
) -> list[dict[str, Any]]:
    """As `queries.page`, each row with `hours_ranks`: the worst rank of each of the last 24 hours, a digit each."""
    return listed(conn, ranks, wanted, now_ms, limit=limit, offset=offset)[1]


def listed(
    conn: sa.Connection, ranks: Ranks, wanted: Filter, now_ms: int, *, limit: int, offset: int = 0
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """(`counts`, `page`): what is counted tells in which states the page lies, and only those are sorted."""
    if not is_current(conn, ranks):
        rows = queries.page(conn, ranks, wanted, limit=limit, offset=offset)
        return queries.counts(conn, ranks, wanted), [row | {"hours_ranks": ""} for row in rows]
    counted = _counts(conn, ranks, wanted)
    states, skipped = [wanted.state], 0
    if wanted.state not in STATES:
        states, skipped = _spanned(counted, limit, offset) if wanted.sort == "worst" else (list(STATES), 0)
    conditions = _matching(conn, wanted) + _in_states(ranks, states)
    query = sa.select(_s.center).where(*conditions).order_by(*_order(_live_rank(ranks), wanted.sort))
    if wanted.sort == "heard":
        query = query.select_from(_STATES.outerjoin(schema.pulse, _p.center == _s.center))
    return counted, _rows(conn, ranks, query.limit(limit).offset(offset - skipped), wanted.sort, now_ms)


def _counts(conn: sa.Connection, ranks: Ranks, wanted: Filter) -> dict[str, int]:
    conditions = _matching(conn, wanted)
    rank = _s.rank + 0 if conditions else _s.rank  # SQLite would go through the index and look up every row
    query = sa.select(rank, _s.opening, sa.func.count()).where(*conditions).group_by(rank, _s.opening)
    by_state = dict.fromkeys(STATES, 0)
    for place, opening, number in conn.execute(query):
        by_state[STATES[_CLOSED if place in (_UNKNOWN, _MEETS) and opening in ranks.closed else place]] += number
    return by_state


def _spanned(counted: dict[str, int], limit: int, offset: int) -> tuple[list[str], int]:
    """The states in which these places of the list lie, worst first, and how many centers are in worse ones."""
    states: list[str] = []
    skipped = before = 0
    for state in STATES:
        if before < offset + limit and before + counted[state] > offset:
            skipped = skipped if states else before
            states.append(state)
        before += counted[state]
    return (states, skipped) if states else (list(STATES), 0)


def _in_states(ranks: Ranks, states: Sequence[str]) -> list[sa.ColumnElement[bool]]:
    """Of those whose state is one of these, said of columns that have an index."""
    if len(states) == len(STATES):
        return []
    places = [STATES.index(state) for state in states]
    if not ranks.closed or not {_UNKNOWN, _MEETS, _CLOSED} & set(places):
        return [_s.rank.in_(places)]
    return [_s.rank.in_({*places, *((_UNKNOWN, _MEETS) if _CLOSED in places else ())}), _live_rank(ranks).in_(places)]


def some(conn: sa.Connection, ranks: Ranks, codes: Collection[str], scope: Scope, now_ms: int) -> list[dict[str, Any]]:
    """As `queries.some`, each row with `hours_ranks`."""
    if not is_current(conn, ranks):
        return [row | {"hours_ranks": ""} for row in queries.some(conn, ranks, codes, scope)]
    query = sa.select(_s.center).where(_s.center.in_(sorted(codes)), *queries.within(_STATES, scope))
    return _rows(conn, ranks, query, "worst", now_ms)


def pulses(conn: sa.Connection, ranks: Ranks) -> list[sa.RowMapping]:
    """As `queries.pulses`, of all centers."""
    if not is_current(conn, ranks):
        return queries.pulses(conn, ranks)
    columns = (_s.center, _live_rank(ranks).label("rank"), _s.criterion, _p.heard_ms, *(_s[name] for name in PARTS))
    query = sa.select(*columns).select_from(_STATES.outerjoin(schema.pulse, _p.center == _s.center))
    return list(conn.execute(query).mappings())


def points(conn: sa.Connection, ranks: Ranks, wanted: Filter) -> list[tuple[str, str, str, float, float, int]]:
    """(code, name, city, latitude, longitude, rank) of the centers under the filter whose place is known, the worst
    last: it is drawn over the others."""
    rank, c = _live_rank(ranks), schema.centers.c
    if not is_current(conn, ranks):
        table = queries.board(ranks)
        columns = [table.c[name] for name in ("center", "name", "city", "latitude", "longitude", "rank")]
        query = sa.select(*columns).where(*queries.matching(table, wanted), table.c.latitude.is_not(None))
        query = query.order_by(table.c.rank.desc(), table.c.weight)
    else:
        conditions = _matching(conn, wanted) + ([rank == STATES.index(wanted.state)] if wanted.state in STATES else [])
        query = sa.select(c.center, c.name, c.city, c.latitude, c.longitude, rank.label("rank"))
        query = query.select_from(_STATES.join(schema.centers, c.center == _s.center)).where(*conditions)
        query = query.where(c.latitude.is_not(None)).order_by(rank.desc(), _s.weight, _s.center)
    return [tuple(row) for row in conn.execute(query) if row.longitude is not None]


def public(conn: sa.Connection, ranks: Ranks, wanted: Filter) -> list[tuple[str, str, str, str]]:
    """(code, state, province, district) of every center under the filter."""
    if not is_current(conn, ranks):
        table = queries.board(ranks)
        columns = [table.c[name] for name in ("center", "rank", "province", "district")]
        rows = conn.execute(sa.select(*columns).where(*queries.matching(table, wanted)))
    else:
        columns = [_s.center, _live_rank(ranks).label("rank"), _s.province, _s.district]
        rows = conn.execute(sa.select(*columns).where(*_matching(conn, wanted)))
    return [(row.center, STATES[row.rank], row.province, row.district) for row in rows]


def standings(conn: sa.Connection, codes: Collection[str]) -> dict[str, tuple[str, str, int]]:
    """(state, criterion of the worst flag or "", since when or 0) of these centers, as their rows have it."""
    query = sa.select(_s.center, _s.rank, _s.criterion, _s.state_since_ms).where(_s.center.in_(sorted(codes)))
    return {row.center: (STATES[row.rank], row.criterion or "", row.state_since_ms or 0) for row in conn.execute(query)}


def _rows(
    conn: sa.Connection, ranks: Ranks, chosen: sa.Select[tuple[str]], sort: str, now_ms: int
) -> list[dict[str, Any]]:
    """Of the centers that a question chooses, in that order. They are chosen among narrow rows first: what is sorted
    and thrown away is short."""
    own = ("weight", *FLAG, "open_flags", "unknown", "hour", "hours_ranks")
    rank, few = _live_rank(ranks), chosen.subquery()
    joined = few.join(_STATES, _s.center == few.c.center).join(schema.centers, schema.centers.c.center == _s.center)
    query = (
        sa.select(
            schema.centers,
            rank.label("rank"),
            _since(rank).label("state_since_ms"),
            *(_s[name] for name in own),
            _p.heard_ms,
        )
        .select_from(joined.outerjoin(schema.pulse, _p.center == _s.center))
        .order_by(*_order(rank, sort))
    )
    result, rows = conn.execute(query), []
    names = list(result.keys())
    for row in result:
        values = dict(zip(names, row, strict=True))
        worst = values["rank"] if values["rank"] != _CLOSED else _MEETS
        values["hours_ranks"] = hours_ranks(values["hours_ranks"], values.pop("hour"), worst, now_ms)
        rows.append(queries.stated(values, ranks))
    return rows


def _live_rank(ranks: Ranks) -> sa.ColumnElement[int]:
    """The rank now: a center that nothing is wrong with is closed outside of its opening hours."""
    if not ranks.closed:
        return _s.rank
    is_closed = _s.rank.in_((_UNKNOWN, _MEETS)) & _s.opening.in_(list(ranks.closed))
    return sa.case((is_closed, _CLOSED), else_=_s.rank)


def _since(rank: sa.ColumnElement[int]) -> sa.ColumnElement[int | None]:
    """Since when it is so; of a center that is closed now what it had before it closed has another beginning."""
    return sa.case((rank == _CLOSED, None), else_=_s.state_since_ms)


def _matching(conn: sa.Connection, wanted: Filter) -> list[sa.ColumnElement[bool]]:
    """The filter but for its state. No pattern is matched: what is looked for is a part of the text, as it stands."""
    conditions = queries.within(_STATES, wanted.scope)
    conditions += [_s[name] == value for name, value in wanted.exact.items()]
    part = sa.func.instr if conn.dialect.name == "sqlite" else sa.func.strpos
    return conditions + [part(_s.words, word) > 0 for word in wanted.search.lower().split()[:8]]


def _order(rank: sa.ColumnElement[int], sort: str) -> Sequence[sa.ColumnElement[Any]]:
    orders: dict[str, Sequence[sa.ColumnElement[Any]]] = {
        "worst": (rank, _s.weight.desc(), _since(rank), _s.center),
        "name": (_s.name_key, _s.center),
        "place": (_s.province, _s.city, _s.center),
        "since": (_since(rank).desc().nulls_last(), _s.center),
        "heard": (_p.heard_ms.desc().nulls_last(), _s.center),
        "owner": (_s.owner, _s.center),
        "isp": (_s.isp, _s.center),
    }
    return orders.get(sort, orders["worst"])
