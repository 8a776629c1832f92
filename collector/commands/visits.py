"""`nabz-collector visits`: lists of random visits, whose draw anybody can redo."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import msgspec

from agent.common.errors import describe
from collector.access import users
from collector.access.accounts import directory
from collector.access.signing_key import drawing_secret
from collector.acts import inspections
from collector.acts.person import ActingPerson
from collector.commands.console import (
    acting,
    answers,
    clock_ms,
    collector_key_of,
    complain,
    moment,
    none_yet,
    proof_of,
    say,
    settings_of,
    table,
    verb_arguments,
    who_argument,
)
from collector.reports.inspections import draw, visit_lists
from collector.reports.inspections.visit_lists import VisitError
from collector.store.database import existing

EXAMPLE = "nabz-collector visits publish 2026-12 --number 20"
EXAMPLES = {
    "publish": "2026-12 --number 20",
    "draw": "2026-12",
    "list": "--json",
    "show": "2026-12 --json",
    "check": "2026-12.json",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    published = verbs.add_parser("publish", help="the hash of a list's seed goes into the log, before anybody knows it")
    published.add_argument("--number", type=int, required=True, metavar="N", help="of centers to be visited")
    drawn = verbs.add_parser("draw", help="draw a list, once the log has the hash of its seed")
    verbs.add_parser("list", help="the lists there are")
    shown = verbs.add_parser("show", help="one list, with all that is needed to redo its draw")
    for verb in (published, drawn, shown):
        verb.add_argument("name", metavar="NAME")
    for verb in (published, drawn):
        who_argument(verb)
    checked = verbs.add_parser("check", help="redo the draw of a list as `show --json` gives it; needs no database")
    checked.add_argument("file", type=Path, metavar="FILE.json")
    verb_arguments(verbs)


@answers
def run(options: argparse.Namespace) -> int:
    try:
        return VERBS[options.verb](options)
    except (VisitError, users.PersonError) as error:
        complain(str(error))
        return 1


def _decide(options: argparse.Namespace) -> int:
    settings, name, now_ms = settings_of(options), acting(options), clock_ms()
    key = collector_key_of(settings)
    if key is None:
        raise VisitError("visits.other_key", options.name)
    with existing(settings) as store:
        proof = proof_of(store, name, now_ms)
        with store.write() as conn:
            is_proven = directory.check_may(conn, name, proof, "visits.draw")
            who = ActingPerson(name=name, now_ms=now_ms, is_proven=is_proven)
            if options.verb == "publish":
                visit_list = inspections.publish(conn, drawing_secret(key), options.name, options.number, who)
            else:
                visit_list = inspections.draw(conn, drawing_secret(key), options.name, who)
            facts = visit_lists.facts(conn, visit_list)
    done = f"drawn: {', '.join(visit_list.visits)}" if visit_list.drawn_ms else f"published: {visit_list.seed_hash}"
    say(msgspec.json.encode(facts).decode() if options.json else f"visits {visit_list.name}: {done}")
    return 0


def _list(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        rows = visit_lists.listed(conn)
    cells = [
        (one.name, one.number, moment(one.published_ms), one.published_by, moment(one.drawn_ms), one.drawn_by)
        for one in rows
    ]
    heads = ("list", "visits", "published", "by", "drawn", "by")
    say(msgspec.json.encode(rows).decode() if options.json else table(heads, cells, none_yet(EXAMPLE)))
    return 0


def _show(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        held = visit_lists.get(conn, options.name)
        facts = visit_lists.facts(conn, held)
    weights = dict(held.weights)
    rows = [(place, code, weights[code]) for place, code in enumerate(held.visits, 1)]
    say(msgspec.json.encode(facts).decode() if options.json else table(("visit", "center", "weight"), rows))
    return 0


def _check(options: argparse.Namespace) -> int:
    try:
        facts = json.loads(options.file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        complain(f"{options.file}: cannot be read as JSON ({describe(error)}); give what `visits show --json` prints")
        return 2
    problems = draw.problems(facts if isinstance(facts, dict) else {})
    words = "\n".join(problems) or "the seed is the one whose hash was published, and draws these centers"
    say(json.dumps({"problems": problems}) if options.json else words)
    return 1 if problems else 0


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "publish": _decide, "draw": _decide, "list": _list, "show": _show, "check": _check,
}  # fmt: skip
