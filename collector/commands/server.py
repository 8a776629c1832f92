"""`nabz-collector server`: the measurement servers that gateways test their speed against."""

from __future__ import annotations

import argparse
import json
import time

from collector.access import users
from collector.commands.console import (
    acting,
    answers,
    common_arguments,
    complain,
    none_yet,
    say,
    settings_of,
    table,
    who_argument,
)
from collector.speedtests.servers import ServerError, add, listed, revoke
from collector.store.database import existing, opened

EXAMPLE = "nabz-collector server add pie-karachi https://speed.example.pk --tests 5"
EXAMPLES = {
    "add": "lahore https://speed.example.org --tests 4",
    "revoke": "lahore",
    "list": "--json",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    new = verbs.add_parser("add", help="a one-time token with which a measurement server joins")
    new.add_argument("name", metavar="NAME", help="small letters, digits, dots and dashes")
    new.add_argument("url", metavar="URL", help="where gateways reach it: http://HOST:PORT")
    new.add_argument("--tests", type=int, default=5, metavar="N", help="tests at once, default 5; 0: it gets no turns")
    new.add_argument("--place", default="", metavar="TEXT", help="where it stands")
    gone = verbs.add_parser("revoke", help="from now on nothing that this server sees counts")
    gone.add_argument("name", metavar="NAME")
    for verb in (new, verbs.add_parser("list", help="every server, its state and how many records came"), gone):
        common_arguments(verb)
        who_argument(verb)
        verb.add_argument("--json", action="store_true", help="print facts as JSON")


@answers
def run(options: argparse.Namespace) -> int:
    settings, now_ms = settings_of(options), time.time_ns() // 1_000_000
    try:
        by = acting(options)
        reach = opened if options.verb == "add" else existing  # what reads or revokes makes no database
        with reach(settings) as store, store.write() as conn:
            if options.verb == "add":
                token = add(conn, options.name, options.url, options.tests, options.place, now_ms)
                users.record(conn, "server_added", by, now_ms, subject=options.name, reason=options.url)
                _say_token(options, settings.web_url, token)
            elif options.verb == "revoke":
                revoke(conn, options.name, now_ms)
                users.record(conn, "server_revoked", by, now_ms, subject=options.name)
                say(json.dumps({"name": options.name, "revoked_ms": now_ms}) if options.json else "revoked")
            else:
                _say_list(options, listed(conn))
    except (ServerError, users.PersonError) as error:
        complain(str(error))
        return 1
    return 0


def _say_token(options: argparse.Namespace, collector: str, token: str) -> None:
    line = f"nabz-collector measure --collector {collector} --join"
    facts = {"name": options.name, "url": options.url, "token": token, "join": line}
    text = f"{token}\nOn that host, within a day and once; it asks for the token:\n  {line}"
    say(json.dumps(facts) if options.json else text)


def _say_list(options: argparse.Namespace, hosts: list[dict[str, object]]) -> None:
    if options.json:
        say(json.dumps(hosts))
        return
    names = ("name", "state", "url", "place", "tests_at_once", "records")
    heads = ("NAME", "STATE", "URL", "PLACE", "TESTS", "RECORDS")
    say(table(heads, [[item[name] for name in names] for item in hosts], none_yet(EXAMPLE)))
