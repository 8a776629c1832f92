"""The nation's months from day sheets: what making the sheets and closing the month cost.

A few centers are simulated and their days made into sheets by the collector's code; their sheets, under other names
and dates, then are those of the many, whose month is closed. Figures per sheet and per
center are measured; those of 10,000 centers are these multiplied, and say so.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from bench.ground.processes import GroundError, cost
from bench.ground.whole import DATABASES, Ground, ground
from bench.proof.month import DAY_MS, HOUR_MS, MONTH_END_MS, MonthPlay
from collector.judging import reopening
from collector.register import centers
from collector.reports import day_store, schedule
from collector.reports.day_sheets import APART, DaySheet, sheet_body, stored_sheet
from collector.run.settings import read_standards
from collector.standard import Standards
from collector.store import Store, bulk_insert, schema, upsert
from collector.store.database import opened

NATION = 10_000
MONTH_DAYS = 31
BEGIN_MS = MONTH_END_MS - MONTH_DAYS * DAY_MS  # of the month: nobody is enrolled before, so no other is closed
AT_ONCE = 50  # centers whose sheets are written in one transaction
SheetBody = tuple[int, bytes]  # when the day begins, and the sheet as it is stored
MS_NAMES = ("from_ms", "to_ms", "hour_ms")

d, c = schema.day_sheets.c, schema.centers.c


@dataclass
class Meter:
    """Processor seconds of this process, its children and the database's, and seconds by the clock."""

    database: int | None

    def __enter__(self) -> Meter:
        self._cpu, self._clock = self._read(), time.monotonic()
        return self

    def __exit__(self, *_error: object) -> None:
        self.cpu_s, self.clock_s = self._read() - self._cpu, time.monotonic() - self._clock

    def _read(self) -> float:
        return sum(os.times()[:4]) + (cost(self.database).cpu_s if self.database else 0.0)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--centers", type=int, default=1000, metavar="N", help="whose month is closed; default 1000")
    parser.add_argument("--simulated", type=int, default=4, metavar="N", help="centers; default 4")
    parser.add_argument("--days", type=float, default=2, metavar="N", help="that those are simulated; default 2")
    parser.add_argument("--databases", nargs="*", default=sorted(DATABASES), choices=sorted(DATABASES))


def run(options: argparse.Namespace) -> int:
    print_head()
    for database in options.databases:
        with tempfile.TemporaryDirectory() as folder:
            begin_ms = MONTH_END_MS - int(options.days * DAY_MS) - HOUR_MS
            try:
                with ground(Path(folder), options.simulated, database=database, at_ms=begin_ms) as made:
                    _nation(made, database, options)
            except GroundError as error:
                print(f"bench close: {error}", file=sys.stderr)
                return 1
    return 0


def _nation(made: Ground, database: str, options: argparse.Namespace) -> None:
    process = made.processes.get("database")
    meter = Meter(process.pid if process else None)
    standards = read_standards(made.settings)
    with opened(made.settings) as store:
        play = MonthPlay(made, store, options.days)
        play.measured()
        with meter:
            count = play.sheets_made()
        print_row(
            database, "day sheets made", count, meter, f"{count and NATION * meter.cpu_s / count:.0f} CPU s a day"
        )
        many = _cloned(store, options.centers, standards)
        schedule.begin(store, standards, play.now_ms)
        play.now_ms += reopening.SETTLE_MS
        with meter:
            while schedule.finish(store, standards, play.now_ms):
                pass
        share = NATION / max(1, many)
        whole = f"{share * meter.cpu_s / 60:.1f} CPU min, {share * meter.clock_s / 60:.1f} min on one core as it was"
        print_row(database, "months closed", many, meter, whole)


def print_head() -> None:
    print("| database | what | n | CPU s | CPU ms each | by the clock s | of 10,000 centers (multiplied) | load |")
    print("|---|---|---|---|---|---|---|---|")


def print_row(database: str, what: str, count: int, meter: Meter, whole: str) -> None:
    each_ms = 1000 * meter.cpu_s / max(1, count)
    print(f"| {database} | {what} | {count} | {meter.cpu_s:.1f} | {each_ms:.2f} | {meter.clock_s:.1f} | {whole} | "
          f"{os.getloadavg()[0]:.1f} |", flush=True)  # fmt: skip


