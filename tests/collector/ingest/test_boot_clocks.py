"""Readings of a boot whose clock was wrong: each gets its time as soon as that is known, whatever comes first."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector.common.config import Settings
from collector.common.messages import Message
from collector.ingest.times.boot_clocks import load
from collector.ingest.times.event_time import FIRST_MS, SAME_MS
from collector.ingest.transaction import Ingest
from collector.run.upkeep.housekeeping import Housekeeping
from collector.store import Store, nonces, schema
from collector.store.rollups import HOUR_MS, roll
from tests.collector.standard.timeless import timeless_standards

NOW = 1_795_000_000_000 // HOUR_MS * HOUR_MS + HOUR_MS // 2
MINUTE_MS, DAY_MS = 60_000, 86_400_000
BEGAN = NOW - 10 * MINUTE_MS  # of the boot whose clock says 1970


def nobody_judges(_conn: sa.Connection, _group: Sequence[object], _now_ms: int) -> None:
    return None


class House:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.ingest = Ingest(store, Ed25519PrivateKey.generate(), nobody_judges)

    def take(self, *messages: Message, now_ms: int) -> None:
        self.ingest.take(messages, now_ms)

    def times(self, kind: str = "ups") -> list[int]:
        """By number."""
        table = schema.readings[kind]
        return [row.wall_ms for row in self.rows(sa.select(table).order_by(table.c.seq))]

    def rows(self, query: sa.Select) -> list[sa.Row]:
        with self.store.read() as conn:
            return list(conn.execute(query))


@pytest.fixture
def house(either_store: Store) -> House:
    return House(either_store)


def lost(mine, minute: int, boot: str = "b") -> bytes:
    """Taken so many minutes into a boot that began in 1970."""
    return mine.ups(wall_ms=minute * MINUTE_MS, mono_ms=minute * MINUTE_MS, boot=boot, clock="unsynced")


def right(mine, minute: int, boot: str = "b", began_ms: int = BEGAN) -> bytes:
    """Taken by a synchronised clock."""
    return mine.ups(wall_ms=began_ms + minute * MINUTE_MS, mono_ms=minute * MINUTE_MS, boot=boot)


def test_a_boot_that_synchronises_in_a_later_batch_dates_what_is_stored_already(house: House, gateway) -> None:
    mine = gateway(house.store)
    first = mine.batch([lost(mine, 1), lost(mine, 2)])
    house.take(first, now_ms=BEGAN + 5 * MINUTE_MS)  # held up for three minutes: what it is dated by is no better
    assert house.times() == [BEGAN + 4 * MINUTE_MS, BEGAN + 5 * MINUTE_MS]
    house.take(mine.batch([right(mine, 6)]), now_ms=BEGAN + 6 * MINUTE_MS)
    assert house.times() == [BEGAN + minute * MINUTE_MS for minute in (1, 2, 6)]
    evidence = house.rows(sa.select(schema.evidence.c.body).order_by(schema.evidence.c.id))
    assert evidence[0].body == wire.unseal(first.payload)[0]  # 1970, as the gateway said
    assert house.rows(sa.select(schema.guesses)) == []


def test_the_newest_reading_of_a_boot_moves_with_it(house: House, gateway) -> None:
    mine = gateway(house.store)
    house.take(mine.batch([lost(mine, 1)]), now_ms=BEGAN + 5 * MINUTE_MS)
    at = wire.Stamp(wall_ms=BEGAN + 6 * MINUTE_MS, mono_ms=6 * MINUTE_MS, boot="b", clock="synced")
    house.take(mine.batch([wire.encode_reading(wire.LinkReading(at=at))]), now_ms=BEGAN + 6 * MINUTE_MS)
    latest = {row.kind: row.wall_ms for row in house.rows(sa.select(schema.latest))}
    assert latest == {"ups": BEGAN + MINUTE_MS, "link": BEGAN + 6 * MINUTE_MS}


def test_a_backlog_is_dated_by_what_its_boot_said_live_before(house: House, gateway) -> None:
    mine = gateway(house.store)
    early = mine.batch([lost(mine, 1), lost(mine, 2)], live=False)
    house.take(mine.batch([right(mine, 9)]), now_ms=BEGAN + 9 * MINUTE_MS)
    house.take(early, now_ms=NOW)
    assert house.times() == [BEGAN + minute * MINUTE_MS for minute in (1, 2, 9)]
    assert house.rows(sa.select(schema.guesses)) == []


def test_batches_of_one_transaction_know_of_each_other(house: House, gateway) -> None:
    mine = gateway(house.store)
    house.take(mine.batch([lost(mine, 1)]), mine.batch([right(mine, 3)]), now_ms=BEGAN + 9 * MINUTE_MS)
    assert house.times() == [BEGAN + MINUTE_MS, BEGAN + 3 * MINUTE_MS]


def test_another_boot_and_another_gateway_are_not_dated_by_it(house: House, gateway) -> None:
    mine, other = gateway(house.store), gateway(house.store, "KHI-1")
    house.take(mine.batch([lost(mine, 1, "a")]), other.batch([lost(other, 1)]), now_ms=BEGAN)
    house.take(mine.batch([right(mine, 6)]), now_ms=BEGAN + 6 * MINUTE_MS)
    assert sorted(house.times()) == [BEGAN, BEGAN, BEGAN + 6 * MINUTE_MS]
    assert len(house.rows(sa.select(schema.guesses))) == 2


def test_until_a_boot_is_sure_a_quicker_delivery_is_the_better_guess(house: House, gateway) -> None:
    mine = gateway(house.store)
    for minute, late_ms in ((1, 90_000), (2, 20_000), (3, 20_500)):
        house.take(mine.batch([lost(mine, minute)]), now_ms=BEGAN + minute * MINUTE_MS + late_ms)
    assert house.times() == [BEGAN + minute * MINUTE_MS + 20_000 for minute in (1, 2, 3)]


def test_a_clock_set_back_while_it_says_synchronised_moves_nothing(house: House, gateway) -> None:
    mine = gateway(house.store)
    for minute, off_ms in ((1, 0), (2, -5 * MINUTE_MS), (3, HOUR_MS), (4, -HOUR_MS)):
        house.take(mine.batch([right(mine, minute, began_ms=BEGAN + off_ms)]), now_ms=BEGAN + minute * MINUTE_MS + 200)
    assert house.times() == [BEGAN + minute * MINUTE_MS for minute in (1, 2, 3, 4)]


def test_a_clock_that_was_ahead_is_put_right_by_the_next_that_is_not(house: House, gateway) -> None:
    mine = gateway(house.store)
    ahead_ms = 90_000  # within the slack in which a synchronised clock is believed
    house.take(mine.batch([right(mine, 1, began_ms=BEGAN + ahead_ms)]), now_ms=BEGAN + MINUTE_MS)
    house.take(mine.batch([right(mine, 3)]), now_ms=BEGAN + 3 * MINUTE_MS)
    assert house.times() == [BEGAN + MINUTE_MS + ahead_ms, BEGAN + 3 * MINUTE_MS]


def test_sums_are_made_again_where_readings_left_and_where_they_came(sqlite_store: Store, gateway) -> None:
    house, mine = House(sqlite_store), gateway(sqlite_store)
    began_ms = NOW - 3 * HOUR_MS
    house.take(mine.batch([lost(mine, 1)], live=False), now_ms=began_ms + HOUR_MS)
    roll(house.store, NOW)
    before = [(row.from_ms, row.n) for row in house.rows(sa.select(schema.hours["ups"]))]
    house.take(mine.batch([right(mine, 70, began_ms=began_ms)]), now_ms=began_ms + 70 * MINUTE_MS)
    roll(house.store, NOW)
    after = [(row.from_ms, row.n) for row in house.rows(sa.select(schema.hours["ups"]))]
    hour_ms = (began_ms + MINUTE_MS) // HOUR_MS * HOUR_MS
    assert before == [(hour_ms + HOUR_MS, 1)]
    assert after == [(hour_ms, 1), (hour_ms + HOUR_MS, 1)]


def test_an_hour_that_is_left_empty_has_no_sum(sqlite_store: Store, gateway) -> None:
    house, mine = House(sqlite_store), gateway(sqlite_store)
    began_ms = NOW - 3 * HOUR_MS
    house.take(mine.batch([lost(mine, 1)], live=False), now_ms=began_ms + HOUR_MS)
    roll(house.store, NOW)
    house.take(mine.batch([right(mine, 2, began_ms=began_ms)], live=False), now_ms=NOW)
    roll(house.store, NOW)
    (only,) = house.rows(sa.select(schema.hours["ups"]))
    assert (only.from_ms, only.n) == ((began_ms + MINUTE_MS) // HOUR_MS * HOUR_MS, 2)


def test_what_a_boot_says_of_the_run_before_is_not_believed_of_1970(sqlite_store: Store, gateway) -> None:
    house, mine = House(sqlite_store), gateway(sqlite_store)
    at = wire.Stamp(wall_ms=NOW, mono_ms=MINUTE_MS, boot="b", clock="synced")
    stamps = [(5_000, (NOW - 5_000) / 1000), (NOW - 60_000, 60.0), (NOW + DAY_MS, None)]
    raws = [
        wire.encode_reading(wire.BootReading(at=at, previous_end="power", last_alive_ms=alive_ms, dark_s=dark_s))
        for alive_ms, dark_s in stamps
    ]
    house.take(mine.batch(raws), now_ms=NOW)
    table = schema.readings["boot"]
    held = [(row.last_alive_ms, row.dark_s) for row in house.rows(sa.select(table).order_by(table.c.seq))]
    assert held == [(None, None), stamps[1], (None, None)]


def test_a_collector_that_was_behind_dates_such_a_boot_right_when_its_clock_is(house: House, gateway) -> None:
    """What was received by the wrong clock stays before its receipt."""
    mine = gateway(house.store)
    for minute, off_ms in ((1, 0), (60, -40 * MINUTE_MS), (120, 0), (121, 0)):
        now_ms = BEGAN + minute * MINUTE_MS + off_ms
        with house.store.write() as conn:
            nonce = nonces.current(conn, now_ms)
        house.take(mine.batch([lost(mine, minute)], nonce=nonce), now_ms=now_ms)
    assert house.times() == [BEGAN + minute * MINUTE_MS for minute in (1, 20, 120, 121)]


def test_hostile_names_and_clocks_are_held_and_not_remembered(house: House, gateway) -> None:
    mine = gateway(house.store)
    raws = [mine.ups(wall_ms=1, mono_ms=2**53, boot=boot, clock="unsynced") for boot in ("\x00", "é", "a b", "c" * 64)]
    house.take(mine.batch(raws), now_ms=NOW)
    assert all(FIRST_MS <= time <= NOW for time in house.times())
    assert [row.boot for row in house.rows(sa.select(schema.boots))] == ["c" * 64]
    assert len(json.loads(house.rows(sa.select(schema.guesses))[0].readings)) == 1


def test_a_fleet_that_is_synchronised_writes_one_row_a_boot(sqlite_store: Store, gateway) -> None:
    house, mine = House(sqlite_store), gateway(sqlite_store)
    for minute in range(5):  # its clocks are read one after the other, so the figure trembles
        raw = mine.ups(wall_ms=BEGAN + minute * MINUTE_MS + minute * SAME_MS // 10, mono_ms=minute * MINUTE_MS)
        house.take(mine.batch([raw]), now_ms=BEGAN + minute * MINUTE_MS + 600)
    (row,) = house.rows(sa.select(schema.boots))
    assert (row.ahead_ms, row.sure, row.noted_ms) == (BEGAN, True, BEGAN + 600)
    assert house.rows(sa.select(schema.guesses)) == []


def test_guesses_and_boots_are_let_go_in_time(sqlite_store: Store, gateway) -> None:
    house, mine = House(sqlite_store), gateway(sqlite_store)
    house.take(mine.batch([lost(mine, 1)]), now_ms=NOW)
    left = []
    for days in (6, 8, 61):
        Housekeeping(sqlite_store, Settings(), timeless_standards(), lambda days=days: NOW + days * DAY_MS).tick()
        left.append([len(house.rows(sa.select(table))) for table in (schema.guesses, schema.boots)])
    assert left == [[1, 1], [0, 1], [0, 0]]


def test_nothing_is_asked_of_the_database_about_unreadable_batches(sqlite_store: Store) -> None:
    with sqlite_store.read() as conn:
        assert load(conn, []).known == {}


# ---------------------------------------------------------------- any order


Play = list[tuple[int, Message]]  # when it comes, and what
CLOCKS = ("of 1970", "days behind", "hours ahead", "right", "found late", "synchronised")


def boots_of_a_spool(mine, draw: random.Random, issued: dict[str, int]) -> Play:
    """Boots with clocks of all kinds, some sent as they were measured and some kept until the line was back."""
    now_ms, away_until_ms, play = BEGAN, 0, Play()
    for number in range(draw.randrange(2, 5)):
        clock, began_ms = draw.choice(CLOCKS), now_ms
        off_ms = {"of 1970": -began_ms, "days behind": -3 * DAY_MS, "hours ahead": 2 * HOUR_MS}.get(clock, 0)
        for batch in range(draw.randrange(1, 5)):
            if draw.random() < 0.4:
                away_until_ms = max(away_until_ms, now_ms + draw.randrange(5, 300) * MINUTE_MS)
            is_found = clock == "synchronised" or (clock == "found late" and batch > 1)
            at = [now_ms + minute * MINUTE_MS for minute in range(draw.randrange(1, 4))]
            raws = [
                mine.ups(
                    wall_ms=at_ms + (0 if is_found else off_ms), mono_ms=at_ms - began_ms + 20_000, boot=f"b{number}",
                    clock="synced" if is_found else "unsynced",
                )
                for at_ms in at
            ]  # fmt: skip
            nonce = f"{draw.getrandbits(128):032x}"
            issued[nonce] = at[-1] - draw.randrange(MINUTE_MS)
            come_ms, live = max(at[-1], away_until_ms) + draw.randrange(1, 60_000), at[-1] >= away_until_ms
            play.append((come_ms, mine.batch(raws, nonce=nonce, live=live)))
            now_ms = at[-1] + MINUTE_MS
        now_ms += draw.randrange(1, 60) * MINUTE_MS
    return play


def times_of(house: House, device: str) -> list[int]:
    table = schema.readings["ups"]
    return [row.wall_ms for row in house.rows(sa.select(table).where(table.c.device == device).order_by(table.c.seq))]


@pytest.mark.parametrize(
    ("stories", "orders"), [(4, 5), pytest.param(200, 10, marks=pytest.mark.slow)], ids=["20 plays", "2,000 plays"]
)
def test_boots_are_dated_by_what_is_held_in_whatever_order_it_came(
    sqlite_store: Store, gateway, stories: int, orders: int
) -> None:
    """Each batch with the time at which it came."""
    house, wrong = House(sqlite_store), []
    for seed in range(stories):
        kinds: set[tuple[int, ...]] = set()
        for order in range(orders + 1):
            mine, issued, draw = gateway(sqlite_store), dict[str, int](), random.Random(seed)
            play = boots_of_a_spool(mine, draw, issued)
            with sqlite_store.write() as conn:
                conn.execute(sa.delete(schema.nonces))
                conn.execute(sa.insert(schema.nonces), [{"nonce": n, "issued_ms": ms} for n, ms in issued.items()])
            if order:
                random.Random(order).shuffle(play)
            else:
                play.sort(key=lambda item: item[0])
            for come_ms, message in play:
                house.take(message, now_ms=come_ms)
            kinds.add(tuple(times_of(house, mine.device)))
        wrong += [seed] if len(kinds) > 1 else []
    assert wrong == []
