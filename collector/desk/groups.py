"""Incidents of many centers: formed when enough neighbours fail together, joined and left while they last."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from agent.common.center_time import TZ
from agent.common.reasons import MAX_BYTES, MAX_TEXT, Reason, decode
from collector.desk import tables
from collector.desk.grouping import (
    BY_SCOPE,
    CenterGroup,
    SignIndex,
    goes_on,
    groups_around,
    is_alike,
    parent_among,
    takes_in,
)
from collector.desk.incident import FLIPS_WITHIN_S, OPEN, Incident, Values, is_unstable
from collector.desk.survey import Desk, by_center, size_of
from collector.desk.symptoms import SHARED, SIGN, CenterPlace, CenterSign, Symptom, worst
from collector.desk.tables import Member
from collector.register.opening_hours import local
from collector.standard.criteria import Severity
from collector.store import schema

_i = schema.incidents.c
COVERED = 0.5  # of a narrower incident's centers: then a wider one takes it in


def open_around(
    desk: Desk, symptom: Symptom, place: CenterPlace | None, mine: Sequence[Member] = ()
) -> Incident | None:
    """The incident of a group that the center (`mine`) is in already with such a trouble, or else one that goes on and
    takes this in: a battery that gives out as the mains are back, when few are left, has the cut's cause."""
    if place is None or symptom.family not in SHARED:
        return None
    sign = CenterSign(symptom.center, symptom.family, symptom.began_ms)
    numbers = {one.incident for one in mine}
    for incident in desk.open_groups():
        if incident.id in numbers and is_alike(incident.family, symptom.family):
            return incident
    for incident in desk.open_groups():
        size = desk.survey.size(incident.scope, incident.place)
        about = (incident.scope, incident.place, incident.family, incident.centers, size)
        if takes_in(*about, sign, place, desk.rules):
            return incident
    return None


def form(desk: Desk, symptom: Symptom, place: CenterPlace | None) -> Incident | None:
    """A new incident of the group in which this center fails with its neighbours; None if it fails alone."""
    if place is None or symptom.family not in SHARED:
        return None
    survey = desk.survey
    own = CenterSign(symptom.center, symptom.family, symptom.began_ms)
    if len(survey.signs) < desk.rules.few - 1:
        return None
    for signs in desk.company(place):
        around = groups_around(place, symptom.began_ms, signs, survey.sizes(place), desk.rules, own)
        if (group := parent_among(around, symptom.center, desk.rules)) is not None:
            return _form(desk, group, symptom)
    return None


def _form(desk: Desk, group: CenterGroup, symptom: Symptom) -> Incident:
    """1. The centers' own incidents and narrower groups are taken in. 2. Then the flag itself, and those that only show
    signs."""
    taken = _to_take_in(desk, group, symptom)
    shown = by_center(desk.survey.signs)
    began = [sign.began_ms for code in group.centers for sign in shown.get(code, ())]
    near = [at_ms for at_ms in began if abs(at_ms - symptom.began_ms) <= desk.rules.within_s * 1000]
    ended = _just_ended(desk, group, symptom.began_ms)
    incident = ended or _add(desk, group, taken, symptom.severity, min([symptom.began_ms, *near]))
    if ended is not None:
        incident = _begun_again(desk, ended, taken, symptom.severity)
    tables.join(desk.conn, incident, [symptom], desk.now_ms)
    in_it = {one.center for one in tables.members(desk.conn, [incident.id])}
    add_signs(desk, incident, sorted(group.centers - in_it))
    if ended is not None:
        return _reopened(desk, incident, symptom)
    return _opened(desk, incident, group, symptom.change)


def _just_ended(desk: Desk, group: CenterGroup, began_ms: int) -> Incident | None:
    """The incident of the same group that was over minutes before, or that comes and goes and is away just now."""
    for one in tables.newest_of(desk.conn, group.scope, group.key):
        if one.unstable_ms is not None and one.is_open and is_alike(one.family, group.family):
            return one
        rested_ms = None if one.resolved_ms is None else began_ms - one.resolved_ms
        if one.state == "resolved" and rested_ms is not None and rested_ms <= desk.rules.reopen_s * 1000:
            return one if is_alike(one.family, group.family) and not one.cause_by else None
    return None


