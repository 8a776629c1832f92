"""Whether incidents are the true causes: a year of a fleet with a scripted truth, through the collector's own judging,
grouping and messages.

Quotes incidents per true cause (1.0 is right), causes named right, false incidents and missed causes. A cut that every
UPS carried, with its lines, hurt nobody and is no cause that anybody must hear of.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import sqlalchemy as sa

from agent.common.center_time import TZ
from bench.desk.truth import DAY_MS, FAMILIES, MINUTE_MS, NAMES, Kind, TrueCause, has_weak_line, script
from bench.desk.year import CUTS, LOW_PCT, Year
from collector.commands.simulation.fleet import SimulatedCenter, make_fleet
from collector.desk import causes, tables
from collector.desk.incident import Incident
from collector.register import opening_hours
from collector.standard import Standards, example, examples
from collector.store import Store

BEGINS_MS = 1_798_743_600_000  # 2027-01-01 00:00 in Karachi
SILENT_MS = 16 * MINUTE_MS
WORN_MS = 70 * MINUTE_MS  # a short backup time is a flag after an hour
EARLY_MS, LATE_MS = 2 * MINUTE_MS, 30 * MINUTE_MS  # a center joins an incident of its trouble within these


@dataclass
class Score:
    """Of one kind of cause. `named` of `nameable` incidents have the right cause."""

    true: int = 0
    missed: int = 0
    incidents: int = 0
    named: int = 0
    nameable: int = 0
    wrong: Counter[str] = field(default_factory=Counter)

    @property
    def cells(self) -> str:
        seen = self.true - self.missed
        per_cause = f"{self.incidents / seen:.2f}" if seen else "–"
        named = f"{100 * self.named / self.nameable:.1f}" if self.nameable else "–"
        wrong = ", ".join(f"{name} {n}" for name, n in self.wrong.most_common(4))
        return f"{self.true} | {self.missed} | {self.incidents} | {per_cause} | {named} | {wrong}"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=int, default=365, metavar="N", help="how long (default 365)")
    parser.add_argument("--centers", type=int, default=1000, metavar="N", help="how many (default 1000)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="another script (default 1)")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="some of what was wrong")


def run(options: argparse.Namespace) -> int:
    shm = Path("/dev/shm")
    began_s, cpu_s = time.monotonic(), time.process_time()
    year, found = played(options.centers, options.days, options.seed, shm if shm.is_dir() else None)
    lasted = f"{time.process_time() - cpu_s:.0f} s of CPU, {time.monotonic() - began_s:.0f} s, load "
    print(f"{options.centers} centers, {options.days} days, {year.played} minutes played\n{found.report()}")
    print(f"{year.messages} messages; {lasted}{os.getloadavg()[0]:.1f}")
    for remark in random.Random(1).sample(found.remarks, min(options.show, len(found.remarks))):
        print(remark)
    return 0


def played(centers: int, days: int, seed: int, folder: Path | None = None) -> tuple[Year, Findings]:
    """The year as it went, and what it comes to."""
    fleet = make_fleet(centers, 1)
    truth = script(fleet, days, seed, BEGINS_MS)
    with tempfile.TemporaryDirectory(dir=folder) as place, closing(Store.open(f"sqlite:///{place}/nabz.db")) as store:
        year = Year(store, standards(), fleet)
        progress = Progress(days)
        for now_ms in year.plays(truth):
            progress.at((now_ms - BEGINS_MS) / DAY_MS)
        with store.read() as conn:
            return year, Findings(conn, truth)


@dataclass
class Progress:
    """A line every tenth of the way; on a terminal one that changes all the time. Of a test of a few days, none."""

    days: int
    shown: float = 0.0
    began_s: float = field(default_factory=time.monotonic)

    def at(self, day: float) -> None:
        text = f"day {day:.1f} of {self.days}, {time.monotonic() - self.began_s:.0f} s"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{text} ")
        elif day - self.shown >= max(5.0, self.days / 10):
            self.shown = day
            sys.stderr.write(f"{text}\n")


def standards() -> Standards:
    """The shipped example's newest figures, as if they had always held."""
    return Standards.of([replace(example(), valid_from_ms=examples()[0].valid_from_ms)])


def is_felt(cause: TrueCause) -> bool:
    """Whether a center goes low or silent while it is open, silent for long enough to be judged so."""
    return any(_is_felt_at(center, cause) for center in cause.centers)


