"""`nabz-collector alert`: the messages that were sent, or wait."""

from __future__ import annotations

import argparse
import json
from typing import Any

from agent.common.words import plain
from collector.acts import channels as acts
from collector.commands.console import (
    answers,
    common_arguments,
    complain,
    form_arguments,
    say,
    say_rows,
    settings_of,
    who,
    who_argument,
)
from collector.desk.alerts import lists
from collector.desk.routing.plans import RoutingError
from collector.store.database import existing

EXAMPLE = "nabz-collector alert list --incident 12"
EXAMPLES = {"list": "--state failed --json", "test": "sms --person Ayesha"}
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
    _add_test(verbs)


def _add_test(verbs: Any) -> None:
    test = verbs.add_parser("test", help="one message by a channel, to see whether it arrives; the collector sends it")
    test.add_argument("channel", metavar="CHANNEL", help="as the settings name it")
    test.add_argument("--person", default="", metavar="NAME", help="who gets it, on a channel that sends to persons")
    who_argument(test)
    common_arguments(test)
    test.add_argument("--json", action="store_true", help="print facts as JSON")


@answers
def run(options: argparse.Namespace) -> int:
    return _list(options) if options.verb == "list" else _test(options)


def _test(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    channels = acts.channels_of(settings)
    try:
        with existing(settings) as store, store.write() as conn:
            number = acts.send_test(conn, channels, options.channel, options.person, who(options))
    except RoutingError as error:
        complain(plain().reason(error.reason))
        return 1
    facts = {"id": number, "channel": options.channel}
    say(json.dumps(facts) if options.json else f"message {number}: waits; see `nabz-collector alert list`")
    return 0


def _list(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        rows = lists.alerts(
            conn, state=options.state, channel=options.channel, incident=options.incident, limit=max(1, options.limit)
        )
    say_rows(options, lists.ALERTS, rows, SHOWN)
    return 0
