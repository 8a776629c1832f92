"""The jobs that one process does at a time: who does each, how it went last, and what waits for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from collector.store import schema
from collector.store.jobs.shards import job_of

OLD_MS = 600_000  # a job that did not succeed for so long is late


@dataclass(frozen=True)
class JobRow:
    """`age_ms` since its last success and `oldest_ms`, how long the first of `backlog` waits; None: unknown."""

    name: str
    holder: str
    done_ms: int | None
    age_ms: int | None
    took_ms: int
    failures: int
    error: str
    backlog: int | None
    oldest_ms: int | None

    @property
    def is_good(self) -> bool:
        return bool(self.holder) and not self.failures and self.age_ms is not None and self.age_ms < OLD_MS


def rows(conn: sa.Connection, now_ms: int) -> list[JobRow]:
    """By name; the shards of a job are one row. A job of which somebody's lease ran out has no holder."""
    by_job: dict[str, list[sa.Row[Any]]] = {}
    for row in conn.execute(sa.select(schema.jobs).order_by(schema.jobs.c.name)):
        by_job.setdefault(job_of(row.name), []).append(row)
    return [_row(name, some, *_backlog(conn, name, now_ms), now_ms) for name, some in by_job.items()]


def _row(name: str, shards: Sequence[sa.Row[Any]], backlog: int | None, first_ms: int | None, now_ms: int) -> JobRow:
    """The worst of its shards stands for all."""
    holders = {row.holder if row.until_ms > now_ms else "" for row in shards}
    done = [row.done_ms for row in shards]
    done_ms = None if None in done else min(done)
    return JobRow(
        name=name,
        holder="" if "" in holders else ", ".join(sorted(holders)),
        done_ms=done_ms,
        age_ms=None if done_ms is None else max(0, now_ms - done_ms),
        took_ms=max(row.took_ms for row in shards),
        failures=sum(row.failures for row in shards),
        error=next((row.error for row in shards if row.error), ""),
        backlog=backlog,
        oldest_ms=None if first_ms is None else max(0, now_ms - first_ms),
    )


def _backlog(conn: sa.Connection, name: str, now_ms: int) -> tuple[int | None, int | None]:
    if (query := QUERIES.get(name)) is None:
        return None, None
    count, first_ms = conn.execute(query(now_ms)).one()
    return count, first_ms


def _sheets(_now_ms: int) -> sa.Select[int, Any]:
    d = schema.day_sheets.c
    return sa.select(sa.func.count(), sa.func.min(d.day_ms)).where(d.made_ms.is_(None))


def _reports(now_ms: int) -> sa.Select[int, Any]:
    r = schema.reports.c
    return sa.select(sa.func.count(), sa.func.min(r.look_ms)).where(r.look_ms <= now_ms)


def _alerts(now_ms: int) -> sa.Select[int, Any]:
    a = schema.alerts.c
    waits = a.state.in_(("waiting", "sending")) & (a.next_ms < now_ms)
    return sa.select(sa.func.count(), sa.func.min(a.next_ms)).where(waits)


def _leaves(_now_ms: int) -> sa.Select[int, Any]:
    number = schema.log_leaves.c.number
    return sa.select(sa.func.count(), sa.cast(sa.null(), sa.BigInteger)).where(number.is_(None))


QUERIES: dict[str, Callable[[int], sa.Select[int, Any]]] = {
    "sheets": _sheets,
    "reports": _reports,
    "alerts": _alerts,
    "log": _leaves,
}
