"""`nabz-collector alert`: the messages that were sent, or wait."""

from __future__ import annotations

import argparse

from collector.alerts import lists
from collector.commands.console import answers, common_arguments, form_arguments, say_rows, settings_of
from collector.database import existing

EXAMPLE = "nabz-collector alert list --incident 12"
EXAMPLES = {"list": "--state failed --json"}
SHOWN = ("id", "incident", "channel", "person", "state", "attempts", "title", "problem")


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    shown = verbs.add_parser("list", help="messages, the newest first")
    shown.add_argument("--state", choices=lists.ALERT_STATES, default="all", help="default: all")
    shown.add_argument("--channel", default="", metavar="NAME", help="only those of this channel")
    shown.add_argument("--incident", type=int, default=0, metavar="INCIDENT", help="only those about this incident")
    shown.add_argument("--limit", type=int, default=200, metavar="NUMBER", help="at most so many (default: 200)")
    form_arguments(shown)
    common_arguments(shown)


@answers
def run(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        rows = lists.alerts(
            conn, state=options.state, channel=options.channel, incident=options.incident, limit=max(1, options.limit)
        )
    say_rows(options, lists.ALERTS, rows, SHOWN)
    return 0
