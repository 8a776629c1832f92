"""The day sheets of a month made in a process of their own, while this one takes the month's batches in again: neither
needs the other, and each is about half of the work."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import sqlalchemy as sa

from agent.common.center_time import TZ
from collector.register import centers
from collector.register.dated import histories
from collector.reports import day_store
from collector.reports.day_sheets import DaySheet
from collector.reports.ledger import Span
from collector.reports.monthly import period
from collector.standard import Standards
from collector.store import Store, schema

MANY = 5_000  # batches, from which on a process of its own is worth its start

Open = Callable[[], AbstractContextManager[Store]]
SheetMaker = Callable[[], list[DaySheet]]


def is_large(conn: sa.Connection, code: str, from_ms: int, to_ms: int) -> bool:
    """Whether a center has so many batches of a time, here or in the archive, and this machine a core to spare."""
    if len(os.sched_getaffinity(0)) < 2:
        return False
    e, a = schema.evidence.c, schema.archived.c
    mine = sa.select(e.id).where(e.center == code, e.received_ms.between(from_ms, to_ms)).offset(MANY).limit(1)
    cold = sa.select(a.center).where(a.center == code, a.day_ms.between(from_ms, to_ms)).limit(1)
    return conn.execute(mine).first() is not None or conn.execute(cold).first() is not None


@contextmanager
def sheets_beside(open_store: Open, code: str, month: str, standards: Standards, now_ms: int) -> Iterator[SheetMaker]:
    """Begins them at once, of its own look at the database; gives what waits for them. All of it must be picklable."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool.submit(sheets_of, open_store, code, month, standards, now_ms).result


def sheets_of(open_store: Open, code: str, month: str, standards: Standards, now_ms: int) -> list[DaySheet]:
    span = period(month, TZ, now_ms)
    with open_store() as store, store.read() as conn:
        return list(sheets_anew(conn, code, (span.from_ms, span.to_ms), standards, now_ms))


def sheets_anew(
    conn: sa.Connection, code: str, span: Span, standards: Standards, now_ms: int
) -> Iterator[DaySheet]:  # fmt: skip
    """From the rows as they are, day by day. Raises CenterError."""
    dated = histories(conn, [centers.get(conn, code)])
    return day_store.sheets_of(conn, dated, span, standards, now_ms, anew=True)


def sheets_kept(conn: sa.Connection, code: str, span: Span, standards: Standards, now_ms: int) -> Iterator[DaySheet]:
    """As they were made, and those that are due made now. Raises CenterError."""
    dated = histories(conn, [centers.get(conn, code)])
    return day_store.sheets_of(conn, dated, span, standards, now_ms, anew=False)
