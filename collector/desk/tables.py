"""Incidents as the database has them: read, opened, changed; every change of one has its event beside it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import sqlalchemy as sa

from agent.common.reasons import Reason, encode
from collector.desk.incident import ALERTS, ENDS, OPEN, ROUTED, Act, Incident, Values, WorkError
from collector.desk.symptoms import SIGN, Symptom
from collector.store import DESK, NEWS, schema, upsert
from collector.store.journal import journaled

QUIET = 0  # `queued_ms` of an event that nobody is told of

_i, _m, _e = schema.incidents.c, schema.incident_members.c, schema.incident_events.c


class Member(NamedTuple):
    """A flag that is part of an incident, or a center that shows its signs."""

    incident: int
    center: str
    criterion: str
    subject: str
    joined_ms: int
    left_ms: int | None
    severity: str


def lock(conn: sa.Connection) -> None:
    """Until this transaction ends no other changes incidents: those of many centers are everybody's. To be taken last,
    after all that a transaction claims."""
    if conn.dialect.name == "postgresql":
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(DESK)))


# ---------------------------------------------------------------- reading


def get(conn: sa.Connection, number: int) -> Incident:
    """Raises WorkError when there is none."""
    incidents = some(conn, _i.id == number)
    if not incidents:
        raise WorkError(f"incident {number}: there is none; see `nabz-collector incident list`")
    return incidents[0]


def some(conn: sa.Connection, mine: sa.ColumnElement[bool], limit: int | None = None) -> list[Incident]:
    """In the order in which they were opened."""
    rows = conn.execute(sa.select(schema.incidents).where(mine).order_by(_i.id).limit(limit))
    return [Incident(**row._mapping) for row in rows]


def open_groups(conn: sa.Connection) -> list[Incident]:
    """Those of many centers that go on."""
    return some(conn, _i.state.in_(OPEN) & _i.scope.not_in(("center", "collector")))


def newest_of(conn: sa.Connection, scope: str, place: str) -> list[Incident]:
    """Those of a center, or of a group, newest first; what was merged lives on elsewhere."""
    mine = (_i.scope == scope) & (_i.place == place) & (_i.state != "merged")
    return some(conn, mine & (_i.state.in_(OPEN) | _i.resolved_ms.is_not(None)))[::-1]


def members(conn: sa.Connection, numbers: Collection[int], *, now: bool = True) -> list[Member]:
    """Of these incidents; `now`: only who is in them still."""
    query = sa.select(schema.incident_members).where(_m.incident.in_(list(numbers)))
    query = query.where(_m.left_ms.is_(None)) if now else query
    return [Member(*row) for row in conn.execute(query.order_by(_m.incident, _m.center, _m.criterion, _m.joined_ms))]


def memberships(conn: sa.Connection, centers: Collection[str]) -> list[Member]:
    """What these centers are part of now."""
    query = sa.select(schema.incident_members).where(_m.center.in_(list(centers)), _m.left_ms.is_(None))
    return [Member(*row) for row in conn.execute(query)]


def events(conn: sa.Connection, number: int, limit: int = 200) -> list[sa.RowMapping]:
    """What became of an incident, newest first."""
    query = sa.select(schema.incident_events).where(_e.incident == number).order_by(_e.id.desc()).limit(limit)
    return list(conn.execute(query).mappings())


def snoozed_by(conn: sa.Connection, number: int) -> str:
    """Who snoozed an incident last; empty where planned work did."""
    query = sa.select(_e.person).where(_e.incident == number, _e.act == "snoozed").order_by(_e.id.desc()).limit(1)
    return conn.scalar(query) or ""


def awake_ms(conn: sa.Connection, number: int) -> int:
    """When a snooze of an incident ended last; 0 where none did."""
    query = sa.select(sa.func.max(_e.recorded_ms)).where(_e.incident == number, _e.act == "snooze_ended")
    return conn.scalar(query) or 0


# ---------------------------------------------------------------- changing


def add(conn: sa.Connection, values: Values) -> Incident:
    """A new incident, without members yet."""
    usual: Values = {"state": "new", "waiting_for": "", "owner": "", "hold_ms": 0, "cause": "", "cause_by": ""}
    nothing = ("unstable_ms", "resolved_ms", "ack_until_ms", "snoozed_until_ms", "merged_into")
    row = usual | dict.fromkeys(nothing) | values
    key = conn.execute(sa.insert(schema.incidents).values(row)).inserted_primary_key
    assert key is not None
    return Incident(id=int(key[0]), **row)  # type: ignore[arg-type]


def change(conn: sa.Connection, incident: Incident, values: Values) -> Incident:
    """The incident with these values."""
    if not values:
        return incident
    conn.execute(sa.update(schema.incidents).where(_i.id == incident.id).values(values))
    return replace(incident, **values)  # type: ignore[arg-type]


def record(
    conn: sa.Connection,
    incident: Incident,
    act: Act,
    now_ms: int,
    *,
    at_ms: int | None = None,
    person: str = "",
    text: str = "",
    detail: Reason | None = None,
    change: int | None = None,
    quiet: bool = False,
) -> int:
    """An event; its number. People are told of it if it is of their kind, and the incident is not snoozed. What a
    person does outlives a restore, with what the incident is then."""
    is_muted = incident.snoozed_until_ms is not None and incident.snoozed_until_ms > now_ms
    is_news = not is_muted and not quiet
    row = {
        "incident": incident.id, "act": act, "at_ms": now_ms if at_ms is None else at_ms, "recorded_ms": now_ms,
        "person": person, "text": text, "detail": encode(detail) if detail else "", "change": change,
        "queued_ms": None if is_news and act in ALERTS else QUIET,
        "routed_ms": None if act in ENDS or (is_news and act in ROUTED) else QUIET,
    }  # fmt: skip
    key = conn.execute(sa.insert(schema.incident_events).values(row)).inserted_primary_key
    if row["routed_ms"] is None:
        conn.info[NEWS] = True
    assert key is not None
    if person:
        journaled(conn, schema.incidents, incident.id)
        journaled(conn, schema.incident_events, int(key[0]))
    return int(key[0])


def join(conn: sa.Connection, incident: Incident, symptoms: Iterable[Symptom], now_ms: int) -> None:
    """Makes these flags, or signs of centers, part of an incident."""
    rows = [
        {
            "incident": incident.id, "center": one.center, "criterion": one.criterion, "subject": one.subject,
            "joined_ms": now_ms, "left_ms": None, "severity": one.severity,
        }
        for one in symptoms
    ]  # fmt: skip
    upsert(conn, schema.incident_members, rows)  # one that left may come again in the same millisecond


def leave(conn: sa.Connection, some_members: Iterable[Member], now_ms: int) -> None:
    rows = [
        {"b_incident": one.incident, "b_center": one.center, "b_criterion": one.criterion, "b_subject": one.subject,
         "b_joined": one.joined_ms, "b_left": max(now_ms, one.joined_ms)}
        for one in some_members
    ]  # fmt: skip
    if rows:
        conn.execute(_LEAVE, rows)


_LEAVE = (
    sa.update(schema.incident_members)
    .where(
        _m.incident == sa.bindparam("b_incident"),
        _m.center == sa.bindparam("b_center"),
        _m.criterion == sa.bindparam("b_criterion"),
        _m.subject == sa.bindparam("b_subject"),
        _m.joined_ms == sa.bindparam("b_joined"),
    )
    .values(left_ms=sa.bindparam("b_left"))
)


def hush(conn: sa.Connection, number: int) -> None:
    """Nobody is told of what was not told yet of an incident."""
    for mark in (_e.queued_ms, _e.routed_ms):
        mine = sa.update(schema.incident_events).where(_e.incident == number, mark.is_(None))
        conn.execute(mine.values({mark.name: QUIET}))


def move(conn: sa.Connection, source: Incident, target: Incident, now_ms: int, some_members: Sequence[Member]) -> None:
    """Members of one incident go over to another."""
    leave(conn, some_members, now_ms)
    rows = [{**one._asdict(), "incident": target.id, "joined_ms": now_ms, "left_ms": None} for one in some_members]
    upsert(conn, schema.incident_members, rows)
    if source.scope == "center" and target.scope != "center":  # a center that only shows signs is in by its flag now
        leave(conn, _signs_in(conn, target.id, {one.center for one in some_members}), now_ms)


def _signs_in(conn: sa.Connection, number: int, codes: Collection[str]) -> list[Member]:
    """Of these centers, those that are in an incident by their signs alone."""
    return [one for one in memberships(conn, codes) if (one.incident, one.criterion) == (number, SIGN)]


def recount(conn: sa.Connection, incident: Incident, now_ms: int) -> Incident:
    """With how many of its centers are in trouble now."""
    query = sa.select(sa.func.count(sa.distinct(_m.center))).where(_m.incident == incident.id, _m.left_ms.is_(None))
    centers = int(conn.scalar(query) or 0)
    if centers == incident.centers:
        return incident
    values: Values = {"centers": centers, "most": max(centers, incident.most), "changed_ms": now_ms}
    return change(conn, incident, values)


_ch = schema.changes.c
_ALERTING = sa.or_(
    sa.and_(_ch.was.in_(("clear", "pending")), _ch.now == "raised"),
    sa.and_(_ch.was.in_(("raised", "recovering")), _ch.now == "clear"),
)


def flips_ms(conn: sa.Connection, key: tuple[str, str, str], since_ms: int) -> list[int]:
    """When a flag was raised or cleared since then."""
    mine = (_ch.center == key[0]) & (_ch.criterion == key[1]) & (_ch.subject == key[2]) & (_ch.at_ms > since_ms)
    return list(conn.scalars(sa.select(_ch.at_ms).where(mine, _ALERTING)))


def turns_ms(conn: sa.Connection, number: int, since_ms: int) -> list[int]:
    """When an incident began or was over since then."""
    mine = (_e.incident == number) & _e.act.in_(("opened", "reopened", "resolved")) & (_e.recorded_ms > since_ms)
    return list(conn.scalars(sa.select(_e.recorded_ms).where(mine)))


def last_flip_ms(conn: sa.Connection, number: int) -> int | None:
    """When a flag that is or was part of an incident was raised or cleared last; what other flags of its centers do is
    none of its affairs."""
    same = (_m.center == _ch.center) & (_m.criterion == _ch.criterion) & (_m.subject == _ch.subject)
    query = sa.select(sa.func.max(_ch.at_ms)).select_from(schema.changes.join(schema.incident_members, same))
    at_ms: int | None = conn.scalar(query.where(_m.incident == number, _ALERTING))
    return at_ms
