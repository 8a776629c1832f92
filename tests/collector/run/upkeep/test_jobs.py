"""What a process does while it has a job, and that it stops when it has it no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.run.runtime import PeriodicTask
from collector.run.upkeep.jobs import COLLECTOR, WORKER, Jobs, holder_of
from collector.store import Store, schema
from collector.store.jobs import rows
from collector.store.jobs.leases import LEASE_MS
from collector.store.jobs.shards import Shard, shards_of
from tests.collector.empty_stores import empty_store

NOW = 1_795_000_000_000


class Process:
    """One of several on one database, with a clock of its own."""

    def __init__(self, store: Store, clock: list[int], kind: str = WORKER) -> None:
        self.store, self.clock, self.did = store, clock, []
        self.fails, self.commits = False, True
        self.jobs = Jobs(store, holder_of(kind), lambda _conn: clock[0], lambda: clock[0] / 1000)
        self.task: PeriodicTask = self.jobs.task("log", 3600, self._work, lambda: self.did.append("began"))

    def _work(self) -> None:
        if self.fails:
            raise ValueError("no room")
        with self.store.keep():
            self.did.append("work")

    def run(self) -> list[str]:
        """One run of the task; what was done."""
        self.did.clear()
        self.task.work()
        return self.did


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = empty_store(tmp_path / "nabz.db")
    yield made
    made.close()


def test_a_job_goes_to_another_when_its_process_is_silent_and_is_done_by_one_alone(store: Store) -> None:
    clock = [NOW]
    first, second = Process(store, clock), Process(store, clock)
    assert first.run() == [], "nothing before a lease"
    first.jobs.tick()
    second.jobs.tick()
    assert (first.run(), second.run()) == (["began", "work"], [])
    assert (first.run(), second.run()) == (["work"], [])
    clock[0] += LEASE_MS
    second.jobs.tick()
    assert first.run() == [], "its own clock says that it was silent for too long"
    assert second.run() == ["began", "work"]
    first.jobs.tick()
    assert first.run() == []
    second.jobs.stop()
    first.jobs.tick()
    assert first.run() == ["began", "work"]


def test_one_whose_job_was_taken_in_the_middle_is_stopped_by_the_database(store: Store) -> None:
    clock, other = [NOW], [NOW + LEASE_MS]
    first, second = Process(store, clock), Process(store, other)
    first.jobs.tick()
    assert first.run() == ["began", "work"]
    second.jobs.tick()
    assert first.jobs.holds("log"), "it has not heard of that"
    assert first.run() == []
    assert not first.jobs.holds("log")


def test_a_collector_takes_at_once_what_the_one_before_it_had_and_nothing_of_workers(store: Store) -> None:
    clock = [NOW]
    before, after = Process(store, clock, COLLECTOR), Process(store, clock, COLLECTOR)
    before.jobs.tick()
    after.jobs.seize()
    after.jobs.tick()
    assert after.jobs.holds("log")
    worker, third = Process(store, clock), Process(store, clock, COLLECTOR)
    after.jobs.stop()
    worker.jobs.tick()
    third.jobs.seize()
    third.jobs.tick()
    assert not third.jobs.holds("log")


def test_failures_are_counted_until_it_works_again(store: Store) -> None:
    process = Process(store, [NOW])
    process.jobs.tick()

    def row() -> rows.JobRow:
        process.jobs.tick()
        with store.read() as conn:
            return rows.rows(conn, NOW)[0]

    process.fails = True
    for count in (1, 2):
        with pytest.raises(ValueError, match="no room"):
            process.run()
        assert (row().failures, row().error) == (count, "no room")
    process.fails = False
    process.run()
    assert (row().failures, row().error) == (0, "")
    with store.read() as conn:
        assert conn.scalar(sa.select(schema.jobs.c.done_ms)) is not None


def test_a_shard_that_fails_holds_up_no_other_and_is_told(either_store: Store) -> None:
    count = len(shards_of("postgresql" if either_store.parted else "sqlite"))
    jobs, did = Jobs(either_store, holder_of(WORKER), lambda _conn: NOW, lambda: NOW / 1000), list[int]()

    def work(shard: Shard) -> None:
        did.append(shard.number)
        if shard.is_first:
            raise ValueError("no room")

    task = jobs.shared_task("sheets", 3600, work)
    jobs.tick()
    with pytest.raises(ValueError, match="no room"):
        task.work()
    jobs.tick()
    assert did == list(range(1, count + 1))
    with either_store.read() as conn:
        (row,) = rows.rows(conn, NOW)
    assert (row.name, row.holder, row.failures, row.error) == ("sheets", jobs.holder, 1, "no room")
