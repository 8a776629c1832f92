"""From changes of flags to incidents, in the transaction of the change.

A flag that is raised joins the incident of its cause, reopens one that has just ended, or opens one; with it, as many
neighbours as fail with it. A flag that is cleared leaves; the last one resolves its incident. What happens to nearly
every transaction, that no flag moved, costs one indexed question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from agent.common.reasons import Reason
from collector.desk import causes, groups, news, tables
from collector.desk.grouping import RULES, GroupingRules, is_crowd, is_line_fault
from collector.desk.incident import FLIPS_WITHIN_S, OPEN, Incident, Values, is_unstable, is_worse, reopened
from collector.desk.survey import Desk
from collector.desk.symptoms import (
    FAMILIES,
    OF_CAUSE,
    SHARED,
    SIGN,
    CenterPlace,
    Family,
    Symptom,
    family_of,
    is_long_cut,
)
from collector.desk.tables import Member
from collector.judging.flags import machine
from collector.register.centers import PAUSED
from collector.standard import Standards
from collector.standard.criteria import EVERYONE
from collector.store import schema

SAME_S = 1800  # a center that goes dark so soon after another trouble of it has that trouble

_ch, _ce = schema.changes.c, schema.centers.c
_QUEUED = sa.update(schema.changes).where(_ch.id == sa.bindparam("change")).values(queued_ms=sa.bindparam("mark_ms"))
UNFOLLOWED = (
    sa.select(schema.changes, _ce.lifecycle)
    .select_from(schema.changes.outerjoin(schema.centers, _ce.center == _ch.center))
    .where(_ch.queued_ms.is_(None))
    .order_by(_ch.id)
)


def follow(conn: sa.Connection, standards: Standards, now_ms: int, rules: GroupingRules = RULES) -> int:
    """Takes the changes that no incident knows yet; returns how many of them people could be told of."""
    if conn.execute(UNFOLLOWED.limit(1)).first() is None:
        return 0
    tables.lock(conn)
    rows = conn.execute(UNFOLLOWED).all()  # others may have taken some meanwhile
    notices = frozenset[str]().union(*(standard.notices for standard in standards.versions))
    loud = [row for row in rows if row.criterion not in notices and row.lifecycle not in PAUSED]
    decided = news.decide(conn, loud, standards, now_ms)
    desk = Desk(conn, standards, now_ms, rules)
    telling = [row for row in loud if machine.alerts(row.was, row.now) and decided[row.id] == "tell"]
    skipped = {row.id for row in telling if row.now == "raised" and desk.is_skipped(row.center)}
    over_within = _over_within(telling, skipped)
    telling = [row for row in telling if row.id not in skipped | over_within]
    desk.prepare([row.center for row in telling if row.now == "raised"])
    for row in telling:
        (_raise if row.now == "raised" else _clear)(desk, row)
    _count_groups(desk)
    _find_causes(desk)
    waits = (skipped - over_within) | {id for id, decision in decided.items() if decision == "wait"}
    over = over_within | {id for id, decision in decided.items() if decision == "over"}
    marks = [
        {"change": row.id, "mark_ms": news.OVER if row.id in over else now_ms} for row in rows if row.id not in waits
    ]
    if marks:
        conn.execute(_QUEUED, marks)
    return len(telling)


def _over_within(rows: Sequence[Any], skipped: set[int]) -> set[int]:
    """Changes of flags that were raised and cleared while a window skipped them: nobody hears of them any more. Those
    that are still raised when it ends are followed then."""
    ids: set[int] = set()
    raised: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (row.center, row.criterion, row.subject)
        if row.id in skipped:
            raised[key] = row.id
        elif row.now == "clear" and key in raised:
            ids |= {row.id, raised.pop(key)}
    return ids


def adopt(conn: sa.Connection, standards: Standards, now_ms: int) -> int:
    """Flags that a program before incidents has raised become incidents; people were told of them then."""
    fl, me = schema.flags.c, schema.incident_members.c
    known = sa.select(me.incident).where(
        me.center == fl.center, me.criterion == fl.criterion, me.subject == fl.subject, me.joined_ms >= fl.since_ms
    )
    query = sa.select(fl.center, fl.criterion, fl.subject, fl.since_ms.label("at_ms"), _ce.lifecycle)
    query = query.select_from(schema.flags.outerjoin(schema.centers, _ce.center == fl.center))
    raised = query.where(fl.state.in_(("raised", "recovering")), ~known.exists(), ~_unfollowed(fl))
    desk = Desk(conn, standards, now_ms)
    notices = frozenset[str]().union(*(standard.notices for standard in standards.versions))
    rows = [row for row in conn.execute(raised) if row.criterion not in notices and row.lifecycle not in PAUSED]
    for row in rows:
        symptom = _symptom(desk, row, change=None)
        _open(desk, symptom, symptom.family, is_news=False)
    _find_causes(desk)
    return len(rows)


def _find_causes(desk: Desk) -> None:
    """Of the incidents that began now and were not taken into others: once for all, as neighbours are asked."""
    mine = schema.incidents.c.id.in_(sorted(desk.begun)) & schema.incidents.c.state.in_(OPEN)
    begun = tables.some(desk.conn, mine) if desk.begun else []
    for incident in causes.refresh(desk.conn, begun, desk.standards, desk.now_ms):
        desk.keep(incident)


def _unfollowed(fl: Any) -> sa.ColumnElement[bool]:
    """Whether a change of this flag waits to be followed."""
    same = (_ch.center == fl.center) & (_ch.criterion == fl.criterion) & (_ch.subject == fl.subject)
    return sa.select(_ch.id).where(same, _ch.queued_ms.is_(None)).exists()


# ---------------------------------------------------------------- a flag is raised


def _raise(desk: Desk, row: Any) -> None:
    symptom = _symptom(desk, row, change=row.id)
    mine = tables.memberships(desk.conn, [symptom.center])
    if any((one.center, one.criterion, one.subject) == symptom.key for one in mine):
        return
    place = desk.survey.place(symptom.center)
    group = groups.open_around(desk, symptom, place, mine)
    if group is not None:  # a center that only showed signs is in it by its flag now
        tables.leave(desk.conn, [one for one in mine if (one.incident, one.criterion) == (group.id, SIGN)], desk.now_ms)
        _join(desk, group, symptom)
        return
    if (formed := groups.form(desk, symptom, place)) is not None:
        desk.keep(formed)
        return
    family = _by_cause(desk, symptom)
    incident = _of_center(desk, symptom, family)
    if incident is None:
        _open(desk, symptom, family, place=place)
    elif incident.is_open:
        _join(desk, incident, symptom)
    else:
        _reopen(desk, incident, symptom)


def _symptom(desk: Desk, row: Any, *, change: int | None) -> Symptom:
    """Silence began when the center was last heard; what goes wrong while its mains are cut, with the cut: batteries of
    one feeder last for unlike times."""
    standard = desk.standards.at(row.at_ms)
    criterion = standard.by_id.get(row.criterion) if standard else None
    reading = criterion.reading if criterion else ""
    began_ms: int = row.at_ms
    if reading == "silence":
        began_ms = min(desk.survey.heard_ms(row.center) or began_ms, began_ms)
    cut_ms = desk.survey.cut_ms(row.center) if FAMILIES.get(reading) in SHARED else None
    if is_long_cut(began_ms, cut_ms) and _is_line_fault(desk, row.center, began_ms):
        cut_ms = None
    family = family_of(reading, began_ms, cut_ms)
    if family == "power" and cut_ms is not None:
        began_ms = min(began_ms, cut_ms)
    severity = criterion.severity if criterion else "warning"
    return Symptom(row.center, row.criterion, row.subject, family, severity, began_ms, change)


def _is_line_fault(desk: Desk, code: str, began_ms: int) -> bool:
    place = desk.survey.place(code)
    return place is not None and is_line_fault(place, began_ms, desk.survey.index, desk.survey.on_mains, desk.rules)


def _by_cause(desk: Desk, symptom: Symptom) -> Family:
    """What a silence is when its cause is known. Asked only for a center that fails alone: it costs some questions."""
    if symptom.family != "dark":
        return symptom.family
    cause = desk.likely(symptom.center)
    return OF_CAUSE.get(cause.name, "dark") if cause else "dark"


def _of_center(desk: Desk, symptom: Symptom, family: Family) -> Incident | None:
    """The center's own incident of this family: one that goes on, or has just ended. A center that goes dark has the
    trouble that it had just before."""
    scope = "collector" if symptom.center == EVERYONE else "center"
    known = tables.newest_of(desk.conn, scope, symptom.center)
    for incident in known:
        is_recent = desk.now_ms - incident.changed_ms <= SAME_S * 1000
        if incident.is_open and (
            incident.family == family or (family == "dark" and is_recent and incident.family in ("power", "line"))
        ):
            return incident
    ended = [
        one for one in known
        if one.resolved_ms is not None and one.family == family and one.state == "resolved"
        and symptom.began_ms - one.resolved_ms <= desk.rules.reopen_s * 1000
    ]  # fmt: skip
    return ended[0] if ended else None


def _open(
    desk: Desk, symptom: Symptom, family: Family, *, place: CenterPlace | None = None, is_news: bool = True
) -> Incident:
    hold_ms = desk.now_ms + desk.rules.hold_s * 1000 if place and _has_company(desk, symptom, place) else 0
    incident = tables.add(
        desk.conn,
        {
            "scope": "collector" if symptom.center == EVERYONE else "center", "place": symptom.center, "family": family,
            "severity": symptom.severity, "began_ms": symptom.began_ms, "opened_ms": desk.now_ms,
            "changed_ms": desk.now_ms, "hold_ms": hold_ms, "centers": 1, "most": 1, "announced": 1,
            "announced_ms": desk.now_ms,
        },
    )  # fmt: skip
    tables.join(desk.conn, incident, [symptom], desk.now_ms)
    incident = groups.hushed(desk, incident)
    tables.record(
        desk.conn, incident, "opened", desk.now_ms, at_ms=symptom.began_ms, change=symptom.change, quiet=not is_news
    )
    desk.begun.add(incident.id)
    return desk.keep(incident)


def _has_company(desk: Desk, symptom: Symptom, place: CenterPlace) -> bool:
    if symptom.family not in ("power", "line", "dark"):
        return False
    survey = desk.survey
    if len(survey.signs) < desk.rules.few - 1:
        return False
    sizes = survey.sizes(place)
    return any(is_crowd(place, symptom.began_ms, signs, sizes, desk.rules) for signs in desk.company(place))


def _join(desk: Desk, incident: Incident, symptom: Symptom) -> None:
    """A worse flag makes a center's incident worse; one of many centers is worse by their number (see `settle`)."""
    tables.join(desk.conn, incident, [symptom], desk.now_ms)
    if incident.is_group:
        if is_worse(incident.severity, symptom.severity):
            tables.change(desk.conn, incident, {"severity": symptom.severity})
            desk.forget_groups()
        desk.widened.add(incident.id)
        return
    values: Values = {"changed_ms": desk.now_ms}
    worse = is_worse(incident.severity, symptom.severity)
    if worse:
        values["severity"] = symptom.severity
    is_news = worse and incident.hold_ms <= desk.now_ms and incident.unstable_ms is None
    if is_news:
        values |= reopened(incident) | {"announced_ms": desk.now_ms}
    incident = tables.change(desk.conn, incident, values)
    if is_news:
        tables.record(desk.conn, incident, "worse", desk.now_ms, change=symptom.change)
    incident = tables.recount(desk.conn, incident, desk.now_ms)
    _look_for_flips(desk, incident, symptom.key)


