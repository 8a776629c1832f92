"""The collector's own clock jumps ahead and behind: silence is found all the same, and no month is closed by it."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.common.reasons import decode
from collector.common.config import Settings
from collector.ingest import pulse
from collector.ingest.transaction import Ingest
from collector.ingest.workers import judge_with
from collector.judging import clock
from collector.judging.clock import ClockWatch
from collector.judging.silence import listening_again, sweep
from collector.register.centers import Center
from collector.store import Store, schema, upsert
from tests.collector.standard.timeless import timeless_standards

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
NOW = 1_795_000_000_000
NOON = 1_769_972_400_000 + 12 * HOUR  # Monday 2026-02-02 12:00 in Karachi
STANDARDS = timeless_standards()
CODES = [f"C-{number}" for number in range(8)]


class Room:
    """A fleet that is heard each minute, and a collector whose clock may be off."""

    def __init__(self, store: Store) -> None:
        self.store, self.true_ms, self.off_ms, self.began_ms = store, NOON, 0, NOON
        self.silent_from = dict.fromkeys(CODES, NOON + 10 * DAY)
        self.closing: list[tuple[int, int]] = []  # times at which a month might be closed, by our clock and truly
        self.restart()
        with store.write() as conn:
            for code in CODES:
                center = Center(
                    code=code, name=code, tier="one", seats_promised=5, opening="always", lifecycle="declared"
                )
                upsert(conn, schema.centers, [center.row()])

    @property
    def now_ms(self) -> int:
        return self.true_ms + self.off_ms

    def restart(self) -> None:
        self.began_ms = self.true_ms
        self.watch = ClockWatch(lambda: self.true_ms - self.began_ms)
        with self.store.write() as conn:
            ClockWatch(lambda: 0).follow(conn, self.now_ms)
            listening_again(conn, STANDARDS, self.now_ms)

    def minute(self) -> None:
        self.true_ms += MINUTE
        with self.store.write() as conn:
            self.watch.follow(conn, self.now_ms)
            if clock.agreement(conn, self.now_ms) == "agrees":
                self.closing.append((self.now_ms, self.true_ms))
            if clock.find(conn, STANDARDS, self.now_ms)[0] != "disagrees":
                sweep(conn, STANDARDS, self.now_ms)
        row = {"device": "g", "heard_ms": self.now_ms, "due_ms": self.now_ms + 5 * MINUTE}
        own = {"backlog_ms": None, "clock_ms": -self.off_ms - 2_000}
        with self.store.write() as conn:
            pulse.record(conn, [{"center": c, **row, **own} for c in CODES if self.true_ms < self.silent_from[c]])

    def found(self, criterion: str = "presence.silent") -> set[str]:
        f = schema.flags.c
        query = sa.select(f.center).where(f.criterion == criterion, f.state == "raised")
        with self.store.read() as conn:
            return set(conn.scalars(query))


@pytest.fixture
def room(sqlite_store: Store) -> Room:
    return Room(sqlite_store)


def plays(room: Room, minutes: int) -> None:
    for _ in range(minutes):
        room.minute()


@pytest.mark.parametrize("off_ms", [HOUR, DAY, 365 * DAY, -HOUR, -DAY, -365 * DAY])
def test_a_center_that_falls_silent_around_a_jump_is_found(room: Room, off_ms: int) -> None:
    plays(room, 5)
    room.off_ms = off_ms
    plays(room, 5)
    room.silent_from["C-3"] = room.true_ms
    plays(room, 5)
    assert room.found("collector.clock") == {"*"}
    room.off_ms = 0
    plays(room, 20)
    assert room.found() == {"C-3"}
    assert room.found("collector.clock") == set()


def test_the_finding_says_how_many_gateways_disagree(room: Room) -> None:
    room.off_ms = HOUR
    plays(room, 3)
    with room.store.read() as conn:
        (change,) = conn.execute(sa.select(schema.changes).where(schema.changes.c.criterion == "collector.clock")).all()
    found = decode(change.reason).params["found"]
    assert (found.code, found.params["n"], found.params["whole"]) == ("fleet.clocks", 8, 8)  # type: ignore[union-attr]


@pytest.mark.parametrize("plays", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_jumps_at_random_moments_miss_nobody_and_close_no_month(tmp_path: Path, plays: int) -> None:
    for seed in range(plays):
        draw = random.Random(seed)
        store = Store.open(f"sqlite:///{tmp_path / f'{seed}.db'}")
        room = Room(store)
        off_ms = draw.choice([1, -1]) * draw.choice([HOUR, DAY, 365 * DAY])
        begins, ends = sorted(draw.sample(range(3, 40), 2))
        silent = draw.sample(CODES, 2)
        room.silent_from |= {code: NOON + draw.randrange(2, 45) * MINUTE for code in silent}
        restarts = set(draw.sample(range(1, 60), draw.randrange(3)))
        for minute in range(70):
            room.off_ms = off_ms if begins <= minute < ends else 0
            if minute in restarts:
                room.restart()
            room.minute()
        assert room.found() == set(silent), seed
        wrong = [at_ms for at_ms, true_ms in room.closing if abs(at_ms - true_ms) > MINUTE]
        assert wrong == [], seed
        store.close()


def test_a_center_suspended_while_dark_and_put_back_is_looked_for_like_any_other(room: Room) -> None:
    plays(room, 2)
    room.silent_from["C-1"] = room.true_ms
    c = schema.centers.c
    for lifecycle, minutes in (("suspended", 40), ("declared", 25)):
        with room.store.write() as conn:
            conn.execute(sa.update(schema.centers).where(c.center == "C-1").values(lifecycle=lifecycle))
        plays(room, minutes)
    assert room.found() == {"C-1"}


def test_ingest_between_a_jump_and_the_next_sweep_draws_no_gap(sqlite_store: Store, gateway) -> None:
    mine = gateway(sqlite_store)
    true_ms = [NOW]
    watch = ClockWatch(lambda: true_ms[0])
    judge = judge_with(Settings(), STANDARDS)
    ingest = Ingest(sqlite_store, Ed25519PrivateKey.generate(), judge, watch=watch)
    for off_ms in (0, 0, HOUR, HOUR, 0, 0):
        true_ms[0] += MINUTE
        ingest.take([mine.batch([mine.ups(wall_ms=true_ms[0])])], true_ms[0] + off_ms)
    with sqlite_store.read() as conn:
        assert conn.execute(sa.select(schema.gaps)).all() == []
        jumps = conn.execute(sa.select(schema.clock_jumps)).all()
    assert sorted(row.to_ms - row.from_ms for row in jumps) == [-HOUR, HOUR]


class _Away(Exception):
    """The database went away in the middle of a transaction."""


@pytest.mark.parametrize("off_ms", [HOUR, -HOUR])
@pytest.mark.parametrize("is_start", [False, True])
def test_a_jump_whose_transaction_is_rolled_back_is_seen_again(
    sqlite_store: Store, off_ms: int, is_start: bool
) -> None:
    """A machine wakes: its clock jumps, and its database is away."""
    room = Room(sqlite_store)
    plays(room, 3)
    room.off_ms = off_ms
    watch = ClockWatch(lambda: 0) if is_start else room.watch
    for _ in range(2):
        with suppress(_Away), sqlite_store.write() as conn:
            assert watch.follow(conn, room.now_ms) == (0 if is_start and off_ms > 0 else off_ms)
            raise _Away
    plays(room, 20)
    assert room.found() == set()
    assert jumped(sqlite_store) == off_ms


@pytest.mark.row(17)
def test_of_two_that_look_at_once_the_second_waits_for_the_first(either_store: Store, database_url: str) -> None:
    """Each sees the jump, of a transaction of its own that began before the other's end."""
    room = Room(either_store)
    plays(room, 3)
    other = ClockWatch(lambda: room.true_ms - NOON)
    with either_store.write() as conn:
        other.follow(conn, room.now_ms)
    room.off_ms = HOUR

    def look(watch: ClockWatch) -> int:
        with closing(Store.open(database_url)) as store, store.write(beside=True) as conn:
            conn.execute(sa.select(schema.clock_jumps)).all()
            began.wait(60)
            return watch.follow(conn, room.now_ms)

    # SQLite has one writer at a time, so there the second begins after the first.
    began = threading.Barrier(2 if either_store.parted else 1)
    with ThreadPoolExecutor(2) as pool:
        seen = list(pool.map(look, (room.watch, other)))
    assert sorted(seen) == [0, HOUR]
    assert jumped(either_store) == HOUR


