"""A leaf with the proof that it stands in a signed head, which a report carries (RFC 9162 §2.1.3)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

import msgspec
import sqlalchemy as sa

from agent.common.errors import describe
from agent.common.reasons import UNREADABLE
from collector.log import merkle
from collector.log.notes import Checkpoint, Note, NoteError, NoteKey
from collector.log.sequencing import newest, proven
from collector.store import schema
from collector.store.journal.leaves import LeafKind

_l = schema.log_leaves.c


class InclusionProof(msgspec.Struct, frozen=True, kw_only=True):
    """`entry` is the leaf's text, `leaf` its hash in hex, `hashes` in base64 lead to the root of the `checkpoint`, the
    signed head of the log that is called `origin`."""

    origin: str
    number: int
    entry: str
    leaf: str
    hashes: tuple[str, ...]
    checkpoint: str

    @property
    def facts(self) -> dict[str, Any]:
        """What the leaf says; nothing where it says nothing that can be read."""
        try:
            content = msgspec.json.decode(self.entry)
        except UNREADABLE:
            return {}
        return content if isinstance(content, dict) else {}


def proof_of(conn: sa.Connection, kind: LeafKind, center: str, name: str) -> InclusionProof | None:
    """Of the newest leaf of that name; None where it has none, or is in no head yet. A head that a witness cosigned is
    taken where the newest of these has the leaf."""
    mine = (_l.kind == kind) & (_l.center == center) & (_l.name == name) & _l.number.is_not(None)
    row = conn.execute(sa.select(_l.number, _l.body).where(mine).order_by(_l.number.desc()).limit(1)).first()
    notes = (newest(conn, cosigned=True), newest(conn)) if row is not None else ()
    heads = [(note, Checkpoint.parse(note.text)) for note in notes if note is not None]
    note, head = next(((note, head) for note, head in heads if row and head.size > row.number), (None, None))
    if row is None or note is None or head is None:
        return None
    body = bytes(row.body)
    hashes = tuple(base64.b64encode(part).decode() for part in proven(conn, row.number, head))
    return InclusionProof(
        origin=head.origin, number=row.number, entry=body.decode(), leaf=merkle.leaf_hash(body).hex(), hashes=hashes,
        checkpoint=str(note),
    )  # fmt: skip


def wrong(proof: InclusionProof, key: NoteKey | None) -> Iterator[str]:
    """Pure. What does not fit, one sentence each. Without the log's key nothing is said of who signed the head."""
    try:
        note = Note.parse(proof.checkpoint.encode())
        head = Checkpoint.parse(note.text)
        hashes = [base64.b64decode(part, validate=True) for part in proof.hashes]
    except (NoteError, binascii.Error, ValueError) as error:
        yield f"proof: cannot be read ({describe(error)})"
        return
    if key is not None and note.signed_by(key) is None:
        yield f"checkpoint: is not signed with the key of {key.name}"
    if head.origin != proof.origin or (key is not None and head.origin != key.name):
        yield f"checkpoint: is of {head.origin[:60]!r}, another log than the proof names"
    leaf = merkle.leaf_hash(proof.entry.encode())
    if leaf.hex() != proof.leaf:
        yield "leaf: its text has another hash"
    if not merkle.includes(leaf, proof.number, head.size, hashes, head.root):
        yield f"leaf {proof.number}: is not in the tree that the checkpoint signs"
