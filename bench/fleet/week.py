"""A week of a fleet through the real ingest, judging, housekeeping and archive, with time compressed: what it costs and
what it leaves on the disk.

The simulated fleet measures minute by minute with its scripted troubles; every sealed batch goes to `Ingest.take`, the
sweep runs each simulated minute, housekeeping and the archive each simulated hour. No broker is in between: what it
costs is measured by `ingest` and `storm`. The week ends with its month, which is closed; then the collector is
started on what is there. Figures are of this fleet; what a larger one would take is for the reader to multiply.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent import wire
from bench.ground.processes import GroundError, cost
from bench.ground.whole import DATABASES, Ground, ground
from collector.access.signing_key import load_or_make
from collector.commands.archive import worked
from collector.commands.console import Bar
from collector.commands.simulation.run import Play
from collector.commands.simulation.trouble import Stage
from collector.commands.simulation.truth import Truth
from collector.common.config import Settings
from collector.common.messages import Message
from collector.ingest.transaction import Ingest
from collector.ingest.workers import judge_with
from collector.judging import reopening
from collector.reports import schedule
from collector.run.settings import read_standards
from collector.run.tasks import sweep_task
from collector.run.upkeep.housekeeping import Housekeeping
from collector.store import Store
from collector.store.database import opened

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
GROUP = 100  # messages in a transaction, as the listener takes them under load
MONTH_END_MS = 1_793_473_200_000  # 2026-11-01 00:00 in Pakistan


@dataclass
class Clock:
    now_ms: int

    def read(self) -> int:
        return self.now_ms


@dataclass
class Spent:
    """Processor seconds by part: this process's and the database's."""

    database: int | None  # its process
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def on(self, part: str) -> Iterator[None]:
        before = self._mark()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + self._mark() - before

    def _mark(self) -> float:
        return sum(os.times()[:4]) + (cost(self.database).cpu_s if self.database else 0.0)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--centers", type=int, default=20, metavar="N", help="default 20")
    parser.add_argument("--days", type=float, default=7, metavar="N", help="default 7")
    parser.add_argument("--databases", nargs="*", default=sorted(DATABASES), choices=sorted(DATABASES))


def run(options: argparse.Namespace) -> int:
    print(f"{options.centers} centers, {options.days:g} days; load {os.getloadavg()[0]:.1f}")
    good = True
    for database in options.databases:
        with tempfile.TemporaryDirectory() as folder:
            try:
                good &= _play(Path(folder), database, options.centers, options.days)
            except GroundError as error:
                print(f"bench week: {error}", file=sys.stderr)
                return 1
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0 if good else 1


def _play(folder: Path, database: str, centers: int, days: float) -> bool:
    clock = Clock(MONTH_END_MS - int(days * DAY_MS))
    with ground(folder, centers, database=database, at_ms=clock.now_ms - HOUR_MS) as made:
        process = made.processes.get("database")
        spent = Spent(process.pid if process else None)
        began_s, minutes = time.monotonic(), round(centers * days * 24 * 60)
        with opened(made.settings) as store:
            play = _week(made, store, clock, spent)
            print(f"\n{database}: {play.counts.batches} batches, {play.counts.taken} readings, "
                  f"{time.monotonic() - began_s:.0f} s")  # fmt: skip
            _close(store, made.settings, clock, spent)
            _sizes(store, made, minutes)
        print("| part | s of processor | ms a center-minute |\n|---|---|---|")
        for part, seconds in spent.seconds.items():
            print(f"| {part} | {seconds:.1f} | {1000 * seconds / minutes:.3f} |")
        started_s = time.monotonic()
        made.serve()
        print(f"starts on it and answers after {time.monotonic() - started_s:.1f} s")
        made.stop("collector")
        return _whole(made, play)


def _week(made: Ground, store: Store, clock: Clock, spent: Spent) -> Play:
    """The fleet's minutes until the month ends."""
    settings, standards = made.settings, read_standards(made.settings)
    key = load_or_make(settings.data_dir)
    fleet = {member.gateway.device: member.gateway for member in made.members}
    stage = Stage([gateway.center for gateway in fleet.values()], 1, clock.now_ms)
    play = Play(
        fleet=fleet, stage=stage, truth=Truth(StringIO()),
        collector_key=Ed25519PublicKey.from_public_bytes(made.collector_key),
    )  # fmt: skip
    play.begin(clock.now_ms)
    ingest = Ingest(store, key, judge_with(settings, standards))
    sweep = sweep_task(store, standards, lambda _codes: None, settings.sweep.gap_s, clock.read, clock.read)
    keeper = Housekeeping(store, settings, standards, clock.read)
    with Bar("of the week") as bar:
        from_ms = clock.now_ms
        while clock.now_ms < MONTH_END_MS:
            clock.now_ms += MINUTE_MS
            with spent.on("fleet (not Nabz's)"):
                play.measure(clock.now_ms)
            _send(play, ingest, clock, spent)
            with spent.on("sweep"):
                sweep()
            if not clock.now_ms % HOUR_MS:
                _hour(store, settings, keeper, clock, spent)
                bar.share((clock.now_ms - from_ms) / (MONTH_END_MS - from_ms))
    play.over = True
    while play.waiting():
        clock.now_ms += MINUTE_MS
        _send(play, ingest, clock, spent)
    return play


