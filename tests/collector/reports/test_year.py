"""Row 46: a center's time is replayed through filing and judging, and its reports are held to what was really measured,
to the order in which it came, and to every way in which a database is carried about.

The quick set plays six weeks with a round an hour; --torture plays a year with one each five minutes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import closing as closed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector.access.enrolment import device_name
from collector.commands.simulation import fleet, readings
from collector.commands.simulation.trouble import Stage
from collector.common import months
from collector.common.config import Settings
from collector.common.messages import Message
from collector.ingest.transaction import Ingest, Judge
from collector.ingest.workers import judge_with
from collector.judging import reopening
from collector.judging.evaluate import judge_group
from collector.judging.outages import gaps
from collector.judging.silence import sweep
from collector.recovery.move import move
from collector.register import centers
from collector.reports import schedule
from collector.reports.render import FORMS
from collector.standard import Standards
from collector.store import Store, schema
from collector.store.backup import backup, restore
from collector.store.months import Retention, forget
from tests.collector.standard.timeless import timeless

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
JANUARY = 1_767_207_600_000  # 2026-01-01 00:00 in Pakistan
OFFLINE = JANUARY + 6 * DAY, JANUARY + 36 * DAY + 13 * HOUR  # 30 days; January has been reported when it ends
STANDARDS = Standards.of(
    [replace(timeless(), criteria=tuple(replace(criterion, evidence="signed") for criterion in timeless().criteria))]
)
SETTINGS = Settings()


@dataclass(frozen=True)
class Sent:
    """A batch as it left the gateway, with the time of its last reading."""

    message: Message
    at_ms: int


@dataclass
class Play:
    """What a gateway measured, and the batches it made of that."""

    center: fleet.SimulatedCenter
    days: int
    step_ms: int  # between two batches, and between two looks of the collector
    key: Ed25519PrivateKey
    sent: list[Sent] = field(default_factory=list)
    truth: list[tuple[int, str, float | None]] = field(default_factory=list)  # when, criterion, its figure

    @property
    def device(self) -> str:
        return device_name(self.key.public_key().public_bytes_raw())

    @property
    def end_ms(self) -> int:
        return JANUARY + self.days * DAY

    @property
    def months(self) -> list[str]:
        """Those that are over for long enough at the end."""
        last_ms = self.end_ms - reopening.CLOSE_MS
        found = months.months_within(JANUARY, self.end_ms)
        return [months.named(item) for item in found if months.month_after(item) <= last_ms]


def played(seed: int, days: int, every_min: int, step_h: int, clock: str = "synced") -> Play:
    """Step by step, with every trouble that the simulation knows."""
    step_ms = step_h * HOUR
    some = fleet.make_fleet(12, seed)
    mine = replace(min(some, key=lambda item: item.seats), opening="Mon-Sat 09:00-21:00")
    stage = Stage([mine if item.code == mine.code else item for item in some], seed, JANUARY, DAY)
    key = Ed25519PrivateKey.from_private_bytes(random.Random(seed).randbytes(32))
    play, spool = Play(mine, days, step_ms, key), f"{seed:032x}"
    seq, chain, boot_ms, dark, alive_ms = 1, wire.GENESIS, JANUARY, "first", None
    for from_ms in range(JANUARY, play.end_ms, step_ms):
        stage.extend(from_ms + step_ms)
        raws: list[bytes] = []
        for at_ms in range(from_ms + int(mine.phase * MINUTE), from_ms + step_ms, every_min * MINUTE):
            if (why := stage.dark(mine, at_ms)) is not None:
                dark = why[2]
                continue
            readings_made: list[wire.Reading] = []
            if dark:
                boot_ms, readings_made = at_ms - 5_000, [readings.boot(dark, alive_ms, at_ms)]
            readings_made += readings.minute_of(mine, at_ms, stage, _is_open(at_ms), boot_ms)
            at = _clocked(readings.stamp(mine, at_ms, boot_ms, 0), clock)
            raws += [wire.encode_reading(msgspec.structs.replace(item, at=at)) for item in readings_made]
            play.truth += [(at_ms, *_figure(item)) for item in readings_made]
            alive_ms, dark = at_ms, ""
        for some_raws in (raws[i : i + 60] for i in range(0, len(raws), 60)):
            batch = wire.Batch(
                v=wire.VERSION, device=play.device, spool=spool, first_seq=seq, prev=chain.hex(),
                readings=[msgspec.Raw(raw) for raw in some_raws],
            )  # fmt: skip
            seq, chain = seq + len(some_raws), wire.chain(chain, some_raws)
            message = Message(wire.batch_topic(play.device), wire.seal(wire.encode(batch), key.sign))
            play.sent.append(Sent(message, from_ms + step_ms))
    return play


def _figure(reading: wire.Reading) -> tuple[str, float | None]:
    """What two criteria rest on; of other readings only the time counts."""
    if isinstance(reading, wire.LinkReading):
        return "internet.latency", reading.rtt_median_ms
    return ("internet.download", reading.capacity_down_mbps) if isinstance(reading, wire.SpeedReading) else ("", None)


def _clocked(stamp: wire.Stamp, clock: str) -> wire.Stamp:
    """As a gateway stamps that was never told the time."""
    return stamp if clock == "synced" else wire.Stamp(wall_ms=0, mono_ms=stamp.mono_ms, boot=stamp.boot, clock=clock)


def _is_open(at_ms: int) -> bool:
    """Mon-Sat 09:00-21:00 in Pakistan, by arithmetic of our own: UTC+5, and 1970-01-01 was a Thursday."""
    local = at_ms + 5 * HOUR
    return (local // DAY + 3) % 7 != 6 and 9 * HOUR <= local % DAY < 21 * HOUR


# ---------------------------------------------------------------- into a store


def enrolled(store: Store, play: Play) -> None:
    with store.write() as conn:
        centers.add(conn, play.center.row(), JANUARY)
        row = {
            "device": play.device,
            "center": play.center.code,
            "public_key": play.key.public_key().public_bytes_raw(),
        }
        conn.execute(sa.insert(schema.devices).values(**row, enrolled_ms=JANUARY))


def as_it_came(play: Play) -> list[tuple[int, Sent]]:
    """When each batch arrived: at once, or after 30 days without a line, then the newest first."""
    away = [item for item in play.sent if OFFLINE[0] <= item.at_ms < OFFLINE[1]]
    there = [item for item in play.sent if not OFFLINE[0] <= item.at_ms < OFFLINE[1]]
    back = [away[-1], *away[:-1]] if away else []
    return sorted(
        [(item.at_ms, item) for item in there] + [(OFFLINE[1], item) for item in back], key=lambda one: one[0]
    )


def replay(store: Store, play: Play, arrivals: Sequence[tuple[int, Sent]], judge: Judge | None = None) -> None:
    """Ingest, the sweep and, each day, housekeeping, as the collector does them."""
    enrolled(store, play)
    ingest = Ingest(store, Ed25519PrivateKey.generate(), judge or judge_with(SETTINGS, STANDARDS))
    waiting = list(arrivals)[::-1]
    for now_ms in range(JANUARY + play.step_ms, play.end_ms + play.step_ms, play.step_ms):
        due = []
        while waiting and waiting[-1][0] <= now_ms:
            due.append(waiting.pop()[1].message)
        for some in (due[i : i + 50] for i in range(0, len(due), 50)):
            ingest.take(some, now_ms)
        with store.write() as conn:
            sweep(conn, STANDARDS, now_ms + MINUTE)
            again_ms = now_ms + 10 * MINUTE
            reopening.record_outages(conn, gaps.reconsider(conn, again_ms, SETTINGS.sweep.gap_s), again_ms)
        if (now_ms - JANUARY) % DAY == 0:
            schedule.begin(store, STANDARDS, now_ms)
            schedule.finish(store, STANDARDS, now_ms + reopening.SETTLE_MS)
    tidy(store, play.end_ms + DAY)


def tidy(store: Store, now_ms: int) -> None:
    schedule.begin(store, STANDARDS, now_ms)
    while schedule.finish(store, STANDARDS, now_ms + reopening.SETTLE_MS):
        pass


def told(store: Store, play: Play) -> dict[str, Any]:
    with store.read() as conn:
        return {
            month: schedule.told(conn, play.center.code, month, STANDARDS, play.end_ms + 9 * DAY)
            for month in play.months
        }


def printed(store: Store, play: Play) -> list[str]:
    return [form(report) for report in told(store, play).values() for form in FORMS.values()]


def revised(reports: dict[str, Any]) -> list[int]:
    return [report["revision"]["number"] for report in reports.values()]


# ---------------------------------------------------------------- held to the truth


def untrue(reports: dict[str, Any], play: Play) -> list[str]:
    """What the reports say otherwise than arithmetic of our own, done on what was really measured."""
    found = []
    for month, report in reports.items():
        mine = [item for item in play.truth if report["from_ms"] <= item[0] < report["to_ms"]]
        open_minutes = {
            m for m in range(report["from_ms"] // MINUTE, report["to_ms"] // MINUTE) if _is_open(m * MINUTE)
        }
        heard = {m for at, *_ in mine for m in ((at - 30_000) // MINUTE, at // MINUTE, (at + 30_000) // MINUTE)}
        book = dict(report["ledger"])
        before = report["minutes"]["before"]
        readings_made = {
            "open": (book.pop("open") + before, len(open_minutes)),
            "measured": (report["minutes"]["measured"], len(heard & open_minutes)),
            "all minutes": (sum(book.values()) + before, len(open_minutes)),
            **_counts(report, mine),
        }
        found += [
            f"{month}: {name}: {told} instead of {true}" for name, (told, true) in readings_made.items() if told != true
        ]
    return found


def _counts(report: Any, mine: Sequence[tuple[int, str, float | None]]) -> dict[str, tuple[object, object]]:
    """(told, true) samples of two criteria, and how many of them met the bound."""
    found = {}
    for row in report["criteria"]:
        if row["criterion"] in ("internet.latency", "internet.download"):
            at_most = row["compare"] == "at_most"
            values = [v for at, name, v in mine if name == row["criterion"] and v is not None and _is_open(at)]
            met = sum(value <= row["bound"] if at_most else value >= row["bound"] for value in values)
            found[row["criterion"]] = ((row["samples"], row["met"]), (len(values), met))
    return found


def verdicts(reports: dict[str, Any]) -> list[object]:
    """All that rests on readings alone. When gaps were noticed depends on when we heard, and is told as such."""
    return [[report[part] for part in ("ledger", "criteria", "seats", "evidence")] for report in reports.values()]


def ungraded(value: Any) -> Any:
    """The same without what depends on whether a reading was kept while its gateway was offline (grade E0)."""
    if isinstance(value, dict):
        return {key: ungraded(item) for key, item in value.items() if key not in ("grade", "sha256")}
    return [ungraded(item) for item in value] if isinstance(value, list) else value


# ---------------------------------------------------------------- the row


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    chosen = request.config.getoption("--fault-seed")
    value: int = chosen if chosen is not None else random.SystemRandom().randrange(2**31)
    print(f"replay with --fault-seed {value}")
    return value


@pytest.fixture
def play(request: pytest.FixtureRequest, seed: int) -> Play:
    return played(seed, 381, 5, 1) if request.config.getoption("--torture") else played(seed, 43, 60, 6)


@pytest.fixture
def few(seed: int) -> Play:
    """Enough for what a control has to show."""
    return played(seed, 43, 180, 12)


def _empty(folder: Path, name: str) -> Store:
    return Store.open(f"sqlite:///{folder / name}")


@pytest.mark.row(46)
def test_reports_are_what_was_measured_the_same_to_the_bit_wherever_the_database_goes(
    play: Play, either_store: Store, database_url: str, tmp_path: Path
) -> None:
    replay(either_store, play, as_it_came(play))
    reports = told(either_store, play)
    assert untrue(reports, play) == []
    assert revised(reports) == [2, *([1] * (len(reports) - 1))], "30 days came after January was reported"
    before = printed(either_store, play)
    assert printed(either_store, play) == before
    with either_store.read() as conn:
        for month in play.months:
            assert schedule.check(conn, play.center.code, month, STANDARDS, play.end_ms + 9 * DAY) == []
    copy = tmp_path / "copy"
    backup(either_store, copy)
    if not either_store.parted:
        with closed(Store.attach(f"sqlite:///{tmp_path / 'restored.db'}")) as empty:
            restore(empty, copy)
        with closed(_empty(tmp_path, "restored.db")) as restored:
            assert printed(restored, play) == before
    with closed(Store.attach(f"sqlite:///{tmp_path / 'moved.db'}")) as empty:
        move(either_store, empty, lambda _done, _all: None)
    with closed(_empty(tmp_path, "moved.db")) as moved:
        assert printed(moved, play) == before
    assert sum(forget(either_store, Retention(raw_days=1), play.end_ms + 400 * DAY).values())
    assert printed(either_store, play) == before


@pytest.mark.row(46)
def test_no_verdict_depends_on_the_order_in_which_readings_came(few: Play, seed: int, tmp_path: Path) -> None:
    """As it came, all at the end, and all at the end in no order at all."""
    end_ms = few.end_ms
    shuffled = random.Random(seed).sample(few.sent, len(few.sent))
    found = []
    for name, arrivals in (
        ("came", as_it_came(few)),
        ("late", [(end_ms, item) for item in few.sent]),
        ("mixed", [(end_ms, item) for item in shuffled]),
    ):
        with closed(_empty(tmp_path, f"{name}.db")) as store:
            replay(store, few, arrivals)
            found.append(verdicts(told(store, few)))
    assert ungraded(found[0]) == ungraded(found[1])
    assert found[1] == found[2]


@pytest.mark.control("the gateway has no clock, so its readings are dated by when they came", row=46)
def test_a_verdict_that_depends_on_the_order_of_arrival_is_seen(seed: int, tmp_path: Path) -> None:
    blind = played(seed, 43, 180, 12, clock="unsynced")
    found = []
    for name, arrivals in (("came", as_it_came(blind)), ("late", [(blind.end_ms, item) for item in blind.sent])):
        with closed(_empty(tmp_path, f"{name}.db")) as store:
            replay(store, blind, arrivals)
            found.append(verdicts(told(store, blind)))
    assert found[0] != found[1]


@pytest.mark.control("late readings are receipted and left out of the month", row=46)
def test_late_readings_that_are_not_folded_in_are_seen(few: Play, tmp_path: Path) -> None:
    came = [(at_ms, criterion) for at_ms, criterion in as_it_came(few) if at_ms - criterion.at_ms <= DAY]
    with closed(_empty(tmp_path, "nabz.db")) as store:
        replay(store, few, came)
        reports = told(store, few)
        assert any("measured" in item for item in untrue(reports, few))


@pytest.mark.control("a judge that opens no revision", row=46)
def test_a_month_that_late_readings_do_not_open_again_is_seen(few: Play, tmp_path: Path) -> None:
    def judge(conn: sa.Connection, group: Any, now_ms: int) -> object:
        return judge_group(conn, group, STANDARDS, now_ms)

    with closed(_empty(tmp_path, "nabz.db")) as store:
        replay(store, few, as_it_came(few), judge)
        reports = told(store, few)
        assert revised(reports) == [1]
        assert any("measured" in item for item in untrue(reports, few))
        with store.read() as conn:
            assert "ledger" in schedule.check(conn, few.center.code, few.months[0], STANDARDS, few.end_ms + 9 * DAY)
