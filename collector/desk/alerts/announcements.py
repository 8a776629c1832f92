"""From events of incidents that nobody was told of yet to what messages are made of."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from agent.common.reasons import Reason, decode
from collector.desk import causes, tables
from collector.desk.alerts.incident_message import IncidentNews
from collector.desk.alerts.message import Announcement
from collector.desk.incident import Act
from collector.desk.view import contacts
from collector.store import schema

OF_A_FLAG = frozenset({"opened", "reopened", "worse", "resolved"})  # acts that a change of a flag may tell whole
OF_PEOPLE = frozenset({"assigned"})  # acts whose detail is part of the news, of groups too

_e, _i, _ch, _ce = schema.incident_events.c, schema.incidents.c, schema.changes.c, schema.centers.c


def announcements_of(conn: sa.Connection, now_ms: int) -> list[Announcement]:
    """In the order in which they happened; those of an incident that waits for others like it are left for later."""
    rows = conn.execute(_UNQUEUED, {"now_ms": now_ms}).all()
    return [announcement_of(conn, row) for row in rows]


_COLUMNS = (_e.id, _e.act, _e.at_ms, _e.person, _e.text, _e.detail, _e.incident, _e.change, _e.queued_ms)
EVENTS = sa.select(*_COLUMNS).join_from(schema.incident_events, schema.incidents, _i.id == _e.incident)
_UNQUEUED = EVENTS.where(_e.queued_ms.is_(None), _i.hold_ms <= sa.bindparam("now_ms")).order_by(_e.id)


def announcement_of(conn: sa.Connection, row: Any) -> Announcement:
    """Of a row of EVENTS."""
    incident = tables.get(conn, row.incident)
    mine = tables.members(conn, [incident.id], now=row.act != "resolved")
    change = _change(conn, row.change)
    center = {} if incident.is_group else _center(conn, incident.place)
    act: Act = row.act
    news = IncidentNews(
        act=act,
        incident=incident,
        at_ms=row.at_ms,
        detail=decode(row.detail) if row.detail and (act in OF_PEOPLE or not incident.is_group) else None,
        cause=causes.of(incident),
        numbers=tuple(contacts.numbers_of(conn, incident)),
        centers=tuple(sorted({one.center for one in mine})) if incident.is_group else (),
        name=center.get("name", ""),
        person=row.person,
        text=row.text,
    )
    is_whole = change is not None and not incident.is_group and act in OF_A_FLAG
    if is_whole and (act != "resolved" or len({one.criterion for one in mine}) <= 1):
        return _of_change(change, center, row, news)
    return Announcement(
        id=row.id, change=row.change, center=incident.place, criterion="", subject="", was="", now="", at_ms=row.at_ms,
        value=None, bound=None, reason=Reason("incident.group", {}), news=news, **center,
    )  # fmt: skip


def _of_change(change: Any, center: dict[str, Any], row: Any, news: IncidentNews) -> Announcement:
    began_ms = None if change.now == "raised" else news.incident.began_ms
    return Announcement(
        id=row.id, change=change.id, center=change.center, criterion=change.criterion, subject=change.subject,
        was=change.was, now=change.now, at_ms=change.at_ms, value=change.value, bound=change.bound,
        reason=decode(change.reason), began_ms=began_ms, cause=news.cause, news=news, **center,
    )  # fmt: skip


def _change(conn: sa.Connection, number: int | None) -> Any:
    if number is None:
        return None
    return conn.execute(sa.select(schema.changes).where(_ch.id == number)).first()


def _center(conn: sa.Connection, code: str) -> dict[str, Any]:
    """{name, city, province} of a registered center."""
    row = conn.execute(sa.select(_ce.name, _ce.city, _ce.province).where(_ce.center == code)).first()
    return {} if row is None else dict(row._mapping)
