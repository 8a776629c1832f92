"""`nabz-collector incident`: one cause, one incident: list, show, and what people do with it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from agent.common.errors import describe
from agent.common.words import plain
from collector.access import users
from collector.commands.console import (
    acting,
    answers,
    clock_ms,
    common_arguments,
    complain,
    form_arguments,
    moment,
    say,
    say_rows,
    settings_of,
    span_s,
    table,
    who_argument,
)
from collector.common.attachments import MAX_BYTES
from collector.desk import files, tables, work
from collector.desk.alerts import lists
from collector.desk.incident import ACK_S, WAITS, Incident, WorkError
from collector.desk.view import desk_clock, queries
from collector.judging.flags.cause import NAMES
from collector.run.settings import read_standards
from collector.store.database import existing

EXAMPLE = 'nabz-collector incident ack 12 --note "called LESCO" --for 4h'
EXAMPLES = {
    "list": "--state open --json",
    "times": "--by district --for 30d --csv",
    "show": "12",
    "ack": '12 --note "called LESCO, expected by 14:00" --for 4h',
    "assign": "12 --to Ayesha",
    "take": "12",
    "start": "12",
    "wait": '12 --party provider --note "ticket 4711"',
    "note": '12 --note "the generator runs"',
    "snooze": '12 --for 2h --note "announced work on the feeder"',
    "resolve": '12 --note "the flag is of a seat that was taken away"',
    "review": '12 --note "discussed with the operator"',
    "cause": '12 --is isp_down --note "PTCL confirmed a cut fibre"',
    "merge": '13 --into 12 --note "the same transformer"',
    "link": '12 --to https://tickets.example.pk/4711 --note "ticket of the provider"',
    "attach": '12 pole.jpg --note "the pole that fell"',
    "save": "12 --output incident-12",
    "split": '12 --center LHR-014 --note "its own fuse"',
}
DAY_S = 86_400
FILE_HEADS = ("file", "bytes", "given", "by", "sha256")
HEADS = ("id", "state", "severity", "what", "cause", "centers", "since", "lasted", "priority", "owner")

Act = Callable[[sa.Connection, argparse.Namespace, str, int], Incident]


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    shown = verbs.add_parser("list", help="incidents, the most urgent first")
    shown.add_argument("--state", choices=queries.SHOWN_STATES, default="open")
    shown.add_argument("--owner", default="", metavar="NAME", help="only those of this person")
    shown.add_argument("--center", default="", metavar="CODE", help="only those that this center is or was part of")
    clock = verbs.add_parser("times", help="how long incidents waited for somebody, and for their end")
    clock.add_argument("--by", choices=desk_clock.BYS, default="officer", help="(default: officer)")
    clock.add_argument(
        "--for",
        dest="for_s",
        type=span_s,
        default=30 * DAY_S,
        metavar="TIME",
        help="opened in the last 7d (default: 30d)",
    )
    for verb, (summary, _) in _VERBS.items():
        made = verbs.add_parser(verb, help=summary)
        made.add_argument("number", type=int, metavar="INCIDENT")
        if verb not in ("show", "save"):
            who_argument(made)
            made.add_argument("--note", default="", metavar="TEXT", help="what the next reader needs to know; recorded")
    _own_arguments(verbs.choices)
    for verb, made in verbs.choices.items():
        common_arguments(made)
        if verb in ("list", "times"):
            form_arguments(made)
        else:
            made.add_argument("--json", action="store_true", help="print facts as JSON")


def _own_arguments(verbs: Mapping[str, argparse.ArgumentParser]) -> None:
    """What only one verb has."""
    span: dict[str, Any] = {"dest": "for_s", "type": span_s, "metavar": "TIME"}
    verbs["ack"].add_argument("--for", default=ACK_S, help="until it is forgotten, such as 4h (default: 24h)", **span)
    verbs["snooze"].add_argument("--for", required=True, help="no messages for so long, such as 2h", **span)
    verbs["assign"].add_argument("--to", required=True, metavar="NAME", help="its owner from now on")
    verbs["wait"].add_argument("--party", required=True, choices=WAITS, help="who is to act")
    verbs["cause"].add_argument("--is", dest="cause", required=True, choices=NAMES, help="as it is known")
    verbs["merge"].add_argument("--into", type=int, required=True, metavar="INCIDENT")
    verbs["link"].add_argument(
        "--to", required=True, metavar="INCIDENT|URL", help="another incident, or a ticket's address"
    )
    verbs["attach"].add_argument("file", type=Path, metavar="FILE", help="a photo, a PDF, or a table as plain text")
    verbs["save"].add_argument("--output", type=Path, required=True, metavar="FOLDER", help="made if it is not there")
    verbs["split"].add_argument("--center", action="append", required=True, metavar="CODE", help="once for each")


@answers
def run(options: argparse.Namespace) -> int:
    try:
        return {"list": _list, "times": _times, "save": _save}.get(options.verb, _one)(options)
    except (WorkError, users.PersonError) as error:
        complain(str(error))
        return 1
    except OSError as error:
        complain(f"{error.filename or 'file'}: cannot be read or written ({describe(error)}); name one that can")
        return 1


def _list(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    with existing(settings) as store, store.read() as conn:
        incidents = queries.listing(
            conn, read_standards(settings), clock_ms(), state=options.state, owner=options.owner, center=options.center
        )
    if options.csv:
        say_rows(options, lists.INCIDENTS, [lists.flat_incident(one) for one in incidents])
    else:
        say(json.dumps(incidents) if options.json else table(HEADS, [_cells(one) for one in incidents]))
    return 0


def _times(options: argparse.Namespace) -> int:
    now_ms = clock_ms()
    with existing(settings_of(options)) as store, store.read() as conn:
        incidents = desk_clock.times(conn, now_ms - options.for_s * 1000, now_ms + 1)
    groups = desk_clock.summed(incidents, options.by)
    if options.csv or options.json:
        say_rows(options, desk_clock.COLUMNS, [dataclasses.asdict(one) for one in groups])
        return 0
    words = plain()

    def cells(one: desk_clock.WaitingTimes, name: str) -> Sequence[object]:
        spans = (one.take_median_s, one.take_p90_s, one.resolve_median_s, one.resolve_p90_s)
        take, take_p90, end, end_p90 = ("-" if span is None else words.duration(span) for span in spans)
        return name, one.incidents, one.taken, take, take_p90, one.resolved, end, end_p90

    rows = [cells(one, one.group or "-") for one in groups] + [cells(desk_clock.total("", incidents), "all")]
    say(table((options.by, "incidents", "taken", "after", "9 of 10", "resolved", "after", "9 of 10"), rows))
    return 0


def _one(options: argparse.Namespace) -> int:
    settings, now_ms = settings_of(options), clock_ms()
    standards = read_standards(settings)
    options.standards = standards
    act = _VERBS[options.verb][1]
    reason = " ".join(filter(None, (options.verb, options.note if act is not None else "")))
    if act is _attach:
        with options.file.open("rb") as file:
            options.body = file.read(MAX_BYTES + 1)
        reason = files.act_of(options.body, options.note)
    with existing(settings) as store:
        number, person = options.number, acting(options) if act is not None else ""
        if act is not None:
            with store.write() as conn:
                number = act(conn, options, person, now_ms).id
                users.record(conn, "incident_worked", person, now_ms, subject=str(options.number), reason=reason)
        with store.read() as conn:
            facts = queries.whole(conn, standards, now_ms, number)
    say(json.dumps(facts) if options.json else _told(facts))
    return 0


def _ack(conn: sa.Connection, options: argparse.Namespace, person: str, now_ms: int) -> Incident:
    return work.acknowledge(conn, options.number, person, options.note, now_ms, options.for_s)


def _assign(conn: sa.Connection, options: argparse.Namespace, person: str, now_ms: int) -> Incident:
    return work.assign(conn, options.number, options.to, person, options.note, now_ms)


def _take(conn: sa.Connection, options: argparse.Namespace, person: str, now_ms: int) -> Incident:
    return work.assign(conn, options.number, person, person, options.note, now_ms)


def _start(conn: sa.Connection, options: argparse.Namespace, person: str, now_ms: int) -> Incident:
    return work.start(conn, options.number, person, options.note, now_ms)


def _wait(conn: sa.Connection, options: argparse.Namespace, person: str, now_ms: int) -> Incident:
    return work.wait(conn, options.number, options.party, person, options.note, now_ms)


def _note(conn: sa.Connection, options: argparse.Namespace, person: str, now_ms: int) -> Incident:
    return work.note(conn, options.number, person, options.note, now_ms)


def _snooze(conn: sa.Connection, options: argparse.Namespace, person: str, now_ms: int) -> Incident:
    return work.snooze(conn, options.number, now_ms + options.for_s * 1000, person, options.note, now_ms)


def _resolve(conn: sa.Connection, options: argparse.Namespace, person: str, now_ms: int) -> Incident:
    return work.resolve(conn, options.number, person, options.note, now_ms)


def _review(conn: sa.Connection, options: argparse.Namespace, person: str, now_ms: int) -> Incident:
    return work.review(conn, options.number, person, options.note, now_ms)


def _cause(conn: sa.Connection, options: argparse.Namespace, person: str, now_ms: int) -> Incident:
    return work.recause(conn, options.number, options.cause, person, options.note, now_ms)


def _merge(conn: sa.Connection, options: argparse.Namespace, person: str, now_ms: int) -> Incident:
    return work.merge(conn, options.number, options.into, options.standards, person, options.note, now_ms)


def _link(conn: sa.Connection, options: argparse.Namespace, person: str, now_ms: int) -> Incident:
    return work.link(conn, options.number, options.to, person, options.note, now_ms)


def _attach(conn: sa.Connection, options: argparse.Namespace, person: str, now_ms: int) -> Incident:
    return work.attach(conn, options.number, options.file.name, options.body, person, options.note, now_ms)


def _save(options: argparse.Namespace) -> int:
    """Saves each under its hash and name; says which bytes this database lacks."""
    with existing(settings_of(options)) as store, store.read() as conn:
        tables.get(conn, options.number)
        held = files.of_incident(conn, options.number)
        options.output.mkdir(parents=True, exist_ok=True)
        for one in held:
            if not one.is_lost:
                path = options.output / f"{one.sha256[:16]}-{one.name}"
                path.write_bytes(files.get(conn, options.number, one.sha256)[1])
    if options.json:
        say(json.dumps([dataclasses.asdict(one) for one in held]))
    else:
        rows = [(one.name, one.size, moment(one.added_ms), one.added_by, one.sha256) for one in held]
        say(table(FILE_HEADS, rows))
    if lost := [one.name for one in held if one.is_lost]:
        complain(f"{', '.join(lost)}: not in this database; whoever has a file can give it again")
    return 1 if lost else 0


def _split(conn: sa.Connection, options: argparse.Namespace, person: str, now_ms: int) -> Incident:
    return work.split(conn, options.number, options.center, options.standards, person, options.note, now_ms)


_VERBS: dict[str, tuple[str, Act | None]] = {
    "show": ("one incident with its members and history", None),
    "ack": ("acknowledge: somebody looks after it, with a note, until a time", _ack),
    "assign": ("give it to somebody", _assign),
    "take": ("take it yourself", _take),
    "start": ("it is being worked on", _start),
    "wait": ("somebody else is to act: operator, provider, power", _wait),
    "note": ("a note for the next reader", _note),
    "snooze": ("no messages of it for a while, with a reason", _snooze),
    "resolve": ("close it by hand, with a reason; evidence closes incidents by itself", _resolve),
    "review": ("looked at once more after it was over", _review),
    "cause": ("set its cause as it is known", _cause),
    "merge": ("make it part of another", _merge),
    "link": ("it has to do with another incident, or with a ticket elsewhere", _link),
    "attach": ("give a file with it, also after it is over", _attach),
    "save": ("write the files given with it into a folder", None),
    "split": ("make an incident of its own of some centers", _split),
}


# ---------------------------------------------------------------- words


def _cells(one: dict[str, Any]) -> Sequence[object]:
    words = plain()
    cause = words.word("gap", one["cause"]["name"]) if one["cause"] else words(f"incident.family.{one['family']}")
    state = words(f"incident.state.{one['state']}") + (" (snoozed)" if one["is_snoozed"] else "")
    lasted, what = words.duration(one["lasted_s"]), words(f"incident.scope.{one['scope']}", place=one["place"])
    since = moment(one["began_ms"])
    return (
        one["id"], state, one["severity"], what, cause, one["centers"], since, lasted, one["priority"], one["owner"]
    )  # fmt: skip


def _told(facts: dict[str, Any]) -> str:
    words = plain()
    lines = [table(HEADS, [_cells(facts)]), ""]
    lines += [f"evidence: {item['text']}" for item in (facts["cause"] or {"evidence": ()})["evidence"]]
    lines += [f"call: {one['name']} {one['telephone']}" for one in facts["telephones"]]
    members = [
        (one["center"], one["criterion"] or "signs", one["subject"], moment(one["joined_ms"]), moment(one["left_ms"]))
        for one in facts["members"]
    ]
    lines += [f"file: {one['name']} {one['size']} bytes, SHA-256 {one['sha256']}" for one in facts["files"]]
    lines += [table(("center", "criterion", "of", "joined", "left"), members), ""]
    for event in reversed(facts["events"]):
        text = " – ".join(filter(None, (event["detail"] and event["detail"]["text"], event["text"])))
        act = words(f"incident.act.{event['act']}")
        by = f" by {event['person']}" if event["person"] else ""
        lines.append(f"{moment(event['at_ms'])}  {act}{by}  {text}")
    return "\n".join(line.rstrip() for line in lines)
