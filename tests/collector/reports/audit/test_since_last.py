"""Days that were verified are left out the next time; whatever somebody changes after that is found all the same."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.ingest.transaction import Ingest
from collector.ingest.workers import judge_with
from collector.register.dated import day_of, today_ms
from collector.reports import revisions
from collector.reports.audit import verified_days
from collector.reports.audit.verify import Verification
from collector.reports.day_sheets import packed_sheet, stored_sheet
from collector.store import Store, schema
from tests.collector.empty_stores import empty_store
from tests.collector.reports.audit.closed_month import CODE, audited, close, played, run
from tests.timelines.plays.order_play import (
    BEGIN,
    MONTH,
    REPORTED,
    SETTINGS,
    STANDARDS,
    as_ready,
    drawn,
    in_time,
    make_play,
)

KEY = bytes(range(32))
EVIDENCE, LINK, UPS, SHEETS, REPORTS, FACTS = (
    schema.evidence, schema.readings["link"], schema.readings["ups"], schema.day_sheets, schema.reports, schema.facts,
)  # fmt: skip
PLAY = make_play(5)  # with a server's record of this center


def kept(store: Store, done: Verification) -> None:
    with store.write() as conn:
        verified_days.save(conn, CODE, MONTH, done.days, KEY, REPORTED)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Verified as a whole, which is on record."""
    path = played(tmp_path_factory.mktemp("since"), PLAY, "ready", 5)
    close(path)
    store = empty_store(path)
    done = audited(store, key=KEY)
    assert done.is_true
    kept(store, done)
    store.close()
    return path


def since(store: Store) -> Verification:
    return audited(store, key=KEY, since_last=True)


def test_a_month_that_nobody_touched_is_not_looked_at_again(store: Store) -> None:
    done = since(store)
    assert (done.is_true, done.batches, done.sheets, done.is_reported) == (True, 0, 0, True)
    assert done.since_ms is not None
    assert done.since_ms > REPORTED
    kept(store, done)
    assert since(store).days == done.days


# ---------------------------------------------------------------- changed after the last time


def of_center(table: sa.Table) -> sa.ColumnElement[bool]:
    return table.c.center == CODE


def one_batch(conn: sa.Connection) -> sa.ColumnElement[bool]:
    return EVIDENCE.c.id == conn.scalar(sa.select(sa.func.min(EVIDENCE.c.id)).where(of_center(EVIDENCE)))


def first_of(conn: sa.Connection, table: sa.Table) -> sa.ColumnElement[bool]:
    at = conn.scalar(sa.select(sa.func.min(table.c.wall_ms)).where(of_center(table)))
    return of_center(table) & (table.c.wall_ms == at)


def with_body(conn: sa.Connection, change: Callable[[bytes], bytes]) -> sa.Executable:
    mine = one_batch(conn)
    body = conn.scalar(sa.select(EVIDENCE.c.body).where(mine))
    return sa.update(EVIDENCE).where(mine).values(body=change(bytes(body)))


def doubled_reading(conn: sa.Connection) -> sa.Executable:
    row = conn.execute(sa.select(LINK).where(first_of(conn, LINK))).mappings().first()
    return sa.insert(LINK).values({**row, "seq": 9_999})  # type: ignore[dict-item]


def sheet_with_more(conn: sa.Connection) -> sa.Executable:
    mine = of_center(SHEETS) & (SHEETS.c.day_ms == today_ms(BEGIN))
    sheet = stored_sheet(conn.scalar(sa.select(SHEETS.c.body).where(mine)))
    assert sheet is not None
    body = packed_sheet(sheet)
    return sa.update(SHEETS).where(mine).values(body=zlib.compress(body.replace(b'"up":', b'"up":9')))


def report_with_less(conn: sa.Connection) -> sa.Executable:
    body = conn.scalar(sa.select(REPORTS.c.body).where(of_center(REPORTS)))
    return sa.update(REPORTS).where(of_center(REPORTS)).values(
        body=revisions.packed({**revisions.unpacked(body), "exclusions": []})
    )  # fmt: skip


