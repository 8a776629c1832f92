"""`nabz-collector flag`: what centers are below now."""

from __future__ import annotations

import argparse

from collector.commands.console import (
    answers,
    common_arguments,
    form_arguments,
    say_rows,
    scope_arguments,
    scope_of,
    settings_of,
)
from collector.desk.alerts import lists
from collector.store.database import existing

EXAMPLE = "nabz-collector flag list --state raised --csv > flags.csv"
EXAMPLES = {"list": "--state raised --province Sindh --csv"}


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    shown = verbs.add_parser("list", help="flags of all centers, those that changed last first")
    shown.add_argument("--state", choices=lists.FLAG_STATES, default="raised", help="default: raised")
    shown.add_argument("--center", default="", metavar="CODE", help="only those of this center")
    scope_arguments(shown)
    form_arguments(shown)
    common_arguments(shown)


@answers
def run(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        rows = lists.flags(conn, state=options.state, center=options.center, scope=scope_of(options))
    say_rows(options, lists.FLAGS, rows)
    return 0