def _reopen(desk: Desk, incident: Incident, symptom: Symptom) -> None:
    """It has begun again within minutes: the same incident, with its owner and notes."""
    tables.join(desk.conn, incident, [symptom], desk.now_ms)
    values: Values = {
        "state": "in_progress" if incident.owner else "new", "resolved_ms": None, "changed_ms": desk.now_ms,
        "centers": 1, "severity": symptom.severity,
    }  # fmt: skip
    incident = tables.change(desk.conn, incident, values)
    if not _look_for_flips(desk, incident, symptom.key):
        tables.record(desk.conn, incident, "reopened", desk.now_ms, at_ms=symptom.began_ms, change=symptom.change)
        desk.begun.add(incident.id)


def _look_for_flips(desk: Desk, incident: Incident, key: tuple[str, str, str]) -> bool:
    """Whether this flag comes and goes: then people are told so once, and of nothing more until it rests."""
    if incident.unstable_ms is None and not incident.is_group:
        flips = tables.flips_ms(desk.conn, key, desk.now_ms - FLIPS_WITHIN_S * 1000)
        if is_unstable(flips, desk.now_ms):
            incident = tables.change(desk.conn, incident, {"unstable_ms": desk.now_ms})
            detail = Reason.of("incident.unstable", n=len(flips), within_s=FLIPS_WITHIN_S)
            tables.record(desk.conn, incident, "unstable", desk.now_ms, detail=detail)
    desk.keep(incident)
    return incident.unstable_ms is not None


