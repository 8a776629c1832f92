"""`nabz-collector owner`: the parties that own centers."""

from __future__ import annotations

import argparse
import json

from agent.common.errors import describe
from collector.access.users import PersonError
from collector.commands.console import (
    acting,
    answers,
    clock_ms,
    complain,
    say,
    settings_of,
    table,
    verb_arguments,
    who_argument,
)
from collector.register import dated, owners
from collector.store.database import existing

EXAMPLE = "nabz-collector owner show 'Rehman & Sons' --on 2026-10-01"
EXAMPLES = {
    "list": "",
    "show": '"Ravi Estates"',
    "set": '"Ravi Estates" --phone "+92 300 0000000"',
}
SHOWN = ("name", "registration", "contact", "phone")


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("list", help="every owner, with the centers of each")
    one = verbs.add_parser("show", help="an owner and its centers, now or on a day")
    one.add_argument("name", metavar="NAME")
    one.add_argument("--on", default="", metavar="YYYY-MM-DD", help="the day (default: today)")
    put = verbs.add_parser("set", help="who an owner is; which centers it has is a fact of each center")
    put.add_argument("name", metavar="NAME")
    for name in SHOWN[1:]:
        put.add_argument(f"--{name}", default="", metavar="TEXT")
    who_argument(put)
    verb_arguments(verbs)


@answers
def run(options: argparse.Namespace) -> int:
    try:
        return {"list": _list, "show": _show, "set": _set}[options.verb](options)
    except PersonError as error:
        complain(str(error))
        return 2


def _list(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        rows = owners.listed(conn)
    cells = [[*(str(row[name]) for name in SHOWN), len(row["centers"])] for row in rows]  # type: ignore[arg-type]
    say(json.dumps(rows) if options.json else table((*SHOWN, "centers"), cells))
    return 0


def _show(options: argparse.Namespace) -> int:
    try:
        at_ms = dated.day_ms(options.on) if options.on else clock_ms()
    except ValueError as error:
        complain(f"--on: {describe(error)}")
        return 2
    with existing(settings_of(options)) as store, store.read() as conn:
        known = owners.get(conn, options.name)
        owned = owners.centers_on(conn, options.name, at_ms)
    if known is None and not owned:
        complain(f"owner {options.name!r}: is not known; see `nabz-collector owner list`")
        return 1
    facts = (known or {"name": options.name}) | {"centers": [center.code for center in owned]}
    rows = [(center.code, center.name, center.district, center.lifecycle) for center in owned]
    text = f"{facts['name']}\n" + table(("center", "name", "district", "lifecycle"), rows)
    say(json.dumps(facts) if options.json else text)
    return 0


def _set(options: argparse.Namespace) -> int:
    details = {name: getattr(options, name) for name in SHOWN[1:]}
    with existing(settings_of(options)) as store, store.write() as conn:
        row = owners.put(conn, options.name, acting(options), clock_ms(), **details)
    say(json.dumps(row) if options.json else f"{row['name']}: recorded")
    return 0
