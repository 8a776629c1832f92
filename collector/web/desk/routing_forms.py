"""The forms of routes, plans, rotas and overrides: from what was typed to what it means, and the other way round. Only
shapes are read here; what may be is collector.acts.routing's to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from agent.common.center_time import TZ
from collector.common.scope import PARTS, Scope
from collector.desk.routing import plans
from collector.desk.routing.plans import EXAMPLE, MAX_STEPS, Plan, PlanStep, RoutingError
from collector.desk.routing.rota import Rota
from collector.desk.routing.routes import FAMILIES, AlertRoute
from collector.register import dated
from collector.standard.criteria import Severity
from collector.web import forms

FormName = Literal["route", "plan", "rota", "override"]
MAX_MEMBERS = 12
SPARE = 2  # fields that are empty, for more steps or members

Given = Mapping[str, str]

# ---------------------------------------------------------------- from what was typed


def number_of(given: Given) -> int:
    """Of the row that a form is about; 0: a new one, or none that could be."""
    text = given.get("id", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def route_of(given: Given, severities: Sequence[Severity]) -> tuple[AlertRoute, list[str]]:
    """The route, and the families that are ticked. Raises RoutingError."""
    text = given.get("severity", "")
    severity = next((one for one in severities if one == text), None)
    if severity is None:
        known = " ".join(severities)
        raise RoutingError("routing.no_severity", "severity", text=text[: plans.MAX_SHOWN], names=known)
    made = AlertRoute(
        number_of(given), _scope(given), severity, (), given.get("hours", "").strip(), given.get("lang", ""),
        given.get("plan", ""),
    )  # fmt: skip
    return made, [name for name in FAMILIES if given.get(f"family-{name}")]


def steps_of(given: Given) -> list[PlanStep]:
    """Those of which anything is filled in. Raises RoutingError, its field with the step's number."""
    steps = []
    for number in range(MAX_STEPS):
        after, target = (given.get(f"{name}-{number}", "") for name in ("after", "target"))
        if after.strip() or target.strip():
            try:
                steps.append(plans.parse_step(after, target, given.get("via", "")))
            except RoutingError as error:
                error.field = f"{error.field}-{number}"
                raise
    return steps


def rota_of(given: Given) -> tuple[Rota, list[str]]:
    """The rota without its members, and their names in order. Raises RoutingError."""
    try:
        turn_s = plans.span_s(given.get("turn", ""))
    except RoutingError as error:
        error.field = "turn"
        raise
    made = Rota(
        given.get("name", "").strip(), (), time_of(given, "from_time"), turn_s, _scope(given),
        given.get("hours", "").strip() or "always", bool(given.get("holidays")), (), number_of(given),
    )  # fmt: skip
    members = (given.get(f"member-{number}", "") for number in range(MAX_MEMBERS))
    return made, [name for name in members if name]


def time_of(given: Given, field: str) -> int:
    """Of a form's date and time, in Pakistan. Raises RoutingError."""
    text = given.get(field, "").strip()
    try:
        return dated.time_ms(text)
    except ValueError:
        raise RoutingError("routing.bad_time", field, text=text[: plans.MAX_SHOWN]) from None


def _scope(given: Given) -> Scope:
    return forms.scope_of(*(given.get(name, "") for name in PARTS))


# ---------------------------------------------------------------- to what is shown

EMPTY: Mapping[FormName, Given] = {
    "route": {"severity": "info", "plan": EXAMPLE},
    "plan": {},
    "rota": {"turn": "7d", "hours": "always", "holidays": "1"},
    "override": {},
}


def route_values(route: AlertRoute) -> Given:
    return {
        "id": str(route.id), "severity": route.severity, "hours": route.hours, "lang": route.lang, "plan": route.plan,
        **{f"family-{name}": "1" for name in route.families}, **_scope_values(route.scope),
    }  # fmt: skip


def plan_values(name: str, plan: Plan) -> Given:
    values = {"name": name, "via": " ".join(plan[0].via) if plan else ""}
    for number, step in enumerate(plan):
        values[f"after-{number}"] = plans.span_text(step.after_s)
        values[f"target-{number}"] = " | ".join(map(str, step.targets))
    return values


def rota_values(rota: Rota) -> Given:
    return {
        "id": str(rota.id), "name": rota.name, "turn": plans.span_text(rota.turn_s), "hours": rota.hours,
        "holidays": "1" if rota.on_holidays else "", "from_time": time_text(rota.from_ms),
        **{f"member-{number}": key for number, key in enumerate(rota.members)}, **_scope_values(rota.scope),
    }  # fmt: skip


def time_text(at_ms: int) -> str:
    """As a field of date and time has it, in Pakistan."""
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(TZ)).strftime("%Y-%m-%dT%H:%M")


def fields_shown(values: Given, name: str, least: int, most: int) -> int:
    """How many numbered fields a form shows: those that are filled in, and some more."""
    used = [number for number in range(most) if values.get(f"{name}-{number}")]
    return min(most, max(least, (used[-1] + 1 if used else 0) + SPARE))


def _scope_values(scope: Scope) -> dict[str, str]:
    return {name: "; ".join(scope.parts.get(name, ())) for name in PARTS}
