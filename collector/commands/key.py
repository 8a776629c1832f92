"""`nabz-collector key`: API keys, with which programs ask the API within a role and a scope until a day."""

from __future__ import annotations

import argparse
import json
import time

from collector.access.accounts import api_keys
from collector.access.accounts.policy import ROLES
from collector.access.users import PersonError
from collector.commands.console import (
    acting,
    answers,
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
    who_argument,
)
from collector.common.scope import decode
from collector.store.database import existing

EXAMPLE = (
    'nabz-collector key add "dashboard of Sindh" --role auditor --province Sindh --days 90\n'
    "         nabz-collector key revoke 0123456789"
)
EXAMPLES = {
    "list": "",
    "add": "dashboard --role auditor --days 90",
    "revoke": "k3v9",
}
HEADS = ("prefix", "name", "role", "centers", "made", "by", "ends", "revoked", "last used")
DAYS = 90


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("list", help="every key: its prefix, what it may, until when, and when it was last used")
    added = verbs.add_parser("add", help="a new key, shown this once")
    added.add_argument("name", metavar="NAME", help="what it is for")
    roles = tuple(role for role in ROLES if role != "admin")
    added.add_argument("--role", default="auditor", choices=roles, help="whose reach it has (default: auditor)")
    added.add_argument("--days", type=int, default=DAYS, metavar="DAYS", help=f"until it ends (default: {DAYS})")
    scope_arguments(added)
    gone = verbs.add_parser("revoke", help="it opens nothing any more")
    gone.add_argument("prefix", metavar="PREFIX", help="the ten letters after nabz_")
    for verb in (added, gone):
        who_argument(verb)
    verb_arguments(verbs)


@answers
def run(options: argparse.Namespace) -> int:
    now_ms = time.time_ns() // 1_000_000
    try:
        with existing(settings_of(options)) as store:
            if options.verb == "list":
                with store.read() as conn:
                    return _say_list(options, api_keys.listing(conn))
            by = acting(options)
            with store.write() as conn:
                if options.verb == "add":
                    key = api_keys.add(conn, options.name, options.role, scope_of(options), options.days, by, now_ms)
                else:
                    api_keys.revoke(conn, options.prefix, by, now_ms)
    except PersonError as error:
        complain(str(error))
        return 1
    if options.verb == "add":
        text = f"{key}\nshown this once and stored nowhere; send it as: Authorization: Bearer {key}"
        say(json.dumps({"name": options.name, "key": key, "days": options.days}) if options.json else text)
    else:
        gone = {"prefix": options.prefix, "revoked_ms": now_ms}
        say(json.dumps(gone) if options.json else f"{options.prefix}: opens nothing any more")
    return 0


def _say_list(options: argparse.Namespace, rows: list[dict[str, object]]) -> int:
    if options.json:
        say(json.dumps([{**row, "scope": decode(str(row["scope"])).parts} for row in rows]))
        return 0
    cells = [
        [row["prefix"], row["name"], row["role"], scope_text(decode(str(row["scope"]))), moment(row["made_ms"]),
         row["made_by"], moment(row["expires_ms"]), moment(row["revoked_ms"]), moment(row["used_ms"])]
        for row in rows
    ]  # fmt: skip
    say(table(HEADS, cells, none_yet(EXAMPLE)))
    return 0
