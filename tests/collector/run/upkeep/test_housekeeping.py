"""What housekeeping reads for long it reads beside those who write."""

from __future__ import annotations

import sqlalchemy as sa

from collector.common.config import Settings
from collector.run.upkeep.housekeeping import Housekeeping
from collector.store import Store, schema
from tests.collector.standard.timeless import timeless_standards

NOW = 1_795_000_000_000


def test_days_of_readings_are_looked_at_outside_of_the_transaction_that_writes(sqlite_store: Store) -> None:
    store = sqlite_store
    read: list[str] = []
    written: list[str] = []

    def listen(statements: list[str]):
        return lambda _conn, _cursor, statement, *_rest: statements.append(statement)

    reader, writer = listen(read), listen(written)
    sa.event.listen(store._reader, "before_cursor_execute", reader)
    sa.event.listen(store._writer, "before_cursor_execute", writer)
    with store.write() as conn:
        conn.execute(sa.insert(schema.pulse).values(center="LHR-1", device="g", heard_ms=NOW))
    Housekeeping(store, Settings(), timeless_standards(), lambda: NOW).keep()
    kinds = [schema.readings[kind] for kind in ("ups", "link", "seats", "speed")]
    days = [table.name for table in (*kinds, schema.fetches, schema.sightings, schema.latest, schema.records)]
    assert [name for name in days if any(f"FROM {name}" in one for one in read)] == days
    fetched = [one for one in written if one.startswith("SELECT") and "SELECT min(" not in one]  # the oldest of sums
    assert [one for one in fetched if any(f"FROM {name}" in one for name in days)] == []
