"""Files that an operator gives with a dispute: each is kept by its hash, which is a leaf of the transparency log and a
line of the journal."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import sqlalchemy as sa

from collector.common.attachments import MAX_BYTES, Kind, kind_of, name_of
from collector.reports.disputes.dispute import Dispute, DisputeError, check_open
from collector.store import attachment_bytes, schema
from collector.store.journal import journaled, leaves

MAX_FILES = 8  # of one dispute
MAX_CENTER_BYTES = 64_000_000  # of all disputes of one center

_a = schema.attachments.c


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A row."""

    attachment: str
    dispute: int
    center: str
    name: str
    kind: Kind
    size: int
    sha256: str
    added_ms: int
    added_by: str


# ---------------------------------------------------------------- pure


def check(body: bytes, digest: str, held: Sequence[Attachment], center_bytes: int) -> Kind:
    """`held` are those of the dispute, `center_bytes` those of all its center's. Raises DisputeError."""
    if not body:
        raise DisputeError("attachment.empty")
    if len(body) > MAX_BYTES:
        raise DisputeError("attachment.too_large", limit=MAX_BYTES // 1_000_000)
    if any(one.sha256 == digest for one in held):
        raise DisputeError("attachment.known")
    if len(held) >= MAX_FILES:
        raise DisputeError("attachment.too_many", limit=MAX_FILES)
    if center_bytes + len(body) > MAX_CENTER_BYTES:
        raise DisputeError("attachment.full", limit=MAX_CENTER_BYTES // 1_000_000)
    if (kind := kind_of(body)) is None:
        raise DisputeError("attachment.kind")
    return kind


# ---------------------------------------------------------------- rows


def of_dispute(conn: sa.Connection, number: int) -> list[Attachment]:
    """In the order in which they came."""
    mine = sa.select(schema.attachments).where(_a.dispute == number)
    return [Attachment(**row._mapping) for row in conn.execute(mine.order_by(_a.added_ms, _a.attachment))]


def of_center(conn: sa.Connection, code: str) -> list[Attachment]:
    mine = sa.select(schema.attachments).where(_a.center == code)
    return [Attachment(**row._mapping) for row in conn.execute(mine.order_by(_a.added_ms, _a.attachment))]


def get(conn: sa.Connection, dispute: Dispute, name: str) -> Attachment:
    """Raises DisputeError."""
    for one in of_dispute(conn, dispute.id):
        if one.attachment == name:
            return one
    raise DisputeError("attachment.unknown", number=dispute.id)


def body_of(conn: sa.Connection, one: Attachment) -> bytes:
    """Raises DisputeError where this database lacks it, or has other bytes than were given."""
    if (body := attachment_bytes.get(conn, one.sha256)) is None:
        raise DisputeError("attachment.lost", name=one.name, digest=one.sha256)
    return body


def lost(conn: sa.Connection, number: int) -> set[str]:
    """The files of a dispute of which this database has no bytes."""
    files = of_dispute(conn, number)
    here = attachment_bytes.held(conn, {one.sha256 for one in files})
    return {one.attachment for one in files if one.sha256 not in here}


def is_whole(conn: sa.Connection, one: Attachment) -> bool:
    """Whether its bytes are here as they were given."""
    return attachment_bytes.get(conn, one.sha256) is not None


def add(conn: sa.Connection, dispute: Dispute, name: str, body: bytes, by: str, now_ms: int) -> Attachment:
    """A file whose bytes an older copy of the database lacked is held again. Raises DisputeError."""
    digest, held = hashlib.sha256(body).hexdigest(), of_dispute(conn, dispute.id)
    for one in held:
        if one.sha256 == digest and not is_whole(conn, one):
            attachment_bytes.keep(conn, digest, body)
            return one
    check_open(dispute)
    center_bytes = sum(one.size for one in of_center(conn, dispute.center))
    kind = check(body, digest, held, center_bytes)
    one = Attachment(
        attachment=secrets.token_hex(8), dispute=dispute.id, center=dispute.center, name=name_of(name, kind),
        kind=kind, size=len(body), sha256=digest, added_ms=now_ms, added_by=by,
    )  # fmt: skip
    attachment_bytes.keep(conn, digest, body)
    row = {field.name: getattr(one, field.name) for field in fields(Attachment)}
    conn.execute(sa.insert(schema.attachments).values(row))
    journaled(conn, schema.attachments, one.attachment)
    leaves.add_rows(conn, "attachments", [asdict(one)], now_ms)
    return one
