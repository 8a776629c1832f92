"""`nabz-collector person`: who may issue tokens and who may let gateways in, each with a passphrase of their own."""

from __future__ import annotations

import argparse
import json
import time

from agent.common.files import asked_secret
from collector.access import passwords, users
from collector.commands.console import (
    acting,
    answers,
    common_arguments,
    complain,
    moment,
    say,
    settings_of,
    table,
    who_argument,
)
from collector.database import opened

EXAMPLE = "nabz-collector person add Ayesha --may approve"
HEADS = ("name", "may", "added", "by", "removed")


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("list", help="everybody, and what they may do")
    added = verbs.add_parser("add", help="a person; from the first one on, names are proven")
    added.add_argument(
        "--may", action="append", choices=users.MAY, help="issue tokens, or approve gateways (default: both)"
    )
    verbs.add_parser("renew", help="another passphrase for a person; the old one counts no more")
    verbs.add_parser("remove", help="the name proves nothing any more; what was decided stands")
    for verb in ("add", "renew", "remove"):
        verbs.choices[verb].add_argument("name", metavar="NAME")
        who_argument(verbs.choices[verb])
    for verb in ("add", "renew"):
        verbs.choices[verb].add_argument(
            "--ask", action="store_true", help="ask for the passphrase, instead of making and printing one"
        )
    for made in verbs.choices.values():
        common_arguments(made)
        made.add_argument("--json", action="store_true", help="print facts as JSON")


@answers
def run(options: argparse.Namespace) -> int:
    try:
        return _list(options) if options.verb == "list" else _change(options)
    except users.PersonError as error:
        complain(str(error))
    except passwords.Weak as error:
        complain(str(error))
    return 1


def _list(options: argparse.Namespace) -> int:
    with opened(settings_of(options)) as store, store.read() as conn:
        rows, doubt = users.listing(conn), users.doubt(conn)
    if doubt:
        complain(users.DOUBTS[doubt])
    cells = [
        [row["name"], _may(row), moment(row["added_ms"]), row["added_by"], moment(row["removed_ms"])] for row in rows
    ]
    say(json.dumps(rows) if options.json else table(HEADS, cells))
    return 0


def _may(row: dict[str, object]) -> str:
    return ", ".join(may for may in users.MAY if row[f"may_{may}"])


def _change(options: argparse.Namespace) -> int:
    """By the owner of the tables where there are roles: the pages' own role may only look persons up."""
    now_ms, by, name = time.time_ns() // 1_000_000, acting(options), users.named(options.name)
    secret = _secret(name, asks=options.ask) if options.verb != "remove" else ""
    with opened(settings_of(options).as_keeper) as store, store.write() as conn:
        match options.verb:
            case "add":
                may = tuple(options.may or users.MAY)
                users.add(conn, name, passwords.hash_password(secret), may, by, now_ms)
            case "renew":
                users.renew(conn, name, passwords.hash_password(secret), by, now_ms)
            case _:
                users.remove(conn, name, by, now_ms)
    _tell(options, name, "" if options.verb == "remove" or options.ask else secret)
    return 0


def _secret(name: str, *, asks: bool) -> str:
    if not asks:
        return passwords.make()
    secret = asked_secret(f"New passphrase of {name}: ")
    passwords.judge(secret)
    if asked_secret("Once more: ") != secret:
        raise passwords.Weak("passphrase: differs the second time; give the same twice")
    return secret


def _tell(options: argparse.Namespace, name: str, made: str) -> None:
    facts = {"name": name, "did": options.verb, **({"passphrase": made} if made else {})}
    words = {"add": "registered", "renew": "has a new passphrase", "remove": "removed"}[options.verb]
    text = f"{name}: {words}"
    if made:
        text += f"\npassphrase, shown this once and stored nowhere: {made}"
    say(json.dumps(facts) if options.json else text)