def _begun_again(desk: Desk, ended: Incident, taken: Sequence[Incident], severity: Severity) -> Incident:
    """The same incident, with its owner and notes."""
    values: Values = {"changed_ms": desk.now_ms, "severity": worst([severity, *(one.severity for one in taken)])}
    if not ended.is_open:
        values |= {"state": "in_progress" if ended.owner else "new", "resolved_ms": None}
    incident = tables.change(desk.conn, ended, values)
    for one in taken:
        merge(desk, one, incident)
    return incident


def _reopened(desk: Desk, incident: Incident, symptom: Symptom) -> Incident:
    """People are told; of what has begun and ended often within the hour once, and then that it rests."""
    incident = tables.recount(desk.conn, incident, desk.now_ms)
    incident = tables.change(desk.conn, incident, {"announced": incident.centers, "announced_ms": desk.now_ms})
    desk.forget_groups()
    if incident.unstable_ms is not None:
        return incident
    incident = hushed(desk, incident)
    turns = [*tables.turns_ms(desk.conn, incident.id, desk.now_ms - FLIPS_WITHIN_S * 1000), desk.now_ms]
    if is_unstable(turns, desk.now_ms):
        incident = tables.change(desk.conn, incident, {"unstable_ms": desk.now_ms})
        detail = Reason.of("incident.unstable", n=len(turns), within_s=FLIPS_WITHIN_S)
        tables.record(desk.conn, incident, "unstable", desk.now_ms, detail=detail)
        return incident
    tables.record(desk.conn, incident, "reopened", desk.now_ms, at_ms=symptom.began_ms, change=symptom.change)
    desk.begun.add(incident.id)
    return incident


def _add(desk: Desk, group: CenterGroup, taken: Sequence[Incident], severity: Severity, began_ms: int) -> Incident:
    """A new incident of this group, with all that is taken into it, and with the owner of one of those."""
    owner = next((one for one in taken if one.owner), None)
    incident = tables.add(
        desk.conn,
        {
            "scope": group.scope, "place": group.key, "family": group.family,
            "severity": worst([severity, *(one.severity for one in taken)]), "began_ms": began_ms,
            "opened_ms": desk.now_ms, "changed_ms": desk.now_ms,
            "centers": 0, "most": 0, "announced": len(group.centers), "announced_ms": desk.now_ms,
            **({"owner": owner.owner, "state": owner.state} if owner else {}),
        },
    )  # fmt: skip
    for one in taken:
        merge(desk, one, incident)
    return incident


def _opened(desk: Desk, incident: Incident, group: CenterGroup, change: int | None = None) -> Incident:
    """People are told of it, with how many it has."""
    incident = tables.recount(desk.conn, incident, desk.now_ms)
    incident = tables.change(desk.conn, incident, {"announced": incident.centers})
    desk.forget_groups()
    incident = hushed(desk, incident)
    whole = size_of(desk.conn, group.scope, group.key, desk.survey.names)
    detail = Reason.of("incident.group", n=incident.centers, whole=whole)
    tables.record(desk.conn, incident, "opened", desk.now_ms, at_ms=incident.began_ms, detail=detail, change=change)
    desk.begun.add(incident.id)
    return incident


def widen(desk: Desk) -> int:
    """Groups that began together, in the same way, and are parts of a wider one become an incident of that: an outage
    of a country comes town by town. Returns how many did."""
    desk.forget_groups()  # the pass before has changed some
    parts = [one for one in desk.open_groups() if not one.cause_by]
    if len(parts) < 2:
        return 0
    centers: dict[int, set[str]] = {one.id: set() for one in parts}
    for member in tables.members(desk.conn, list(centers)):
        centers[member.incident].add(member.center)
    places = desk.survey.places_of(set[str]().union(*centers.values()))
    planned = {number for number, codes in centers.items() if desk.planned_ms(codes) is not None}
    widened = 0
    while parts:
        first = parts.pop(0)
        alike = [one for one in parts if _may_be_one(one, first, planned)]
        signs = [CenterSign(code, one.family, one.began_ms) for one in (first, *alike) for code in centers[one.id]]
        place = next((places[code] for code in sorted(centers[first.id]) if code in places), None)
        group = _wider(desk, first, place, signs, places)
        taken = [one for one in alike if group and _is_part(one, group, centers[one.id])]
        if place is None or group is None or not taken:
            continue
        _take_together(desk, [first, *taken], group)
        parts = [one for one in parts if one not in taken]
        widened += 1
    return widened


