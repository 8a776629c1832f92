"""`nabz-collector inspection`: what inspectors saw at centers, by the form of the standard."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from agent.common.errors import describe
from collector.access import users
from collector.access.accounts import directory
from collector.acts import inspections
from collector.acts.person import ActingPerson
from collector.commands.console import (
    acting,
    answers,
    clock_ms,
    complain,
    moment,
    none_yet,
    proof_of,
    say,
    settings_of,
    table,
    time_ms,
    verb_arguments,
    who_argument,
)
from collector.commands.standard import standards_of
from collector.register.centers import CenterError
from collector.reports.inspections import records
from collector.reports.inspections.records import InspectionError, Photo
from collector.reports.inspections.visit_lists import VisitError
from collector.standard.form import form_of
from collector.store.database import existing

EXAMPLE = "nabz-collector inspection record LHR-014 --at 2026-12-05T11:00 cabins=4 seat_price=9000 --photo hall.jpg"
EXAMPLES = {
    "form": "--json",
    "record": "LHR-014 --at 2026-12-05T11:00 cabins=4 seat_price=9000 --list 2026-12",
    "list": "--center LHR-014",
    "withdraw": '0123456789abcdef --reason "another center was meant"',
}


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("form", help="what an inspector looks at, by the version of the standard that holds now")
    seen = verbs.add_parser("record", help="what was seen at a center; photos are kept by you, their hashes here")
    seen.add_argument("center", metavar="CODE")
    seen.add_argument("answers", nargs="+", metavar="ITEM=ANSWER", help="see `inspection form`")
    seen.add_argument("--at", required=True, metavar="YYYY-MM-DDTHH:MM", help="when you were there")
    seen.add_argument("--photo", type=Path, action="append", default=[], metavar="FILE", help="repeatable")
    seen.add_argument("--remarks", default="", metavar="TEXT")
    seen.add_argument("--list", default="", metavar="NAME", help="of visits that sent you")
    listed = verbs.add_parser("list", help="inspections, the newest first")
    listed.add_argument("--center", default="", metavar="CODE")
    gone = verbs.add_parser("withdraw", help="it counts no more")
    gone.add_argument("inspection", metavar="ID")
    gone.add_argument("--reason", required=True, metavar="TEXT", help="recorded")
    for verb in (seen, gone):
        who_argument(verb)
    verb_arguments(verbs)


@answers
def run(options: argparse.Namespace) -> int:
    try:
        return VERBS[options.verb](options)
    except (InspectionError, VisitError, CenterError, users.PersonError) as error:
        complain(str(error))
        return 1
    except OSError as error:
        complain(f"--photo: cannot be read ({describe(error)}); name a file that exists")
        return 2
    except ValueError as error:
        complain(describe(error))
        return 2


def _form(options: argparse.Namespace) -> int:
    standard = standards_of(settings_of(options)).at(clock_ms())
    items = form_of(standard) if standard else ()
    rows = [
        {"item": item.id, "answer": item.answer, "name": dict(item.name.texts), "fact": item.fact,
         "at_least": dict(item.at_least.by_tier) if item.at_least else None,
         "at_most": dict(item.at_most.by_tier) if item.at_most else None}
        for item in items
    ]  # fmt: skip
    cells = [(item.id, item.answer, item.name.en, item.fact) for item in items]
    say(msgspec.json.encode(rows).decode() if options.json else table(("item", "answer", "what", "register"), cells))
    return 0


def _record(options: argparse.Namespace) -> int:
    settings, name, now_ms = settings_of(options), acting(options), clock_ms()
    pairs = [answer.partition("=") for answer in options.answers]
    if wrong := [text for text, equals, _ in pairs if not equals]:
        raise ValueError(f"{wrong[0][:40]!r}: is no answer; write e.g. cabins=4")
    photos = [_photo(path) for path in options.photo]
    with existing(settings) as store:
        proof = proof_of(store, name, now_ms)
        with store.write() as conn:
            is_proven = directory.check_may(conn, name, proof, "inspection.record", options.center)
            who = ActingPerson(name=name, now_ms=now_ms, is_proven=is_proven)
            one = inspections.inspect(
                conn, standards_of(settings), options.center, time_ms(options.at),
                {item: text for item, _, text in pairs}, photos, who, remarks=options.remarks, visit_list=options.list,
            )  # fmt: skip
    say(msgspec.json.encode(one).decode() if options.json else f"inspection {one.inspection}: {one.center} recorded")
    return 0


def _photo(path: Path) -> Photo:
    """Raises OSError."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Photo(path.name[:100], digest, path.stat().st_size)


def _list(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        rows = records.listed(conn, options.center)
    cells = [
        (one.inspection, one.center, moment(one.inspected_ms), one.recorded_by, one.visit_list, len(one.photos),
         "withdrawn" if one.withdrawn_ms else "counts", ", ".join(f"{k}={v}" for k, v in one.answers.items()))
        for one in rows
    ]  # fmt: skip
    heads = ("inspection", "center", "at", "by", "list", "photos", "state", "answers")
    say(msgspec.json.encode(rows).decode() if options.json else table(heads, cells, none_yet(EXAMPLE)))
    return 0


def _withdraw(options: argparse.Namespace) -> int:
    name, now_ms = acting(options), clock_ms()
    with existing(settings_of(options)) as store:
        proof = proof_of(store, name, now_ms)
        with store.write() as conn:
            center = records.get(conn, options.inspection).center
            is_proven = directory.check_may(conn, name, proof, "inspection.record", center)
            who = ActingPerson(name=name, now_ms=now_ms, is_proven=is_proven)
            inspections.withdraw(conn, options.inspection, options.reason, who)
    facts = {"inspection": options.inspection, "withdrawn": True}
    say(msgspec.json.encode(facts).decode() if options.json else f"inspection {options.inspection}: withdrawn")
    return 0


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "form": _form, "record": _record, "list": _list, "withdraw": _withdraw,
}  # fmt: skip
