"""Which of several processes does a job: its row names the holder until a time, which the holder moves on.

Whoever finds a lease run out takes it. Each transaction of a job looks first whether its process still holds it
(`guarding`), and keeps the row until its end: one that hung and was taken for dead changes nothing any more.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import sqlalchemy as sa

from collector.store.schema import job_holders, jobs

LEASE_MS = 40_000
RENEW_S = 10.0

_j, _h = jobs.c, job_holders.c
_guard: ContextVar[tuple[str, str] | None] = ContextVar("lease", default=None)  # of this thread: the job and its holder


class LeaseLost(Exception):
    """Another process does the job now; the transaction is rolled back."""


@dataclass(frozen=True)
class RunOutcome:
    """What became of a job's last run. `error`: why, of one that failed `failures` times since the last success."""

    done_ms: int | None = None
    took_ms: int = 0
    failures: int = 0
    error: str = ""


def clock_ms(conn: sa.Connection) -> int:
    """By the database's clock, where several machines share one."""
    if conn.dialect.name == "postgresql":
        return int(conn.scalar(sa.text("SELECT extract(epoch FROM clock_timestamp()) * 1000")) or 0)
    return time.time_ns() // 1_000_000


def take(conn: sa.Connection, names: Collection[str], holder: str, now_ms: int, lease_ms: int = LEASE_MS) -> set[str]:
    """Renews those of the jobs that `holder` has, and takes those whose lease ran out; returns all that it has then."""
    _add(conn, names)
    free = sa.select(_j.name, _j.holder).where(_j.name.in_(names), (_j.holder == holder) | (_j.until_ms <= now_ms))
    for name, before in conn.execute(free.order_by(_j.name).with_for_update(skip_locked=True)).all():
        values = {"until_ms": now_ms + lease_ms} | ({} if before == holder else {"holder": holder, "began_ms": now_ms})
        conn.execute(sa.update(jobs).where(_j.name == name).values(values))
    return set(conn.scalars(sa.select(_j.name).where(_j.name.in_(names), _j.holder == holder)))


def share(conn: sa.Connection, names: Sequence[str], holder: str, now_ms: int, lease_ms: int = LEASE_MS) -> set[str]:
    """As `take`, of the shards of one job: `holder` takes and keeps no more than its share among all that do jobs, so
    one that comes gets its own from the others, and what one that died had goes to those who are left."""
    _add(conn, names)
    mine = sa.select(_j.name).where(_j.name.in_(names), _j.holder == holder)
    held = sorted(conn.scalars(mine))
    most = -(-len(names) // max(1, conn.scalar(sa.select(sa.func.count()).select_from(job_holders)) or 0))
    free = sa.select(_j.name, _j.holder).where(_j.name.in_(names), (_j.holder == holder) | (_j.until_ms <= now_ms))
    for name, before in conn.execute(free.order_by(_j.name).with_for_update(skip_locked=True)).all():
        values: dict[str, object] = {"until_ms": now_ms + lease_ms}
        if before == holder and name in held[most:]:
            values = {"until_ms": 0, "holder": ""}
        elif before != holder:
            if len(held) >= most:
                continue
            held.append(name)
            values |= {"holder": holder, "began_ms": now_ms}
        conn.execute(sa.update(jobs).where(_j.name == name).values(values))
    return set(conn.scalars(mine))


def _add(conn: sa.Connection, names: Collection[str]) -> None:
    """Rows for jobs that have none yet."""
    known = set(conn.scalars(sa.select(_j.name)))
    if new := [{"name": name} for name in sorted(names) if name not in known]:
        conn.execute(_INSERT[conn.dialect.name], new)


def present(conn: sa.Connection, holder: str, now_ms: int, lease_ms: int = LEASE_MS) -> None:
    """It does jobs, or would; whoever said so too long ago does not."""
    conn.execute(sa.delete(job_holders).where((_h.until_ms <= now_ms) | (_h.holder == holder)))
    conn.execute(sa.insert(job_holders).values(holder=holder, until_ms=now_ms + lease_ms))


def record(conn: sa.Connection, outcomes: Mapping[str, RunOutcome], holder: str) -> None:
    for name, outcome in outcomes.items():
        values = {"took_ms": outcome.took_ms, "failures": outcome.failures, "error": outcome.error}
        values |= {"done_ms": outcome.done_ms} if outcome.done_ms is not None else {}
        conn.execute(sa.update(jobs).where(_j.name == name, _j.holder == holder).values(values))


def release(conn: sa.Connection, holder: str) -> None:
    """All that it has: others need not wait."""
    conn.execute(sa.update(jobs).where(_j.holder == holder).values(until_ms=0))
    conn.execute(sa.delete(job_holders).where(_h.holder == holder))


def end(conn: sa.Connection, prefix: str) -> None:
    """The leases of holders whose names begin so, which are known to be gone."""
    conn.execute(sa.update(jobs).where(_j.holder.startswith(prefix, autoescape=True)).values(until_ms=0))
    conn.execute(sa.delete(job_holders).where(_h.holder.startswith(prefix, autoescape=True)))


@contextmanager
def guarding(name: str, holder: str) -> Iterator[None]:
    """Every transaction of this thread begins with a look whether `holder` has the job."""
    token = _guard.set((name, holder))
    try:
        yield
    finally:
        _guard.reset(token)


def check(conn: sa.Connection) -> None:
    """Raises LeaseLost."""
    if (guard := _guard.get()) is None:
        return
    name, holder = guard
    if conn.scalar(sa.select(_j.holder).where(_j.name == name).with_for_update(read=True)) != holder:
        raise LeaseLost(f"job {name}: another process does it now")


def _insert() -> dict[str, sa.Insert]:
    from sqlalchemy.dialects import postgresql, sqlite

    return {
        "sqlite": sqlite.insert(jobs).on_conflict_do_nothing(),
        "postgresql": postgresql.insert(jobs).on_conflict_do_nothing(),
    }


_INSERT = _insert()
