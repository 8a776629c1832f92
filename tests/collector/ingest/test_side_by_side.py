"""Workers side by side on one PostgreSQL: the same batch may reach several at once, and counts once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.commands.evidence import held_ids
from collector.common.config import Settings
from collector.common.messages import Message
from collector.common.sequence_ranges import parse
from collector.ingest.transaction import Ingest
from collector.ingest.workers import judge_with
from collector.store import Store, claim, schema
from tests.collector.standard.timeless import timeless_standards

NOW = 1_795_000_000_000
WORKERS, GATEWAYS, ROUNDS = 3, 4, 8


def everything_to_everyone(url: str, groups: list[list[Message]]) -> list[BaseException]:
    """Each worker takes every group, all at the same moment; returns what went wrong."""
    wrong: list[BaseException] = []
    standards, key = timeless_standards(), Ed25519PrivateKey.generate()
    start = threading.Barrier(WORKERS)

    def work(number: int) -> None:
        with closing(Store.open(url)) as store:
            ingest = Ingest(store, key, judge_with(Settings(), standards))
            for turn, group in enumerate(groups):
                start.wait(60)
                mixed = group[number:] + group[:number]
                try:
                    ingest.take(mixed, NOW + turn)
                except Exception as error:  # what it is says the test
                    wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return wrong


def test_what_reaches_all_workers_at_once_counts_once(either_store: Store, database_url: str, gateway) -> None:
    mine = [gateway(either_store, f"LHR-{number}") for number in range(GATEWAYS)]
    groups = [
        [item.batch([item.ups(wall_ms=NOW + turn, output_state="battery")] * 3) for item in mine]
        for turn in range(ROUNDS)
    ]
    assert everything_to_everyone(database_url, groups) == []
    held = [(device, spool, seq) for device, spool, seq, _ in held_ids(either_store)]
    assert len(held) == len(set(held)) == GATEWAYS * ROUNDS * 3
    with either_store.read() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(schema.readings["ups"])) == GATEWAYS * ROUNDS * 3
        for row in conn.execute(sa.select(schema.spools)):
            assert [(part.first, part.last) for part in parse(row.ranges)] == [(1, ROUNDS * 3)]
            assert row.duplicates == (WORKERS - 1) * ROUNDS * 3
        assert conn.execute(sa.select(schema.integrity)).all() == []
        moves = sa.select(schema.changes.c.center, schema.changes.c.criterion, schema.changes.c.now)
        found = list(conn.execute(moves))
        assert len(found) == len(set(found)), "a flag moves once"


on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def two(database_url: str, either_store: Store) -> Iterator[tuple[Store, Store]]:
    """For PostgreSQL alone: SQLite has one writer."""
    assert either_store.parted
    with ExitStack() as stack:
        first, second = (stack.enter_context(closing(Store.open(database_url))) for _ in range(2))
        yield first, second


def finishes(thread: threading.Thread, within_s: float = 0.5) -> bool:
    thread.join(within_s)
    return not thread.is_alive()


@on_postgresql
def test_workers_wait_for_each_other_only_where_they_share_a_center(two: tuple[Store, Store], gateway) -> None:
    first, second = two
    lahore, karachi, neighbour, islamabad = (
        gateway(first, code).device for code in ("LHR-1", "KHI-2", "KHI-2", "ISB-3")
    )

    def claims(device: str) -> threading.Thread:
        def run() -> None:
            with second.write(beside=True) as conn:
                claim(conn, [device])

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    with first.write(beside=True) as conn:
        claim(conn, [lahore, karachi])
        assert finishes(claims(islamabad), 10)
        waiting = claims(neighbour)
        assert not finishes(waiting)
    assert finishes(waiting, 10)


@on_postgresql
def test_who_writes_alone_waits_for_all_workers(two: tuple[Store, Store]) -> None:
    first, second = two

    def run() -> None:
        with second.write():
            pass

    alone = threading.Thread(target=run)
    with first.write(beside=True):
        alone.start()
        assert not finishes(alone)
    assert finishes(alone, 10)
