"""A restore excuses exactly the minutes of which gateways had receipts and nobody holds anything any more."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from agent.common.words import plain
from agent.spool.queue import Spool
from collector.ingest.transaction import Ingest
from collector.register import centers
from collector.reports import losses, monthly, render
from collector.reports.ledger import minutes_of
from collector.store import Store, schema
from collector.store.backup import backup, begin_epoch, restore
from tests.collector.standard.timeless import timeless_standards
from tests.collector.store.sites import KEY, MINUTE_MS, T0, Site, enrol, stamp, talk

ROW = {"name": "Lahore", "tier": "one", "seats_promised": "20", "opening": "Mon-Sun 00:00-24:00"}
STANDARDS = timeless_standards()
SITES = 3


# The month's reports by center after a restore, the sites, and the readings that are held: (spool, number).
Played = tuple[dict[str, Any], list[Site], set[tuple[str, int]]]


def play(folder: Path, seed: int, *, quietly: bool = False) -> Played:
    """`quietly`: the file is put in place by hand."""
    chance = random.Random(seed)
    store = Store.open(f"sqlite:///{folder}/before{seed}.db")
    sites = []
    for number in range(SITES):
        spool = Spool(folder / f"{seed}-{number}.db", stamp=stamp, max_bytes=chance.choice([50_000, 60_000, 90_000]))
        sites.append(Site(spool, Ed25519PrivateKey.generate()))
        with store.write() as conn:
            centers.add(conn, {"center": f"LHR-{number}", **ROW}, T0 - 10**9)
        enrol(store, sites[-1], number)
    first, second = chance.randrange(5, 60), chance.randrange(140, 200)
    offs = [{minute for start in chance.sample(range(200), 6) for minute in range(start, start + 7)} for _ in sites]
    for minute in range(second):
        if minute == first:
            backup(store, folder / f"copy{seed}")
        for site, off in zip(sites, offs, strict=True):
            if minute not in off:
                site.measure(minute, chance)
        if chance.random() < 0.7:  # or the line is down
            talk(store, sites, T0 + minute * MINUTE_MS)
    store.close()
    after = Store.attach(f"sqlite:///{folder}/after{seed}.db")
    restore(after, folder / f"copy{seed}")
    if not quietly:
        begin_epoch(after, T0 + second * MINUTE_MS)
    after.close()
    with closing(Store.open(f"sqlite:///{folder}/after{seed}.db")) as restored:
        for minute in range(second, second + 5):
            for site in sites:
                site.measure(minute, chance)
            talk(restored, sites, T0 + minute * MINUTE_MS, rounds=60)
        with restored.read() as conn:
            known = [row.code for row in centers.some_centers(conn, [f"LHR-{n}" for n in range(SITES)]).values()]
            rows = list(centers.some_centers(conn, known).values())
            now_ms = T0 + (second + 5) * MINUTE_MS
            reports = monthly.build_some(conn, rows, "2026-11", STANDARDS, now_ms)
            held = {
                (batch.spool, number)
                for body in conn.scalars(sa.select(schema.evidence.c.body))
                for batch in [msgspec.json.decode(bytes(body), type=wire.Batch)]
                for number in range(batch.first_seq, batch.last_seq + 1)
            }
    for site in sites:
        assert site.spool.waiting() == 0
        site.spool.close()
    return reports, sites, held


def minutes(site: Site, keys: set[tuple[str, int]]) -> set[int]:
    return {minute for key in keys for minute in minutes_of(wire.decode_reading(site.taken[key]).at.wall_ms)}


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: each round is synced."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def copied(memory: Path) -> Played:
    return play(memory, 3, quietly=True)


def check(played: Played) -> int:
    """Returns the minutes that are ours."""
    reports, sites, held = played
    total = 0
    for number, site in enumerate(sites):
        report = reports[f"LHR-{number}"]
        known = {key for key in site.taken if key in held}
        gone = {key for key in site.receipts if key not in held}  # the accounts that a spool writes itself among them
        ours = minutes(site, gone & site.taken.keys()) - minutes(site, known)
        total += len(ours)
        assert report["ledger"]["ours"] == len(ours)
        lost = report.get("lost", {"readings": 0, "minutes": 0, "ranges": []})
        assert (lost["readings"], lost["minutes"]) == (len(gone), len(ours))
        assert report["ledger"]["unknown_unexplained"] > 0  # nobody measured while a site was off
    return total


@pytest.mark.row(49)
def test_exactly_the_minutes_are_ours_whose_readings_we_receipted_and_lost(copied: Played) -> None:
    assert check(copied) > 50


@pytest.mark.slow
@pytest.mark.parametrize("quietly", [False, True], ids=["restored", "file copied"])
def test_no_play_of_restores_excuses_a_minute_that_nobody_measured(memory: Path, quietly: bool) -> None:
    ours = [check(play(memory, seed, quietly=quietly)) for seed in range(100 + 20 * quietly, 120 + 20 * quietly)]
    print(f"{len(ours)} restores, {sum(ours)} minutes ours")


def test_an_account_without_a_restore_excuses_nothing(sqlite_store: Store, gateway) -> None:
    mine = gateway(sqlite_store)
    stamp_of = wire.Stamp(wall_ms=T0, mono_ms=1, boot="b", clock="synced")
    told = wire.ShedReading(
        at=stamp_of, first_seq=1, last_seq=60, count=60, why="receipted", spans=[(T0 - 3_600_000, T0)]
    )
    mine.next_seq = 61
    Ingest(sqlite_store, KEY, lambda *_: None).take([mine.batch([wire.encode_reading(told)])], T0)
    with sqlite_store.read() as conn:
        assert losses.of_centers(conn, [mine.center], 0, 2**53) == {}
    with sqlite_store.write() as conn:
        conn.execute(sa.insert(schema.restores).values(epoch="e", from_ms=T0 - 2_000_000, to_ms=T0 - 1_800_000))
    with sqlite_store.read() as conn:
        (loss,) = losses.of_centers(conn, [mine.center], 0, 2**53)[mine.center]
    assert (loss.count, loss.times) == (60, ((T0 - 3_600_000 - 30_000, T0 - 1_800_000),))


def test_what_a_gateway_sent_that_never_comes_back_is_ours_as_long_as_it_stays_away(
    sqlite_store: Store, gateway
) -> None:
    """Of one that was silent already when the copy was made nobody lost anything."""
    gone, silent = gateway(sqlite_store), gateway(sqlite_store, "KHI-1")
    hour = 60 * MINUTE_MS

    def take(mine: Any, at_ms: int) -> None:
        Ingest(sqlite_store, KEY, lambda *_: None).take([mine.batch([mine.ups(wall_ms=at_ms)])], at_ms)

    take(silent, T0 - 5 * hour)
    take(gone, T0)
    begin_epoch(sqlite_store, T0 + 3 * hour)
    now_ms = T0 + 4 * hour
    with sqlite_store.read() as conn:
        assert losses.of_centers(conn, ["LHR-1", "KHI-1"], 0, 2**53).keys() == {"LHR-1"}
        rows = list(centers.some_centers(conn, ["LHR-1", "KHI-1"]).values())
        reports = monthly.build_some(conn, rows, "2026-11", STANDARDS, now_ms)
    open_min = [reports[code]["ledger"]["ours"] for code in ("LHR-1", "KHI-1")]
    assert open_min == [179, 0]  # the minute of the last reading that is held is measured
    assert reports["LHR-1"]["lost"] == {"readings": 0, "minutes": 179, "ranges": []}
    take(gone, now_ms)
    with sqlite_store.read() as conn:
        assert losses.of_centers(conn, ["LHR-1"], 0, 2**53) == {}


def test_a_report_names_what_was_lost_in_every_language(copied: Played) -> None:
    report = next(report for report in copied[0].values() if "lost" in report)
    report = {**report, "revision": {"number": 0, "closed_ms": None, "history": [], "changed": {}}}
    page = render.as_html(report)
    for lang in ("en", "ur"):
        assert plain(lang)("report.lost") in page
    part = report["lost"]["ranges"][0]
    assert f"{part['first_seq']}–{part['last_seq']}" in page
