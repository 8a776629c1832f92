"""What a live batch and the list of centers cost as the fleet and its history grow, in one run.

For each number of centers: live minutes through ingest and the first page of the list; then history is laid under it,
copies of the very rows at earlier times in spools of other names, and both are measured again; then, with
`--archive-days`, the record of what lies in the archive's files, one row a center and day, and once more.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.fleet.live import WARM_UP, Spent, enrolled, minute_of, take_minute
from bench.ground.processes import now_ms
from bench.ground.whole import DATABASES
from bench.pages.pages import timed
from collector.commands.simulation.gateway import Gateway
from collector.commands.simulation.readings import MINUTE_MS
from collector.common.config import Settings
from collector.ingest.transaction import Ingest
from collector.ingest.workers import judge_with
from collector.judging.current import ranks_now
from collector.run.settings import read_standards
from collector.standard import Standards
from collector.store import Store, bulk_insert, center_states, schema
from collector.store.queries import Filter
from collector.store.rollups import DAY_MS, day_of

GROUP = 50
COPY_MS = 30 * MINUTE_MS  # between two copies: more than the minutes that are measured
SPOOL_HEAD = 26  # characters that a copy keeps of a spool's name
DAY_READINGS = 4 * 24 * 60


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--centers", type=int, nargs="*", default=[100, 1_000, 10_000], help="100, 1,000 and 10,000")
    parser.add_argument("--readings", type=float, default=5.0, metavar="M", help="millions of history (default 5)")
    parser.add_argument("--archive-days", type=int, default=0, metavar="N", help="on record besides (default 0)")
    parser.add_argument("--batches", type=int, default=2_000, metavar="N", help="measured at least (default 2,000)")
    parser.add_argument("--databases", nargs="*", default=sorted(DATABASES), choices=sorted(DATABASES))


def run(options: argparse.Namespace) -> int:
    print(f"load {os.getloadavg()[0]:.1f}; ms of CPU a live batch in groups of {GROUP}, and of the list's first page")
    columns = (
        "centers",
        "readings",
        "archived center-days",
        "batch",
        "in its best group",
        "database",
        "page",
        "database",
    )
    print("| database | " + " | ".join(columns) + " |")
    print("|---" * 9 + "|")
    for database in options.databases:
        for count in options.centers:
            with play(database, count) as stage:
                stage.tell(options.batches)
                stage.lay_history(round(options.readings * 1_000_000))
                stage.tell(options.batches)
                if options.archive_days:
                    stage.lay_archive(options.archive_days)
                    stage.tell(options.batches)
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0


@dataclass
class Play:
    """One fleet and its database; `pid` is PostgreSQL's."""

    database: str
    store: Store
    ingest: Ingest
    gateways: list[Gateway]
    standards: Standards
    pid: int | None
    began_ms: int
    at_ms: int
    archived_center_days: int = 0

    def minute(self, spent: Spent) -> None:
        self.at_ms += MINUTE_MS
        messages = minute_of(self.gateways, self.at_ms, self.at_ms - 60 * MINUTE_MS)
        take_minute(self.ingest, messages, self.at_ms + 2_000, GROUP, spent, self.pid, None)

    def tell(self, batches: int) -> None:
        spent = Spent()
        while spent.batches < batches:
            self.minute(spent)
        page = timed(self.store, self.first_page(), 30)
        own, other = (1000 * part_s / spent.batches for part_s in (spent.own_s, spent.database_s))
        print(
            f"| {self.database} | {len(self.gateways)} | {self.held()} | {self.archived_center_days} | {own:.3f} | "
            f"{min(spent.batch_ms):.3f} | {other:.3f} | {page['own_ms']} | {page['database_ms']} |",
            flush=True,
        )

    def first_page(self) -> Callable[[sa.Connection], object]:
        with self.store.write() as conn:
            ranks = ranks_now(conn, self.standards, self.at_ms)
            center_states.settle(conn, ranks, self.at_ms)

        def ask(conn: sa.Connection) -> object:
            wanted = Filter()
            counts = center_states.counts(conn, ranks, wanted)
            return counts, center_states.page(conn, ranks, wanted, self.at_ms, limit=200)

        return ask

    def held(self) -> int:
        with self.store.read() as conn:
            counts = (sa.select(sa.func.count()).select_from(table) for table in schema.readings.values())
            return sum(int(conn.scalar(query) or 0) for query in counts)

    def lay_history(self, readings: int) -> None:
        present = self.held()
        with self.store.read() as conn:
            newest_id = int(conn.scalar(sa.select(sa.func.max(schema.evidence.c.id))) or 0)
        for number in range(1, (readings - present) // present + 1):
            with self.store.write() as conn:
                copy_rows(conn, schema.evidence, number, schema.evidence.c.id <= newest_id)
                for table in schema.readings.values():
                    copy_rows(conn, table, number, table.c.wall_ms > self.began_ms)
        if self.store.parted:
            self.store.outside("ANALYZE")

    def lay_archive(self, days: int) -> None:
        """As if each of the last days had been packed: what ingest and pages read of the archive is its record."""
        today_ms = day_of(self.at_ms)
        for number in range(1, days + 1):
            day_ms, part = today_ms - number * DAY_MS, f"{number:012x}"
            rows = [
                {
                    "center": gateway.center.code, "day_ms": day_ms, "device": gateway.device, "part": part,
                    "spool": f"{gateway.spool[:SPOOL_HEAD]}-old", "first_seq": (days - number) * DAY_READINGS + 1,
                    "last_seq": (days - number + 1) * DAY_READINGS, "from_ms": day_ms, "to_ms": day_ms + DAY_MS - 1,
                    "batches": DAY_READINGS // 4, "readings": DAY_READINGS,
                }
                for gateway in self.gateways
            ]  # fmt: skip
            with self.store.write() as conn:
                made = {"part": part, "day_ms": day_ms, "made_ms": self.at_ms, "files": "{}", "centers": len(rows)}
                bulk_insert(conn, schema.archive_parts, [made])
                bulk_insert(conn, schema.archived, rows)
            self.archived_center_days += len(rows)
        if self.store.parted:
            self.store.outside("ANALYZE")


def copy_rows(conn: sa.Connection, table: sa.Table, number: int, mine: sa.ColumnElement[bool]) -> None:
    """The rows that came by themselves (`mine`) once more, in spools named after this number."""
    spool, shift_ms = table.c.spool, number * COPY_MS
    found: dict[str, sa.ColumnElement[Any]] = {
        column.name: column - shift_ms if column.name in ("wall_ms", "received_ms") else column
        for column in table.c
        if column.name != "id"
    }
    found["spool"] = sa.func.substr(spool, 1, SPOOL_HEAD, type_=sa.String) + f"-{number:05}"
    conn.execute(sa.insert(table).from_select(list(found), sa.select(*found.values()).where(mine)))


@contextmanager
def play(database: str, count: int) -> Iterator[Play]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        with DATABASES[database](folder) as (url, process), closing(Store.open(url)) as store:
            settings = Settings.model_validate({"collector": {"data_dir": str(folder / "data")}})
            standards = read_standards(settings)
            ingest = Ingest(store, Ed25519PrivateKey.generate(), judge_with(settings, standards))
            pid = process.pid if process else None
            made = Play(database, store, ingest, enrolled(store, count), standards, pid, now_ms(), now_ms())
            for _ in range(WARM_UP):
                made.minute(Spent())
            yield made
