"""The evidence taken in again gives the rows that ingest filed, whatever happened, and every change is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.store import Store, schema
from tests.collector.reports.audit.closed_month import CODE, audited, played, run
from tests.timelines.plays.order_play import CODES, make_play


@pytest.mark.parametrize(
    ("order", "hard", "seed"),
    [
        ("ready", False, 1), ("newest", True, 2), ("drawn", True, 0),
        *(pytest.param(order, hard, seed, marks=pytest.mark.slow)
          for order in ("ready", "drawn", "newest") for hard in (False, True) for seed in range(3, 9)),
    ],
)  # fmt: skip
def test_what_ingest_filed_follows_from_the_evidence(tmp_path: Path, order: str, hard: bool, seed: int) -> None:
    """Cuts, deaths, clocks found late or never, tests told twice, and twins that sign other readings. Where the twin's
    batch came first, all that hangs on the other is a fork: kept, and not filed."""
    store = Store.open(f"sqlite:///{played(tmp_path, make_play(seed, hard=hard), order, seed)}")
    for code in CODES:
        done = audited(store, code)
        assert done.is_true, [one.reason for one in done.found]
        assert done.readings == rows_of(store, code) > 0
    store.close()


def rows_of(store: Store, code: str) -> int:
    with store.read() as conn:
        tables = schema.readings.values()
        counts = [
            conn.scalar(sa.select(sa.func.count()).select_from(table).where(table.c.center == code)) for table in tables
        ]
    return sum(count or 0 for count in counts)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return played(tmp_path_factory.mktemp("audit"), make_play(4), "ready", 4)


def first_of(store: Store) -> tuple[str, dict[str, object]]:
    found = audited(store, CODE).found.first
    assert found is not None
    return found.kind, dict(found.reason.params)


def some_batch(store: Store) -> sa.Row[tuple[object, ...]]:
    e = schema.evidence.c
    with store.read() as conn:
        return conn.execute(sa.select(schema.evidence).where(e.center == CODE).order_by(e.id).offset(3)).first()  # type: ignore[return-value]


def test_an_edited_body_is_named(store: Store) -> None:
    batch, e = some_batch(store), schema.evidence.c
    body = bytes(batch.body).replace(b'"loss_pct":100.0', b'"loss_pct":0.0').replace(b"rtt", b"rtx")
    run(store, sa.update(schema.evidence).where(e.id == batch.id).values(body=body))
    kind, params = first_of(store)
    assert (kind, params["batch"], params["device"]) == ("bad_signature", str(batch.id), batch.device)


def test_a_deleted_batch_is_named_by_its_numbers(store: Store) -> None:
    batch, e = some_batch(store), schema.evidence.c
    run(store, sa.delete(schema.evidence).where(e.id == batch.id))
    kind, params = first_of(store)
    assert (kind, params["numbers"]) == ("batches_missing", f"{batch.first_seq}-{batch.last_seq}")


def test_batches_whose_numbers_were_swapped_are_named(store: Store) -> None:
    batch, e = some_batch(store), schema.evidence.c
    run(store, sa.update(schema.evidence).where(e.id == batch.id).values(first_seq=1, last_seq=2))
    kind, params = first_of(store)
    assert (kind, params["batch"], params["column"], params["stored"]) == (
        "batch_field",
        str(batch.id),
        "first_seq",
        "1",
    )


def test_batches_that_changed_places_are_named(store: Store) -> None:
    batch, e = some_batch(store), schema.evidence.c
    with store.read() as conn:
        query = sa.select(e.id).where(e.center == CODE, e.received_ms > batch.received_ms).order_by(e.id)
        later = conn.scalars(query).first()
    for old, new in ((batch.id, -1), (later, batch.id), (-1, later)):
        run(store, sa.update(schema.evidence).where(e.id == old).values(id=new))
    assert first_of(store)[0] == "batch_order"


def test_numbers_that_are_said_to_be_held_already_are_named(store: Store) -> None:
    batch, e = some_batch(store), schema.evidence.c
    run(store, sa.update(schema.evidence).where(e.id == batch.id).values(fresh="[]"))
    kind, params = first_of(store)
    assert (kind, params["batch"], params["column"]) == ("batch_field", str(batch.id), "fresh")


def test_an_edited_row_is_named_with_its_column_and_what_was_signed(store: Store) -> None:
    table = schema.readings["link"]
    run(store, sa.update(table).where(table.c.center == CODE).values(rtt_median_ms=table.c.rtt_median_ms * 6))
    done = audited(store, CODE)
    first = done.found.first
    assert first is not None
    assert (first.kind, first.reason.params["column"]) == ("reading_differs", "rtt_median_ms")
    assert float(str(first.reason.params["stored"])) == 6 * float(str(first.reason.params["signed"]))
    assert done.found.counts["reading_differs"] > 5
    assert audited(store, "LHR-2").is_true


@pytest.mark.parametrize("kind", ["link", "ups"])
def test_a_deleted_row_is_named(store: Store, kind: str) -> None:
    table = schema.readings[kind]
    with store.read() as conn:
        row = conn.execute(sa.select(table).where(table.c.center == CODE).offset(2)).first()
    run(store, sa.delete(table).where(table.c.seq == row.seq, table.c.spool == row.spool))  # type: ignore[union-attr]
    assert first_of(store)[0] == "reading_missing"
    assert first_of(store)[1]["reading"] == f"{row.device} {row.spool} {row.seq}"  # type: ignore[union-attr]


def test_an_inserted_row_is_named(store: Store) -> None:
    table = schema.readings["link"]
    with store.read() as conn:
        row = conn.execute(sa.select(table).where(table.c.center == CODE).offset(2)).mappings().first()
    run(store, sa.insert(table).values({**row, "seq": 90_000}))  # type: ignore[dict-item]
    kind, params = first_of(store)
    assert (kind, str(params["reading"]).rpartition(" ")[2]) == ("reading_added", "90000")


def test_a_row_that_was_moved_in_time_is_named(store: Store) -> None:
    table = schema.readings["link"]
    with store.read() as conn:
        row = conn.execute(sa.select(table).where(table.c.center == CODE).offset(2)).first()
    mine = (table.c.seq == row.seq) & (table.c.spool == row.spool)  # type: ignore[union-attr]
    run(store, sa.update(table).where(mine).values(wall_ms=table.c.wall_ms + 3_600_000))
    kind, params = first_of(store)
    assert (kind, params["column"], params["signed"]) == ("reading_differs", "wall_ms", str(row.wall_ms))  # type: ignore[union-attr]


def test_another_key_under_a_gateways_name_is_named(store: Store) -> None:
    d = schema.devices.c
    run(store, sa.update(schema.devices).where(d.center == CODE).values(public_key=bytes(range(32))))
    assert first_of(store)[0] == "key_replaced"


def test_an_edited_figure_of_a_servers_record_is_named(store: Store) -> None:
    run(store, sa.update(schema.records).values(down_mbps=schema.records.c.down_mbps * 2))
    found = {one.kind for code in CODES for one in audited(store, code).found}
    assert found == {"record_forged"}
