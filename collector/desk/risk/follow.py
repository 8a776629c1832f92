"""From months at risk to incidents: one a center, of the lowest severity, opened and resolved without a message. Lists
and digests show it; nobody is called at night for what the month's end may bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from agent.common.reasons import Reason
from collector.desk import tables
from collector.desk.incident import OPEN, Incident, Values
from collector.desk.risk.rows import MonthRisk
from collector.desk.symptoms import Symptom
from collector.store import schema

NEAR_DAYS = 7  # further off, the row alone says so
SUBJECT = "month"  # of a member, so that it is not the flag of the same criterion

_i = schema.incidents.c


def follow(conn: sa.Connection, by_center: Mapping[str, Sequence[MonthRisk]], now_ms: int) -> None:
    """Opens, changes and resolves the incidents of these centers, each with all of its months at risk."""
    tables.lock(conn)
    mine = (_i.family == "month") & _i.state.in_(OPEN) & _i.place.in_(sorted(by_center))
    known = {incident.place: incident for incident in tables.some(conn, mine)}
    for code, risks in by_center.items():
        near = {symptom.key: symptom for symptom in (_symptom(one, now_ms) for one in risks if is_near(one))}
        incident = known.get(code) or (_opened(conn, code, risks, now_ms) if near else None)
        if incident is not None:
            _changed(conn, incident, near, now_ms)


def is_near(risk: MonthRisk) -> bool:
    return risk.days_left <= NEAR_DAYS


def _symptom(risk: MonthRisk, now_ms: int) -> Symptom:
    subject = f"{SUBJECT} {risk.subject}".strip()[:64]
    return Symptom(risk.center, risk.criterion, subject, "month", "notice", now_ms)


def _opened(conn: sa.Connection, code: str, risks: Sequence[MonthRisk], now_ms: int) -> Incident:
    first = min(risks, key=lambda one: one.days_left)
    incident = tables.add(
        conn,
        {"scope": "center", "place": code, "family": "month", "severity": "notice", "began_ms": now_ms,
         "opened_ms": now_ms, "changed_ms": now_ms, "centers": 1, "most": 1, "announced": 1, "announced_ms": now_ms},
    )  # fmt: skip
    detail = Reason.of("incident.at_risk", n=first.days_left, have_pct=first.recent_pct, asked_pct=first.asked_pct)
    tables.record(conn, incident, "opened", now_ms, detail=detail, quiet=True)
    return incident


def _changed(
    conn: sa.Connection, incident: Incident, near: Mapping[tuple[str, str, str], Symptom], now_ms: int
) -> None:
    held = {(one.center, one.criterion, one.subject): one for one in tables.members(conn, [incident.id])}
    tables.leave(conn, [one for key, one in held.items() if key not in near], now_ms)
    tables.join(conn, incident, [symptom for key, symptom in near.items() if key not in held], now_ms)
    if not near:
        values: Values = {"state": "resolved", "resolved_ms": now_ms, "centers": 0, "changed_ms": now_ms}
        resolved = tables.change(conn, incident, values | {"ack_until_ms": None, "snoozed_until_ms": None})
        tables.record(conn, resolved, "resolved", now_ms, quiet=True)
