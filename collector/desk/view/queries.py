"""What commands, pages and the API show of incidents: the same facts for all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import to_builtins

from agent.common.center_time import TZ
from agent.common.reasons import Reason, decode
from agent.common.words import plain
from collector.common.scope import EVERYWHERE, Scope
from collector.desk import causes, files, tables
from collector.desk.incident import OPEN, STATES, Incident, WorkError, priority
from collector.desk.symptoms import SIGN
from collector.desk.tables import Member
from collector.desk.view import contacts
from collector.judging.flags.cause import without_names
from collector.register import calendar, opening_hours
from collector.standard import Standards
from collector.store import schema

MINUTE_MS = 60_000
MOST = 500  # incidents of one list
SHOWN_STATES = ("open", *STATES, "all")

_i, _m, _ce, _e = schema.incidents.c, schema.incident_members.c, schema.centers.c, schema.incident_events.c

Facts = dict[str, Any]


def listing(
    conn: sa.Connection,
    standards: Standards,
    now_ms: int,
    *,
    state: str = "open",
    owner: str = "",
    center: str = "",
    scope: Scope = EVERYWHERE,
    limit: int = MOST,
) -> list[Facts]:
    """Incidents in these states, of an owner, of a center (now or before), of centers in a scope: the most urgent
    first, then the newest.
    What is snoozed comes last."""
    mine: sa.ColumnElement[bool] = sa.true() if state == "all" else _i.state.in_(OPEN if state == "open" else [state])
    mine = mine & (_i.owner == owner) if owner else mine
    if center:
        of_center = sa.select(_m.incident).where(_m.center == center)
        mine = mine & _i.id.in_(of_center)
    mine = mine & _seen(scope)
    rows = conn.execute(sa.select(schema.incidents).where(mine).order_by(_i.id.desc()).limit(min(limit, MOST)))
    incidents = [Incident(**row._mapping) for row in rows]
    losses = _losses(conn, incidents, standards, now_ms)
    facts = [facts_of(one, *losses[one.id], now_ms, names_others=scope.is_all) for one in incidents]
    return sorted(facts, key=lambda one: (not one["is_open"], one["is_snoozed"], -one["priority"], -one["id"]))


def _seen(scope: Scope) -> sa.ColumnElement[bool]:
    """The incidents that some center in this scope is or was part of."""
    if scope.is_all:
        return sa.true()
    return _i.id.in_(sa.select(_m.incident).where(_m.center.in_(_inside(scope))))


def _inside(scope: Scope) -> sa.Select[Any]:
    return sa.select(_ce.center).where(*(_ce[name].in_(values) for name, values in scope.parts.items()))


def is_seen(conn: sa.Connection, number: int, scope: Scope) -> bool:
    """Whether there is such an incident for somebody with this scope."""
    return conn.scalar(sa.select(_i.id).where(_i.id == number, _seen(scope))) is not None


def is_within(conn: sa.Connection, number: int, scope: Scope) -> bool:
    """Whether every center of an incident is in this scope."""
    if scope.is_all:
        return True
    others = sa.select(_m.center).where(_m.incident == number, _m.center.not_in(_inside(scope))).limit(1)
    return conn.execute(others).first() is None


def whole(conn: sa.Connection, standards: Standards, now_ms: int, number: int, scope: Scope = EVERYWHERE) -> Facts:
    """One incident with its members in a scope, its history and telephones. Raises WorkError when there is none."""
    incident = tables.get(conn, number)
    every = tables.members(conn, [number], now=False)
    if not scope.is_all:
        inside = set(conn.scalars(_inside(scope).where(_ce.center.in_({one.center for one in every}))))
        every = [one for one in every if one.center in inside]
        if not every:
            raise WorkError(f"incident {number}: there is none; see /incidents")
    losses = _losses(conn, [incident], standards, now_ms)
    dark = _dark(conn, {one.center for one in every if one.left_ms is None}, standards, now_ms)
    events = [_event(row, names_others=scope.is_all) for row in tables.events(conn, number)]
    return {
        **facts_of(incident, *losses[number], now_ms, names_others=scope.is_all),
        "members": [_member(one, dark) for one in every],
        "events": events,
        "links": _links(events),
        "files": [vars(one) for one in files.of_incident(conn, number)] if is_within(conn, number, scope) else [],
        "telephones": [one._asdict() for one in contacts.numbers_of(conn, incident)],
    }


def of_centers(conn: sa.Connection, codes: Sequence[str]) -> dict[str, list[int]]:
    """The open incidents that each of these centers is part of."""
    by_center: dict[str, list[int]] = defaultdict(list)
    for one in tables.memberships(conn, codes):
        if one.incident not in by_center[one.center]:
            by_center[one.center].append(one.incident)
    return by_center


def counts(conn: sa.Connection, scope: Scope = EVERYWHERE) -> dict[str, int]:
    """How many incidents of a scope are in each state."""
    rows = conn.execute(sa.select(_i.state, sa.func.count()).where(_seen(scope)).group_by(_i.state))
    by_state = {str(row[0]): int(row[1]) for row in rows}
    return {state: by_state.get(state, 0) for state in STATES}


def facts_of(
    incident: Incident, seats: int, open_min: float, seat_min: float, now_ms: int, *, names_others: bool = True
) -> Facts:
    """An incident as plain values; `names_others`: its evidence may name centers."""
    cause = causes.of(incident)
    evidence = () if cause is None else cause.evidence if names_others else map(without_names, cause.evidence)
    snoozed_ms = incident.snoozed_until_ms
    return {
        **vars(incident),
        "cause": None if cause is None else cause_facts(cause.name, cause.grade, evidence),
        "is_open": incident.is_open,
        "is_snoozed": incident.is_open and snoozed_ms is not None and snoozed_ms > now_ms,
        "lasted_s": incident.lasted_ms(now_ms) // 1000,
        "seats": seats,
        "open_min": round(open_min, 1),
        "priority": priority(incident.severity, 1, seat_min),
    }


def cause_facts(name: str, grade: str, evidence: Iterable[Reason]) -> Facts:
    return {"name": name, "grade": grade, "evidence": [reason_facts(one) for one in evidence]}


def reason_facts(reason: Reason) -> Facts:
    """Its code and parameters, and what they say in English."""
    return {"code": reason.code, "params": to_builtins(reason.params), "text": plain().reason(reason)}


def _member(one: Member, dark: Mapping[str, set[str]]) -> Facts:
    """`is_hidden`: the flag speaks of what nobody has seen since its center went dark."""
    silence = dark.get(one.center, set())
    is_hidden = one.left_ms is None and bool(silence) and one.criterion not in silence
    return {**one._asdict(), "is_sign": one.criterion == SIGN, "is_hidden": is_hidden}


def _dark(conn: sa.Connection, codes: set[str], standards: Standards, now_ms: int) -> dict[str, set[str]]:
    """Centers whose silence is a raised flag, each with its criteria of silence."""
    standard = standards.at(now_ms)
    silence = [item.id for item in standard.by_reading.get("silence", ())] if standard else []
    f = schema.flags.c
    mine = f.center.in_(sorted(codes)) & f.criterion.in_(silence) & f.state.in_(("raised", "recovering"))
    return {code: set(silence) for code in conn.scalars(sa.select(f.center).where(mine))}


def _event(row: sa.RowMapping, *, names_others: bool) -> Facts:
    detail = decode(row["detail"]) if row["detail"] else None
    detail = detail if detail is None or names_others else without_names(detail)
    return {
        "id": row["id"], "act": row["act"], "at_ms": row["at_ms"], "person": row["person"], "text": row["text"],
        "detail": None if detail is None else reason_facts(detail), "is_told": bool(row["queued_ms"]),
    }  # fmt: skip


def _links(events: Sequence[Facts]) -> list[str]:
    """What it was linked to, each once, the first first: numbers of incidents, and addresses."""
    linked = (one["detail"]["params"]["to"] for one in reversed(events) if one["act"] == "linked" and one["detail"])
    return list(dict.fromkeys(map(str, linked)))


def _losses(
    conn: sa.Connection, incidents: Sequence[Incident], standards: Standards, now_ms: int
) -> dict[int, tuple[int, float, float]]:
    """Of each incident: seats of its centers, open minutes of the center that lost most, seat-minutes of all."""
    members = tables.members(conn, [one.id for one in incidents], now=False) if incidents else []
    codes = sorted({one.center for one in members})
    query = sa.select(*calendar.PLACED, _ce.opening, _ce.seats_promised).where(_ce.center.in_(codes))
    homes = {row.code: row for row in conn.execute(query)}
    standard, days = standards.at(now_ms), calendar.around(conn, now_ms)
    spans: dict[int, dict[str, tuple[int, int]]] = {one.id: {} for one in incidents}
    by_id = {one.id: one for one in incidents}
    for one in members:
        incident = by_id[one.incident]
        from_ms = incident.began_ms if one.joined_ms <= incident.opened_ms else one.joined_ms
        to_ms = now_ms if one.left_ms is None else one.left_ms
        known = spans[one.incident].get(one.center, (from_ms, to_ms))
        spans[one.incident][one.center] = (min(known[0], from_ms), max(known[1], to_ms))
    losses = {}
    for number, mine in spans.items():
        lost = []
        for code, (from_ms, to_ms) in mine.items():
            if (home := homes.get(code)) is not None:
                hours = opening_hours.parse(home.opening, standard.tz if standard else TZ, days.rules(home))
                open_min = opening_hours.open_ms(hours, from_ms, max(from_ms, to_ms)) / MINUTE_MS
                lost.append((int(home.seats_promised), open_min))
        seat_min = sum(seats * minutes for seats, minutes in lost)
        losses[number] = (sum(seats for seats, _ in lost), max((m for _, m in lost), default=0.0), seat_min)
    return losses
