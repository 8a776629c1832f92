"""Files that gateways are to fetch at moments that they cannot know: who is told, how long files are, what counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from agent import wire
from collector.speedtests import fetches
from collector.store import Store, schema
from tests.collector.conftest import Gateway

MORNING = 1_795_071_600_000 - 4 * 3_600_000  # Thursday 2026-11-19 08:00 in Karachi
MINUTE = 60_000
SECRET = b"s" * 32


class FetchPlay:
    """A collector, and one gateway of which it hears."""

    def __init__(self, store: Store, mine: Gateway, *, able: bool = True) -> None:
        self.store, self.mine, self.now_ms = store, mine, MORNING
        row = {"center": mine.center, "device": mine.device, "digest": "", "state": "applied", "failed": "", "why": ""}
        with store.write() as conn:
            conn.execute(sa.insert(schema.device_settings).values(**row, at_ms=1, fetches=able))
            conn.execute(sa.insert(schema.pulse).values(center=mine.center, device=mine.device, heard_ms=MORNING))

    def heard(self) -> None:
        keys = {"wall_ms": self.now_ms, "center": self.mine.center, "device": self.mine.device, "spool": "s"}
        row = {**keys, "seq": self.now_ms, "subject": "", "received_ms": self.now_ms + 1000}
        with self.store.write() as conn:
            conn.execute(sa.insert(schema.readings["gateway"]).values(row))
            conn.execute(sa.update(schema.pulse).values(heard_ms=self.now_ms))

    def ordered(self, fetch_mb: int = 8) -> wire.Task | None:
        """Looks every four minutes of a day until a file is to be fetched."""
        for _ in range(12 * 15):
            self.now_ms += 4 * MINUTE
            self.heard()
            with self.store.write() as conn:
                fetches.draw(conn, SECRET, fetch_mb, self.now_ms)
                if found := fetches.tasks(conn, "n", self.now_ms):
                    return found[0]
        return None

    def rows(self) -> list[sa.Row]:
        with self.store.read() as conn:
            return list(conn.execute(sa.select(schema.fetches)))

    def settle(self) -> None:
        with self.store.write() as conn:
            fetches.settle(conn, self.now_ms)


@pytest.fixture
def play(sqlite_store: Store, gateway: Callable[..., Gateway]) -> FetchPlay:
    return FetchPlay(sqlite_store, gateway(sqlite_store))


def test_a_gateway_is_told_once_a_day_or_so_and_the_first_whole_fetch_counts(play: FetchPlay) -> None:
    task = play.ordered()
    assert task is not None
    assert task.fetch is not None
    assert (task.device, task.do, task.fetch.parts) == (play.mine.device, "fetch", fetches.PARTS)
    assert wire.decode_task(wire.encode(task)) == task
    with play.store.write() as conn:
        assert fetches.draw(conn, SECRET, 8, play.now_ms) == 0  # the same one is not told anew
        fetches.record(conn, task.fetch.name, "203.0.113.7", 2.0, play.now_ms)
        fetches.record(conn, task.fetch.name, "203.0.113.7", 0.001, play.now_ms)
    (row,) = play.rows()
    assert (row.state, row.down_mbps, row.seconds) == ("fetched", fetches.PARTS * row.part_bytes * 8 / 2e6, 2.0)


def test_who_is_heard_and_does_not_fetch_has_missed_it_and_who_is_dark_is_excused(play: FetchPlay) -> None:
    assert play.ordered() is not None
    for _ in range(10):
        play.now_ms += 2 * MINUTE
        play.heard()
    play.settle()
    assert [row.state for row in play.rows()] == ["missed"]
    with play.store.write() as conn:
        conn.execute(sa.update(schema.fetches).values(state="open", due_ms=MORNING, expires_ms=MORNING + 2))
    play.settle()
    assert [row.state for row in play.rows()] == ["excused"]


def test_a_gateway_that_cannot_fetch_and_settings_without_are_left_alone(
    sqlite_store: Store, gateway: Callable[..., Gateway]
) -> None:
    play = FetchPlay(sqlite_store, gateway(sqlite_store), able=False)
    assert play.ordered() is None
    with sqlite_store.write() as conn:
        conn.execute(sa.update(schema.device_settings).values(fetches=True))
    play.now_ms = MORNING
    with sqlite_store.write() as conn:
        conn.execute(sa.delete(schema.readings["gateway"]))
    assert play.ordered(fetch_mb=0) is None


@pytest.mark.parametrize(
    ("line_mbps", "fetch_mb", "whole"),
    [(4.0, 8, 2e6), (100.0, 8, 8e6), (0.5, 8, 1e6), (None, 8, 5e6), (1e6, 64, 64 / 4 * 1e6), (20.0, 2, 2e6)],
)
def test_a_file_is_some_seconds_of_the_line_within_the_cap(
    line_mbps: float | None, fetch_mb: int, whole: float
) -> None:
    assert fetches.part_bytes(line_mbps, fetch_mb) * fetches.PARTS == pytest.approx(whole, rel=0.05)
