"""What is over goes into the archive whole: every signed byte and every row comes back, whoever is killed when."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from agent import wire
from collector.common.sequence_ranges import parse
from collector.store import Store, schema
from collector.store.archive import pack, remove, status
from collector.store.cold import held, parts
from tests.collector.store.archive.site import AFTER, DAY, FIRST, HOUR, LATER, Days, minute

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
QUICK = ("compared", "recorded", "committed")
STEPS = [*QUICK, *(pytest.param(step, marks=pytest.mark.slow) for step in ("center", "drafted", "written"))]


class Killed(BaseException):
    """As of a process that ends there and then."""


ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # nothing in it is of the database


@pytest.fixture
def days(either_store: Store, tmp_path: Path, gateway: Callable[..., object]) -> Days:
    made = Days(either_store, tmp_path / "archive")
    made.fill(gateway, ["LHR-1", "KHI-2"], 4)
    return made


def test_a_day_goes_whole_and_comes_back_whole(days: Days) -> None:
    before, in_tables = days.state(), days.in_tables()
    (made, later) = days.archive()
    assert (made.centers, made.batches, later.batches) == (2, 2 * 7, 2)
    assert days.state() == before
    left = days.in_tables()
    assert left["evidence"] == in_tables["evidence"] - 16
    assert left["link"] == 2 * 2  # of the days that are not due
    assert left["speed"] == in_tables["speed"] == 2  # what is asked for by its test stays


@ON_SQLITE
def test_most_of_it_is_rebuilt_from_columns(days: Days) -> None:
    """What is only kept beside them costs ten times as much."""
    days.archive()
    with days.store.read() as conn:
        (place, *_) = held.places(conn, schema.archived.c.center == "LHR-1")
    rows = list(parts.read(days.folder, parts.BATCHES, place.day_ms, place.part, "LHR-1"))
    assert sum(row["body"] is None for row in rows) == len(rows) - 2  # the second story, and one that cannot be read
    assert sum(row["prev"] is None for row in rows) >= len(rows) - 2


@ON_SQLITE
def test_what_a_stranger_reads_is_the_same(days: Days) -> None:
    (made, _) = days.archive()
    path = parts.path(days.folder, "link", FIRST, made.part)
    rows = parquet.read_table(path, columns=["center", "rtt_median_ms"]).to_pylist()
    assert {row["center"] for row in rows} == {"LHR-1", "KHI-2"}
    assert sum(row["rtt_median_ms"] or 0 for row in rows) > 2 * 4 * 20


@pytest.mark.parametrize("step", STEPS)
def test_whoever_is_killed_nothing_is_lost_and_nothing_doubled(days: Days, step: str) -> None:
    before, count = days.state(), itertools.count()

    def die(name: str) -> None:
        if name == step and (name != "center" or next(count) == 1):
            raise Killed

    with pytest.raises(Killed):
        pack.pack(days.store, days.due()[0], LATER, die)
    assert days.state() == before
    remove.sweep(days.store, days.folder, LATER)
    days.archive()
    assert days.state() == before
    assert len(list(days.folder.rglob("*.parquet"))) == sum(len(files_of(days, part)) for part in names(days))


@pytest.mark.parametrize(
    "step", ["written", *(pytest.param(step, marks=pytest.mark.slow) for step in ("drafted", "compared"))]
)
@ON_SQLITE
def test_files_of_a_process_that_was_killed_outright_are_removed(days: Days, step: str, tmp_path: Path) -> None:
    """The kernel lets no `finally` run: the files stay."""
    before = days.state()
    days.folder = days.store.archive = tmp_path / "elsewhere"
    copied = tmp_path / "copied"

    def copy(name: str) -> None:
        if name == step:
            days.folder.rename(copied)
            raise Killed

    with pytest.raises(Killed):
        pack.pack(days.store, days.due()[0], LATER, copy)
    copied.rename(days.folder)
    assert list(days.folder.rglob("*.*"))
    assert remove.sweep(days.store, days.folder, LATER) == 1
    assert [path for path in days.folder.rglob("*") if path.is_file()] == []
    assert days.state() == before


@ON_SQLITE
def test_files_that_may_be_all_that_is_left_are_put_aside(days: Days) -> None:
    """As after a restore of a database from before."""
    days.archive()
    with days.store.write() as conn:
        conn.execute(sa.delete(schema.archived))
        conn.execute(sa.delete(schema.archive_parts))
    files = len(list(days.folder.rglob("*.parquet")))
    assert remove.sweep(days.store, days.folder, LATER) == 2
    assert len(list((days.folder / remove.ASIDE).rglob("*.parquet"))) == files


@ON_SQLITE
def test_what_does_not_come_back_as_it_went_in_is_not_let_go(days: Days) -> None:
    before = days.state()

    def spoil(name: str) -> None:
        if name == "written":
            (path,) = (days.folder / "ups").rglob("*.parquet")
            rows = parquet.read_table(path).to_pylist()
            rows[1]["load_pct"] = 31.0
            groups = [[row for row in rows if row["center"] == code] for code in ("LHR-1", "KHI-2")]
            with parquet.ParquetWriter(path, parquet.read_schema(path)) as writer:
                for group in groups:
                    writer.write_table(pa.Table.from_pylist(group, schema=writer.schema))

    with pytest.raises(pack.PackError, match="does not come back as it went in"):
        pack.pack(days.store, days.due()[0], LATER, spoil)
    assert days.state() == before
    assert not list(days.folder.rglob("*.parquet"))


@ON_SQLITE
def test_what_has_changed_meanwhile_is_tried_again(days: Days) -> None:
    before = days.state()
    lhr = days.gateways["LHR-1"]

    def more(name: str) -> None:
        if name == "compared":
            days.take(lhr.batch(minute(lhr, FIRST + 20 * HOUR)), FIRST + 20 * HOUR)

    with pytest.raises(pack.PackError, match="changed meanwhile"):
        pack.pack(days.store, days.due()[0], LATER, more)
    assert len(days.state()) == len(before) + 5
    remove.sweep(days.store, days.folder, LATER)
    assert days.archive()


def test_the_chain_of_a_spool_is_whole_across_the_archives_edge(days: Days) -> None:
    days.archive()
    with days.store.read() as conn:
        for code, mine in days.gateways.items():
            own = [one for one in held.batches(conn, center=code) if one.fresh != "[]"]
            raws = [raw for one in own for raw in wire.decode_frame(one.body).readings]
            assert wire.chain(wire.GENESIS, [bytes(raw) for raw in raws]) == mine.chain
            ranges = conn.scalar(sa.select(schema.spools.c.ranges).where(schema.spools.c.center == code))
            assert parse(ranges)[-1].after == mine.chain.hex()


def test_a_center_that_fell_silent_keeps_what_came_last(days: Days) -> None:
    with days.store.write() as conn:
        quiet = schema.pulse.c.center == "LHR-1"
        conn.execute(sa.update(schema.pulse).where(quiet).values(heard_ms=FIRST + 2 * HOUR))
    assert {day.codes for day in days.due()} == {("KHI-2",)}
    assert days.due(FIRST + DAY + AFTER - 1) == []


@ON_SQLITE
def test_what_may_be_given_another_time_waits(days: Days) -> None:
    guess = {"device": "g", "boot": "b", "spool": "s", "first_seq": 1, "readings": "[]"}
    with days.store.write() as conn:
        conn.execute(sa.insert(schema.guesses).values(**guess, center="LHR-1", received_ms=FIRST + HOUR))
    assert {day.codes for day in days.due()} == {("KHI-2",)}


@ON_SQLITE
def test_old_parts_go_and_a_death_between_is_carried_on(days: Days) -> None:
    days.archive()
    with days.store.read() as conn:
        assert remove.too_old(conn, FIRST + DAY - 1) == []
        (old,) = remove.too_old(conn, FIRST + DAY)
    with days.store.keep() as conn:  # and the process ends here
        conn.execute(sa.update(schema.archive_parts).where(schema.archive_parts.c.part == old).values(removed_ms=1))
    assert remove.remove(days.store, days.folder, [], LATER) == 1
    assert old not in names(days)
    assert not list(days.folder.rglob(f"{old}*"))
    assert all(one.received_ms >= FIRST + DAY for one in stored(days))


@ON_SQLITE
def test_status_says_what_lies_there(days: Days) -> None:
    made = days.archive()
    with days.store.read() as conn:
        found = status.status(conn)
    assert (found.parts, found.days, found.centers) == (2, 2, 2)
    assert found.batches == sum(one.batches for one in made)
    assert found.size == sum(path.stat().st_size for path in days.folder.rglob("*.parquet"))


@ON_SQLITE
def test_a_missing_file_is_named(days: Days) -> None:
    days.archive()
    next((days.folder / "link").rglob("*.parquet")).unlink()
    with pytest.raises(parts.ArchiveMissing, match=r"link/day=.*parquet: cannot be read"):
        days.state()


def names(days: Days) -> list[str]:
    with days.store.read() as conn:
        return list(conn.scalars(sa.select(schema.archive_parts.c.part)))


def files_of(days: Days, part: str) -> parts.Files:
    with days.store.read() as conn:
        return held.files_of(conn, part)


def stored(days: Days) -> Iterator[object]:
    with days.store.read() as conn:
        return iter(list(held.batches(conn)))
