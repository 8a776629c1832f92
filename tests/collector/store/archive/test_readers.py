"""Charts, sums, reports, ingest and commands read what is archived as they read the tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from agent import wire
from collector.__main__ import main
from collector.commands.evidence import held_ids
from collector.ingest import stories
from collector.reports.day_samples import DaySpan, _readings
from collector.store import Store, queries, schema
from collector.store.archive import remove, thaw
from collector.store.cold import held
from collector.store.rollups import sum_hour
from tests.collector.store.archive.site import DAY, FIRST, HOUR, LATER, MINUTE, Days, minute

pytest.importorskip("pyarrow")


@pytest.fixture
def days(either_store: Store, tmp_path: Path, gateway: Callable[..., object]) -> Days:
    made = Days(either_store, tmp_path / "archive")
    made.fill(gateway, ["LHR-1", "KHI-2"], 6)
    return made


def read(days: Days) -> list[object]:
    """What each reader makes of the first day."""
    with days.store.read() as conn:
        span = FIRST, FIRST + DAY
        charts = [queries.series(conn, kind, "LHR-1", *span, list(schema.FIGURES[kind]), 50) for kind in schema.FIGURES]
        day = DaySpan(*span)
        samples = [list(map(tuple, _readings(conn, "seats", ["healthy", "seats"], ["LHR-1", "KHI-2"], day)))]
        aside = stories.batches(conn, days.gateways["LHR-1"].device, days.gateways["LHR-1"].spool)
        lhr = days.gateways["LHR-1"]
        beside = held.beside(conn, lhr.device, lhr.spool, (9, 12))
    return [charts, samples, aside, beside, sorted(held_ids(days.store)), sorted(held_ids(days.store, "KHI-2"))]


def sums(days: Days) -> list[object]:
    with days.store.write() as conn:
        sum_hour(conn, FIRST + HOUR, ["LHR-1"])
        return [tuple(row) for kind in schema.FIGURES for row in conn.execute(sa.select(schema.hours[kind]))]


def test_every_reader_sees_what_it_saw_before(days: Days) -> None:
    before, summed = read(days), sums(days)
    assert len(days.archive()) == 2
    assert read(days) == before
    assert sums(days) == summed


def test_what_is_sent_again_is_a_duplicate_and_other_bytes_an_equivocation(days: Days) -> None:
    lhr = days.gateways["LHR-1"]
    with days.store.read() as conn:
        first = min(held.batches(conn, center="LHR-1"), key=lambda one: one.id)
    days.archive()
    count = len(days.state())
    days.take(lhr.sealed(wire.decode_frame(first.body).readings, 1, wire.GENESIS, nonce="n" * 8), LATER)
    assert len(days.state()) == count
    days.take(lhr.sealed([lhr.ups(wall_ms=FIRST + 7)], 2, wire.GENESIS), LATER)
    with days.store.read() as conn:
        assert conn.scalar(sa.select(sa.func.count()).where(schema.integrity.c.finding == "equivocation"))
        duplicates = conn.scalar(sa.select(schema.spools.c.duplicates).where(schema.spools.c.center == "LHR-1"))
    assert duplicates == 4


def test_what_comes_late_has_its_day_back_and_both_go_again(days: Days) -> None:
    (made, _) = days.archive()
    before = days.state()
    lhr = days.gateways["LHR-1"]
    days.take(lhr.batch(minute(lhr, FIRST + HOUR // 2), live=False), LATER)
    assert days.in_tables()["link"] == 2 * 1 + 7 + 1 + 2  # LHR-1 has all of its days back, and the late one
    assert len(days.state()) == len(before) + 5
    with days.store.read() as conn:
        assert thaw.left(conn) == [made.part]  # in whose files the center still lies
        after = days.state()
    with days.store.keep() as conn:
        thaw.thaw(conn, held.places(conn, schema.archived.c.part == made.part))
    days.heard(LATER + 4 * DAY)
    with days.store.read() as conn:
        empty = remove.empty(conn)
    assert made.part in empty
    remove.remove(days.store, days.folder, empty, LATER)
    assert not list(days.folder.rglob(f"{made.part}*"))
    assert {day.day_ms for day in days.due(LATER + 4 * DAY)} == {FIRST + n * DAY for n in (0, 2, 3, 4)}
    days.archive(LATER + 4 * DAY)
    assert days.state() == after
    assert set(days.in_tables()) == {"speed", "boot"}


def test_late_readings_are_taken_though_the_archive_cannot_be_read(days: Days) -> None:
    days.archive()
    for path in days.folder.rglob("*.parquet"):
        path.unlink()
    lhr = days.gateways["LHR-1"]
    (receipt,) = days.ingest.take([lhr.batch(minute(lhr, FIRST + 2 * HOUR), live=False)], LATER).receipts
    assert receipt


def test_nothing_is_thawed_for_what_comes_in_time(days: Days) -> None:
    days.archive()
    lhr = days.gateways["LHR-1"]
    days.take(lhr.batch(minute(lhr, LATER - MINUTE)), LATER)
    assert not any(row.center == "LHR-1" and row.wall_ms < FIRST + DAY for row in links(days))


def links(days: Days) -> list[sa.Row]:
    with days.store.read() as conn:
        return list(conn.execute(sa.select(schema.readings["link"])))


def test_the_command_says_does_and_shows(
    days: Days, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of it is years old by this machine's clock."""
    before = days.state()
    with days.store.write() as conn:
        for table in (schema.evidence, *schema.readings.values()):
            times = {name: table.c[name] - 2 * 365 * DAY for name in ("wall_ms", "received_ms") if name in table.c}
            conn.execute(sa.update(table).values(times))
        conn.execute(sa.update(schema.pulse).values(heard_ms=LATER * 2))
    common = ["--database", database_url, "--data", str(tmp_path), "--json"]

    def asked(*words: str) -> dict[str, object]:
        capsys.readouterr()
        assert main(["archive", *words, *common]) == 0
        found: dict[str, object] = json.loads(capsys.readouterr().out)
        return found

    planned = asked("--dry-run")
    assert planned["center_days"] == 8
    assert days.in_tables()["evidence"] == planned["batches"]
    done = asked()
    assert (done["center_days"], done["batches"]) == (8, planned["batches"])
    assert asked("status")["batches"] == done["batches"]
    assert asked()["center_days"] == 0
    assert len(days.state()) == len(before)


def test_one_program_at_a_time_works_in_the_folder(
    days: Days, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with remove.folder_lock(days.folder) as is_free:
        assert is_free
        assert main(["archive", "--database", database_url, "--data", str(tmp_path)]) == 1
    assert "another program works in it" in capsys.readouterr().err
