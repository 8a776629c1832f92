"""Files that people give with an incident: a photo of a pole, a provider's letter, a log. Each is an event of the
incident, which names it and its hash; so it is journaled as acts are, and a line of the activity log.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from agent.common.reasons import Reason, decode
from collector.common.attachments import MAX_BYTES, MEDIA, Kind, kind_of, name_of
from collector.desk.incident import WorkError
from collector.store import attachment_bytes, schema

MAX_FILES = 20  # of one incident

_e = schema.incident_events.c


@dataclass(frozen=True, kw_only=True)
class IncidentFile:
    """As its event names it."""

    name: str
    kind: Kind
    size: int  # bytes
    sha256: str
    added_ms: int
    added_by: str
    is_lost: bool  # its bytes are not in this database


def check(name: str, body: bytes, held: int) -> Reason:
    """Pure. What an event says of a file; `held` are those that the incident has. Raises WorkError."""
    if not body:
        raise WorkError("file: is empty; choose another")
    if len(body) > MAX_BYTES:
        raise WorkError(f"file: is over {MAX_BYTES // 1_000_000} MB; make it smaller, or give the part that matters")
    if held >= MAX_FILES:
        raise WorkError(f"files: an incident takes {MAX_FILES}; put pages into one PDF")
    if (kind := kind_of(body)) is None:
        raise WorkError(
            "file: must be a JPEG or PNG picture, a PDF, or a table as plain text (CSV, UTF-8); convert it, and give "
            "it again"
        )
    digest = hashlib.sha256(body).hexdigest()
    return Reason.of("incident.attached", name=name_of(name, kind), kind=kind, size=len(body), digest=digest)


def act_of(body: bytes, note: str) -> str:
    """Pure. What the activity log says of it."""
    return " ".join(filter(None, ("attach", hashlib.sha256(body).hexdigest(), note)))


def of_incident(conn: sa.Connection, number: int) -> list[IncidentFile]:
    """In the order in which they came."""
    mine = sa.select(_e.detail, _e.at_ms, _e.person).where(_e.incident == number, _e.act == "attached")
    rows = [(decode(row.detail).params, row.at_ms, row.person) for row in conn.execute(mine.order_by(_e.id))]
    here = attachment_bytes.held(conn, {str(params["digest"]) for params, _, _ in rows})
    return [_file(params, at_ms, person, here) for params, at_ms, person in rows]


def _file(params: Any, at_ms: int, person: str, here: set[str]) -> IncidentFile:
    kinds: dict[str, Kind] = {kind: kind for kind in MEDIA}
    digest = str(params["digest"])
    return IncidentFile(
        name=str(params["name"]), kind=kinds[str(params["kind"])], size=int(params["size"]), sha256=digest,
        added_ms=at_ms, added_by=person, is_lost=digest not in here,
    )  # fmt: skip


def get(conn: sa.Connection, number: int, digest: str) -> tuple[IncidentFile, bytes]:
    """Raises WorkError."""
    one = next((one for one in of_incident(conn, number) if one.sha256 == digest), None)
    if one is None:
        raise WorkError(f"incident {number}: has no such file; see its page")
    if (body := attachment_bytes.get(conn, digest)) is None:
        raise WorkError(f"{one.name}: its bytes are not in this database; whoever has the file can give it again")
    return one, body
