"""Escalation plans: who is told when nobody has acknowledged an incident for so long. Pure; plans are data.

A target is one of these, or several with `|` between them, of which the first counts that reaches anybody:

    operator       who runs a center of it: accounts of the role, contacts of its operator and its owner
    role ROLE      accounts of that role who see a center of it
    rota NAME      whoever is on duty in the rotas of that name that are about a center of it
    person NAME    one account
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from agent.common.reasons import Reason
from collector.access.accounts.policy import ROLES

TargetKind = Literal["operator", "role", "rota", "person"]
MAX_STEPS = 10
MAX_AFTER_S = 30 * 86_400
NAME = re.compile(r"[\w-]{1,64}")


MAX_SHOWN = 40  # letters of what was given, in an error
SPAN = re.compile(r"(\d{1,5})([mhd])")
UNITS_S = {"m": 60, "h": 3600, "d": 86_400}


class RoutingError(Exception):
    """A route, plan or rota cannot be; `reason` says why. `field` is what is to be corrected, as forms name it."""

    def __init__(self, code: str, field: str = "", /, **params: str | int) -> None:
        self.reason, self.field = Reason.of(code, **params), field
        super().__init__(self.reason)


@dataclass(frozen=True)
class RoutingTarget:
    kind: TargetKind
    name: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, self.name)))


@dataclass(frozen=True)
class PlanStep:
    """`via` names channels, the best first; empty: every channel that sends to persons, as the settings have them."""

    after_s: int
    targets: tuple[RoutingTarget, ...]
    via: tuple[str, ...] = ()


Plan = tuple[PlanStep, ...]


def parse_targets(text: str) -> tuple[RoutingTarget, ...]:
    """Raises RoutingError."""
    targets = tuple(_target(part) for part in text.split("|"))
    if len(targets) > MAX_STEPS:
        raise RoutingError("routing.targets", "target", n=MAX_STEPS)
    return targets


def _target(text: str) -> RoutingTarget:
    kind, _, name = " ".join(text.split()).partition(" ")
    if kind == "operator" and not name:
        return RoutingTarget("operator")
    if kind == "role" and name in ROLES:
        return RoutingTarget("role", name)
    if kind == "rota" and NAME.fullmatch(name):
        return RoutingTarget("rota", name)
    if kind == "person" and name and name.isprintable():
        return RoutingTarget("person", name)
    raise RoutingError("routing.no_target", "target", text=text.strip()[:MAX_SHOWN])


def span_s(text: str) -> int:
    """Seconds of a time such as 30m, 4h or 2d. Raises RoutingError."""
    match = SPAN.fullmatch(text.strip())
    if match is None:
        raise RoutingError("routing.bad_span", "after", text=text.strip()[:MAX_SHOWN])
    return int(match[1]) * UNITS_S[match[2]]


def span_text(seconds: int) -> str:
    """As people write it: 30m, 4h, 2d."""
    unit = next((unit for unit in ("d", "h") if seconds and seconds % UNITS_S[unit] == 0), "m")
    return f"{seconds // UNITS_S[unit]}{unit}"


def parse_step(after: str, target: str, via: str = "") -> PlanStep:
    """Raises RoutingError."""
    return PlanStep(span_s(after), parse_targets(target), tuple(via.split()))


def check(steps: Iterable[PlanStep]) -> Plan:
    """The plan of these steps, in the order of their times. Raises RoutingError."""
    plan = tuple(sorted(steps, key=lambda step: step.after_s))
    if not 0 < len(plan) <= MAX_STEPS:
        raise RoutingError("routing.steps", "after", n=len(plan), most=MAX_STEPS)
    for step in plan:
        if not 0 <= step.after_s <= MAX_AFTER_S:
            raise RoutingError("routing.step_after", "after", n=MAX_AFTER_S // 86_400)
    return plan


def check_name(name: str) -> str:
    """Of a plan or a rota. Raises RoutingError."""
    if not NAME.fullmatch(name):
        raise RoutingError("routing.bad_name", "name", text=name[:MAX_SHOWN])
    return name


# Ours: no official times exist. The operator at once, the desk after 30 minutes, the head of a district after 4 hours,
# the programme's own officers after a day.
EXAMPLE = "example"
SHIPPED: Mapping[str, Plan] = {
    EXAMPLE: (
        PlanStep(0, (RoutingTarget("operator"),)),
        PlanStep(1800, (RoutingTarget("rota", "desk"), RoutingTarget("role", "desk"))),
        PlanStep(4 * 3600, (RoutingTarget("rota", "lead"), RoutingTarget("role", "desk"))),
        PlanStep(24 * 3600, (RoutingTarget("role", "admin"),)),
    )
}  # fmt: skip
