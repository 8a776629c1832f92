"""`nabz-collector alert`: the messages that were sent, or wait."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from agent.common.words import plain
from collector.access.users import key_of
from collector.commands.console import (
    answers,
    common_arguments,
    complain,
    form_arguments,
    say,
    say_rows,
    settings_of,
    who_argument,
)
from collector.desk.alerts import lists, queue
from collector.desk.alerts.channel import AlertMessage
from collector.desk.routing.directory import people
from collector.run.settings import read_channels
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
    settings, now_ms = settings_of(options), time.time_ns() // 1_000_000
    channel = next((one for one in read_channels(settings) if one.name == options.channel), None)
    if channel is None:
        complain(f"channel {options.channel[:40]!r}: is not in the settings; see [[alerts.channels]]")
        return 1
    with existing(settings) as store, store.write() as conn:
        person = next((one for one in people(conn) if one.key == key_of(options.person)), None)
        address = person.addresses.get(channel.address, "") if person and channel.address else ""
        if channel.address and not address:
            complain(f"person {options.person[:40]!r}: has no {channel.address}; see `nabz-collector contact list`")
            return 1
        words = plain(person.lang if person else channel.languages[0])
        message = AlertMessage(words("alerts.test.title"), words("alerts.test.text"), address=address)
        number = queue.queue_test(conn, channel.name, message, now_ms, person.key if person else "")
    facts = {"id": number, "channel": channel.name}
    say(json.dumps(facts) if options.json else f"message {number}: waits; see `nabz-collector alert list`")
    return 0


def _list(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        rows = lists.alerts(
            conn, state=options.state, channel=options.channel, incident=options.incident, limit=max(1, options.limit)
        )
    say_rows(options, lists.ALERTS, rows, SHOWN)
    return 0
