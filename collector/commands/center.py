"""`nabz-collector center`: the register of centers."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from agent.common.errors import describe
from agent.common.files import read_text
from collector.access import users
from collector.commands.console import (
    acting,
    answers,
    common_arguments,
    complain,
    say,
    settings_of,
    table,
    who_argument,
)
from collector.database import opened
from collector.register import centers, dated
from collector.reports import revisions
from collector.speedtests import requests
from collector.store import Store

EXAMPLE = "nabz-collector center import centers.csv --dry-run"
LOOK_S = 0.5
SHOWN = ("center", "name", "city", "tier", "seats_promised", "isp", "lifecycle")


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    read = verbs.add_parser("import", help="add and change centers from a CSV file; all or nothing")
    read.add_argument("file", type=Path, metavar="FILE.csv", help=f"columns: {', '.join(centers.COLUMNS)}")
    read.add_argument("--dry-run", action="store_true", help="only say what would be done")
    read.add_argument(
        "--from", dest="from_day", default="", metavar="YYYY-MM-DD",
        help=f"the day from which new {', '.join(dated.DATED)} hold (default: today)",
    )  # fmt: skip
    who_argument(read)
    add = verbs.add_parser("add", help="add one center")
    for name in centers.COLUMNS:
        flag = "--code" if name == "center" else f"--{name.replace('_', '-')}"
        add.add_argument(flag, dest=f"column_{name}", default="", required=name in centers.NEEDED, metavar="TEXT")
    move = verbs.add_parser("move", help="move a center to another lifecycle")
    move.add_argument("code", metavar="CODE")
    move.add_argument("lifecycle", choices=tuple(centers.LIFECYCLE))
    show = verbs.add_parser("show", help="one center")
    show.add_argument("code", metavar="CODE")
    verbs.add_parser("list", help="all centers")
    test = verbs.add_parser("test", help="ask for a speed test of a center now; the running collector gives the turn")
    test.add_argument("code", metavar="CODE")
    test.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="wait so long for its result")
    for verb in verbs.choices.values():
        common_arguments(verb)
        if verb in (add, move, test):
            who_argument(verb)
        verb.add_argument("--json", action="store_true", help="print facts as JSON")


@answers
def run(options: argparse.Namespace) -> int:
    try:
        return VERBS[options.verb](options)
    except (centers.CenterError, requests.TestRequestRefused, users.PersonError) as error:
        complain(str(error))
        return 1


def _import(options: argparse.Namespace) -> int:
    try:
        from_ms = dated.day_ms(options.from_day) if options.from_day else None
    except ValueError as error:
        complain(f"--from: {describe(error)}")
        return 2
    try:
        lines = read_text(options.file).splitlines(keepends=True)
    except OSError as error:
        complain(f"{options.file}: cannot be read ({describe(error)}); name a CSV file that exists")
        return 1
    except ValueError as error:
        complain(f"{options.file}: is not CSV in UTF-8 or UTF-16 ({describe(error)})")
        return 1
    with opened(settings_of(options)) as store, store.write() as conn:
        if options.dry_run:
            done = centers.plan_import(conn, lines, _now_ms(), from_ms)
        else:
            done = centers.do_import(conn, lines, _now_ms(), from_ms, acting(options))
            _revise(conn, done, from_ms)
            if not done.mistakes and (done.added or done.changed):
                counts = f"{len(done.added)} new, {len(done.changed)} changed: {options.file.name}"
                users.record(conn, "centers_imported", acting(options), _now_ms(), reason=counts)
    for mistake in done.mistakes:
        complain(f"{options.file}: {mistake}")
    facts = {
        "added": len(done.added),
        "changed": len(done.changed),
        "same": done.same,
        "differences": [dataclasses.asdict(difference) for difference in done.differences],
        "mistakes": [str(mistake) for mistake in done.mistakes],
        "written": not (options.dry_run or done.mistakes),
    }
    for difference in () if options.json or done.mistakes else done.differences:
        say(str(difference))
    words = f"{len(done.added)} new, {len(done.changed)} changed, {done.same} as before"
    fate = "nothing was written: correct the file" if done.mistakes else "a dry run: nothing was written"
    say(json.dumps(facts) if options.json else words if facts["written"] else f"{words}; {fate}")
    return 1 if done.mistakes else 0


def _revise(conn: sa.Connection, done: centers.Import, from_ms: int | None) -> None:
    """Months that are reported already and were otherwise than was thought are reported anew."""
    if from_ms is not None and not done.mistakes:
        codes = {item.center for item in done.differences if item.column in dated.DATED}
        revisions.record_facts(conn, codes, from_ms, _now_ms())


def _add(options: argparse.Namespace) -> int:
    facts = {name: getattr(options, f"column_{name}") for name in centers.COLUMNS}
    with opened(settings_of(options)) as store, store.write() as conn:
        center = centers.add(conn, facts, _now_ms())
        users.record(conn, "center_added", acting(options), _now_ms(), center=center.code)
    say(json.dumps(center.row()) if options.json else f"{center.code}: added; next: nabz-collector token {center.code}")
    return 0


def _move(options: argparse.Namespace) -> int:
    with opened(settings_of(options)) as store, store.write() as conn:
        center = centers.move(conn, options.code, options.lifecycle, _now_ms())
        users.record(conn, "center_changed", acting(options), _now_ms(), center=center.code, reason=center.lifecycle)
    say(json.dumps(center.row()) if options.json else f"{center.code}: is {center.lifecycle} now")
    return 0


def _list(options: argparse.Namespace) -> int:
    with opened(settings_of(options)) as store, store.read() as conn:
        rows = [center.row() for center in centers.all_centers(conn)]
    say(json.dumps(rows) if options.json else table(SHOWN, [[row[name] for name in SHOWN] for row in rows]))
    return 0


def _show(options: argparse.Namespace) -> int:
    with opened(settings_of(options)) as store, store.read() as conn:
        center = centers.get(conn, options.code)
        past = dated.histories(conn, [center])[center.code].past
    row = center.row()
    held = [{"from_ms": from_ms, **facts} for from_ms, facts in past]
    if options.json:
        say(json.dumps(row | {"held": held}))
        return 0
    say(table(("what", "value"), list(row.items())))
    if held:
        days = [(dated.day_of(from_ms), *facts.values()) for from_ms, facts in past]
        say("\n" + table(("holds from", *dated.DATED), days))
    return 0


def _test(options: argparse.Namespace) -> int:
    """0 when it was asked for or, with `--wait`, when there is a result."""
    with opened(settings_of(options)) as store:
        with store.write() as conn:
            test_id = requests.ask_for(conn, options.code, _now_ms())
            users.record(conn, "test_requested", acting(options), _now_ms(), center=options.code)
        until_s = time.monotonic() + options.wait
        while (turn := _turn(store, test_id))["state"] in requests.OPEN and time.monotonic() < until_s:
            time.sleep(LOOK_S)
    say(json.dumps(dict(turn)) if options.json else _said(turn))
    return 0 if turn["reason"] == "result" or not options.wait else 1


def _turn(store: Store, test_id: str) -> sa.RowMapping:
    with store.read() as conn:
        found = requests.by_id(conn, test_id)
    assert found is not None, "turns are never deleted"
    return found


def _said(turn: sa.RowMapping) -> str:
    head = f"{turn['center']}: test {turn['test_id']} at {turn['server']}"
    if turn["reason"] == "result":
        return f"{head}: {turn['download_mbps']} Mbit/s down, {turn['upload_mbps']} up"
    if turn["state"] in requests.OPEN:
        state = "runs" if turn["state"] == "granted" else "waits for its turn"
        return f"{head}: {state}; its result will be on the center's page"
    return f"{head}: {turn['state']}, {turn['reason']}{': ' + turn['failure'] if turn['failure'] else ''}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "import": _import,
    "add": _add,
    "move": _move,
    "list": _list,
    "show": _show,
    "test": _test,
}
