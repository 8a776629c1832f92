"""Verbs of `nabz-collector center` about the register as history: import taking back, facts by day, who said so."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from agent.common.errors import describe
from agent.common.files import read_text
from collector.access import users
from collector.acts import register as acts
from collector.acts.person import ActingPerson
from collector.commands.console import (
    acting,
    clock_ms,
    common_arguments,
    complain,
    moment,
    proof_of,
    say,
    settings_of,
    table,
    two_persons,
    who_argument,
)
from collector.judging import reopening
from collector.register import centers, dated, facts, imports
from collector.register.facts import Fact, Recording
from collector.store.database import existing, opened

Verbs = dict[str, Callable[[argparse.Namespace], int]]
HISTORY = ("id", "fact", "value", "holds from", "recorded", "by", "second", "state", "reason")
ANY_DAY = "YYYY-MM-DD"


def arguments(verbs: Any) -> None:
    read = verbs.add_parser(
        "import", help="add and change centers from a CSV file, all or nothing; or take such an import back"
    )
    read.add_argument("file", type=Path, nargs="?", metavar="FILE.csv", help=f"columns: {', '.join(centers.COLUMNS)}")
    read.add_argument("--dry-run", action="store_true", help="only say what would be done")
    read.add_argument("--yes", action="store_true", help="write changes of registered centers, too")
    read.add_argument("--undo", type=int, metavar="N", help="take import number N back (see `center imports`)")
    _how_arguments(read)
    verbs.add_parser("imports", help="files that were imported, the newest first")
    shown = verbs.add_parser("facts", help="what a center is, or was on a day, by what is or was known")
    shown.add_argument("code", metavar="CODE")
    shown.add_argument("--on", default="", metavar=ANY_DAY, help="the day (default: today)")
    shown.add_argument("--known", default="", metavar=ANY_DAY, help="by what was known at the end of this day")
    past = verbs.add_parser("history", help="every fact of a center: from when, recorded when and by whom, and why")
    past.add_argument("code", metavar="CODE")
    past.add_argument("--fact", default="", choices=("", *centers.COLUMNS), metavar="NAME", help="only this one")
    _fact_arguments(verbs)
    for name in ("import", "imports", "facts", "history"):
        _finish(verbs.choices[name])


def _fact_arguments(verbs: Any) -> None:
    fact = verbs.add_parser("fact", help="record one fact of a center, confirm or withdraw what was recorded")
    parts = fact.add_subparsers(dest="part", required=True, metavar="VERB")
    one = parts.add_parser("set", help="a fact holds from a day; a second person confirms what changes the past")
    one.add_argument("code", metavar="CODE")
    one.add_argument("name", choices=[name for name in centers.COLUMNS if name != "center"], metavar="NAME")
    one.add_argument("value", metavar="VALUE")
    _how_arguments(one, reason=True)
    parts.add_parser("waiting", help="what waits for a second person")
    for name, word in (("confirm", "the second person confirms"), ("withdraw", "take back, with a reason")):
        decided = parts.add_parser(name, help=f"{word} facts by their numbers, or those of an import")
        decided.add_argument("ids", type=int, nargs="*", metavar="ID")
        decided.add_argument("--import", dest="number", type=int, metavar="N", help="all facts of this import")
        if name == "withdraw":
            decided.add_argument("--reason", required=True, metavar="TEXT", help="recorded")
            decided.add_argument("--second", default="", metavar="NAME", help="where days that are over change")
        who_argument(decided)
    for part in parts.choices.values():
        _finish(part)


def _how_arguments(parser: argparse.ArgumentParser, *, reason: bool = False) -> None:
    parser.add_argument("--from", dest="from_day", default="", metavar=ANY_DAY, help="holds from (default: today)")
    parser.add_argument("--reason", default="", required=reason, metavar="TEXT", help="recorded")
    parser.add_argument(
        "--second", default="", metavar="NAME", help="the second person, for what holds from a past day"
    )
    who_argument(parser)


def _finish(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print facts as JSON")


# ---------------------------------------------------------------- import


def _import(options: argparse.Namespace) -> int:
    if (options.file is None) == (options.undo is None):
        complain("center import: name a FILE.csv, or a number with --undo")
        return 2
    if options.undo is not None:
        return _undo(options)
    try:
        from_ms = dated.day_ms(options.from_day) if options.from_day else None
    except ValueError as error:
        complain(f"--from: {describe(error)}")
        return 2
    try:
        text = read_text(options.file)
    except OSError as error:
        complain(f"{options.file}: cannot be read ({describe(error)}); name a CSV file that exists")
        return 1
    except ValueError as error:
        complain(f"{options.file}: is not CSV in UTF-8 or UTF-16 ({describe(error)})")
        return 1
    return _imported(options, text, from_ms)


def _imported(options: argparse.Namespace, text: str, from_ms: int | None) -> int:
    lines, now_ms = text.splitlines(keepends=True), clock_ms()
    digest = hashlib.sha256(text.encode()).hexdigest()
    with opened(settings_of(options)) as store:
        with store.read() as conn:
            needed = not options.dry_run and imports.needs_second(conn, lines, now_ms, from_ms)
        people = two_persons(store, options, now_ms, needed=needed)
        origin = imports.Origin(
            by=people.first, reason=options.reason, file=options.file.name, sha256=digest, second=people.second
        )
        with store.write() as conn:
            people.check(conn)
            done = imports.plan_import(conn, lines, now_ms, from_ms)
            written = not (options.dry_run or done.mistakes or (done.changed and not options.yes))
            if written:
                done = imports.do_import(conn, lines, now_ms, from_ms, origin)
                counts = f"{len(done.added)} new, {len(done.changed)} changed: {options.file.name}"
                users.record(conn, "centers_imported", origin.by, now_ms, reason=counts)
                if not done.waits:
                    _revise(conn, {item.center: from_ms or now_ms for item in done.differences}, now_ms)
    for mistake in done.mistakes:
        complain(f"{options.file}: {mistake}")
    _say_import(options, done, written=written)
    return 0 if written or (options.dry_run and not done.mistakes) else 1


def _say_import(options: argparse.Namespace, done: centers.Import, *, written: bool) -> None:
    summary = {
        "import": done.number,
        "added": len(done.added),
        "changed": len(done.changed),
        "same": done.same,
        "differences": [dataclasses.asdict(difference) for difference in done.differences],
        "mistakes": [str(mistake) for mistake in done.mistakes],
        "waits": done.waits,
        "written": written,
    }
    if options.json:
        say(json.dumps(summary))
        return
    for difference in () if done.mistakes else done.differences:
        say(str(difference))
    words = f"{len(done.added)} new, {len(done.changed)} changed, {done.same} as before"
    say(f"{words}; {_fate(options, done, written=written)}")


def _fate(options: argparse.Namespace, done: centers.Import, *, written: bool) -> str:
    if done.mistakes:
        return "nothing was written: correct the file"
    if options.dry_run:
        return "a dry run: nothing was written"
    if not written:
        return "nothing was written: look at the differences, then repeat with --yes"
    waits = f"; changes wait for a second person: `center fact confirm --import {done.number}`" if done.waits else ""
    return f"import {done.number}, to be taken back with --undo {done.number}{waits}"


def _undo(options: argparse.Namespace) -> int:
    now_ms = clock_ms()
    if not options.reason:
        complain("center import --undo: needs a reason; give --reason TEXT")
        return 2
    with existing(settings_of(options)) as store:
        people = two_persons(store, options, now_ms, needed=bool(options.second))
        origin = imports.Origin(by=people.first, reason=options.reason, second=people.second)
        with store.write() as conn:
            people.check(conn)
            done = imports.undo(conn, options.undo, origin, now_ms)
            users.record(conn, "centers_imported", origin.by, now_ms, reason=f"-{options.undo}: {origin.reason}")
            held = [fact for fact in done.facts if fact.state == "holds" and fact.center not in done.removed]
            _revise(conn, dated.touched(held), now_ms)
    summary = {"import": options.undo, "withdrawn": len(done.facts), "removed": list(done.removed)}
    words = f"import {options.undo}: taken back; {len(done.facts)} facts withdrawn, {len(done.removed)} centers gone"
    say(json.dumps(summary) if options.json else words)
    return 0


def _revise(conn: sa.Connection, since: dict[str, int], now_ms: int) -> None:
    """Months that are reported already and were otherwise than was thought are reported anew."""
    for code, from_ms in since.items():
        reopening.record_facts(conn, [code], from_ms, now_ms)


def _imports(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        rows = imports.listed(conn)
    heads = ("import", "at", "by", "file", "facts", "waiting", "undone", "undone by", "reason")
    cells = [
        (
            row["id"], moment(row["at_ms"]), row["imported_by"], row["file"], row["facts"], row["waiting"],
            moment(row["undone_ms"]), row["undone_by"], row["undone_why"] or row["reason"],
        )
        for row in rows
    ]  # fmt: skip
    say(json.dumps(rows) if options.json else table(heads, cells))
    return 0


# ---------------------------------------------------------------- facts


def _facts(options: argparse.Namespace) -> int:
    try:
        at_ms = dated.day_ms(options.on) if options.on else clock_ms()
        known_ms = dated.day_ms(options.known) + 86_399_999 if options.known else None
    except ValueError as error:
        complain(f"--on, --known: {describe(error)}")
        return 2
    with existing(settings_of(options)) as store, store.read() as conn:
        center = dated.facts_at(conn, options.code, at_ms, known_ms)
    if center is None:
        complain(f"center {options.code!r}: nothing was known of it then; see `nabz-collector center list`")
        return 1
    row = center.facts()
    say(json.dumps(row) if options.json else table(("fact", "value"), list(row.items())))
    return 0


def _history(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        centers.get(conn, options.code)
        center_facts = facts.facts_of(conn, [options.code])[options.code]
    _say_facts(options, [fact for fact in center_facts if options.fact in ("", fact.name)])
    return 0


def _say_facts(options: argparse.Namespace, center_facts: Sequence[Fact]) -> None:
    if options.json:
        say(json.dumps([plain(fact) for fact in center_facts]))
        return
    cells = [
        (
            fact.id, fact.name, fact.value if fact.value not in ("", None) else "nothing", dated.day_of(fact.from_ms),
            moment(fact.recorded_ms), fact.recorded_by, fact.confirmed_by, fact.state,
            fact.withdrawn_why or fact.reason,
        )
        for fact in center_facts
    ]  # fmt: skip
    say(table(HISTORY, cells))


def plain(fact: Fact) -> dict[str, object]:
    return dataclasses.asdict(fact) | {"state": fact.state}


def _fact(options: argparse.Namespace) -> int:
    parts: Verbs = {"set": _set, "waiting": _waiting, "confirm": _confirm, "withdraw": _withdraw}
    return parts[options.part](options)


def _set(options: argparse.Namespace) -> int:
    now_ms = clock_ms()
    try:
        today_ms = dated.today_ms(now_ms)
        from_ms = dated.day_ms(options.from_day) if options.from_day else today_ms
    except ValueError as error:
        complain(f"--from: {describe(error)}")
        return 2
    with existing(settings_of(options)) as store:
        needed = from_ms < today_ms or (options.name == "opening" and from_ms <= now_ms)
        people = two_persons(store, options, now_ms, needed=needed)
        how = Recording(
            from_ms=from_ms, now_ms=now_ms, today_ms=today_ms, by=people.first, reason=options.reason,
            second=people.second,
        )  # fmt: skip
        with store.write() as conn:
            people.check(conn)
            fact = centers.set_fact(conn, options.code, options.name, options.value, how)
            acts.note_facts(conn, [fact], ActingPerson(name=how.by, now_ms=now_ms), how.reason)
            if fact.state == "holds":
                _revise(conn, {fact.center: fact.from_ms}, now_ms)
    words = f"fact {fact.id}: {fact.center} {fact.name} is {fact.value} from {dated.day_of(fact.from_ms)}"
    more = f"; it waits for a second person: `center fact confirm {fact.id}`" if fact.state == "waiting" else ""
    say(json.dumps(plain(fact)) if options.json else words + more)
    return 0


def _waiting(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        _say_facts(options, facts.waiting(conn))
    return 0


def _confirm(options: argparse.Namespace) -> int:
    now_ms = clock_ms()
    with existing(settings_of(options)) as store:
        by = acting(options)
        proof = proof_of(store, by, now_ms)
        with store.write() as conn:
            users.check(conn, by, proof, "approve")
            who = ActingPerson(name=by, now_ms=now_ms, is_proven=bool(proof))
            center_facts = acts.confirm_facts(conn, _named(conn, options), who)
    _say_count(options, center_facts, f"confirmed by {by}")
    return 0


def _withdraw(options: argparse.Namespace) -> int:
    now_ms = clock_ms()
    with existing(settings_of(options)) as store:
        people = two_persons(store, options, now_ms, needed=bool(options.second))
        by, second = people.first, people.second
        with store.write() as conn:
            people.check(conn)
            center_facts = [fact for fact in _named(conn, options) if fact.state != "withdrawn"]
            held = [fact for fact in center_facts if fact.state == "holds"]
            if any(facts.is_over(fact, now_ms, dated.today_ms(now_ms)) for fact in held):
                facts.another(by, second)
            facts.withdraw(conn, center_facts, by, options.reason, now_ms)
            acts.note_facts(conn, center_facts, ActingPerson(name=by, now_ms=now_ms), options.reason)
            dated.apply(conn, {fact.center for fact in center_facts}, now_ms)
            _revise(conn, dated.touched(held), now_ms)
    _say_count(options, center_facts, f"withdrawn by {by}")
    return 0


def _named(conn: sa.Connection, options: argparse.Namespace) -> list[Fact]:
    return facts.of_import(conn, options.number) if options.number else facts.by_ids(conn, options.ids)


def _say_count(options: argparse.Namespace, center_facts: Iterable[Fact], fate: str) -> None:
    rows = [plain(fact) for fact in center_facts]
    say(json.dumps(rows) if options.json else f"{len(rows)} {'fact' if len(rows) == 1 else 'facts'}: {fate}")


VERBS: Verbs = {"import": _import, "imports": _imports, "facts": _facts, "history": _history, "fact": _fact}
