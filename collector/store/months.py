"""The parts of PostgreSQL's big tables, and what is kept of the past on both databases.

They are of a month each, or of a day where the archive takes days away: then what is left of one is dropped whole.

A part is made before its month begins. If rows of that month lie in the part for the rest already (a late start, a
clock far ahead), they move into it. Months are of UTC. On SQLite the same tables have no parts, and old rows go in
small batches, so that no writer waits long.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from collector.store import Store, schema, upsert

AHEAD = 2  # months beyond this one
DAYS_AHEAD = 3
PATIENCE_MS = 2_000
NAMES = re.compile(r"p(\d{4})_(\d\d)(?:_(\d\d))?")
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


@dataclass(frozen=True)
class Part:
    """A part of a table, of a month or a day of UTC; `to_ms` is exclusive."""

    suffix: str
    from_ms: int
    to_ms: int

    @classmethod
    def of_day(cls, at_ms: int) -> Part:
        from_ms = at_ms // DAY_MS * DAY_MS
        return cls(datetime.fromtimestamp(from_ms / 1000, UTC).strftime("p%Y_%m_%d"), from_ms, from_ms + DAY_MS)

    @classmethod
    def of_month(cls, month: Month) -> Part:
        return cls(month.suffix, month.from_ms, month.to_ms)

    @classmethod
    def named(cls, suffix: str) -> Part | None:
        """None for the part for the rest."""
        if (match := NAMES.fullmatch(suffix)) is None:
            return None
        year, month, day = match.groups()
        if day is None:
            return cls.of_month(Month(int(year), int(month)))
        return cls.of_day(int(datetime(int(year), int(month), int(day), tzinfo=UTC).timestamp()) * 1000)

    @property
    def is_day(self) -> bool:
        return self.to_ms - self.from_ms == DAY_MS

    def meets(self, other: Part) -> bool:
        return self.from_ms < other.to_ms and other.from_ms < self.to_ms


def ahead(conn: sa.Connection, now_ms: int, daily: Collection[str] = ()) -> list[str]:
    """Makes the parts of this month and the next ones that are missing, of the tables `daily` those of today and the
    next days; returns their names. Nothing on SQLite."""
    if conn.dialect.name != "postgresql":
        return []
    month, made = Month.of(now_ms), []
    months = [Part.of_month(one) for one in (month, month.next, month.next.next)]
    days = [Part.of_day(now_ms + number * DAY_MS) for number in range(DAYS_AHEAD + 1)]
    for table, held in parts_of_tables(conn).items():
        if table in daily:
            held -= _replaced(conn, table, held, now_ms)
        # Where days have been made, the rest of their month goes on in days.
        wanted = days if table in daily or any(one.is_day and one.meets(months[0]) for one in held) else months
        for one in wanted:
            if not any(one.meets(other) for other in held):
                part(conn, table, schema.PARTED[table], one)
                made.append(f"{table}_{one.suffix}")
    return made


def _replaced(conn: sa.Connection, table: str, held: Collection[Part], now_ms: int) -> set[Part]:
    """Months to come that were made already and are empty: days take their place."""
    gone = set()
    for one in held:
        if not one.is_day and one.from_ms > now_ms and _is_empty(conn, f"{table}_{one.suffix}"):
            _drop(conn, table, f"{table}_{one.suffix}")
            gone.add(one)
    return gone


def part(conn: sa.Connection, table: str, column: str, one: Part) -> None:
    """Makes a part of a table, with what of it lies in the rest."""
    name, within = f"{table}_{one.suffix}", f"{column} >= {one.from_ms} AND {column} < {one.to_ms}"
    conn.execute(sa.text(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS)"))
    moved = f"DELETE FROM {table}_rest WHERE {within} RETURNING *"  # noqa: S608 - names and numbers of our own
    conn.execute(sa.text(f"WITH moved AS ({moved}) INSERT INTO {name} SELECT * FROM moved"))  # noqa: S608
    bounds = f"FROM ({one.from_ms}) TO ({one.to_ms})"
    conn.execute(sa.text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES {bounds}"))


def drop_empty(store: Store, before_ms: int) -> list[str]:
    """Drops parts of days that were over then and have nothing left, as the archive has it; returns their names. What
    still comes of such a day lies in the rest. Raises one of UNAVAILABLE when others hold a table for too long."""
    if not store.parted:
        return []
    with store.read() as conn:
        old = [
            (table, f"{table}_{one.suffix}")
            for table, held in parts_of_tables(conn).items()
            for one in sorted(held, key=lambda one: one.from_ms)
            if one.is_day and one.to_ms <= before_ms and _is_empty(conn, f"{table}_{one.suffix}")
        ]
    dropped = []
    for table, name in old:
        with store.keep() as conn:
            patiently(conn)
            conn.execute(sa.text(f"LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE"))  # first, as writers do
            conn.execute(sa.text(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"))
            if _is_empty(conn, name):
                _drop(conn, table, name)
                dropped.append(name)
    return dropped


def patiently(conn: sa.Connection) -> None:
    """Others wait behind whoever waits for all of a table, so that is given up soon."""
    if conn.dialect.name == "postgresql":
        conn.execute(sa.text(f"SET LOCAL lock_timeout = '{PATIENCE_MS}ms'"))


def is_busy(error: sa.exc.OperationalError) -> bool:
    """Whether it is that patience which ended (PostgreSQL's lock_not_available)."""
    return getattr(error.orig, "sqlstate", None) == "55P03"


def _is_empty(conn: sa.Connection, name: str) -> bool:
    return not conn.scalar(sa.text(f"SELECT EXISTS (SELECT FROM {name})"))  # noqa: S608 - a name of our own


def _drop(conn: sa.Connection, table: str, name: str) -> None:
    conn.execute(sa.text(f"ALTER TABLE {table} DETACH PARTITION {name}"))
    conn.execute(sa.text(f"DROP TABLE {name}"))


def settle(store: Store, now_ms: int) -> list[str]:
    """Gives the readings of months that are over an index by center, which month reports read by; returns the parts.

    Rows that are still written lie in time order alone: by center, each of a fleet would dirty a page of its own. It is
    built beside writers. Nothing on SQLite, whose files have no parts.
    """
    if not store.parted:
        return []
    with store.keep() as conn:
        valid = set(conn.scalars(sa.text("SELECT i.indexrelid::regclass::text FROM pg_index i WHERE i.indisvalid")))
        over = [
            f"{table}_{one.suffix}"
            for table, held in parts_of_tables(conn).items()
            for one in held
            if table.endswith("_readings") and not one.is_day and one.to_ms <= now_ms - SETTLED_MS
        ]
    made = sorted(name for name in over if f"{name}_by_center" not in valid)
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
    with store.keep() as conn:
        old = sorted(f"{table}_{one.suffix}" for one in parts_of_tables(conn)[table] if one.to_ms <= before_ms)
    for name in old:
        with store.keep() as conn:
            _drop(conn, table, name)
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


def parts_of_tables(conn: sa.Connection) -> dict[str, set[Part]]:
    """The parts of each table that has any, without those for the rest."""
    query = (
        "SELECT p.relname AS parent, c.relname AS part FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "JOIN pg_class p ON p.oid = i.inhparent WHERE p.relkind = 'p'"
    )
    by_table: dict[str, set[Part]] = {table: set() for table in schema.PARTED}
    for row in conn.execute(sa.text(query)):
        one = Part.named(row.part.removeprefix(f"{row.parent}_"))
        if one is not None and row.parent in by_table:
            by_table[row.parent].add(one)
    return by_table
