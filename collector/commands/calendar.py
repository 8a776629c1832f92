"""`nabz-collector calendar`: holidays, Ramadan and Friday hours, closures, maintenance, load-shedding schedules."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from agent.common.center_time import TZ
from agent.common.errors import describe
from agent.common.files import clean, read_text
from collector.access import users
from collector.acts import register as acts
from collector.acts.person import ActingPerson
from collector.commands.console import (
    acting,
    answers,
    clock_ms,
    complain,
    none_yet,
    proof_of,
    say,
    settings_of,
    table,
    time_ms,
    two_persons,
    verb_arguments,
    who_argument,
)
from collector.register import calendar, dated
from collector.register.calendar import CalendarEntry, CalendarError
from collector.register.facts import FactError
from collector.store.database import existing, opened

EXAMPLE = "nabz-collector calendar add hours --all --from 2027-02-08 --to 2027-03-09 --hours 'Mon-Sat 09:00-15:00' " \
    "--name Ramadan --reason 'notification 12'"  # fmt: skip
EXAMPLES = {
    "list": "--from 2026-12-01 --kind holiday",
    "holidays": "2027",
    "add": 'maintenance --feeder F-12 --from 2026-12-05T09:00 --to 2026-12-05T13:00 --reason "transformer replaced"',
    "shedding": "schedule.csv --dry-run",
    "confirm": "12 --on 2027-03-20",
    "withdraw": '12 --reason "not observed"',
}
SHOWN = ("id", "kind", "of", "from", "to", "hours", "name", "state", "by", "second", "age")
COLUMNS = ("feeder", "hours")
DAY_MS = 86_400_000
MINUTE = "YYYY-MM-DD[THH:MM]"


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listed = verbs.add_parser("list", help="what the calendar has, waiting and withdrawn entries too")
    listed.add_argument("--from", dest="from_day", default="", metavar="YYYY-MM-DD", help="default: a month ago")
    listed.add_argument("--to", dest="to_day", default="", metavar="YYYY-MM-DD", help="default: a year ahead")
    listed.add_argument("--kind", choices=calendar.KINDS, action="append", help="only these; default: all")
    year = verbs.add_parser("holidays", help="the public holidays of a year; those by the moon wait to be confirmed")
    year.add_argument("year", type=int, metavar="YEAR")
    who_argument(year)
    _add_arguments(verbs.add_parser("add", help="an entry: holiday, hours, closure, maintenance or shedding"))
    read = verbs.add_parser("shedding", help="load-shedding schedules of feeders from a CSV file; all or nothing")
    read.add_argument("file", type=Path, metavar="FILE.csv", help=f"columns: {', '.join(COLUMNS)}")
    read.add_argument("--from", dest="from_day", default="", metavar="YYYY-MM-DD", help="holds from (default: today)")
    read.add_argument("--reason", default="", metavar="TEXT", help="recorded, e.g. whose schedule it is")
    read.add_argument("--dry-run", action="store_true", help="only say what would be done")
    who_argument(read)
    for name, word in (("confirm", "a day of the moon, or the second person"), ("withdraw", "take entries back")):
        decided = verbs.add_parser(name, help=word)
        decided.add_argument("ids", type=int, nargs="+", metavar="ID")
        who_argument(decided)
    verbs.choices["confirm"].add_argument("--on", default="", metavar="YYYY-MM-DD", help="the day on which it came")
    verbs.choices["withdraw"].add_argument("--reason", required=True, metavar="TEXT", help="recorded")
    verbs.choices["withdraw"].add_argument(
        "--second", default="", metavar="NAME", help="where days that are over change"
    )
    verb_arguments(verbs)


def _add_arguments(add: argparse.ArgumentParser) -> None:
    add.add_argument("kind", choices=calendar.BY_HAND, metavar="KIND", help=", ".join(calendar.BY_HAND))
    scope = add.add_mutually_exclusive_group(required=True)
    scope.add_argument("--all", action="store_true", help="for every center")
    for name in calendar.SCOPES[1:]:
        scope.add_argument(f"--{name}", default="", metavar="NAME", help=f"for one {name}")
    add.add_argument("--from", dest="from_day", required=True, metavar=MINUTE, help="from this time on")
    add.add_argument("--to", dest="to_day", default="", metavar=MINUTE, help="a day is meant whole, a time ends it")
    add.add_argument("--hours", default="", metavar="TEXT", help="as opening hours: 'Fri 09:00-12:30,14:30-21:00'")
    add.add_argument("--name", default="", metavar="TEXT")
    add.add_argument("--name-ur", default="", metavar="TEXT", help="in Urdu")
    add.add_argument("--reason", required=True, metavar="TEXT", help="recorded")
    add.add_argument("--second", default="", metavar="NAME", help="the second person, where one is needed")
    who_argument(add)


@answers
def run(options: argparse.Namespace) -> int:
    try:
        return VERBS[options.verb](options)
    except users.PersonError as error:
        complain(str(error))
        return 2
    except (CalendarError, FactError) as error:
        complain(str(error))
        return 1
    except OSError as error:
        complain(f"{options.file}: cannot be read ({describe(error)}); name a CSV file that exists")
        return 1
    except ValueError as error:
        complain(describe(error))
        return 2


def _list(options: argparse.Namespace) -> int:
    now_ms = clock_ms()
    from_ms = dated.day_ms(options.from_day) if options.from_day else now_ms - 31 * DAY_MS
    to_ms = dated.day_ms(options.to_day) + DAY_MS if options.to_day else now_ms + 366 * DAY_MS
    with existing(settings_of(options)) as store, store.read() as conn:
        entries = calendar.listed(conn, from_ms, to_ms, options.kind or calendar.KINDS)
    _say(options, entries, now_ms)
    return 0


def _say(options: argparse.Namespace, entries: Sequence[CalendarEntry], now_ms: int) -> None:
    if options.json:
        say(json.dumps([plain(entry, now_ms) for entry in entries]))
        return
    cells = [
        (
            entry.id, entry.kind, entry.subject or entry.scope, _time(entry.from_ms), _time(entry.to_ms), entry.hours,
            entry.name, entry.state, entry.recorded_by, entry.confirmed_by, f"{_age_d(entry, now_ms)} d",
        )
        for entry in entries
    ]  # fmt: skip
    say(table(SHOWN, cells, none_yet(EXAMPLE)))


def plain(entry: CalendarEntry, now_ms: int) -> dict[str, object]:
    return dataclasses.asdict(entry) | {"state": entry.state, "age_d": _age_d(entry, now_ms)}


def _age_d(entry: CalendarEntry, now_ms: int) -> int:
    """How many days ago it was recorded: a schedule of load-shedding grows old."""
    return max(0, now_ms - entry.recorded_ms) // DAY_MS


def _holidays(options: argparse.Namespace) -> int:
    """Those that the calendar has already are left as they are."""
    if not 2020 <= options.year <= 2100:
        raise ValueError(f"year {options.year}: must be from 2020 to 2100")
    now_ms = clock_ms()
    holidays = calendar.public_holidays(options.year, acting(options), now_ms)
    with opened(settings_of(options)) as store, store.write() as conn:
        span = dated.day_ms(f"{options.year}-01-01"), dated.day_ms(f"{options.year + 1}-01-01")
        known = {one.name for one in calendar.listed(conn, *span, ["holiday"]) if one.state != "withdrawn"}
        new = [entry for entry in holidays if entry.name not in known]
        made = calendar.add(conn, new)
        acts.settle_entries(conn, made, ActingPerson(name=acting(options), now_ms=now_ms))
    _say(options, made, now_ms)
    return 0


def _add(options: argparse.Namespace) -> int:
    now_ms = clock_ms()
    scope = next(name for name in calendar.SCOPES if getattr(options, name))
    from_ms = time_ms(options.from_day)
    entry = CalendarEntry(
        kind=options.kind, scope=scope, subject="" if options.all else getattr(options, scope),
        from_ms=from_ms, to_ms=_end_ms(options), hours=options.hours, name=clean(options.name),
        name_ur=clean(options.name_ur), recorded_ms=now_ms, recorded_by=acting(options), reason=options.reason,
    )  # fmt: skip
    with opened(settings_of(options)) as store:
        people = two_persons(store, options, now_ms, needed=calendar.needs_second(entry))
        with store.write() as conn:
            people.check(conn)
            made = calendar.add(conn, [entry], people.second)
            acts.settle_entries(conn, made, ActingPerson(name=acting(options), now_ms=now_ms))
    _say(options, made, now_ms)
    return 0


def _end_ms(options: argparse.Namespace) -> int | None:
    if not options.to_day:
        return None
    return time_ms(options.to_day) + (DAY_MS if "T" not in options.to_day else 0)


def _shedding(options: argparse.Namespace) -> int:
    now_ms = clock_ms()
    from_ms = dated.day_ms(options.from_day) if options.from_day else dated.today_ms(now_ms)
    reason = options.reason or f"schedule {options.file.name}"
    rows = schedules(read_text(options.file).splitlines())
    entries = [
        CalendarEntry(
            kind="shedding", scope="feeder", subject=feeder, from_ms=from_ms, hours=hours, recorded_ms=now_ms,
            recorded_by=acting(options), reason=reason,
        )
        for feeder, hours in rows
    ]  # fmt: skip
    for entry in entries:
        calendar.check(entry)
    if not options.dry_run:
        with opened(settings_of(options)) as store, store.write() as conn:
            entries = calendar.add(conn, entries)
            acts.settle_entries(conn, entries, ActingPerson(name=acting(options), now_ms=now_ms))
    _say(options, entries, now_ms)
    return 0


def schedules(lines: Iterable[str]) -> list[tuple[str, str]]:
    """(feeder, hours without mains) of each row. Raises CalendarError with the line."""
    reader = csv.DictReader(lines, strict=True)
    try:
        names = [clean(name).lower() for name in reader.fieldnames or ()]
        if names != list(COLUMNS):
            raise CalendarError(f"line 1: columns must be {', '.join(COLUMNS)}")
        reader.fieldnames = names
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise CalendarError(f"line {reader.line_num}: is not CSV ({describe(error)}); save the file as such") from None
    by_feeder: dict[str, str] = {}
    for line, row in rows:
        feeder, hours = (clean(row[name] or "") for name in COLUMNS)
        if not feeder or not hours or feeder in by_feeder:
            raise CalendarError(f"line {line}: needs a feeder, once, and its hours, such as daily 10:00-12:00")
        by_feeder[feeder] = hours
    return list(by_feeder.items())


def _confirm(options: argparse.Namespace) -> int:
    now_ms = clock_ms()
    from_ms = dated.day_ms(options.on) if options.on else None
    with existing(settings_of(options)) as store:
        by = acting(options)
        proof = proof_of(store, by, now_ms)
        with store.write() as conn:
            users.check(conn, by, proof, "approve")
            who = ActingPerson(name=by, now_ms=now_ms, is_proven=bool(proof))
            made = acts.confirm_entries(conn, calendar.by_ids(conn, options.ids), who, from_ms)
    _say(options, made, now_ms)
    return 0


def _withdraw(options: argparse.Namespace) -> int:
    now_ms = clock_ms()
    with existing(settings_of(options)) as store:
        people = two_persons(store, options, now_ms, needed=bool(options.second))
        by = people.first
        with store.write() as conn:
            people.check(conn)
            entries = calendar.by_ids(conn, options.ids)
            gone = calendar.withdraw(conn, entries, by, options.reason, now_ms, people.second)
            entries = calendar.by_ids(conn, options.ids)
            ended = {one.id for one in gone}
            acts.settle_entries(conn, [one for one in entries if one.id in ended], ActingPerson(name=by, now_ms=now_ms))
    _say(options, entries, now_ms)
    return 0


def _time(at_ms: int | None) -> str:
    if at_ms is None:
        return ""
    text = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(TZ)).strftime("%Y-%m-%dT%H:%M")
    return text.removesuffix("T00:00")


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "list": _list, "holidays": _holidays, "add": _add, "shedding": _shedding, "confirm": _confirm,
    "withdraw": _withdraw,
}  # fmt: skip
