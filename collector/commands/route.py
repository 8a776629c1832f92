"""`nabz-collector route`: which incidents go by which escalation plan, and a rehearsal of who would be told."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

from agent.common.words import plain
from collector.access.users import PersonError
from collector.acts import routing as acts
from collector.commands.console import (
    answers,
    clock_ms,
    complain,
    moment,
    none_yet,
    say,
    scope_arguments,
    scope_of,
    scope_text,
    settings_of,
    table,
    verb_arguments,
    who,
    who_argument,
)
from collector.desk import tables as desk
from collector.desk.incident import WorkError
from collector.desk.routing import directory, routes, tables
from collector.desk.routing.decide import RoutedMessage, RoutingBook, rehearse
from collector.desk.routing.facts import PersonalChannel
from collector.desk.routing.plans import EXAMPLE as SHIPPED
from collector.desk.routing.plans import RoutingError
from collector.desk.routing.routes import FAMILIES, AlertRoute
from collector.desk.symptoms import SEVERITIES
from collector.run.settings import read_channels
from collector.store.database import existing

EXAMPLE = (
    "nabz-collector route add --plan example --district Lahore --severity serious\n"
    "         nabz-collector route test 12"
)
EXAMPLES = {
    "list": "--json",
    "add": "--plan example --district Lahore --severity serious",
    "remove": "3",
    "test": "12",
}
HEADS = ("id", "centers", "severity from", "kinds", "hours", "language", "plan")


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("list", help="all routes; every one that fits an incident applies")
    made = verbs.add_parser("add", help="incidents of these centers go by a plan")
    made.add_argument("--plan", default=SHIPPED, metavar="NAME", help="see `plan list` (default: the shipped example)")
    made.add_argument("--severity", choices=SEVERITIES, default="info", help="at least so severe (default: info)")
    made.add_argument("--kind", choices=FAMILIES, action="append", default=[], help="of trouble; repeatable")
    made.add_argument("--hours", default="", metavar="TEXT", help='only then, e.g. "Mon-Sat 09:00-21:00"')
    made.add_argument("--lang", choices=routes.LANGS[1:], default="", help="instead of each person's own language")
    scope_arguments(made)
    gone = verbs.add_parser("remove", help="the route goes")
    gone.add_argument("id", type=int, metavar="NUMBER", help="see `route list`")
    test = verbs.add_parser("test", help="who would get what of an incident, when and why; sends nothing")
    test.add_argument("incident", type=int, metavar="INCIDENT")
    for verb in (made, gone):
        who_argument(verb)
    verb_arguments(verbs)


@answers
def run(options: argparse.Namespace) -> int:
    try:
        return _VERBS[options.verb](options)
    except RoutingError as error:
        complain(plain().reason(error.reason))
        return 1
    except (PersonError, WorkError) as error:
        complain(str(error))
        return 1


def _list(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        rows = tables.routes(conn)
    facts = [
        {"id": one.id, "scope": one.scope.parts, "severity": one.severity, "families": one.families,
         "hours": one.hours, "lang": one.lang, "plan": one.plan}
        for one in rows
    ]  # fmt: skip
    cells = [
        (one.id, scope_text(one.scope), one.severity, " ".join(one.families) or "all", one.hours or "always",
         one.lang or "the person's", one.plan)
        for one in rows
    ]  # fmt: skip
    say(json.dumps(facts) if options.json else table(HEADS, cells, none_yet(EXAMPLE)))
    return 0


def _add(options: argparse.Namespace) -> int:
    wanted = AlertRoute(0, scope_of(options), options.severity, (), options.hours, options.lang, options.plan)
    with existing(settings_of(options)) as store, store.write() as conn:
        number = acts.keep_route(conn, wanted, options.kind, who(options))
    say(json.dumps({"id": number}) if options.json else f"route {number}: kept")
    return 0


def _remove(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.write() as conn:
        acts.remove_route(conn, options.id, who(options))
    say(json.dumps({"id": options.id, "removed": True}) if options.json else f"route {options.id}: removed")
    return 0


def _test(options: argparse.Namespace) -> int:
    settings, now_ms = settings_of(options), clock_ms()
    channels = [PersonalChannel(one.name, one.address) for one in read_channels(settings) if one.address is not None]
    with existing(settings) as store, store.read() as conn:
        book = directory.book_of(conn, channels, now_ms)
        facts = tables.facts_of(conn, desk.get(conn, options.incident), now_ms)
    schedule = rehearse(facts, book, now_ms)
    rows = [_facts(at_ms, one) for at_ms, one in schedule]
    say(json.dumps(rows) if options.json else _told(book, schedule, now_ms))
    return 0


def _facts(at_ms: int, one: RoutedMessage) -> dict[str, object]:
    return {
        "at_ms": at_ms, "route": one.route, "step": one.step + 1, "person": one.name, "channel": one.channel,
        "address": one.address, "lang": one.lang, "is_sent": one.is_sent, "why": plain().reason(one.reason),
    }  # fmt: skip


def _told(book: RoutingBook, schedule: list[tuple[int, RoutedMessage]], now_ms: int) -> str:
    words = plain()
    if not book.channels:
        return (
            "no channel sends to persons: write a place such as {telephone} into the url of one, see docs/settings.md"
        )
    if not schedule:
        return "no route fits this incident; see `nabz-collector route list`"
    heads = ("after", "at", "route", "step", "who", "channel", "address", "why")
    cells = [
        (words.duration((at_ms - now_ms) / 1000), moment(at_ms), one.route, one.step + 1, one.name, one.channel or "–",
         one.address, words.reason(one.reason))
        for at_ms, one in schedule
    ]  # fmt: skip
    return table(heads, cells)


_VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "list": _list, "add": _add, "remove": _remove, "test": _test,
}  # fmt: skip