def _send(play: Play, ingest: Ingest, clock: Clock, spent: Spent) -> None:
    """Everybody's batches until nobody has one: a backlog is paced by the receipts."""
    now_s = clock.now_ms / 1000
    while True:
        with spent.on("fleet (not Nabz's)"):
            messages = []
            for device, gateway in play.fleet.items():
                center = gateway.center
                cut_off = play.stage.dark(center, clock.now_ms) or play.stage.offline(center, clock.now_ms)
                payload = None if cut_off and not play.over else gateway.next_batch(clock.now_ms, now_s)
                if payload is not None:
                    messages.append(Message(wire.batch_topic(device), payload))
            play.counts.batches += len(messages)
        if not messages:
            return
        for first in range(0, len(messages), GROUP):
            with spent.on("ingest"):
                taken = ingest.take(messages[first : first + GROUP], clock.now_ms)
            with spent.on("fleet (not Nabz's)"):
                for receipt in taken.receipts:
                    play.receive(receipt.topic.rpartition("/")[2], receipt.payload, clock.now_ms, now_s)


def _hour(store: Store, settings: Settings, keeper: Housekeeping, clock: Clock, spent: Spent) -> None:
    with spent.on("housekeeping and day sheets"):
        keeper.tick()
    with spent.on("archive"), Bar("archived") as bar:
        worked(store, settings, clock.now_ms, bar)


def _close(store: Store, settings: Settings, clock: Clock, spent: Spent) -> None:
    """The days that are left, and the month."""
    clock.now_ms = MONTH_END_MS + reopening.CLOSE_MS + HOUR_MS
    keeper = Housekeeping(store, settings, read_standards(settings), clock.read)
    for _ in range(4):
        clock.now_ms += HOUR_MS
        _hour(store, settings, keeper, clock, spent)
    with spent.on("closing of the month"):
        schedule.begin(store, read_standards(settings), clock.now_ms)
        clock.now_ms += reopening.SETTLE_MS
        while schedule.finish(store, read_standards(settings), clock.now_ms):
            pass


def _sizes(store: Store, made: Ground, minutes: int) -> None:
    """SQLite as one file, PostgreSQL by table."""
    archive, data = made.settings.archive_folder, made.settings.data_dir
    sizes = {
        "archive": sum(file.stat().st_size for file in archive.rglob("*") if file.is_file()),
        "database": sum(file.stat().st_size for file in data.glob("nabz.db*")),
    }
    with store.read() as conn:
        if conn.dialect.name == "postgresql":
            query = "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r'"
            sizes |= {str(name): int(size) for name, size in conn.execute(sa.text(query))}
    print("| part | kB | bytes a center-minute |\n|---|---|---|")
    for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:12]:
        print(f"| {name} | {size / 1000:.0f} | {size / minutes:.1f} |")
    print(f"| all | {sum(sizes.values()) / 1000:.0f} | {sum(sizes.values()) / minutes:.1f} |\n")


def _whole(made: Ground, play: Play) -> bool:
    """What was promised is in the tables or in the archive, said by the command that says so."""
    held = subprocess.run(
        [sys.executable, "-m", "collector", "evidence", "ids", "--json", *made.named],
        capture_output=True, check=True,
    ).stdout.count(b"\n")  # fmt: skip
    print(f"promised {play.counts.taken}, held {held}")
    return held == play.counts.taken
