"""`nabz-collector plan`: escalation plans: who is told after which time without an acknowledgement."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

from agent.common.words import plain
from collector.access.users import PersonError
from collector.acts import routing as acts
from collector.commands.console import (
    answers,
    complain,
    say,
    settings_of,
    table,
    verb_arguments,
    who,
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
    except RoutingError as error:
        complain(plain().reason(error.reason))
        return 1
    except PersonError as error:
        complain(str(error))
        return 1


def _list(options: argparse.Namespace) -> int:
    words = plain()
    with existing(settings_of(options)) as store, store.read() as conn:
        by_name = tables.plans(conn)
    rows = [(name, number, step) for name, plan in by_name.items() for number, step in enumerate(plan, 1)]
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
    steps = [_step(text, options.via) for text in options.step]
    with existing(settings_of(options)) as store, store.write() as conn:
        acts.set_plan(conn, options.name, steps, who(options))
    say(json.dumps({"plan": options.name}) if options.json else f"plan {options.name}: kept")
    return 0


def _step(text: str, via: str) -> PlanStep:
    """Raises RoutingError."""
    after, _, target = text.strip().partition(" ")
    return plans.parse_step(after, target, via)


def _remove(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.write() as conn:
        acts.remove_plan(conn, options.name, who(options))
    facts = {"plan": options.name, "removed": True}
    say(json.dumps(facts) if options.json else f"plan {options.name}: removed")
    return 0


_VERBS: dict[str, Callable[[argparse.Namespace], int]] = {"list": _list, "set": _set, "remove": _remove}
