"""`nabz-collector integrity`: where evidence does not fit, center by center: the list of visits in its order.

The score fails nobody. Each row has its reasons; the findings themselves are on the center's page and in its month.
"""

from __future__ import annotations

import argparse
import time

import msgspec

from collector.commands.console import answers, common_arguments, complain, say, settings_of
from collector.judging import score
from collector.store.database import existing

EXAMPLE = "nabz-collector integrity --month 2026-11"


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    parser.add_argument("--month", default="", metavar="YYYY-MM", help="default: this month by the centers' clock")
    parser.add_argument("--center", default="", metavar="CODE", help="of this center only")
    parser.add_argument("--least", type=float, default=0.0, metavar="POINTS", help="only scores of so many points")
    parser.add_argument("--json", action="store_true", help="one JSON object with the weights' name and digest")


@answers
def run(options: argparse.Namespace) -> int:
    month = options.month or score.month_of(time.time_ns() // 1_000_000)
    try:
        score.month_span(month)
    except ValueError:
        complain(f"month {month[:20]!r}: must be a year and a month; write e.g. 2026-01")
        return 2
    weights = score.shipped()
    with existing(settings_of(options)) as store, store.read() as conn:
        scores = [one for one in score.compute(conn, month, weights) if one.score >= options.least]
    scores = [one for one in scores if options.center in ("", one.center)]
    if options.json:
        rows = [{"center": one.center, "score": one.score, "reasons": one.reasons} for one in scores]
        facts = {"month": month, "weights": weights.id, "official": weights.official, "sha256": weights.digest}
        say(msgspec.json.encode(facts | {"visit_at": weights.visit_at, "centers": rows}).decode())
        return 0
    for one in scores:
        visit = "visit" if one.score >= weights.visit_at else ""
        reasons = ", ".join(f"{row.finding} {row.days} d {row.points:g}" for row in one.reasons)
        say(f"{one.center:<16} {one.score:>6.1f}  {visit:<5}  {reasons}")
    if not scores:
        say(f"{month}: nothing was found of any center")
    return 0
