"""The life of an incident: what evidence and people make of it. Pure; `now_ms` is an argument.

    new ──ack──▶ acknowledged ──start──▶ in_progress ◀──▶ waiting (for operator, provider, power)
     ▲               │                        │               │
     └─expired, worse┘                        └──evidence─────┴──▶ resolved ──▶ reviewed

Evidence alone resolves; a person who resolves says why, and is a row. An incident that was taken into another is
`merged` and lives on there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from collector.desk.symptoms import SEVERITIES, Family, Scope
from collector.standard.criteria import Severity

State = Literal["new", "acknowledged", "in_progress", "waiting", "resolved", "reviewed", "merged"]
WaitingFor = Literal["operator", "provider", "power"]
Act = Literal[
    "opened", "reopened", "worse", "better", "unstable", "steady", "resolved", "merged", "split", "recaused",
    "acknowledged", "ack_expired", "assigned", "started", "waiting", "noted", "snoozed", "snooze_ended", "closed",
    "reviewed", "escalated", "linked", "attached",
]  # fmt: skip

STATES: tuple[State, ...] = get_args(State)
WAITS: tuple[WaitingFor, ...] = get_args(WaitingFor)
OPEN: tuple[State, ...] = ("new", "acknowledged", "in_progress", "waiting")
# What people are told of, and whether it is news of trouble or of its end.
ALERTS: Mapping[str, Literal["raised", "cleared"]] = {
    "opened": "raised", "reopened": "raised", "worse": "raised", "unstable": "raised", "ack_expired": "raised",
    "snooze_ended": "raised", "better": "cleared", "resolved": "cleared",
}  # fmt: skip

# What persons are told of by routes: besides, that somebody looks after it, has assigned, commented
# or closed it, or that nobody does.
ROUTED: Mapping[str, Literal["raised", "cleared"]] = {
    **ALERTS, "acknowledged": "cleared", "closed": "cleared", "merged": "cleared", "escalated": "raised",
    "assigned": "cleared", "noted": "cleared",
}  # fmt: skip
# What ends an incident: programs that were told of its beginning must hear of it, whoever is to sleep.
ENDS = frozenset({"resolved", "closed", "merged"})

ACK_S = 24 * 3600  # an acknowledgement nobody renews is forgotten
MAX_ACK_S = 7 * 24 * 3600
BETTER_S = 600  # an incident that is half as wide for so long is better
WORSE_S = 300  # between two messages that it is wider
# Damping: a flag that is raised and cleared so often within the time is unstable until it has rested for `STEADY_S`.
FLIPS, FLIPS_WITHIN_S, STEADY_S = 5, 3600, 1800

WEIGHTS: Mapping[Severity, float] = {"notice": 0.0, "info": 0.5, "warning": 1.0, "serious": 2.0, "urgent": 4.0}


class WorkError(Exception):
    """A person's act that cannot be; one sentence with the thing, the rule and the fix."""


@dataclass(frozen=True)
class Incident:
    """One row of the table; see collector.store.schema."""

    id: int
    scope: Scope
    place: str
    family: Family
    state: State
    waiting_for: str
    owner: str
    severity: Severity
    unstable_ms: int | None
    began_ms: int
    opened_ms: int
    changed_ms: int
    resolved_ms: int | None
    ack_until_ms: int | None
    snoozed_until_ms: int | None
    hold_ms: int
    merged_into: int | None
    cause: str
    cause_by: str
    centers: int
    most: int
    announced: int
    announced_ms: int

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def is_group(self) -> bool:
        return self.scope not in ("center", "collector")

    def lasted_ms(self, now_ms: int) -> int:
        return (self.resolved_ms if self.resolved_ms is not None else now_ms) - self.began_ms


Values = dict[str, object]


def reopened(incident: Incident) -> Values:
    """What a worsening, or an acknowledgement that ran out, makes of the work: it is to be acknowledged again."""
    return {"state": "new", "ack_until_ms": None} if incident.state == "acknowledged" else {}


def is_worse(before: Severity, after: Severity) -> bool:
    return SEVERITIES.index(after) > SEVERITIES.index(before)


def width_news(incident: Incident, now_ms: int) -> Act | None:
    """Whether an incident of a group has become so much wider, or for so long narrower, that people are told."""
    if not incident.is_group or not incident.is_open:
        return None
    if incident.centers >= 2 * incident.announced and now_ms - incident.announced_ms >= WORSE_S * 1000:
        return "worse"
    rested = now_ms - incident.changed_ms >= BETTER_S * 1000
    return "better" if rested and 0 < 2 * incident.centers <= incident.announced else None


def expired(incident: Incident, now_ms: int) -> list[tuple[Act, Values]]:
    """What has run out: an acknowledgement, a snooze."""
    changes: list[tuple[Act, Values]] = []
    if not incident.is_open:
        return changes
    if incident.state == "acknowledged" and incident.ack_until_ms is not None and incident.ack_until_ms <= now_ms:
        changes.append(("ack_expired", {"state": "new", "ack_until_ms": None}))
    if incident.snoozed_until_ms is not None and incident.snoozed_until_ms <= now_ms:
        changes.append(("snooze_ended", {"snoozed_until_ms": None}))
    return changes


def is_unstable(flips_ms: Sequence[int], now_ms: int) -> bool:
    """Whether a flag comes and goes; `flips_ms` are the times at which it was raised or cleared."""
    return sum(now_ms - FLIPS_WITHIN_S * 1000 < flip <= now_ms for flip in flips_ms) >= FLIPS


def is_steady(last_flip_ms: int | None, now_ms: int) -> bool:
    return last_flip_ms is None or now_ms - last_flip_ms >= STEADY_S * 1000


def priority(severity: Severity, seats: int, open_min: float) -> float:
    """Seat-minutes lost in open hours, by severity: what is worked on first."""
    return round(WEIGHTS[severity] * seats * open_min, 1)
