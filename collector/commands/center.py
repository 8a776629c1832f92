"""`nabz-collector center`: the register of centers."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from agent.common.errors import describe
from collector.access import users
from collector.access.accounts import erasure
from collector.commands import register
from collector.commands.console import (
    acting,
    answers,
    clock_ms,
    complain,
    none_yet,
    say,
    say_rows,
    settings_of,
    table,
    verb_arguments,
    who_argument,
)
from collector.desk.alerts import lists
from collector.judging.current import ranks_now
from collector.register import centers, dated, facts
from collector.remote import questions
from collector.run.settings import read_standards
from collector.speedtests import requests
from collector.store import Store, center_states, queries
from collector.store.database import existing, opened

EXAMPLE = "nabz-collector center import centers.csv --dry-run"
EXAMPLES = {
    "add": '--code LHR-0001 --name "Lahore One" --tier standard --seats-promised 40 --opening "Mon-Sat 09:00-21:00"',
    "move": 'LHR-0001 suspended --reason "no power since Monday" --evidence letter.pdf',
    "show": "LHR-0001",
    "list": "--json",
    "test": "LHR-0001 --wait 120",
    "ask": "LHR-0001 doctor",
    "erase": "LHR-0001 --dry-run",
    "import": "centers.csv --dry-run",
    "imports": "--json",
    "facts": "LHR-0001 --on 2026-10-01",
    "history": "LHR-0001 --fact opening",
    "fact set": 'LHR-0001 seats_promised 60 --from 2026-12-01 --reason "second floor opened"',
    "fact waiting": "",
    "fact confirm": "17 18",
    "fact withdraw": '17 --reason "a typing error"',
}
LOOK_S = 0.5
WITH_REASON = ("watch", "suspended", "closed")  # what an owner may dispute
HELD = ("tier", "seats_promised", "isp", "opening", "owner")
SHOWN = ("center", "name", "city", "tier", "seats_promised", "isp", "lifecycle")


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    add = verbs.add_parser("add", help="add one center")
    for name in centers.COLUMNS:
        flag = "--code" if name == "center" else f"--{name.replace('_', '-')}"
        add.add_argument(flag, dest=f"column_{name}", default="", required=name in centers.NEEDED, metavar="TEXT")
    move = verbs.add_parser("move", help="move a center to another lifecycle")
    move.add_argument("code", metavar="CODE")
    move.add_argument("lifecycle", choices=tuple(centers.LIFECYCLE))
    move.add_argument("--reason", default="", metavar="TEXT", help=f"recorded; needed for {', '.join(WITH_REASON)}")
    move.add_argument(
        "--evidence", type=Path, action="append", default=[], metavar="FILE", help="its name and SHA-256 are recorded"
    )
    who_argument(move)
    show = verbs.add_parser("show", help="one center")
    show.add_argument("code", metavar="CODE")
    shown = verbs.add_parser("list", help="all centers; with --state as they do now, the worst first")
    shown.add_argument("--state", choices=(*queries.STATES, "all"), default="", help="only those in this state")
    shown.add_argument("--province", default="", metavar="NAME", help="only those of this province")
    shown.add_argument("--csv", action="store_true", help="print CSV, for a spreadsheet")
    test = verbs.add_parser("test", help="ask for a speed test of a center now; the running collector gives the turn")
    test.add_argument("code", metavar="CODE")
    test.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="wait so long for its result")
    question = verbs.add_parser(
        "ask", help="put a question of the list to the center's gateway, and wait for the answer"
    )
    question.add_argument("code", metavar="CODE")
    question.add_argument("question", choices=questions.KINDS, metavar="QUESTION", help=", ".join(questions.KINDS))
    question.add_argument("--wait", type=float, default=90.0, metavar="SECONDS", help="so long (default: 90)")
    erase = verbs.add_parser("erase", help="forget the people of a closed center, as far as proofs allow")
    erase.add_argument("code", metavar="CODE")
    erase.add_argument("--dry-run", action="store_true", help="count what would go, and change nothing")
    who_argument(erase)
    who_argument(question)
    who_argument(add)
    who_argument(test)
    verb_arguments(verbs)
    register.arguments(verbs)


@answers
def run(options: argparse.Namespace) -> int:
    try:
        return VERBS[options.verb](options)
    except users.PersonError as error:
        complain(str(error))
        return 2
    except (centers.CenterError, facts.FactError, requests.TestRequestRefused, questions.QuestionRefused) as error:
        complain(str(error))
        return 1


def _add(options: argparse.Namespace) -> int:
    columns = {name: getattr(options, f"column_{name}") for name in centers.COLUMNS}
    with opened(settings_of(options)) as store, store.write() as conn:
        center = centers.add(conn, columns, clock_ms(), acting(options))
        users.record(conn, "center_added", acting(options), clock_ms(), center=center.code)
    say(json.dumps(center.row()) if options.json else f"{center.code}: added; next: nabz-collector token {center.code}")
    return 0


def _move(options: argparse.Namespace) -> int:
    """A decision: who, why, and the files it rests on."""
    if options.lifecycle in WITH_REASON and not options.reason:
        complain(f"center move {options.code} {options.lifecycle}: needs a reason; give --reason TEXT")
        return 2
    try:
        evidence = tuple(map(_evidence, options.evidence))
    except OSError as error:
        complain(f"--evidence: cannot be read ({describe(error)}); name files that exist")
        return 1
    decision = acting(options), options.reason, evidence
    with existing(settings_of(options)) as store, store.write() as conn:
        center = centers.move(conn, options.code, options.lifecycle, clock_ms(), *decision)
        reason = f"{center.lifecycle}: {options.reason}".removesuffix(": ")
        users.record(conn, "center_changed", acting(options), clock_ms(), center=center.code, reason=reason)
    say(json.dumps(center.row()) if options.json else f"{center.code}: is {center.lifecycle} now")
    return 0


def _erase(options: argparse.Namespace) -> int:
    """What goes, by table."""
    if options.dry_run:
        with existing(settings_of(options)) as store, store.read() as conn:
            counts = erasure.center_counts(conn, options.code)
    else:
        with existing(settings_of(options)) as store, store.write() as conn:
            counts = erasure.erase_center(conn, options.code, acting(options), clock_ms())
    word = "would go" if options.dry_run else "gone"
    text = ", ".join(f"{count} of {name}" for name, count in sorted(counts.items()) if count) or "nothing"
    say(json.dumps(counts) if options.json else f"{options.code}: {word}: {text}")
    return 0


def _evidence(path: Path) -> dict[str, object]:
    body = path.read_bytes()
    return {"name": path.name, "sha256": hashlib.sha256(body).hexdigest(), "size": len(body)}


def _list(options: argparse.Namespace) -> int:
    if options.state:
        return _states(options)
    with existing(settings_of(options)) as store, store.read() as conn:
        rows = [center.row() for center in centers.all_centers(conn)]
    rows = [row for row in rows if options.province in ("", row["province"])]
    if options.csv:
        say_rows(options, tuple(centers.COLUMNS), rows)
    else:
        none = "none" if options.province else none_yet(EXAMPLE.removesuffix(" --dry-run"))
        say(json.dumps(rows) if options.json else table(SHOWN, [[row[name] for name in SHOWN] for row in rows], none))
    return 0


def _states(options: argparse.Namespace) -> int:
    """As the page lists them."""
    settings, now_ms = settings_of(options), clock_ms()
    wanted = queries.Filter("" if options.state == "all" else options.state, options.province)
    with existing(settings) as store, store.read() as conn:
        ranks = ranks_now(conn, read_standards(settings), now_ms)
        rows = center_states.page(conn, ranks, wanted, now_ms, limit=lists.LIMIT)
    say_rows(options, lists.CENTERS, rows, ("center", "name", "province", "state", "criterion", "heard_ms"))
    return 0


def _show(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        center = centers.get(conn, options.code)
        past = dated.histories(conn, [center])[center.code].past
    row = center.row()
    held = [{"from_ms": from_ms, **values} for from_ms, values in past]
    if options.json:
        say(json.dumps(row | {"held": held}))
        return 0
    say(table(("what", "value"), list(row.items())))
    if held:
        days = [(dated.day_of(from_ms), *(values.get(name, "") for name in HELD)) for from_ms, values in past]
        say("\n" + table(("holds from", *HELD), days))
    return 0


def _test(options: argparse.Namespace) -> int:
    """0 when it was asked for or, with `--wait`, when there is a result."""
    with existing(settings_of(options)) as store:
        with store.write() as conn:
            test_id = requests.ask_for(conn, options.code, clock_ms())
            users.record(conn, "test_requested", acting(options), clock_ms(), center=options.code)
        until_s = time.monotonic() + options.wait
        while (turn := _turn(store, test_id))["state"] in requests.OPEN and time.monotonic() < until_s:
            time.sleep(LOOK_S)
    say(json.dumps(dict(turn)) if options.json else _said(turn))
    return 0 if turn["reason"] == "result" or not options.wait else 1


def _ask(options: argparse.Namespace) -> int:
    """0 when there is an answer; 1 when there is none yet: it will be on the center's page."""
    with existing(settings_of(options)) as store:
        with store.write() as conn:
            question = questions.ask(conn, options.code, options.question, acting(options), clock_ms())
            users.record(
                conn, "question_asked", acting(options), clock_ms(), center=options.code, reason=options.question
            )
        until_s = time.monotonic() + options.wait
        while (reply := _question(store, question)).answered_ms is None and time.monotonic() < until_s:
            time.sleep(LOOK_S)
    if options.json:
        say(json.dumps(dataclasses.asdict(reply)))
    else:
        say(reply.answer or f"{options.code}: no answer yet; it will be on the center's page")
    return 0 if reply.answered_ms is not None else 1


def _question(store: Store, question: str) -> questions.AskedQuestion:
    with store.read() as conn:
        return questions.by_id(conn, question)


def _turn(store: Store, test_id: str) -> sa.RowMapping:
    with store.read() as conn:
        turn = requests.by_id(conn, test_id)
    assert turn is not None, "turns are never deleted"
    return turn


def _said(turn: sa.RowMapping) -> str:
    head = f"{turn['center']}: test {turn['test_id']} at {turn['server']}"
    if turn["reason"] == "result":
        return f"{head}: {turn['download_mbps']} Mbit/s down, {turn['upload_mbps']} up"
    if turn["state"] in requests.OPEN:
        state = "runs" if turn["state"] == "granted" else "waits for its turn"
        return f"{head}: {state}; its result will be on the center's page"
    return f"{head}: {turn['state']}, {turn['reason']}{': ' + turn['failure'] if turn['failure'] else ''}"


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    **register.VERBS,
    "add": _add,
    "move": _move,
    "list": _list,
    "show": _show,
    "test": _test,
    "ask": _ask,
    "erase": _erase,
}
