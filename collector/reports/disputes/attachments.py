"""Files that an operator gives with a dispute: photos, PDFs, tables. What a file is its content says, never its name;
it is kept by its hash, which is a leaf of the transparency log and a line of the journal. The bytes themselves are in
the database and its copies alone: whoever has a file that an older copy lacks can give it again.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Literal

import sqlalchemy as sa

from collector.common.messages import one_line
from collector.reports.disputes.dispute import Dispute, DisputeError, check_open
from collector.store import schema
from collector.store.journal import journaled, leaves

MAX_BYTES = 4_000_000  # of one file
MAX_FILES = 8  # of one dispute
MAX_CENTER_BYTES = 64_000_000  # of all disputes of one center
MAX_NAME = 64

Kind = Literal["jpeg", "png", "pdf", "csv"]
MEDIA: dict[Kind, str] = {
    "jpeg": "image/jpeg", "png": "image/png", "pdf": "application/pdf", "csv": "text/csv; charset=utf-8",
}  # fmt: skip
SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "jpeg": (".jpg", ".jpeg"), "png": (".png",), "pdf": (".pdf",), "csv": (".csv", ".txt"),
}  # fmt: skip
PICTURES: tuple[Kind, ...] = ("jpeg", "png")
PNG_HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
UNFIT = re.compile(r'[\\/:*?"<>|;%]')  # in a file's name, somewhere

_a, _b = schema.attachments.c, schema.attachment_bodies.c


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


def kind_of(body: bytes) -> Kind:
    """By its content. Raises DisputeError."""
    if body.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if body.startswith(PNG_HEAD):
        return "png"
    if body.startswith(b"%PDF-") and b"%%EOF" in body[-1024:]:
        return "pdf"
    if _is_table(body):
        return "csv"
    raise DisputeError("attachment.kind")


def _is_table(body: bytes) -> bool:
    """Whether it is plain text that no reader takes for a page or a picture."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    return CONTROL.search(text) is None and not text.lstrip().startswith(("<", "%PDF"))


def name_of(given: str, kind: Kind) -> str:
    """A name that every file system takes, whose suffix is of its content."""
    text = UNFIT.sub("_", one_line(given.replace("\\", "/").rpartition("/")[2], 200)).strip(". ")
    suffix = next((one for one in SUFFIXES[kind] if text.lower().endswith(one)), None)
    stem = text[: -len(suffix)] if suffix else text
    suffix = suffix or SUFFIXES[kind][0]
    return f"{stem[: MAX_NAME - len(suffix)] or 'file'}{suffix}"


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
    return kind_of(body)


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
    body = conn.scalar(sa.select(_b.body).where(_b.sha256 == one.sha256))
    if body is None or hashlib.sha256(body).hexdigest() != one.sha256:
        raise DisputeError("attachment.lost", name=one.name, digest=one.sha256)
    return bytes(body)


def lost(conn: sa.Connection, number: int) -> set[str]:
    """The files of a dispute of which this database has no bytes."""
    joined = schema.attachments.outerjoin(schema.attachment_bodies, _a.sha256 == _b.sha256)
    query = sa.select(_a.attachment).select_from(joined).where(_a.dispute == number, _b.sha256.is_(None))
    return set(conn.scalars(query))


def is_whole(conn: sa.Connection, one: Attachment) -> bool:
    """Whether its bytes are here as they were given."""
    try:
        body_of(conn, one)
    except DisputeError:
        return False
    return True


def add(conn: sa.Connection, dispute: Dispute, name: str, body: bytes, by: str, now_ms: int) -> Attachment:
    """A file whose bytes an older copy of the database lacked is held again. Raises DisputeError."""
    digest, held = hashlib.sha256(body).hexdigest(), of_dispute(conn, dispute.id)
    for one in held:
        if one.sha256 == digest and not is_whole(conn, one):
            _keep(conn, digest, body)
            return one
    check_open(dispute)
    center_bytes = sum(one.size for one in of_center(conn, dispute.center))
    kind = check(body, digest, held, center_bytes)
    one = Attachment(
        attachment=secrets.token_hex(8), dispute=dispute.id, center=dispute.center, name=name_of(name, kind),
        kind=kind, size=len(body), sha256=digest, added_ms=now_ms, added_by=by,
    )  # fmt: skip
    _keep(conn, digest, body)
    row = {field.name: getattr(one, field.name) for field in fields(Attachment)}
    conn.execute(sa.insert(schema.attachments).values(row))
    journaled(conn, schema.attachments, one.attachment)
    leaves.add_rows(conn, "attachments", [asdict(one)], now_ms)
    return one


def _keep(conn: sa.Connection, digest: str, body: bytes) -> None:
    conn.execute(sa.delete(schema.attachment_bodies).where(_b.sha256 == digest, _b.body != body))
    if conn.scalar(sa.select(_b.sha256).where(_b.sha256 == digest)) is None:
        conn.execute(sa.insert(schema.attachment_bodies).values(sha256=digest, body=body))
