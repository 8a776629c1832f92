"""Leaves stand in the transaction of what they speak of, with the digest that the row has when it is read again."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.access import users
from collector.log import checking, days, sequencing
from collector.register import calendar, centers
from collector.register.calendar import CalendarEntry
from collector.store import Store, schema
from collector.store.journal import leaves
from tests.collector.conftest import NOW, ROW

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def store(either_store: Store) -> Store:
    with either_store.write() as conn:
        for code in ("LHR-1", "LHR-2"):
            centers.add(conn, {"center": code, **ROW}, NOW)
        entry = CalendarEntry(
            kind="closure", scope="center", subject="LHR-1", from_ms=NOW, to_ms=NOW + 1, recorded_ms=NOW,
            recorded_by="Ali",
        )  # fmt: skip
        calendar.add(conn, [entry])
        users.record(conn, "approved", "Ali", NOW, is_proven=True, center="LHR-1", device="g1")
        users.record(conn, "logged_in", "Ali", NOW)
    return either_store


def marks(store: Store, kind: leaves.LeafKind) -> list[str]:
    with store.read() as conn:
        return [mark for _, some in sequencing.marks_of(conn, kind) for mark in some]


@pytest.mark.parametrize("kind", ["facts", "calendar", "decisions"])
def test_a_row_read_again_has_the_digest_of_its_leaf(store: Store, kind: leaves.LeafKind) -> None:
    with store.read() as conn:
        rows = [dict(row) for row in conn.execute(sa.select(sequencing.RECORDED[kind])).mappings()]
    kept = [row for row in rows if row.get("act") != "logged_in"]
    assert sorted(marks(store, kind)) == sorted(leaves.mark_of(kind, row) for row in kept)


def test_what_was_not_committed_has_no_leaf(store: Store) -> None:
    before = marks(store, "decisions")
    with pytest.raises(ZeroDivisionError), store.write() as conn:  # noqa: PT012
        users.record(conn, "refused", "Ali", NOW)
        raise ZeroDivisionError
    assert marks(store, "decisions") == before


def test_what_was_recorded_before_there_was_a_log_has_its_leaf_when_it_begins(store: Store) -> None:
    known = {kind: sorted(marks(store, kind)) for kind in sequencing.RECORDED}
    with store.write() as conn:
        conn.execute(sa.delete(schema.log_leaves))
    signer = sequencing.begin(store, KEY, "nabz.example/log", NOW)
    assert {kind: sorted(marks(store, kind)) for kind in sequencing.RECORDED} == known
    while sequencing.sequence(store, signer, NOW, most=2):
        pass
    with store.read() as conn:
        assert list(checking.check(conn, signer.public)) == []
        assert sequencing.size_of(conn) == 4


def test_a_day_is_closed_once_when_it_is_over_with_its_batches_in_their_order(store: Store) -> None:
    begin = days.begins_ms(NOW)
    assert days.close_days(store, begin + 5) == 0  # the first start
    with store.write() as conn:
        for i, at_ms in enumerate((begin, begin + days.DAY_MS - 1, begin + days.DAY_MS)):
            row = {"center": "LHR-1", "device": "g", "spool": "s", "first_seq": i, "last_seq": i, "fresh": "[]"}
            signed = {"received_ms": at_ms, "body": b"", "signature": bytes([i] * 64)}
            conn.execute(sa.insert(schema.evidence).values(**row, **signed))
    assert days.close_days(store, begin + days.DAY_MS + days.SETTLE_MS - 1) == 0
    assert days.close_days(store, begin + days.DAY_MS + days.SETTLE_MS, most=9) == 1
    assert days.close_days(store, begin + days.DAY_MS + days.SETTLE_MS, most=9) == 0
    with store.read() as conn:
        (leaf,) = conn.execute(sa.select(schema.log_leaves).where(schema.log_leaves.c.kind == "day")).all()
        one = days.digests(conn, begin)["LHR-1"]
        assert days.digests(conn, begin, "LHR-2") == {}
    assert (leaf.center, leaf.name, one.batches) == ("LHR-1", days.day_name(begin), 2)
    assert f'"sha256":"{one.sha256}"'.encode() in bytes(leaf.body)


def test_records_of_measurement_servers_are_logged_by_the_day_on_which_they_came(store: Store) -> None:
    begin = days.begins_ms(NOW)
    assert days.close_days(store, begin + 5) == 0
    usual = {
        "server": "pie", "address": "", "witnessed": True, "down_bytes": 1, "up_bytes": 1, "down_s": 1.0, "up_s": 1.0,
        "body": b"{}",
    }  # fmt: skip
    with store.write() as conn:
        gateway = {"device": "g", "center": "LHR-1", "public_key": b"", "enrolled_ms": begin}
        conn.execute(sa.insert(schema.devices).values(**gateway))
        for i, at_ms in enumerate((begin, begin + days.DAY_MS - 1, begin + days.DAY_MS)):
            own = {"test_id": f"t{i}", "started_ms": at_ms - 9_000, "received_ms": at_ms, "signature": bytes([i] * 64)}
            for device in ("g", "of nobody"):
                row = {**usual, **own, "device": device, "test_id": f"{own['test_id']} {device}"}
                conn.execute(sa.insert(schema.records).values(**row))
    assert days.close_days(store, begin + days.DAY_MS + days.SETTLE_MS, most=9) == 1
    with store.read() as conn:
        (leaf,) = conn.execute(sa.select(schema.log_leaves).where(schema.log_leaves.c.kind == "records")).all()
    assert (leaf.center, leaf.name) == ("LHR-1", days.day_name(begin))
    assert leaves.marks_in(bytes(leaf.body)) == [
        leaves.record_mark(begin - 9_000, bytes(64)), leaves.record_mark(begin + days.DAY_MS - 9_001, b"\1" * 64),
    ]  # fmt: skip
