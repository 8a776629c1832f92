"""`nabz-collector scale`: what so many centers need of machines, by figures that were measured."""

from __future__ import annotations

import argparse
import dataclasses

from collector.commands.console import answers, form_arguments, say_rows
from collector.commands.simulation import scale
from collector.common.config import ConfigError

EXAMPLE = "nabz-collector scale --centers 10000 --disk-price-rupees-gb 30"
STEPS = (1, 100, 1_000, 10_000, 100_000)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--centers", type=int, metavar="N", help=f"how many (default: a row each of {STEPS})")
    parser.add_argument(
        "--disk-price-rupees-gb", type=float, default=30.0, metavar="X", help="of a GB of disk (default 30; ours)"
    )
    parser.add_argument("--hot-days", type=float, default=2.0, metavar="D", help="days in the tables (default 2)")
    parser.add_argument("--copies", type=int, default=2, metavar="N", help="of everything on disk (default 2)")
    form_arguments(parser)


@answers
def run(options: argparse.Namespace) -> int:
    given = {"--centers": options.centers, "--copies": options.copies, "--hot-days": options.hot_days}
    for name, value in given.items():
        if value is not None and not 0 < value <= 10_000_000:
            raise ConfigError(f"{name} {value}: must be above 0 and at most 10,000,000; give such a number")
    if not 0 <= options.disk_price_rupees_gb <= 10_000_000:
        raise ConfigError("--disk-price-rupees-gb: must be from 0 to 10,000,000; give such a number")
    numbers = STEPS if options.centers is None else (options.centers,)
    plans = [
        scale.plan(number, options.disk_price_rupees_gb, hot_days=options.hot_days, copies=options.copies)
        for number in numbers
    ]
    rows = [dataclasses.asdict(item) for item in plans]
    say_rows(options, list(rows[0]), rows)
    return 0