def _may_be_one(one: Incident, other: Incident, planned: Collection[int]) -> bool:
    """What is planned is no part of what is not."""
    return is_alike(one.family, other.family) and (one.id in planned) == (other.id in planned)


def _wider(
    desk: Desk,
    one: Incident,
    place: CenterPlace | None,
    signs: Sequence[CenterSign],
    places: Mapping[str, CenterPlace],
) -> CenterGroup | None:
    if place is None:
        return None
    around = groups_around(place, one.began_ms, SignIndex(signs, places), desk.survey.sizes(place), desk.rules)
    return parent_among(around, place.center, desk.rules)


def _is_part(one: Incident, group: CenterGroup, centers: Collection[str]) -> bool:
    return one.family in BY_SCOPE[group.scope].families and len(group.centers & set(centers)) > COVERED * len(centers)


def _take_together(desk: Desk, parts: Sequence[Incident], group: CenterGroup) -> None:
    """Into the one that is of this group already, or into a new one."""
    known = next((one for one in parts if (one.scope, one.place) == (group.scope, group.key)), None)
    if known is None:
        incident = _add(desk, group, parts, "notice", min(one.began_ms for one in parts))
        _opened(desk, incident, group)
        return
    for one in parts:
        if one is not known:
            merge(desk, one, known)
    desk.keep(tables.recount(desk.conn, known, desk.now_ms))


def hushed(desk: Desk, incident: Incident) -> Incident:
    """Snoozed where work or a closure is planned at all of its centers, unless people were told of it again since that
    began; if it outlasts that, they are."""
    planned = desk.planned_ms({one.center for one in tables.members(desk.conn, [incident.id])})
    if planned is None or tables.awake_ms(desk.conn, incident.id) >= planned[0]:
        return incident
    until_ms = planned[1]
    snoozed = tables.change(desk.conn, incident, {"snoozed_until_ms": until_ms, "hold_ms": 0})
    detail = Reason.of("incident.planned", time=local(until_ms, TZ))
    tables.record(desk.conn, snoozed, "snoozed", desk.now_ms, detail=detail)
    return snoozed


def _to_take_in(desk: Desk, group: CenterGroup, symptom: Symptom) -> list[Incident]:
    """Open incidents of these centers that began with this one, and narrower groups most of which it covers."""
    numbers = {one.incident for one in tables.memberships(desk.conn, sorted(group.centers))}
    some = tables.some(desk.conn, _i.id.in_(sorted(numbers)) & _i.state.in_(OPEN)) if numbers else []
    families = BY_SCOPE[group.scope].families
    within_ms = desk.rules.within_s * 1000
    in_them: dict[int, set[str]] = {one.id: set() for one in some}
    for member in tables.members(desk.conn, list(in_them)) if some else ():
        in_them[member.incident].add(member.center)
    incidents = []
    for one in some:
        if one.family not in families or one.cause_by:
            continue
        in_it = in_them[one.id]
        near = abs(one.began_ms - symptom.began_ms) <= within_ms
        if (near or one.is_group) and len(in_it & group.centers) > COVERED * len(in_it):
            incidents.append(one)
    return incidents


def merge(desk: Desk, source: Incident, target: Incident, person: str = "", text: str = "") -> Incident:
    """All of one incident goes over to another; what nobody was told of it yet is not told any more."""
    tables.move(desk.conn, source, target, desk.now_ms, tables.members(desk.conn, [source.id]))
    tables.hush(desk.conn, source.id)
    values: Values = {"state": "merged", "merged_into": target.id, "centers": 0, "resolved_ms": None}
    merged = tables.change(desk.conn, source, values)
    detail = Reason.of("incident.merged", id=source.id, other=target.id)
    for one in (merged, target):
        tables.record(desk.conn, one, "merged", desk.now_ms, person=person, text=text, detail=detail)
    desk.keep(merged)
    desk.forget_groups()
    return merged