def test_two_that_look_move_what_was_heard_once(sqlite_store: Store) -> None:
    room = Room(sqlite_store)
    other = ClockWatch(lambda: room.true_ms - NOON)
    plays(room, 3)
    with sqlite_store.write() as conn:
        other.follow(conn, room.now_ms)
    room.off_ms = DAY
    with sqlite_store.write() as conn:
        assert other.follow(conn, room.now_ms) == DAY
        heard = conn.execute(sa.select(schema.pulse.c.center, schema.pulse.c.heard_ms)).all()
    with sqlite_store.write() as conn:
        assert room.watch.follow(conn, room.now_ms) == 0
        assert conn.execute(sa.select(schema.pulse.c.center, schema.pulse.c.heard_ms)).all() == heard


MINUTES_20 = 20 * MINUTE


@pytest.mark.parametrize(
    "offs", [(MINUTES_20, 0, MINUTES_20), (-MINUTES_20, 0, -MINUTES_20), (2 * MINUTE, 4 * MINUTE), (HOUR, 2 * HOUR, 0)]
)
@pytest.mark.parametrize("late", [0, 1, 2])  # this look of the other sleeps through the jump
def test_a_second_jump_of_the_same_size_is_a_jump_and_two_looks_of_one_are_one(
    sqlite_store: Store, offs: tuple[int, ...], late: int
) -> None:
    room = Room(sqlite_store)
    other = ClockWatch(lambda: room.true_ms - NOON)
    with sqlite_store.write() as conn:
        other.follow(conn, room.now_ms)
    plays(room, 3)
    total = 0
    for number, off_ms in enumerate(offs):
        room.off_ms = off_ms
        room.true_ms += MINUTE
        with sqlite_store.write() as conn:
            total += room.watch.follow(conn, room.now_ms)
        if number != late:
            with sqlite_store.write() as conn:
                total += other.follow(conn, room.now_ms)
        assert total == off_ms
    assert jumped(sqlite_store) == offs[-1]


def test_either_of_two_may_be_the_first_to_see_a_jump_back_and_forth(sqlite_store: Store) -> None:
    room = Room(sqlite_store)
    other = ClockWatch(lambda: room.true_ms - NOON)
    watches = [room.watch, other]
    with sqlite_store.write() as conn:
        other.follow(conn, room.now_ms)
    plays(room, 1)
    for off_ms in (MINUTES_20, 0, MINUTES_20, 0, 2 * MINUTES_20):
        room.off_ms = off_ms
        room.true_ms += 1000
        for watch in watches:
            with sqlite_store.write() as conn:
                watch.follow(conn, room.now_ms)
        watches.reverse()
        assert jumped(sqlite_store) == off_ms


def jumped(store: Store) -> int:
    j = schema.clock_jumps.c
    with store.read() as conn:
        return int(conn.scalar(sa.select(sa.func.sum(j.to_ms - j.from_ms))) or 0)