TAMPERINGS: dict[str, tuple[Callable[[sa.Connection], sa.Executable], set[str]]] = {
    "an edited body": (lambda conn: with_body(conn, lambda body: body.replace(b"ups", b"usp", 1)), {"bad_signature"}),
    "another signature": (
        lambda conn: sa.update(EVIDENCE).where(one_batch(conn)).values(signature=bytes(64)), {"bad_signature"}),
    "a batch deleted": (lambda conn: sa.delete(EVIDENCE).where(one_batch(conn)), {"batches_missing", "day_evidence"}),
    "a batch counted twice": (
        lambda conn: sa.update(EVIDENCE).where(one_batch(conn)).values(fresh="[]"), {"batch_field"}),
    "a batch of another day": (
        lambda conn: sa.update(EVIDENCE).where(one_batch(conn)).values(received_ms=BEGIN + 40 * 3_600_000),
        {"batch_order", "day_evidence"}),
    "an edited reading": (
        lambda conn: sa.update(LINK).where(first_of(conn, LINK)).values(rtt_median_ms=1.0), {"reading_differs"}),
    "a reading deleted": (lambda conn: sa.delete(UPS).where(first_of(conn, UPS)), {"reading_missing"}),
    "a reading added": (doubled_reading, {"reading_added"}),
    "a reading moved": (
        lambda conn: sa.update(UPS).where(first_of(conn, UPS)).values(wall_ms=UPS.c.wall_ms + 1), {"reading_differs"}),
    "a record of a server": (lambda conn: sa.update(schema.records).values(down_mbps=999.0), {"record_forged"}),
    "an edited sheet": (sheet_with_more, {"sheet_differs"}),
    "a sheet deleted": (
        lambda conn: sa.delete(SHEETS).where(of_center(SHEETS), SHEETS.c.day_ms == today_ms(BEGIN)), {"sheet_missing"}),
    "an exclusion dropped": (report_with_less, {"report_edited", "exclusion_dropped"}),
    "an edited fact": (
        lambda conn: sa.update(FACTS).where(of_center(FACTS), FACTS.c.name == "isp").values(value='"NAYA"'),
        {"fact_edited"}),
    "a fact deleted": (
        lambda conn: sa.delete(FACTS).where(of_center(FACTS), FACTS.c.name == "isp"), {"fact_missing"}),
    "a calendar deleted": (lambda conn: sa.delete(schema.calendar), {"calendar_missing"}),
    "a key replaced": (
        lambda conn: sa.update(schema.devices).where(of_center(schema.devices)).values(public_key=bytes(32)),
        {"key_replaced"}),
    "a leaf altered": (
        lambda conn: sa.update(schema.log_leaves).where(schema.log_leaves.c.kind == "day").values(body=b"{}"),
        {"day_evidence", "log_altered"}),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERINGS)
def test_what_was_changed_after_the_last_time_is_found_and_named(store: Store, name: str) -> None:
    change, kinds = TAMPERINGS[name]
    with store.read() as conn:
        statement = change(conn)
    run(store, statement)
    done = since(store)
    assert done.since_ms is not None
    assert kinds <= set(done.found.counts)
    assert not done.days  # nothing of it counts as verified


def test_a_note_that_the_key_did_not_make_is_not_believed(store: Store) -> None:
    """Who has the database alone writes down what is stored now."""
    v = schema.verified_months
    run(store, sa.update(LINK).where(of_center(LINK)).values(loss_pct=0.0))
    other = Ed25519PrivateKey.generate()
    with store.write() as conn:
        days = verified_days.load(conn, CODE, MONTH, KEY)
        assert days
        verified_days.save(conn, CODE, MONTH, days, verified_days.mac_key(other), REPORTED)
    done = since(store)
    assert done.since_ms is None
    assert set(done.found.counts) >= {"reading_differs"}
    run(store, sa.update(v).values(body=b"none"))
    assert since(store).since_ms is None


def test_what_comes_later_is_taken_in_from_its_day_on(tmp_path: Path) -> None:
    """Half of a play is verified as it stands, then the rest comes."""
    path = played(tmp_path, PLAY, "drawn", 6, last=20)
    store = empty_store(path)
    kept(store, audited(store, with_log=False, key=KEY))
    arrivals = in_time(drawn(PLAY, random.Random(6)))
    assert len(arrivals) == len(as_ready(PLAY))
    ingest = Ingest(store, PLAY.server, judge_with(SETTINGS, STANDARDS))
    for now_ms, _, message in arrivals[-20:]:
        ingest.take([message], now_ms)
    done, whole = audited(store, with_log=False, key=KEY, since_last=True), audited(store, with_log=False, key=KEY)
    assert done.since_ms is not None
    assert day_of(done.since_ms) == day_of(BEGIN)
    assert (done.is_true, whole.is_true) == (True, True)
    assert done.days == {day: whole.days[day] for day in done.days}
    store.close()
