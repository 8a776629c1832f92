"""`nabz-collector window`: planned work of which people are not told, or told as always."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

from agent.common.errors import describe
from collector.access.users import PersonError
from collector.acts import windows as acts
from collector.commands.console import (
    answers,
    clock_ms,
    complain,
    moment,
    none_yet,
    say,
    settings_of,
    table,
    time_ms,
    verb_arguments,
    who,
    who_argument,
)
from collector.common.groups import SHARED_FACTS
from collector.desk import windows
from collector.desk.windows import MaintenanceWindow, WindowError
from collector.store.database import existing

EXAMPLE = (
    'nabz-collector window add feeder "LESCO F-7" --mode mute --from 2026-12-06T09:00 --to 2026-12-06T12:00 '
    '--rule "FREQ=WEEKLY;BYDAY=SU" --reason "weekly work on the feeder"'
)
EXAMPLES = {
    "list": "--json",
    "add": 'center LHR-0001 --mode skip --from 2026-12-06T09:00 --to 2026-12-06T12:00 --reason "new cabling"',
    "end": "3",
}
HEADS = ("id", "of", "name", "mode", "from", "to", "again", "runs until", "reason")
MINUTE = "YYYY-MM-DD[THH:MM]"


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("list", help="windows that nobody has ended, with those that run now")
    made = verbs.add_parser("add", help="a window; it excuses nothing, that is the calendar's affair")
    made.add_argument("scope", choices=SHARED_FACTS, help="what the work is on")
    made.add_argument("subject", metavar="NAME", help="as the register writes it")
    made.add_argument("--mode", choices=windows.MODES, required=True, help="skip: no incidents; mute: no messages; run")
    made.add_argument("--from", dest="from_day", required=True, metavar=MINUTE, help="when it begins the first time")
    made.add_argument("--to", dest="to_day", required=True, metavar=MINUTE, help="when it ends the first time")
    made.add_argument("--rule", default="", metavar="RRULE", help="again by a rule of RFC 5545: FREQ=WEEKLY;BYDAY=SU")
    made.add_argument("--reason", required=True, metavar="TEXT", help="recorded")
    gone = verbs.add_parser("end", help="it holds no more")
    gone.add_argument("id", type=int, metavar="NUMBER", help="see `window list`")
    for verb in (made, gone):
        who_argument(verb)
    verb_arguments(verbs)


@answers
def run(options: argparse.Namespace) -> int:
    try:
        return _VERBS[options.verb](options)
    except (WindowError, PersonError) as error:
        complain(str(error))
        return 1
    except ValueError as error:
        complain(describe(error))
        return 2


def _list(options: argparse.Namespace) -> int:
    now_ms = clock_ms()
    with existing(settings_of(options)) as store, store.read() as conn:
        rows = [(one, one.until_ms(now_ms)) for one in windows.listing(conn)]
    facts = [{**vars(one), "until_ms": until_ms} for one, until_ms in rows]
    cells = [
        (one.id, one.scope, one.subject, one.mode, moment(one.from_ms), moment(one.to_ms), one.rule,
         moment(until_ms), one.reason)
        for one, until_ms in rows
    ]  # fmt: skip
    say(json.dumps(facts) if options.json else table(HEADS, cells, none_yet(EXAMPLE)))
    return 0


def _add(options: argparse.Namespace) -> int:
    made = MaintenanceWindow(
        options.scope, options.subject, options.mode, time_ms(options.from_day), time_ms(options.to_day), options.rule,
        options.reason,
    )  # fmt: skip
    with existing(settings_of(options)) as store, store.write() as conn:
        number = acts.plan(conn, made, who(options))
    say(json.dumps({"id": number}) if options.json else f"window {number}: kept")
    return 0


def _end(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.write() as conn:
        acts.end(conn, options.id, who(options))
    say(json.dumps({"id": options.id, "ended": True}) if options.json else f"window {options.id}: ended")
    return 0


_VERBS: dict[str, Callable[[argparse.Namespace], int]] = {"list": _list, "add": _add, "end": _end}
