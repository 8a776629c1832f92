"""The monthly parts of PostgreSQL's big tables, and what is kept of the past on both databases.

A part is made before its month begins. If rows of that month lie in the part for the rest already (a late start, a
clock far ahead), they move into it. Months are of UTC. On SQLite the same tables have no parts, and old rows go in
small batches, so that no writer waits long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from collector.store import Store, schema, upsert

AHEAD = 2  # months beyond this one
BATCH = 5_000  # rows deleted in one transaction
DAY_MS = 86_400_000
SETTLED_MS = 2 * DAY_MS  # what comes later than this of a month is little
GUESS_DAYS = 7  # a gateway that could send for so long without learning the time will not learn it in this boot
TALLY_DAYS = 62  # past the oldest day that a reading counts for (collector.store.quotas)
BOOT_DAYS = 60  # a spool holds thirty days, and a center may be closed for as long again
RAW_FROM = "raw_from_ms"  # in `about`: readings older than this have been dropped, their sums stand


@dataclass(frozen=True)
class Month:
    """A month of UTC; `to_ms` is exclusive."""

    year: int
    number: int

    @classmethod
    def of(cls, at_ms: int) -> Month:
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
        return cls(at.year, at.month)

    @property
    def next(self) -> Month:
        return Month(self.year + self.number // 12, self.number % 12 + 1)

    @property
    def from_ms(self) -> int:
        return int(datetime(self.year, self.number, 1, tzinfo=UTC).timestamp()) * 1000

    @property
    def to_ms(self) -> int:
        return self.next.from_ms

    @property
    def suffix(self) -> str:
        return f"p{self.year:04}_{self.number:02}"


@dataclass(frozen=True)
class Retention:
    """How long each kind of thing is kept, in days; 0 is for ever."""

    raw_days: int = 0
    hours_days: int = 0
    evidence_days: int = 0


def ahead(conn: sa.Connection, now_ms: int) -> list[str]:
    """Makes the parts of this month and the next ones that are missing; returns their names. Nothing on SQLite."""
    if conn.dialect.name != "postgresql":
        return []
    held = set(_parts(conn))
    made, month = [], Month.of(now_ms)
    for _ in range(AHEAD + 1):
        for table, column in schema.PARTED.items():
            if (name := f"{table}_{month.suffix}") not in held:
                part(conn, table, column, month)
                made.append(name)
        month = month.next
    return made


def part(conn: sa.Connection, table: str, column: str, month: Month) -> None:
    """Makes one month's part of a table, with what of it lies in the rest."""
    name, within = f"{table}_{month.suffix}", f"{column} >= {month.from_ms} AND {column} < {month.to_ms}"
    conn.execute(sa.text(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS)"))
    moved = f"DELETE FROM {table}_rest WHERE {within} RETURNING *"  # noqa: S608 - names and numbers of our own
    conn.execute(sa.text(f"WITH moved AS ({moved}) INSERT INTO {name} SELECT * FROM moved"))  # noqa: S608
    bounds = f"FROM ({month.from_ms}) TO ({month.to_ms})"
    conn.execute(sa.text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES {bounds}"))


def settle(store: Store, now_ms: int) -> list[str]:
    """Gives the readings of months that are over an index by center, which month reports read by; returns the parts.

    Rows that are still written lie in time order alone: by center, each of a fleet would dirty a page of its own. It is
    built beside writers. Nothing on SQLite, whose files have no parts.
    """
    if not store.parted:
        return []
    last = Month.of(now_ms - SETTLED_MS).suffix
    with store.keep() as conn:
        valid = set(conn.scalars(sa.text("SELECT i.indexrelid::regclass::text FROM pg_index i WHERE i.indisvalid")))
        parts = [name for name in _parts(conn) if "_readings_p" in name and name[-len(last) :] < last]
    made = [name for name in parts if f"{name}_by_center" not in valid]
    for name in made:
        store.outside(f"DROP INDEX IF EXISTS {name}_by_center")  # half built, when it was broken off
        store.outside(f"CREATE INDEX CONCURRENTLY {name}_by_center ON {name} (center, wall_ms)")
    return made


def raw_from(conn: sa.Connection) -> int:
    """Readings older than this have been let go; 0 when none has."""
    return int(conn.scalar(sa.select(schema.about.c.value).where(schema.about.c.name == RAW_FROM)) or 0)


def forget(store: Store, kept: Retention, now_ms: int, needed_ms: int = 2**53) -> dict[str, int]:
    """Drops what is older than it is kept; returns rows (SQLite) or parts (PostgreSQL) dropped, by table.

    On PostgreSQL a part goes when all of its month is too old; what lies in the rest goes row by row. Readings from
    `needed_ms` on, and turns and records since then, stay whatever their age: a report is still to be made of them.
    """
    dropped: dict[str, int] = {}
    for table, column, days in _policy(kept):
        if days:
            before_ms = now_ms - days * DAY_MS
            if column == "wall_ms" or table in ("grants", "records"):
                before_ms = min(before_ms, needed_ms)
            if column == "wall_ms":
                with store.keep() as conn:
                    upsert(conn, schema.about, [{"name": RAW_FROM, "value": str(max(before_ms, raw_from(conn)))}])
            count = _drop_parts(store, table, before_ms) if store.parted and table in schema.PARTED else 0
            if count := count + _delete(store, schema.metadata.tables[table], column, before_ms):
                dropped[table] = count
    return dropped


def _policy(kept: Retention) -> Iterator[tuple[str, str, int]]:
    for name, column in schema.PARTED.items():
        yield name, column, kept.evidence_days if name == "evidence" else kept.raw_days
    yield "guesses", "received_ms", GUESS_DAYS
    yield "boots", "noted_ms", BOOT_DAYS
    yield "tallies", "day_ms", TALLY_DAYS
    yield "grants", "asked_ms", kept.evidence_days  # whose test it was: as long as the evidence that it is held against
    yield "records", "received_ms", kept.evidence_days
    yield "report_recipients", "from_ms", kept.evidence_days
    yield "reports", "from_ms", kept.evidence_days
    yield "verified_months", "from_ms", kept.evidence_days
    for tables, days in ((schema.hours, kept.hours_days), (schema.days, kept.evidence_days)):
        yield from ((table.name, "from_ms", days) for table in tables.values())


def _drop_parts(store: Store, table: str, before_ms: int) -> int:
    last = f"{table}_{Month.of(before_ms).suffix}"
    with store.keep() as conn:
        mine = (name for name in _parts(conn) if name.startswith(f"{table}_p"))
        old = [name for name in mine if name < last]
    for name in old:
        with store.keep() as conn:
            conn.execute(sa.text(f"ALTER TABLE {table} DETACH PARTITION {name}"))
            conn.execute(sa.text(f"DROP TABLE {name}"))
    return len(old)


def _delete(store: Store, table: sa.Table, column: str, before_ms: int) -> int:
    """Rows before that time, in batches. On PostgreSQL only those of the rest and of tables without parts."""
    parted = store.parted and table.name in schema.PARTED
    source = sa.table(f"{table.name}_rest", *(sa.column(c.name) for c in table.columns)) if parted else table
    keys = ["id"] if table.name == "evidence" else [column.name for column in table.primary_key]
    total = 0
    while True:
        with store.keep() as conn:
            old = sa.select(*(source.c[name] for name in keys)).where(source.c[column] < before_ms).limit(BATCH)
            mine = sa.tuple_(*(source.c[name] for name in keys)) if len(keys) > 1 else source.c[keys[0]]
            count = conn.execute(sa.delete(source).where(mine.in_(old))).rowcount
        total += count
        if count < BATCH:
            return total


def _parts(conn: sa.Connection) -> list[str]:
    """The names of all parts, those for the rest among them."""
    query = "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    return sorted(conn.scalars(sa.text(f"{query} JOIN pg_class p ON p.oid = i.inhparent WHERE p.relkind = 'p'")))
