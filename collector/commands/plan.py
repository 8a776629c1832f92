"""`nabz-collector plan`: escalation plans: who is told after which time without an acknowledgement."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

from agent.common.errors import describe
from agent.common.words import plain
from collector.access import users
from collector.access.users import PersonError
from collector.commands.console import (
    acting,
    answers,
    complain,
    say,
    settings_of,
    span_s,
    table,
    verb_arguments,
    who_argument,
)
from collector.desk.routing import plans, tables
from collector.desk.routing.plans import PlanStep, RoutingError
from collector.store.database import existing

EXAMPLE = 'nabz-collector plan set night --step "0m operator" --step "15m rota desk | role desk" --step "4h role admin"'
EXAMPLES = {
    "list": "--json",
    "set": 'night --step "0m rota desk" --step "15m role desk" --via "sms mail"',
    "remove": "night",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("list", help="all plans with their steps, the shipped example among them")
    kept = verbs.add_parser("set", help="a plan, in place of the one of this name")
    kept.add_argument("name", metavar="NAME")
    kept.add_argument(
        "--step", action="append", required=True, metavar='"TIME TARGET"',
        help="such as '30m rota desk | role desk'; targets: operator, role ROLE, rota NAME, person NAME; repeatable",
    )  # fmt: skip
    kept.add_argument("--via", default="", metavar="CHANNELS", help="the channels, the best first (default: all)")
    gone = verbs.add_parser("remove", help="the plan goes; the shipped one of its name holds again")
    gone.add_argument("name", metavar="NAME")
    for verb in (kept, gone):
        who_argument(verb)
    verb_arguments(verbs)


@answers
def run(options: argparse.Namespace) -> int:
    try:
        return _VERBS[options.verb](options)
    except (RoutingError, PersonError) as error:
        complain(str(error))
        return 1


def _list(options: argparse.Namespace) -> int:
    words = plain()
    with existing(settings_of(options)) as store, store.read() as conn:
        found = tables.plans(conn)
    rows = [(name, number, step) for name, plan in found.items() for number, step in enumerate(plan, 1)]
    facts = [
        {"plan": name, "step": number, "after_s": step.after_s, "target": " | ".join(map(str, step.targets)),
         "via": step.via}
        for name, number, step in rows
    ]  # fmt: skip
    cells = [
        (name, number, words.duration(step.after_s) if step.after_s else "at once", " | ".join(map(str, step.targets)),
         " ".join(step.via) or "all")
        for name, number, step in rows
    ]  # fmt: skip
    say(json.dumps(facts) if options.json else table(("plan", "step", "after", "who", "channels"), cells))
    return 0


def _set(options: argparse.Namespace) -> int:
    now_ms, by = time.time_ns() // 1_000_000, acting(options)
    plan = plans.check(_step(text, tuple(options.via.split())) for text in options.step)
    with existing(settings_of(options)) as store, store.write() as conn:
        tables.set_plan(conn, options.name, plan, by, now_ms)
        users.record(
            conn, "routing_changed", by, now_ms, subject=f"plan {options.name}", reason="; ".join(options.step)
        )
    say(json.dumps({"plan": options.name}) if options.json else f"plan {options.name}: kept")
    return 0


def _step(text: str, via: tuple[str, ...]) -> PlanStep:
    """Raises RoutingError."""
    time_text, _, target = text.strip().partition(" ")
    try:
        after_s = span_s(time_text)
    except argparse.ArgumentTypeError as error:
        raise RoutingError(f"step {text[:40]!r}: {describe(error)}") from None
    return PlanStep(after_s, plans.parse_targets(target), via)


def _remove(options: argparse.Namespace) -> int:
    now_ms, by = time.time_ns() // 1_000_000, acting(options)
    with existing(settings_of(options)) as store, store.write() as conn:
        tables.remove_plan(conn, options.name)
        users.record(conn, "routing_changed", by, now_ms, subject=f"plan {options.name}", reason="removed")
    facts = {"plan": options.name, "removed": True}
    say(json.dumps(facts) if options.json else f"plan {options.name}: removed")
    return 0


_VERBS: dict[str, Callable[[argparse.Namespace], int]] = {"list": _list, "set": _set, "remove": _remove}
