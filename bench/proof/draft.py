"""A draft of a standard over a nation's past days: what it costs at full size, processor and clock.

A few centers are simulated and their days made into sheets by the collector's code; each of the many has their sheets,
under its own name, on each of its days. The draft asks a tenth more of every figure, so every value is looked at.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.ground.processes import GroundError
from bench.ground.whole import DATABASES, Ground, ground
from bench.proof.close import NATION, Meter, print_head, print_row
from bench.proof.month import DAY_MS, HOUR_MS, MONTH_END_MS, MonthPlay
from collector.reports.audit.trial.draft import DraftQuestion
from collector.reports.audit.trial.processes import at_url, trial
from collector.reports.day_sheets import stored_sheet
from collector.run.settings import read_standards
from collector.standard import Standard
from collector.store import Store, bulk_insert, schema
from collector.store.database import opened

AT_ONCE = 100  # centers that are written in one transaction

d, c = schema.day_sheets.c, schema.centers.c


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--centers", type=int, default=NATION, metavar="N", help=f"default {NATION}")
    parser.add_argument("--days", type=int, default=90, metavar="N", help="over which it is tried; default 90")
    parser.add_argument("--databases", nargs="*", default=["sqlite"], choices=sorted(DATABASES))


def run(options: argparse.Namespace) -> int:
    print_head()
    for database in options.databases:
        with tempfile.TemporaryDirectory() as folder:
            try:
                begin_ms = MONTH_END_MS - DAY_MS - HOUR_MS
                with ground(Path(folder), 4, database=database, at_ms=begin_ms) as made:
                    _tried(made, database, options)
            except GroundError as error:
                print(f"bench draft: {error}", file=sys.stderr)
                return 1
    return 0


def _tried(made: Ground, database: str, options: argparse.Namespace) -> None:
    process = made.processes.get("database")
    meter, standards = Meter(process.pid if process else None), read_standards(made.settings)
    held = standards.at(MONTH_END_MS - 1)
    assert held is not None
    with opened(made.settings) as store:
        play = MonthPlay(made, store, 1)
        play.measured()
        play.sheets_made()
        _multiply(store, options.centers, options.days)
        url = store.url.render_as_string(hide_password=False)
    question = DraftQuestion(held, harder(held), (MONTH_END_MS - options.days * DAY_MS, MONTH_END_MS))
    with meter:
        found = trial(partial(at_url, url), question, lambda _share: None)
    share = NATION * 90 / max(1, found.sheets)
    whole = f"{share * meter.cpu_s:.0f} CPU s, {share * meter.clock_s:.0f} s over 90 days"
    print_row(database, f"a draft tried, {len(found.changed)} changed", found.sheets, meter, whole)


def harder(held: Standard) -> Standard:
    """Asks a tenth more of all that is measured against a figure."""

    def more(criterion: Any) -> Any:
        if criterion.figure is None:
            return criterion
        factor = 1.1 if criterion.compare == "at_least" else 0.9
        by_tier = {tier: value * factor for tier, value in criterion.figure.by_tier.items()}
        return replace(criterion, figure=replace(criterion.figure, by_tier=by_tier))

    return replace(held, id="draft", criteria=tuple(map(more, held.criteria)))


def _multiply(store: Store, centers: int, days: int) -> None:
    """So many centers with so many days, each with one of the sheets that are there."""
    with store.read() as conn:
        row = dict(conn.execute(sa.select(schema.centers).limit(1)).mappings().one())
        bodies = [bytes(body) for body in conn.scalars(sa.select(d.body).where(d.made_ms.is_not(None)))]
    whole = itertools.cycle(body for body in bodies if _has_minutes(body))
    for first in range(0, centers, AT_ONCE):
        codes = [f"X-{number:05}" for number in range(first, min(centers, first + AT_ONCE))]
        with store.keep() as conn:
            bulk_insert(conn, schema.centers, [row | {"center": code} for code in codes])
            bulk_insert(conn, schema.day_sheets, list(_days(codes, days, whole)))


def _has_minutes(body: bytes) -> bool:
    sheet = stored_sheet(body)
    return sheet is not None and sheet.minutes["up"] > 0


def _days(codes: list[str], days: int, bodies: Iterator[bytes]) -> Iterator[dict[str, object]]:
    for code, number in itertools.product(codes, range(days)):
        day_ms = MONTH_END_MS - (days - number) * DAY_MS
        yield {"center": code, "day_ms": day_ms, "marks": 0, "made_ms": day_ms + 2 * DAY_MS, "body": next(bodies)}
