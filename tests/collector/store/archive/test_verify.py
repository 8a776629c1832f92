"""A month verified from the signed bytes up says the same when its days lie in the archive."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.store import Store, schema, upsert
from collector.store.archive import pack
from collector.store.rollups import ROLLED
from tests.collector.reports.audit.test_replay import CODES, audited, make_play, played

pytest.importorskip("pyarrow")
DAY = 86_400_000


def test_a_month_is_verified_hot_and_cold_alike(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{played(tmp_path, make_play(1, hard=False), 'ready', 1)}")
    store.archive = tmp_path / "archive"
    before = [audited(store, code) for code in CODES]
    with store.write() as conn:
        last_ms = conn.scalar(sa.select(sa.func.max(schema.evidence.c.received_ms))) or 0
        late_ms = last_ms + 40 * DAY
        conn.execute(sa.update(schema.pulse).values(heard_ms=late_ms))
        conn.execute(sa.delete(schema.guesses))  # a boot that never learnt its time is given up after a week
        upsert(conn, schema.about, [{"name": ROLLED, "value": str(late_ms)}])
    with store.read() as conn:
        due = pack.due(conn, late_ms, 2 * DAY)
    assert sum(pack.pack(store, day, late_ms).batches for day in due) > 10
    with store.read() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(schema.evidence)) == 0
    after = [audited(store, code) for code in CODES]
    assert all(done.is_true for done in after)
    assert [(done.batches, done.readings) for done in after] == [(done.batches, done.readings) for done in before]
    store.close()
