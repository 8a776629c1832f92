"""What time alone does to incidents: signs come and go, acknowledgements and snoozes run out, what comes and goes comes
to rest. One pass now and then, in a transaction of its own."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from agent.common.reasons import Reason
from collector.access.accounts import directory
from collector.access.users import key_of
from collector.desk import causes, groups, tables
from collector.desk.follow import resolve_if_over
from collector.desk.grouping import RULES, GroupingRules
from collector.desk.incident import Incident, Values, expired, is_steady, reopened, width_news
from collector.desk.survey import Desk
from collector.standard import Standards

LOOKS = 50  # incidents whose cause is looked at again in one pass: those that were opened last


def settle(conn: sa.Connection, standards: Standards, now_ms: int, rules: GroupingRules = RULES) -> int:
    """Looks at all open incidents; returns how many of them changed."""
    incidents = groups.all_open(conn)
    if not incidents:
        return 0
    tables.lock(conn)
    desk = Desk(conn, standards, now_ms, rules)
    moved, gone = 0, directory.removed_keys(conn)
    for before in incidents:
        after = _settled(desk, _left(desk, before, gone))
        moved += after != before
    moved += groups.widen(desk)
    last = [one for one in groups.all_open(conn) if not one.cause_by and one.family != "month"][-LOOKS:]
    after_all = causes.refresh(conn, last, standards, now_ms)
    return moved + sum(after != before for before, after in zip(last, after_all, strict=True))


def _settled(desk: Desk, incident: Incident) -> Incident:
    for act, values in expired(incident, desk.now_ms):
        incident = tables.change(desk.conn, incident, values)
        tables.record(desk.conn, incident, act, desk.now_ms)
    if incident.is_group:
        incident = _uncovered(desk, groups.refresh(desk, incident))
    if incident.snoozed_until_ms is None and desk.has_plans:
        incident = groups.hushed(desk, incident)
    incident = _rested(desk, incident)
    incident = resolve_if_over(desk, incident, tables.members(desk.conn, [incident.id]), desk.now_ms)
    return _width_told(desk, incident)


def _left(desk: Desk, incident: Incident, gone: Collection[str]) -> Incident:
    """Whoever owned it has no account any more: it is anybody's again, and people are told."""
    if key_of(incident.owner) not in gone:
        return incident
    values: Values = {"owner": "", "state": "new", "waiting_for": "", "ack_until_ms": None}
    free = tables.change(desk.conn, incident, values)
    tables.record(desk.conn, free, "ack_expired", desk.now_ms, detail=Reason.of("incident.left", name=incident.owner))
    return free


def _uncovered(desk: Desk, incident: Incident) -> Incident:
    """Planned work mutes what it is planned for: once other centers are in it, people are told."""
    if incident.snoozed_until_ms is None or tables.snoozed_by(desk.conn, incident.id):
        return incident
    if desk.planned_ms({one.center for one in tables.members(desk.conn, [incident.id])}) is not None:
        return incident
    awake = tables.change(desk.conn, incident, {"snoozed_until_ms": None})
    tables.record(desk.conn, awake, "snooze_ended", desk.now_ms)
    return awake


def _rested(desk: Desk, incident: Incident) -> Incident:
    """One that came and went is as it is now."""
    if incident.unstable_ms is None:
        return incident
    if not is_steady(tables.last_flip_ms(desk.conn, incident.id), desk.now_ms):
        return incident
    steady = tables.change(desk.conn, incident, {"unstable_ms": None})
    tables.record(desk.conn, steady, "steady", desk.now_ms)
    return steady


def _width_told(desk: Desk, incident: Incident) -> Incident:
    act = width_news(incident, desk.now_ms)
    if act is None:
        return incident
    values: Values = {"announced": incident.centers, "announced_ms": desk.now_ms}
    values |= reopened(incident) if act == "worse" else {}
    incident = tables.change(desk.conn, incident, values)
    tables.record(desk.conn, incident, act, desk.now_ms)
    return incident