def add_signs(desk: Desk, incident: Incident, codes: Sequence[str]) -> None:
    """Centers that show the same signs, without a flag of their own."""
    shown = [Symptom(code, SIGN, "", incident.family, "notice", desk.now_ms) for code in codes]
    tables.join(desk.conn, incident, shown, desk.now_ms)


def refresh(desk: Desk, incident: Incident) -> Incident:
    """Centers whose signs are gone leave, others of the group that show them now join."""
    level = BY_SCOPE.get(incident.scope)
    if level is None:
        return incident
    survey = desk.survey
    shown = {
        sign.center
        for sign in survey.signs
        if (home := survey.places.get(sign.center)) is not None
        and level.key(home) == incident.place
        and sign.family in level.families
        and incident.family in (sign.family, "dark")
        and sign.began_ms >= incident.began_ms - desk.rules.within_s * 1000
    }
    mine = tables.members(desk.conn, [incident.id])
    signs = [one for one in mine if one.criterion == SIGN]
    shown |= survey.still_showing(sorted({one.center for one in signs} - shown))
    tables.leave(desk.conn, [one for one in signs if one.center not in shown], desk.now_ms)
    size = survey.size(incident.scope, incident.place)
    if goes_on(incident.scope, incident.centers, size, desk.rules):
        known = {one.center for one in mine}
        apart = frozenset[str]() if desk.planned_ms(known) is not None else desk.explained
        add_signs(desk, incident, sorted(shown - known - apart - _elsewhere(desk, shown)))
    return tables.recount(desk.conn, incident, desk.now_ms)


def _elsewhere(desk: Desk, codes: Collection[str]) -> set[str]:
    """Those of these centers that are part of an incident already, of their own or of another group."""
    memberships = tables.memberships(desk.conn, sorted(codes))
    numbers = sorted({one.incident for one in memberships})
    shared = (
        {one.id for one in tables.some(desk.conn, _i.id.in_(numbers)) if one.family in SHARED} if numbers else set()
    )
    return {one.center for one in memberships if one.incident in shared}


def split(desk: Desk, incident: Incident, codes: Sequence[str], person: str, text: str) -> Incident:
    """These centers become an incident of their own: of one center, or of the same kind of group."""
    mine = [one for one in tables.members(desk.conn, [incident.id]) if one.center in codes]
    single = len(set(codes)) == 1
    severity = worst([one.severity for one in mine])  # type: ignore[misc]
    apart = tables.add(
        desk.conn,
        {
            "scope": "center" if single else incident.scope, "place": codes[0] if single else incident.place,
            "family": incident.family, "severity": severity, "began_ms": incident.began_ms, "opened_ms": desk.now_ms,
            "changed_ms": desk.now_ms, "centers": 0, "most": 0, "announced": len(set(codes)),
            "announced_ms": desk.now_ms, "owner": incident.owner, "state": incident.state, "cause_by": person,
            "cause": incident.cause,
        },
    )  # fmt: skip
    tables.move(desk.conn, incident, apart, desk.now_ms, mine)
    apart = tables.recount(desk.conn, apart, desk.now_ms)
    detail = Reason.of("incident.split", id=apart.id, other=incident.id, centers=_in_sentences(codes))
    for one in (apart, tables.recount(desk.conn, incident, desk.now_ms)):
        tables.record(desk.conn, one, "split", desk.now_ms, person=person, text=text, detail=detail)
    return apart


def _in_sentences(codes: Sequence[str]) -> list[str]:
    """Codes of centers as a detail can hold them; none where they are too many (some 1,500)."""
    lines = textwrap.wrap(" ".join(sorted(set(codes))), MAX_TEXT, break_long_words=False, break_on_hyphens=False)
    return lines if len(lines) <= MAX_BYTES // MAX_TEXT - 2 else []


def split_off(row: Mapping[str, Any]) -> tuple[int, int, frozenset[str]]:
    """Of a split's event: the incident that it made, the one it was parted from, and the centers that went over."""
    match decode(row["detail"]).params:
        case {"id": int(made), "other": int(source), "centers": [*lines]}:
            return made, source, frozenset(" ".join(map(str, lines)).split())
    return 0, 0, frozenset()


def all_open(conn: sa.Connection) -> list[Incident]:
    return tables.some(conn, _i.state.in_(OPEN))