# ---------------------------------------------------------------- the many


def _cloned(store: Store, count: int, standards: Standards) -> int:
    """Registers that many centers, all their days of the month from the sheets that are there; returns how many
    centers there are in all."""
    with store.read() as conn:
        found = conn.execute(sa.select(d.center, d.body).where(d.made_ms.is_not(None), d.day_ms < MONTH_END_MS)).all()
        owners = {row.center: row for row in conn.execute(sa.select(schema.devices))}
        known = {row.code: row for row in centers.all_centers(conn)}
        rows = {row["center"]: dict(row) for row in conn.execute(sa.select(schema.centers)).mappings()}
    sheets: dict[str, list[DaySheet]] = {code: [] for code in known}
    for row in found:
        sheet = stored_sheet(row.body)
        if sheet is not None and any(sheet.minutes.values()):
            sheets[row.center].append(sheet)
    months = {code: _month_of(some, standards) for code, some in sheets.items() if some and code in owners}
    whole = list(months)
    for first in range(0, count, AT_ONCE):
        with store.keep() as conn:
            for number in range(first, min(count, first + AT_ONCE)):
                _clone(conn, number, whole[number % len(whole)], rows, owners, months)
    with store.keep() as conn:
        upsert(conn, schema.about, [{"name": day_store.SHEETS_UNTIL, "value": str(MONTH_END_MS + DAY_MS)}])
    return count + len(whole)


def _clone(
    conn: sa.Connection, number: int, source: str, rows: dict[str, dict[str, Any]], owners: dict[str, Any],
    months: dict[str, list[SheetBody]],
) -> None:  # fmt: skip
    code = f"X-{number:05}"
    bulk_insert(conn, schema.centers, [{**rows[source], "center": code}])
    device = {**owners[source]._mapping, "center": code, "device": f"g{number:016x}", "enrolled_ms": BEGIN_MS}
    bulk_insert(conn, schema.devices, [device])
    bulk_insert(conn, schema.day_sheets, list(_days(source, code, months[source])))


def _month_of(some: Sequence[DaySheet], standards: Standards) -> list[SheetBody]:
    """A sheet for each day of the month, under its source's name."""
    found = []
    for number in range(MONTH_DAYS):
        sheet = some[number % len(some)]
        day_ms = MONTH_END_MS - (MONTH_DAYS - number) * DAY_MS
        held = tuple(version.digest for version in standards.within(day_ms, day_ms + DAY_MS).versions)
        moved = _moved(msgspec.to_builtins(sheet), day_ms - sheet.from_ms) | {"standards": held}
        found.append((day_ms, sheet_body(msgspec.convert(moved, DaySheet))))
    return found


def _days(source: str, code: str, month: Sequence[SheetBody]) -> Iterator[dict[str, object]]:
    for day_ms, body in month:
        renamed = _renamed(body, source, code)
        yield {"center": code, "day_ms": day_ms, "marks": 0, "made_ms": day_ms + 2 * DAY_MS, "body": renamed}


def _renamed(body: bytes, source: str, code: str) -> bytes:
    """The sheet of another center: of the parts of its body (`sheet_body`) the last alone says whose it is."""
    assert body.startswith(APART)
    lengths = len(APART), len(APART) + 4, len(APART) + 8
    last = lengths[2] + sum(int.from_bytes(body[at : at + 4], "little") for at in lengths[:2])
    tail = zlib.decompress(body[last:]).replace(f'"center":"{source}"'.encode(), f'"center":"{code}"'.encode(), 1)
    return body[:last] + zlib.compress(tail)


def _moved(value: Any, by_ms: int) -> Any:
    """Every time within it, so much later."""
    if isinstance(value, dict):
        return {name: part + by_ms if name in MS_NAMES and isinstance(part, int) else _moved(part, by_ms)
                for name, part in value.items()}  # fmt: skip
    return [_moved(part, by_ms) for part in value] if isinstance(value, list | tuple) else value