# ---------------------------------------------------------------- a flag is cleared


def _count_groups(desk: Desk) -> None:
    """Once for all that joined and left: a storm has thousands of them."""
    for number in sorted(desk.widened):
        incident = desk.keep(tables.recount(desk.conn, tables.get(desk.conn, number), desk.now_ms))
        if number in desk.left and incident.centers == 0:
            at_ms, change = desk.left[number]
            resolve_if_over(desk, incident, (), at_ms, change)


def _clear(desk: Desk, row: Any) -> None:
    key = (row.center, row.criterion, row.subject)
    mine = [
        one for one in tables.memberships(desk.conn, [row.center]) if (one.center, one.criterion, one.subject) == key
    ]
    tables.leave(desk.conn, mine, desk.now_ms)
    groups_of = {incident.id for incident in desk.open_groups()}
    for number in dict.fromkeys(one.incident for one in mine):
        if number in groups_of:
            desk.widened.add(number)
            desk.left[number] = (row.at_ms, row.id)
            continue
        incident = tables.recount(desk.conn, tables.get(desk.conn, number), desk.now_ms)
        _look_for_flips(desk, incident, key)
        resolve_if_over(desk, desk.touched[number], tables.members(desk.conn, [number]), row.at_ms, row.id)


def resolve_if_over(
    desk: Desk, incident: Incident, left: Sequence[Member], at_ms: int, change: int | None = None
) -> Incident:
    """The incident, resolved by evidence if nobody is in it any more; one that comes and goes waits until it rests."""
    if left or not incident.is_open or incident.unstable_ms is not None:
        return incident
    values: Values = {"state": "resolved", "resolved_ms": max(at_ms, incident.began_ms), "centers": 0}
    values |= {"ack_until_ms": None, "snoozed_until_ms": None}
    resolved = tables.change(desk.conn, incident, values)
    resolved = causes.settle(desk.conn, resolved, desk.standards, desk.now_ms)
    muted = incident.snoozed_until_ms is not None and incident.snoozed_until_ms > desk.now_ms
    if incident.hold_ms > desk.now_ms:  # over before anybody was told
        tables.hush(desk.conn, incident.id)
        muted = True
    tables.record(desk.conn, resolved, "resolved", desk.now_ms, at_ms=at_ms, change=change, quiet=muted)
    return desk.keep(resolved)
