"""`nabz-collector enrolment`: gateways that wait for a second person, and that person's word."""

from __future__ import annotations

import argparse
import json
import time

from collector.access import approvals, users
from collector.commands.console import (
    acting,
    answers,
    common_arguments,
    complain,
    moment,
    proof_of,
    say,
    settings_of,
    table,
    who_argument,
)
from collector.store.database import existing

EXAMPLE = "nabz-collector enrolment approve g0123456789abcdef --by Ayesha"
EXAMPLES = {
    "list": "",
    "approve": "gw-lhr-1",
    "refuse": 'gw-lhr-1 --reason "nobody ordered it"',
}
SHOWN = ("device", "center", "hostname", "made_by", "made_proven", "asked_ms")


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("list", help="who waits, the longest first")
    for verb, what in (("approve", "let a waiting gateway in"), ("refuse", "do not let it in")):
        made = verbs.add_parser(verb, help=f"{what}; not for whoever made its token")
        made.add_argument("device", metavar="DEVICE")
        who_argument(made)
        made.add_argument("--center", default="", metavar="CODE", help="which, when it waits for several centers")
        made.add_argument("--reason", default="", metavar="TEXT", help="told to the installer and recorded")
    for made in verbs.choices.values():
        common_arguments(made)
        made.add_argument("--json", action="store_true", help="print facts as JSON")


@answers
def run(options: argparse.Namespace) -> int:
    return _list(options) if options.verb == "list" else _decide(options)


def _list(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        rows, doubt = approvals.waiting(conn), users.doubt(conn)
    if doubt:
        complain(users.DOUBTS[doubt])
    cells = [[moment(row[name]) if name.endswith("_ms") else row[name] for name in SHOWN] for row in rows]
    say(json.dumps(rows) if options.json else table(SHOWN, cells))
    return 0


def _decide(options: argparse.Namespace) -> int:
    decision: approvals.Decision = "approved" if options.verb == "approve" else "refused"
    now_ms = time.time_ns() // 1_000_000
    try:
        by = acting(options)
        with existing(settings_of(options)) as store:
            about = {"proof": proof_of(store, by, now_ms), "center": options.center}
            with store.write() as conn:
                approvals.decide(conn, options.device, decision, by, now_ms, options.reason, **about)
    except users.PersonError as error:
        complain(str(error))
        return 1
    if not about["proof"]:
        complain(users.DOUBTS["nobody"])
    facts = {
        "device": options.device,
        "decision": decision,
        "by": by,
        "proven": bool(about["proof"]),
        "at_ms": now_ms,
    }
    say(json.dumps(facts) if options.json else f"{options.device}: {decision} by {by}")
    return 0