def _is_felt_at(center: SimulatedCenter, cause: TrueCause) -> bool:
    hours = opening_hours.parse(center.opening, TZ)
    if cause.kind not in CUTS or has_weak_line(center):
        felt_ms = WORN_MS if cause.kind == "battery" else SILENT_MS
        return opening_hours.open_ms(hours, cause.from_ms, cause.to_ms) > felt_ms
    low_ms = cause.from_ms + round(center.autonomy_s * (1000 - 10 * LOW_PCT)) + 2 * MINUTE_MS
    return opening_hours.open_ms(hours, low_ms, max(low_ms, cause.to_ms)) > 0


class Findings:
    """Each incident held against the truth."""

    def __init__(self, conn: sa.Connection, truth: Sequence[TrueCause]) -> None:
        self.scores: dict[Kind, Score] = defaultdict(Score)
        self.false: list[Incident] = []
        self.members, self.strangers = 0, 0  # centers of incidents, and those that the incident's cause did not hit
        self.remarks: list[str] = []
        self._by_center: dict[str, list[TrueCause]] = defaultdict(list)
        for cause in truth:
            for center in cause.centers:
                self._by_center[center.code].append(cause)
        seen = Counter[int]()
        for incident in tables.some(conn, sa.true()):
            if incident.state != "merged" and (held := self._held(conn, incident)) is not None:
                seen[id(held)] += 1
        for cause in truth:
            if is_felt(cause):
                self.scores[cause.kind].true += 1
                self.scores[cause.kind].missed += not seen[id(cause)]
                if seen[id(cause)] != 1:
                    self.remarks.append(f"{seen[id(cause)]} incidents of {_about(cause)}")

    def _held(self, conn: sa.Connection, incident: Incident) -> TrueCause | None:
        """The true cause of most of its centers; it is noted what the incident says of it."""
        joined = {one.center: one.joined_ms for one in tables.members(conn, [incident.id], now=False)[::-1]}
        counts = Counter(
            cause
            for code, at_ms in joined.items()
            for cause in self._by_center[code]
            if cause.from_ms - EARLY_MS <= at_ms <= cause.to_ms + LATE_MS
        )
        if not counts:
            self.false.append(incident)
            self.remarks.append(f"false: {incident.scope} {incident.place} {incident.family} {incident.cause[:120]}")
            return None
        cause = counts.most_common(1)[0][0]
        self._count_strangers(incident, joined, cause)
        score, named = self.scores[cause.kind], causes.of(incident)
        score.incidents += 1
        if NAMES[cause.kind]:
            name = named.name if named else "none"
            is_right = name in NAMES[cause.kind]
            score.nameable += 1
            score.named += is_right
            score.wrong.update([] if is_right else [name])
            if not is_right:
                self.remarks.append(
                    f"{name} ({incident.scope} {incident.place}, {incident.centers}) of {_about(cause)}"
                )
        elif incident.family not in FAMILIES[cause.kind]:
            score.wrong[f"family {incident.family}"] += 1
        return cause

    def _count_strangers(self, incident: Incident, joined: Mapping[str, int], cause: TrueCause) -> None:
        hit = {center.code for center in cause.centers}
        strangers = sorted(set(joined) - hit)
        self.members += len(joined)
        self.strangers += len(strangers)
        if strangers:
            about = f"{incident.scope} {incident.place} of {_about(cause)}"
            self.remarks.append(f"{len(strangers)} strangers in {about}: {' '.join(strangers[:5])}")

    def report(self) -> str:
        rows = [f"| {kind} | {score.cells} |" for kind, score in sorted(self.scores.items())]
        whole = Score()
        for score in self.scores.values():
            for name in ("true", "missed", "incidents", "named", "nameable"):
                setattr(whole, name, getattr(whole, name) + getattr(score, name))
        head = "| cause | true | missed | incidents | a cause | named right % | named wrong |\n" + "|---" * 7 + "|\n"
        wrong = f"{self.strangers} of {self.members} centers of incidents were not hit by the cause"
        table = "\n".join([*rows, f"| all | {whole.cells} |"])
        return f"{head}{table}\nfalse incidents: {len(self.false)}; {wrong}"


def _about(cause: TrueCause) -> str:
    return f"{cause.kind} {cause.place}: {len(cause.centers)} centers, {(cause.to_ms - cause.from_ms) // MINUTE_MS} min"
