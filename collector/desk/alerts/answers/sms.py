"""An answer by text message, as the gateway of text messages hands it on: `ACK 12 on my way`, or `OK` to the newest.

The gateway is known by its signature, the person by the telephone that a message about this incident went to within the
last day: who was not told cannot answer.
"""

from __future__ import annotations

import re
from dataclasses import replace

import sqlalchemy as sa

from collector.access.accounts.contacts import telephone
from collector.desk.alerts.answers import acts
from collector.desk.alerts.answers.acts import Answer
from collector.desk.alerts.answers.text import answer_of
from collector.desk.incident import Incident, WorkError
from collector.desk.routing import directory
from collector.store import schema

LASTS_MS = 24 * 3_600_000
_NUMBER = re.compile(r"#?(\d{1,15})\b[\s:,.]*")

_al, _e = schema.alerts.c, schema.incident_events.c


def take(conn: sa.Connection, sender: str, text: str, now_ms: int) -> Incident:
    """The incident after it. Raises WorkError."""
    answer = answer_of(text, "sms")
    if answer is None:
        raise WorkError("text message: is empty; write such as ACK 12 on my way")
    number, answer = _numbered(answer)
    known = {one.key: one for one in directory.people(conn)}
    mine = (_al.address == telephone(sender)[:200]) & (_al.made_ms > now_ms - LASTS_MS) & _al.person.in_(list(known))
    query = sa.select(_e.incident, _al.person).join(schema.incident_events, _e.id == _al.event).where(mine)
    query = query.where(_e.incident == number) if number is not None else query
    row = conn.execute(query.order_by(_al.id.desc()).limit(1)).first()
    if row is None:
        raise WorkError("text message: no message about such an incident went to this telephone within a day; log in")
    return acts.perform(conn, known[row.person], row.incident, answer, now_ms)


def _numbered(answer: Answer) -> tuple[int | None, Answer]:
    """The number of the incident that the answer begins with, and the rest of it."""
    part = answer.owner if answer.act == "assign" else answer.note
    match = _NUMBER.match(part)
    if match is None:
        return None, answer
    rest = part[match.end() :].strip()
    if answer.act == "assign":
        return int(match[1]), replace(answer, owner=rest)
    return int(match[1]), replace(answer, note=rest or (part if answer.act == "ack" else ""))
