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

from collector.access.accounts.policy import ROLES

TargetKind = Literal["operator", "role", "rota", "person"]
MAX_STEPS = 10
MAX_AFTER_S = 30 * 86_400
NAME = re.compile(r"[\w-]{1,64}")


class RoutingError(Exception):
    """A route, plan or rota cannot be; one sentence with the thing, the rule and the fix."""


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
    found = tuple(_target(part) for part in text.split("|"))
    if len(found) > MAX_STEPS:
        raise RoutingError(f"target: has more than {MAX_STEPS} alternatives; name fewer")
    return found


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
    rule = f"is none; write `operator`, `role {'|'.join(ROLES)}`, `rota NAME` or `person NAME`"
    raise RoutingError(f"target {text.strip()[:40]!r}: {rule}")


def check(steps: Iterable[PlanStep]) -> Plan:
    """The plan of these steps, in the order of their times. Raises RoutingError."""
    plan = tuple(sorted(steps, key=lambda step: step.after_s))
    if not 0 < len(plan) <= MAX_STEPS:
        raise RoutingError(f"plan: has {len(plan)} steps; give one to {MAX_STEPS}")
    for step in plan:
        if not 0 <= step.after_s <= MAX_AFTER_S:
            raise RoutingError(f"plan: a step after {step.after_s} s; give 0 to {MAX_AFTER_S // 86_400} days")
    return plan


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
