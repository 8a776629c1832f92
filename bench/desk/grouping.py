"""What incidents cost a minute: seconds of CPU of this process and of the database, in quiet and in a national outage.

Quiet: a few centers in trouble each by itself. The outage: all centers but one in ten go dark within some minutes, and
come back within as many; each minute is one transaction of what moved, and one look at all that is open. Rows of
flags and of times heard are written beside, and do not count.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from agent.common.reasons import Reason, encode
from bench.desk.causes import BEGINS_MS, standards
from bench.desk.truth import MINUTE_MS
from bench.desk.year import registered
from bench.ground.processes import cost
from bench.ground.whole import DATABASES
from collector.commands.simulation.fleet import make_fleet
from collector.desk import follow, settle, tables
from collector.store import Store, schema, upsert

NOON_MS = BEGINS_MS + 12 * 60 * MINUTE_MS
SILENT_MIN = 15
KEPT_ON = 10  # of so many centers one is never dark: else the collector would be called deaf
BELOW = encode(Reason("change.below_at_once", {"found": Reason("verdict.above", {"value": 900.0, "bound": 900.0})}))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--centers", type=int, default=10_000, metavar="N", help="of the register (default 10000)")
    parser.add_argument("--alone", type=int, default=40, metavar="N", help="in trouble in quiet times (default 40)")
    parser.add_argument("--waves", type=int, default=5, metavar="N", help="minutes in which all go dark (default 5)")
    parser.add_argument("--minutes", type=int, default=10, metavar="N", help="of quiet, and of darkness (default 10)")
    parser.add_argument("--databases", nargs="*", default=sorted(DATABASES), choices=sorted(DATABASES))


def run(options: argparse.Namespace) -> int:
    print(f"{options.centers} centers; s of CPU a minute, collector + database; load {os.getloadavg()[0]:.1f}")
    print("| database | time | minutes | median | longest | incidents |\n" + "|---" * 6 + "|")
    for database in options.databases:
        with tempfile.TemporaryDirectory(prefix="nabz-bench-") as name:
            folder = Path(name)
            (folder / "data").mkdir()
            with DATABASES[database](folder) as (url, process), closing(Store.open(url)) as store:
                play = Minutes(store, process.pid if process else None, options.centers)
                for when, spent in play.all(options):
                    figures = f"{statistics.median(spent):.2f} | {max(spent):.2f} | {play.living()}"
                    print(f"| {database} | {when} | {len(spent)} | {figures} |", flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0


@dataclass
class Minutes:
    """A desk and its clock."""

    store: Store
    database: int | None
    count: int
    now_ms: int = NOON_MS
    dark: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.standards = standards()
        fleet = make_fleet(self.count, 1)
        self.codes = [center.code for center in fleet]
        with self.store.write() as conn:
            upsert(conn, schema.centers, [registered(center).row() for center in fleet])
        self.heard(self.codes)

    def all(self, options: argparse.Namespace) -> Iterator[tuple[str, list[float]]]:
        alone = self.codes[: options.alone]
        away = [code for number, code in enumerate(self.codes[options.alone :]) if number % KEPT_ON]
        waves = [away[first :: options.waves] for first in range(options.waves)]
        for code in alone:  # one after the other: neighbours by chance only
            self.now_ms += 11 * MINUTE_MS
            self.minute([code], "raised")
        yield "quiet", [self.minute((), "raised") for _ in range(options.minutes)]
        yield "all go dark", [self.minute(wave, "raised") for wave in waves]
        yield "all are dark", [self.minute((), "raised") for _ in range(options.minutes)]
        yield "all come back", [self.minute(wave, "clear") for wave in waves]

    def minute(self, moved: Sequence[str], now: str) -> float:
        """Seconds of CPU."""
        self.now_ms += MINUTE_MS
        self.dark = self.dark | set(moved) if now == "raised" else self.dark - set(moved)
        self.heard([code for code in self.codes if code not in self.dark])
        self.heard(moved, SILENT_MIN if now == "raised" else 0)
        with self.store.write() as conn:
            if moved:
                conn.execute(sa.insert(schema.changes), [self._row(code, now) for code in moved])
        return self._cost(follow.follow) + self._cost(settle.settle)

    def _cost(self, act: Callable[..., int]) -> float:
        before_s = time.process_time() + self._database_s()
        with self.store.write() as conn:
            act(conn, self.standards, self.now_ms)
        return time.process_time() + self._database_s() - before_s

    def _database_s(self) -> float:
        return cost(self.database).cpu_s if self.database else 0.0

    def heard(self, codes: Sequence[str], ago_min: int = 0) -> None:
        heard_ms = self.now_ms - ago_min * MINUTE_MS
        shared = {"device": "g", "first_ms": NOON_MS, "heard_ms": heard_ms, "due_ms": heard_ms + 15 * MINUTE_MS}
        with self.store.write() as conn:
            upsert(conn, schema.pulse, [{"center": code, **shared} for code in codes])

    def living(self) -> int:
        with self.store.read() as conn:
            return sum(one.is_open for one in tables.some(conn, sa.true()))

    def _row(self, code: str, now: str) -> dict[str, object]:
        was = "clear" if now == "raised" else "raised"
        about = {"center": code, "criterion": "presence.silent", "subject": "", "was": was, "now": now}
        times = {"at_ms": self.now_ms, "recorded_ms": self.now_ms}
        figures = {"value": 900.0, "bound": 900.0, "reason": BELOW, "standard": self.standards.versions[0].id}
        return {**about, **times, **figures}
