"""Disputes as rows, each change with its leaf in the transparency log and its line in the journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa

from collector.access.users import key_of
from collector.common.messages import one_line
from collector.common.scope import Scope
from collector.reports.disputes.dispute import (
    MAX_NAME,
    MAX_TEXT,
    OPEN,
    Dispute,
    DisputeError,
    Filing,
    Ruling,
    Span,
    State,
    check_decision,
    check_filing,
    check_open,
    check_window,
    deadline_ms,
    month_span,
)
from collector.store import queries, schema
from collector.store.journal import journaled, leaves

LIMIT = 200
_d, _r = schema.disputes.c, schema.reports.c
_COLUMNS = [_d[field.name] for field in fields(Dispute)]


def get(conn: sa.Connection, number: int) -> Dispute:
    """Raises DisputeError."""
    row = conn.execute(sa.select(*_COLUMNS).where(_d.id == number)).one_or_none()
    if row is None:
        raise DisputeError("dispute.unknown", number=number)
    return _dispute(row)


def listed(
    conn: sa.Connection, scope: Scope, *, states: Collection[State] = (), center: str = "", month: str = "",
    limit: int = LIMIT,
) -> list[Dispute]:  # fmt: skip
    """Those of centers within a scope, the open ones first, then the newest."""
    conditions = queries.within(schema.centers, scope)
    conditions += [_d.state.in_(states)] if states else []
    conditions += [_d.center == center] if center else []
    conditions += [_d.month == month] if month else []
    joined = schema.disputes.join(schema.centers, schema.centers.c.center == _d.center)
    query = sa.select(*_COLUMNS).select_from(joined).where(*conditions)
    rows = conn.execute(query.order_by(_d.state.in_(OPEN).desc(), _d.id.desc()).limit(limit))
    return [_dispute(row) for row in rows]


def decided(conn: sa.Connection, codes: Iterable[str], month: str) -> dict[str, list[Dispute]]:
    """What was decided about a month of these centers, by center, in the order of the decisions."""
    by_center: dict[str, list[Dispute]] = defaultdict(list)
    mine = (_d.month == month) & (_d.state == "decided")
    wanted = set(codes)
    for row in conn.execute(sa.select(*_COLUMNS).where(mine).order_by(_d.decided_ms, _d.id)):
        if row.center in wanted:
            by_center[row.center].append(_dispute(row))
    return by_center


def until_ms(conn: sa.Connection, center: str, month: str, days: int) -> int | None:
    """Until when a center's month may be disputed; None: no report of it is closed yet. Raises DisputeError."""
    mine = (_r.center == center) & (_r.from_ms == month_span(month)[0])
    return deadline_ms(conn.scalar(sa.select(sa.func.max(_r.closed_ms)).where(mine)), days)


def _dispute(row: Any) -> Dispute:
    return Dispute(**row._mapping)


# ---------------------------------------------------------------- changing


def file(conn: sa.Connection, filing: Filing, by: str, criteria: Collection[str], days: int, now_ms: int) -> Dispute:
    """One of the same about the same is open at most. Raises DisputeError."""
    check_filing(filing, criteria, until_ms(conn, filing.center, filing.month, days), now_ms)
    same = [_d[name] == getattr(filing, name) for name in ("center", "month", "day", "criterion")]
    held = conn.scalar(sa.select(_d.id).where(*same, _d.state.in_(OPEN)))
    if held is not None:
        raise DisputeError("dispute.known", number=int(held))
    row = asdict(filing) | {"text": one_line(filing.text, MAX_TEXT), "filed_ms": now_ms, "filed_by": by}
    insert = sa.insert(schema.disputes).values(**row, state="filed").returning(_d.id)
    return _noted(conn, int(conn.execute(insert).scalar_one()), now_ms)


def arrange_test(
    conn: sa.Connection, dispute: Dispute, witness: str, window: Span, test_id: str, by: str, now_ms: int
) -> Dispute:
    """A test before a witness, at a moment of the window that nobody is told. Raises DisputeError."""
    check_open(dispute)
    check_window(window, now_ms)
    witness = one_line(witness, MAX_NAME)
    if not witness:
        raise DisputeError("dispute.no_witness")
    return _changed(
        conn, dispute, now_ms, state="test", witness=witness, test_from_ms=window[0], test_to_ms=window[1],
        test_by=by, test_id=test_id,
    )  # fmt: skip


def decide(conn: sa.Connection, dispute: Dispute, decision: Ruling, by: str, now_ms: int) -> Dispute:
    """Raises DisputeError."""
    check_decision(dispute, decision, key_of(by), key_of(dispute.filed_by), now_ms)
    excused = decision.excused or (None, None)
    return _changed(
        conn, dispute, now_ms, state="decided", outcome=decision.outcome, decided_ms=now_ms, decided_by=by,
        reason=one_line(decision.reason, MAX_TEXT), excused_from_ms=excused[0], excused_to_ms=excused[1],
    )  # fmt: skip


def withdraw(conn: sa.Connection, dispute: Dispute, now_ms: int) -> Dispute:
    """Raises DisputeError."""
    check_open(dispute)
    return _changed(conn, dispute, now_ms, state="withdrawn")


def _changed(conn: sa.Connection, dispute: Dispute, now_ms: int, **values: object) -> Dispute:
    conn.execute(sa.update(schema.disputes).where(_d.id == dispute.id).values(**values))
    return _noted(conn, dispute.id, now_ms)


def _noted(conn: sa.Connection, number: int, now_ms: int) -> Dispute:
    journaled(conn, schema.disputes, number)
    leaves.add_changed(conn, "disputes", schema.disputes, [number], now_ms)
    return get(conn, number)
