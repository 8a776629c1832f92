"""The past is closed: what a gateway brings after it was heard is not dated before that, whatever its clock says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from agent.common.reasons import decode
from collector.common.sequence_ranges import Range
from collector.ingest.spools import MAX_MARKS, SpoolState
from collector.ingest.times.event_time import LIVE_MS
from collector.ingest.transaction import Ingest
from collector.store import Store, nonces, schema

NOW = 1_795_000_000_000
MINUTE, HOUR = 60_000, 3_600_000
KEY = Ed25519PrivateKey.generate()


class House:
    """A collector, and what it filed of one gateway."""

    def __init__(self, store: Store) -> None:
        self.store, self.ingest = store, Ingest(store, KEY, lambda _conn, _group, _now_ms: None)

    def take(self, message, at_ms: int) -> wire.Receipt:
        taken = self.ingest.take([message], at_ms)
        return wire.decode_receipt(wire.unseal(taken.receipts[0].payload)[0])

    def live(self, mine, at_ms: int) -> str:
        """A live batch of one reading with the nonce of the time; returns the receipt's nonce."""
        with self.store.write() as conn:
            nonce = nonces.current(conn, at_ms)
        return self.take(mine.batch([mine.ups(at_ms)], nonce=nonce), at_ms).nonce

    def times(self) -> list[int]:
        with self.store.read() as conn:
            table = schema.readings["ups"].c
            return list(conn.scalars(sa.select(table.wall_ms).order_by(table.seq, table.spool)))

    def findings(self) -> list[str]:
        with self.store.read() as conn:
            return list(conn.scalars(sa.select(schema.integrity.c.finding).order_by(schema.integrity.c.id)))


@pytest.fixture
def house(sqlite_store: Store) -> House:
    return House(sqlite_store)


@pytest.fixture
def mine(house: House, gateway: Callable):
    return gateway(house.store)


def test_a_backlog_lies_between_the_last_that_came_live_and_its_receipt(house: House, mine) -> None:
    house.live(mine, NOW)
    back_ms = NOW + 3 * HOUR
    inside, before = NOW + HOUR, NOW - 2 * HOUR
    batch = mine.batch([mine.ups(inside, boot="c"), mine.ups(before, boot="d")], live=False)
    house.take(batch, back_ms)
    assert house.times() == [NOW, inside, back_ms]
    assert house.findings() == ["past"]
    with house.store.read() as conn:
        (detail,) = map(decode, conn.scalars(sa.select(schema.integrity.c.detail)))
    assert (detail.code, detail.params["n"]) == ("finding.closed_past", 1)


def test_the_hours_before_enrolment_cannot_be_filled(house: House, mine) -> None:
    enrolled_ms = NOW - 10**9
    house.take(mine.batch([mine.ups(enrolled_ms - HOUR), mine.ups(NOW, boot="c")], live=False), NOW)
    assert house.times() == [NOW, NOW]
    assert house.findings() == ["past"]


def test_a_new_spool_reaches_no_further_back_than_the_one_before_it(house: House, mine) -> None:
    house.live(mine, NOW)
    mine.spool, mine.next_seq, mine.chain = "f" * 32, 1, wire.GENESIS
    later_ms = NOW + HOUR
    house.take(mine.batch([mine.ups(NOW - HOUR, boot="c")], live=False), later_ms)
    assert sorted(house.times()) == [NOW, later_ms]
    assert "past" in house.findings()


def test_a_clock_that_errs_by_minutes_is_no_finding(house: House, mine) -> None:
    house.live(mine, NOW)
    floor_ms = NOW - LIVE_MS
    house.take(mine.batch([mine.ups(floor_ms - MINUTE, boot="c")], live=False), NOW + HOUR)
    assert house.findings() == []


def test_a_hole_that_is_filled_late_lies_after_what_came_live_before_it(house: House, mine) -> None:
    house.live(mine, NOW)
    held_back = [mine.ups(NOW + MINUTE), mine.ups(NOW - 5 * HOUR, boot="x")]
    first, chain = mine.next_seq, mine.chain
    mine.next_seq, mine.chain = first + 2, wire.chain(chain, held_back)
    house.live(mine, NOW + HOUR)
    house.take(mine.sealed(held_back, first, chain, live=False), NOW + 2 * HOUR)
    assert sorted(house.times()) == [NOW, NOW + MINUTE, NOW + HOUR, NOW + 2 * HOUR]
    assert house.findings() == ["past"]


def test_marks_are_few_and_hold_what_each_hole_needs() -> None:
    state = SpoolState()
    for number in range(1, 301):
        if number % 100 == 0:
            continue  # three holes of one
        state.ranges = [*state.ranges, Range(number, number, "", "")]
        state.mark(number, NOW + number)
    assert len(state.marks) <= 4 < MAX_MARKS
    assert [state.after_ms(number) for number in (1, 100, 200, 301)] == [None, NOW + 99, NOW + 199, NOW + 299]


def test_a_spool_that_is_begun_anew_is_a_finding_with_its_range_once(house: House, mine) -> None:
    house.live(mine, NOW)
    house.live(mine, NOW + MINUTE)
    assert house.findings() == []
    old, mine.spool, mine.next_seq, mine.chain = mine.spool, "f" * 32, 1, wire.GENESIS
    house.live(mine, NOW + HOUR)
    house.live(mine, NOW + HOUR + MINUTE)
    assert house.findings() == ["new_spool"]
    with house.store.read() as conn:
        params = decode(conn.scalar(sa.select(schema.integrity.c.detail)) or "").params
    assert (params["other"], params["number"], params["begin"]) == (old, "2", "2026-11-18T11:07Z")
