"""`nabz-collector job`: what one process does at a time, whichever machine it is on."""

from __future__ import annotations

import argparse
import dataclasses

from collector.commands.console import answers, clock_ms, common_arguments, form_arguments, say_rows, settings_of
from collector.store.database import existing
from collector.store.jobs import rows

EXAMPLE = "nabz-collector job list"
EXAMPLES = {"list": ""}
COLUMNS = ("name", "holder", "age_ms", "took_ms", "failures", "backlog", "oldest_ms", "error")


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listed = verbs.add_parser("list", help="each job: who does it, how it went, what waits")
    common_arguments(listed)
    form_arguments(listed)


@answers
def run(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        jobs = rows.rows(conn, clock_ms())
    say_rows(options, COLUMNS, [dataclasses.asdict(row) for row in jobs])
    return 0
