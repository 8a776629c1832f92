"""One gateway floods: what is over its share is held, filed nowhere, and told once."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector.common.messages import Message
from collector.ingest.transaction import Ingest
from collector.store import Store, schema
from collector.store.quotas import DAY_MS, OLDEST_DAYS, Quotas

NOW = 1_795_000_000_000
KEY = Ed25519PrivateKey.generate()
SMALL = Quotas(readings_a_day={"ups": 5}, of_other_kinds=3, subjects=4, bytes_a_day=20_000)


class House:
    def __init__(self, store: Store, quotas: Quotas = SMALL) -> None:
        self.store = store
        self.ingest = Ingest(store, KEY, lambda *_words: None, quotas=quotas)

    def receipts(self, *messages: Message, now_ms: int = NOW) -> list[wire.Receipt]:
        taken = self.ingest.take(messages, now_ms)
        return [wire.decode_receipt(wire.unseal(sealed.payload)[0]) for sealed in taken.receipts]

    def count(self, table: sa.Table) -> int:
        with self.store.read() as conn:
            return conn.scalar(sa.select(sa.func.count()).select_from(table)) or 0

    def findings(self) -> list[str]:
        with self.store.read() as conn:
            return list(conn.scalars(sa.select(schema.integrity.c.finding)))


@pytest.fixture
def house(either_store: Store) -> House:
    return House(either_store)


@pytest.mark.row(59)
def test_readings_over_a_days_share_are_held_and_not_filed_with_one_finding(house: House, gateway) -> None:
    mine = gateway(house.store)
    first = house.receipts(mine.batch([mine.ups(wall_ms=NOW - n * 1000) for n in range(4)]))
    assert [receipt.outcome for receipt in first] == ["stored"]
    later = house.receipts(*(mine.batch([mine.ups(wall_ms=NOW + n)]) for n in range(6)), now_ms=NOW + 60_000)
    assert [receipt.outcome for receipt in later] == ["stored"] + ["set_aside"] * 5
    assert {receipt.code for receipt in later[1:]} == {"over_quota"}
    assert house.count(schema.readings["ups"]) == 5
    assert house.count(schema.evidence) == 7
    assert house.findings() == ["over_quota"]


def test_the_share_is_of_the_readings_own_day(house: House, gateway) -> None:
    mine = gateway(house.store)
    for day in range(4):
        at_ms = NOW - day * DAY_MS
        house.receipts(mine.batch([mine.ups(wall_ms=at_ms + n, mono_ms=10**12 - day * DAY_MS + n) for n in range(7)]))
    assert house.count(schema.readings["ups"]) == 4 * 5


def test_no_day_before_the_oldest_has_a_share_of_its_own(house: House, gateway) -> None:
    mine = gateway(house.store)
    with house.store.write() as conn:
        conn.execute(sa.update(schema.devices).values(enrolled_ms=NOW - 1000 * DAY_MS))
    for day in range(OLDEST_DAYS + 1, OLDEST_DAYS + 20):
        house.receipts(mine.batch([mine.ups(wall_ms=NOW - day * DAY_MS, mono_ms=10**12 - day * DAY_MS)]))
    assert house.count(schema.readings["ups"]) == 5


@pytest.mark.row(59)
def test_subjects_have_a_number_and_a_known_one_is_taken_all_the_same(house: House, gateway) -> None:
    mine = gateway(house.store)
    house.receipts(*(mine.batch([mine.ups(subject=f"ups {number}", wall_ms=NOW + number)]) for number in range(5)))
    assert house.count(schema.latest) == 4
    (known,) = house.receipts(mine.batch([mine.ups(subject="ups 1", wall_ms=NOW + 9)]), now_ms=NOW + 1000)
    (new,) = house.receipts(mine.batch([mine.ups(subject="ups 9", wall_ms=NOW + 10)]), now_ms=NOW + 1000)
    assert (known.outcome, new.outcome, new.code) == ("stored", "set_aside", "over_quota")
    tomorrow = [mine.batch([mine.ups(subject=f"ups {number}", wall_ms=NOW + DAY_MS)]) for number in (0, 9)]
    receipts = house.receipts(*tomorrow, now_ms=NOW + DAY_MS)
    assert [receipt.outcome for receipt in receipts] == ["stored", "set_aside"]
    assert house.count(schema.latest) == 4


@pytest.mark.row(59)
def test_past_the_bytes_of_a_day_nothing_is_taken_until_the_next(house: House, gateway) -> None:
    mine = gateway(house.store)
    batches = [mine.batch([mine.ups(wall_ms=NOW, model="m" * 200) for _ in range(20)]) for _ in range(8)]
    receipts = house.receipts(*batches)
    held = house.count(schema.evidence)
    assert 0 < held == len(receipts) < 8
    assert house.receipts(batches[0])[0].outcome == "stored"  # it is held already
    assert house.receipts(batches[-1], now_ms=NOW + 1000) == []
    assert house.findings() == ["over_quota"]
    assert len(house.receipts(batches[-1], now_ms=NOW + DAY_MS)) == 1


def test_another_gateway_is_not_made_to_pay(house: House, gateway) -> None:
    mine, other = gateway(house.store, "LHR-1"), gateway(house.store, "KHI-2")
    house.receipts(mine.batch([mine.ups(wall_ms=NOW + n) for n in range(20)]))
    (receipt,) = house.receipts(other.batch([other.ups() for _ in range(5)]))
    assert receipt.outcome == "stored"


def test_the_usual_quotas_let_a_month_s_backlog_through() -> None:
    """Thirty days of four links and four UPSs, one of them read every ten seconds, in one day."""
    usual = Quotas()
    assert usual.of_kind("link") > 4 * 1440
    assert usual.of_kind("ups") > 3 * 1440 + 8640
    assert usual.bytes_a_day > 2 * 64 * 1024**2
