"""`nabz-collector rota`: who is on duty, by turns, with overrides."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping

import sqlalchemy as sa

from agent.common.errors import describe
from agent.common.words import plain
from collector.access.users import PersonError
from collector.acts import routing as acts
from collector.commands.console import (
    answers,
    clock_ms,
    complain,
    moment,
    none_yet,
    say,
    scope_arguments,
    scope_of,
    scope_text,
    settings_of,
    span_s,
    table,
    time_ms,
    verb_arguments,
    who,
    who_argument,
)
from collector.desk.routing import directory, tables
from collector.desk.routing.plans import RoutingError
from collector.desk.routing.rota import Rota, on_duty, upcoming
from collector.register import dated
from collector.store.database import existing

EXAMPLE = (
    "nabz-collector rota add desk --member Ayesha --member Bilal --turn 7d --district Lahore\n"
    '         nabz-collector rota override 1 --person Bilal --from 2026-12-01 --to 2026-12-03 --reason "ill"'
)
EXAMPLES = {
    "list": "--json",
    "add": "desk --member Ayesha --member Bilal --turn 7d --district Lahore",
    "remove": "3",
    "remove-override": "7",
    "override": '3 --person Bilal --from 2026-12-01 --to 2026-12-03 --reason "ill"',
    "who": "--at 2026-12-01T20:00",
}
MINUTE = "YYYY-MM-DD[THH:MM]"
TURNS = 4


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("list", help="all rotas, who is on duty now, and the next turns")
    made = verbs.add_parser("add", help="people who take turns; several rotas may have one name, each with its centers")
    made.add_argument("name", metavar="NAME", help="as plans name it: desk, lead …")
    made.add_argument("--member", action="append", required=True, metavar="PERSON", help="in order; repeatable")
    made.add_argument("--turn", type=span_s, default=7 * 86_400, metavar="TIME", help="such as 12h or 7d (default: 7d)")
    made.add_argument("--from", dest="from_day", default="", metavar=MINUTE, help="first turn (default: today)")
    made.add_argument("--hours", default="always", metavar="TEXT", help="nobody is on duty outside (default: always)")
    made.add_argument("--not-on-holidays", action="store_true", help="nobody is on duty on holidays of the calendar")
    scope_arguments(made)
    gone = verbs.add_parser("remove", help="the rota goes")
    gone.add_argument("id", type=int, metavar="NUMBER", help="see `rota list`")
    other = verbs.add_parser("override", help="somebody else for a while, or nobody")
    other.add_argument("id", type=int, metavar="NUMBER", help="see `rota list`")
    other.add_argument("--person", default="", metavar="NAME", help="who stands in; without one nobody is on duty")
    other.add_argument("--from", dest="from_day", required=True, metavar=MINUTE)
    other.add_argument("--to", dest="to_day", required=True, metavar=MINUTE, help="a day ends when it begins")
    other.add_argument("--reason", required=True, metavar="TEXT", help="recorded")
    back = verbs.add_parser("remove-override", help="the turn is as the rota has it again")
    back.add_argument("id", type=int, metavar="NUMBER", help="of the override, see `rota list`")
    duty = verbs.add_parser("who", help="who is on duty at a time")
    duty.add_argument("--at", default="", metavar=MINUTE, help="default: now")
    for verb in (made, gone, other, back):
        who_argument(verb)
    verb_arguments(verbs)


@answers
def run(options: argparse.Namespace) -> int:
    try:
        return _VERBS[options.verb](options)
    except RoutingError as error:
        complain(plain().reason(error.reason))
        return 1
    except PersonError as error:
        complain(str(error))
        return 1
    except ValueError as error:
        complain(describe(error))
        return 2


def _list(options: argparse.Namespace) -> int:
    now_ms = clock_ms()
    with existing(settings_of(options)) as store, store.read() as conn:
        rotas, days, names = tables.rotas(conn), directory.holidays(conn, now_ms), _names(conn)
    facts: list[dict[str, object]] = [
        {"id": one.id, "name": one.name, "scope": one.scope.parts, "members": one.members, "turn_s": one.turn_s,
         "hours": one.hours, "on_holidays": one.on_holidays, "on_duty": on_duty(one, now_ms, days),
         "turns": [{"from_ms": at_ms, "person": key} for at_ms, key in upcoming(one, now_ms, TURNS)],
         "overrides": [vars(item) for item in one.overrides if item.to_ms > now_ms]}
        for one in rotas
    ]  # fmt: skip
    say(json.dumps(facts) if options.json else _told(rotas, facts, names))
    return 0


def _told(rotas: tuple[Rota, ...], facts: list[dict[str, object]], names: Mapping[str, str]) -> str:
    words = plain()
    heads = ("id", "rota", "centers", "on duty now", "next", "turn", "hours")
    cells = []
    for one, row in zip(rotas, facts, strict=True):
        on, turns = str(row["on_duty"] or ""), upcoming(one, clock_ms(), 2)
        after = f"{names.get(turns[1][1], turns[1][1])} from {moment(turns[1][0])}" if len(turns) > 1 else ""
        turn = words.duration(one.turn_s)
        cells.append((one.id, one.name, scope_text(one.scope), names.get(on, on) or "nobody", after, turn, one.hours))
    standing = [
        f"override {item.id} of rota {one.id}: {names.get(item.person, item.person) or 'nobody'}, "
        f"{moment(item.from_ms)} to {moment(item.to_ms)} ({item.reason})"
        for one in rotas
        for item in one.overrides
        if item.to_ms > clock_ms()
    ]
    return "\n".join([table(heads, cells), *standing])


def _add(options: argparse.Namespace) -> int:
    from_ms = time_ms(options.from_day) if options.from_day else dated.today_ms(clock_ms())
    made = Rota(
        options.name, (), from_ms, options.turn, scope_of(options), options.hours, not options.not_on_holidays
    )  # fmt: skip
    with existing(settings_of(options)) as store, store.write() as conn:
        number = acts.keep_rota(conn, made, options.member, who(options))
    say(json.dumps({"id": number}) if options.json else f"rota {number}: kept")
    return 0


def _remove(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.write() as conn:
        acts.remove_rota(conn, options.id, who(options))
    say(json.dumps({"id": options.id, "removed": True}) if options.json else f"rota {options.id}: removed")
    return 0


def _override(options: argparse.Namespace) -> int:
    span = time_ms(options.from_day), time_ms(options.to_day)
    with existing(settings_of(options)) as store, store.write() as conn:
        number = acts.override(conn, options.id, options.person, span, options.reason, who(options))
    say(json.dumps({"id": number}) if options.json else f"override {number} of rota {options.id}: kept")
    return 0


def _remove_override(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.write() as conn:
        acts.remove_override(conn, options.id, who(options))
    say(json.dumps({"id": options.id, "removed": True}) if options.json else f"override {options.id}: removed")
    return 0


def _who(options: argparse.Namespace) -> int:
    at_ms = time_ms(options.at) if options.at else clock_ms()
    with existing(settings_of(options)) as store, store.read() as conn:
        days, names = directory.holidays(conn, at_ms), _names(conn)
        duties = [(one, on_duty(one, at_ms, days)) for one in tables.rotas(conn)]
    facts = [{"id": one.id, "name": one.name, "scope": one.scope.parts, "on_duty": key} for one, key in duties]
    cells = [(one.id, one.name, scope_text(one.scope), names.get(key or "", key) or "nobody") for one, key in duties]
    say(json.dumps(facts) if options.json else table(("id", "rota", "centers", "on duty"), cells, none_yet(EXAMPLE)))
    return 0


def _names(conn: sa.Connection) -> dict[str, str]:
    return {one.key: one.name for one in directory.people(conn)}


_VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "list": _list, "add": _add, "remove": _remove, "override": _override, "who": _who,
    "remove-override": _remove_override,
}  # fmt: skip
