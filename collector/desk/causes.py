"""The likely cause of an incident: one answer, kept with it, for pages, API and messages alike.

While it lasts, it is what the last readings and the neighbours tell; once it is over, what was found out when the
centers were heard again. A cause that a person has set stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import sqlalchemy as sa

from agent import wire
from agent.common.reasons import Reason
from collector.desk import tables
from collector.desk.grouping import BY_SCOPE
from collector.desk.incident import Incident, WorkError
from collector.desk.survey import size_of
from collector.desk.symptoms import OF_CAUSE, SHARED
from collector.desk.tables import Member
from collector.judging.flags.cause import GRADES, NAMES, Cause
from collector.judging.outages import gaps
from collector.judging.outages.wires import WireNames
from collector.standard import Standards
from collector.store import schema

SAMPLE = 5  # silent centers of an incident that are asked why: more say nothing new

_l, _c = schema.latest.c, schema.cuts.c


def of(incident: Incident) -> Cause | None:
    """As it is kept; None if nothing tells."""
    if not incident.cause:
        return None
    try:
        cause = msgspec.json.decode(incident.cause, type=Cause)
    except msgspec.DecodeError:
        return None
    return cause if cause.name in NAMES and cause.grade in GRADES else None


def of_center(conn: sa.Connection, code: str, now_ms: int) -> Cause | None:
    """Why a center is not heard now: as its incident has it, else as far as its own readings and neighbours tell."""
    numbers = sorted({one.incident for one in tables.memberships(conn, [code])})
    shared = [tables.get(conn, number) for number in numbers]
    known = [cause for one in shared if one.family in SHARED and (cause := of(one)) is not None]
    return known[0] if known else gaps.likely(conn, code, now_ms)


def refresh(conn: sa.Connection, incidents: Sequence[Incident], standards: Standards, now_ms: int) -> list[Incident]:
    """The incidents with their likely causes as they are now; the one that each has, while nothing tells: readings that
    are well again take none back. A month at risk has none: many days made it."""
    open_to = [one for one in incidents if not one.cause_by and one.family != "month"]
    silent = _silent_of(conn, open_to, standards, now_ms)
    known = gaps.likely_of(conn, {code for codes in silent.values() for code in codes}, now_ms)
    result, names = [], WireNames(conn)
    for one in incidents:
        cause = _likely(conn, one, silent[one.id], known, names) if one in open_to else None
        result.append(one if cause is None else _kept(conn, one, cause))
    return result


def settle(conn: sa.Connection, incident: Incident, standards: Standards, now_ms: int) -> Incident:
    """The incident, which is over, with what was found out."""
    if incident.cause_by:
        return incident
    mine = tables.members(conn, [incident.id], now=False)
    silent = _silent(mine, standards, now_ms)
    known = [one for code in _sample(silent) if (one := gaps.last(conn, code, incident.began_ms)) is not None]
    causes = _fitting(incident, known)
    cause = _most(causes) or next(iter(causes), None)
    return incident if cause is None else _kept(conn, incident, _with_group(conn, incident, cause, WireNames(conn)))


def by_hand(name: str) -> str:
    """As a person says it, to be kept. Raises WorkError for what is no cause."""
    if name not in NAMES:
        raise WorkError(f"cause {name!r}: is none; use one of {' '.join(NAMES)}")
    return _text(Cause(name=name, grade="none", evidence=()))


def _kept(conn: sa.Connection, incident: Incident, cause: Cause) -> Incident:
    text = _text(cause)
    return incident if text == incident.cause else tables.change(conn, incident, {"cause": text})


def _text(cause: Cause) -> str:
    return msgspec.json.encode(cause).decode()


def _likely(
    conn: sa.Connection, incident: Incident, silent: Sequence[str], known: Mapping[str, Cause], names: WireNames
) -> Cause | None:
    """`known`: of those that are silent still."""
    if incident.family == "collector":
        return Cause(name="collector", grade="shown", evidence=())
    causes = [known.get(code) or gaps.last(conn, code, incident.began_ms) for code in silent]
    cause = _most(_fitting(incident, [one for one in causes if one is not None])) or _by_family(conn, incident)
    return None if cause is None else _with_group(conn, incident, cause, names)


def _silent_of(
    conn: sa.Connection, incidents: Sequence[Incident], standards: Standards, now_ms: int
) -> dict[int, list[str]]:
    """Some centers of each that are in it by their silence."""
    mine: dict[int, list[Member]] = {one.id: [] for one in incidents}
    for member in tables.members(conn, list(mine)) if mine else ():
        mine[member.incident].append(member)
    return {number: _sample(_silent(some, standards, now_ms)) for number, some in mine.items()}


def _silent(mine: Sequence[Member], standards: Standards, now_ms: int) -> list[str]:
    """Centers that are in it by their silence."""
    standard = standards.at(now_ms)
    silence = {item.id for item in standard.by_reading.get("silence", ())} if standard else set()
    return sorted({one.center for one in mine if one.criterion in silence})


def _sample(codes: list[str]) -> list[str]:
    """Some of them from all over the list: neighbours in it are often neighbours on a wire."""
    return codes[:: -(-len(codes) // SAMPLE)] if codes else codes


def _fitting(incident: Incident, causes: Sequence[Cause]) -> Sequence[Cause]:
    """Those that the wire of a group can have: where the mains of some are cut as well, what the others say counts."""
    level = BY_SCOPE.get(incident.scope)
    fitting = [one for one in causes if level is not None and OF_CAUSE.get(one.name) in level.families]
    return fitting or causes


def _most(causes: Sequence[Cause]) -> Cause | None:
    """What most of them say; of those that say the same, the one with the best evidence."""
    counts = Counter(cause.name for cause in causes if cause.name != "unknown")
    if not counts:
        return None
    name = max(counts, key=lambda item: counts[item])
    return min((cause for cause in causes if cause.name == name), key=lambda cause: GRADES.index(cause.grade))


def _by_family(conn: sa.Connection, incident: Incident) -> Cause | None:
    """Where nobody is silent: the mains are cut, or the line of many is bad, or the readings say where it breaks."""
    if incident.family == "power" and (incident.is_group or _is_cut(conn, incident)):
        return Cause(name="mains_carried", grade="shown", evidence=())
    if incident.family == "line" and incident.is_group:
        return Cause(name="isp_down", grade="likely", evidence=())
    if incident.family != "line":
        return None
    place = _fault_place(conn, incident)
    if place is None:
        return None
    before = Reason.of("evidence.fault_before", field="fault_place", word=place)
    return Cause(name="lan_fault" if place == "lan" else "isp_down", grade="likely", evidence=(before,))


def _is_cut(conn: sa.Connection, incident: Incident) -> bool:
    """Whether the mains of its center are cut: its battery is low for that reason."""
    going = (_c.center == incident.place) & (_c.open == sa.true()) & _c.to_ms.is_(None)
    return conn.execute(sa.select(_c.center).where(going).limit(1)).first() is not None


def _fault_place(conn: sa.Connection, incident: Incident) -> str | None:
    """Where the last readings of the lines that are in it see the fault: of two lines one may be well."""
    subjects = {one.subject for one in tables.members(conn, [incident.id])}
    query = sa.select(_l.body).where(_l.center == incident.place, _l.kind == "link", _l.subject.in_(sorted(subjects)))
    readings = [wire.decode_reading(body.encode()) for body in conn.scalars(query.order_by(_l.subject))]
    places = [getattr(reading, "fault_place", None) for reading in readings]
    return next((place for place in places if place in ("lan", "isp")), None)


def _with_group(conn: sa.Connection, incident: Incident, cause: Cause, names: WireNames) -> Cause:
    """With how many of the group fell into trouble together."""
    if not incident.is_group:
        return cause
    whole = size_of(conn, incident.scope, incident.place, names)
    together = Reason.of("incident.group", n=max(incident.most, incident.centers), whole=whole)
    return Cause(name=cause.name, grade=cause.grade, evidence=(together, *cause.evidence))
