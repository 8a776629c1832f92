"""What sums of hours save a chart of days, at fleet width: the same question before they are made and after."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

from collector.store import Store, bulk_insert, queries, schema
from collector.store.months import ahead
from collector.store.rollups import DAY_MS, HOUR_MS, SETTLE_MS, roll

END_MS = 1_795_000_000_000 // HOUR_MS * HOUR_MS
MINUTE_MS = 60_000


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--database", metavar="URL", help="an empty one (default: an SQLite file in a new folder)")
    parser.add_argument("--centers", type=int, default=1000, help="default: 1000")
    parser.add_argument("--days", type=int, default=4, help="of a reading a minute (default: 4)")
    parser.add_argument("--charts", type=int, default=11, help="asked before and after (default: 11)")


def run(options: argparse.Namespace) -> int:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        store = stack.enter_context(closing(Store.open(options.database or f"sqlite:///{folder}/nabz.db")))
        fill(store, options.centers, options.days)

        def ask(number: int) -> None:
            with store.read() as conn:
                code, from_ms = f"C-{number % options.centers:05}", END_MS - options.days * DAY_MS
                queries.series(conn, "link", code, from_ms, END_MS, ["rtt_median_ms", "loss_pct"], 400)

        before = timed(ask, options.charts)
        hours = timed(lambda _turn: roll(store, END_MS + SETTLE_MS, 1), 24 * options.days)
        after = timed(ask, options.charts)
    load = round(os.getloadavg()[0], 1)
    print(json.dumps({"chart_before": before, "hour_summed": hours, "chart_after": after, "load": load}))
    return 0


def fill(store: Store, centers: int, days: int) -> None:
    """A link reading a minute of each center."""
    from_ms = END_MS - days * DAY_MS
    with store.keep() as conn:
        ahead(conn, from_ms)
        ahead(conn, END_MS)
    values = {"subject": "wan", "rtt_median_ms": 20.5, "rtt_p95_ms": 40.0, "jitter_ms": 1.5, "loss_pct": 0.0}
    for minute in range(days * 1440):
        at_ms = from_ms + minute * MINUTE_MS
        known = {"wall_ms": at_ms, "device": "g1", "spool": "s", "seq": minute, "received_ms": at_ms} | values
        with store.write(beside=True) as conn:
            bulk_insert(conn, schema.readings["link"], [known | {"center": f"C-{n:05}"} for n in range(centers)])


def timed(work: Callable[[int], object], times: int) -> dict[str, float]:
    """n, median and worst in milliseconds."""
    spent = []
    for turn in range(times):
        began_s = time.perf_counter()
        work(turn)
        spent.append(1000 * (time.perf_counter() - began_s))
    return {"n": times, "median_ms": round(statistics.median(spent), 1), "worst_ms": round(max(spent), 1)}
