"""The rows of ingest workers, on any machine: when each said last that it works, and for what it waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from collector.store import schema, upsert

WORKER_WAITS = ("broker", "commit")  # for what a worker waits: one gives no messages, those in hand are not committed

_w = schema.ingest_workers.c


@dataclass(frozen=True)
class WorkerRow:
    """`at_ms` and `committed_ms` (None: nothing yet) are by the worker's own clock. It waits for `waits` (of
    WORKER_WAITS; empty: for nothing) since `wait_s`."""

    machine: str
    number: int
    at_ms: int
    committed_ms: int | None = None
    waits: str = ""
    wait_s: float = 0.0

    @property
    def name(self) -> str:
        return name_of(self.number, self.machine)


def name_of(number: int, machine: str) -> str:
    """What a worker's health is named by."""
    return f"ingest worker {number} at {machine}"


def rows(conn: sa.Connection) -> Sequence[WorkerRow]:
    query = sa.select(schema.ingest_workers).order_by(_w.machine, _w.number)
    return [WorkerRow(**row) for row in conn.execute(query).mappings()]


def record(conn: sa.Connection, row: WorkerRow) -> None:
    values = {"machine": row.machine, "number": row.number, "at_ms": row.at_ms, "committed_ms": row.committed_ms}
    upsert(conn, schema.ingest_workers, [{**values, "waits": row.waits, "wait_s": row.wait_s}])


def forget(conn: sa.Connection, machine: str, number: int) -> None:
    """One that was stopped, or of which nothing was heard for too long."""
    conn.execute(sa.delete(schema.ingest_workers).where(_w.machine == machine, _w.number == number))
