"""Leaves get their numbers, the tiles grow, and the new head is signed: one job, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes as kinds
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from collector.log import merkle, notes, tiles
from collector.log.notes import Checkpoint, Note, NoteKey
from collector.log.tiles import WIDTH, TilePath
from collector.store import Store, schema, upsert
from collector.store.journal import leaves
from collector.store.journal.leaves import LeafKind

ORIGIN = "log_origin"  # in `about`: the log's name, which never changes
LIFE = "log_epoch"  # in `about`: the epoch of the database in which that name was given
AFTER = "/restored-"
KEY_INFO = b"nabz transparency log v1"
AT_ONCE = 5_000  # leaves of one transaction

_l, _t, _c = schema.log_leaves.c, schema.log_tiles.c, schema.log_checkpoints.c


def log_key(collector_key: Ed25519PrivateKey) -> Ed25519PrivateKey:
    """The log's own key, drawn from the collector's (HKDF, RFC 5869): whoever has a backup of the one has both."""
    derived = HKDF(algorithm=kinds.SHA256(), length=32, salt=None, info=KEY_INFO)
    return Ed25519PrivateKey.from_private_bytes(derived.derive(collector_key.private_bytes_raw()))


@dataclass(frozen=True)
class LogSigner:
    """Who signs the heads: the log's origin and its key."""

    origin: str
    key: Ed25519PrivateKey

    @property
    def public(self) -> NoteKey:
        return NoteKey(self.origin, self.key.public_key().public_bytes_raw())


def origin_of(conn: sa.Connection) -> str:
    """Empty before the log has begun."""
    return _about(conn, ORIGIN)


def _about(conn: sa.Connection, name: str) -> str:
    return str(conn.scalar(sa.select(schema.about.c.value).where(schema.about.c.name == name)) or "")


def begin(store: Store, key: Ed25519PrivateKey, origin: str, now_ms: int) -> LogSigner:
    """The log of this database. One that has none gets it, with a leaf of all that was recorded before; `origin` is
    its name then. A database that was restored has lost leaves: its log goes on under a name of its own, so that nobody
    takes the loss for a rewriting."""
    with store.write() as conn:
        held = origin_of(conn)
        if held and _about(conn, LIFE) == store.epoch:
            return LogSigner(held, key)
        origin = f"{held.partition(AFTER)[0]}{AFTER}{store.epoch[:8]}" if held else origin
        upsert(conn, schema.about, [{"name": ORIGIN, "value": origin}, {"name": LIFE, "value": store.epoch}])
        if size := size_of(conn):
            _sign(conn, LogSigner(origin, key), size, now_ms)
        for kind, table in RECORDED.items():
            rows = conn.execute(sa.select(table).order_by(table.c.id)).all()
            marked = {str(row._mapping["id"]): dict(row._mapping) for row in rows}
            missing = _without_leaf(conn, kind, [leaves.mark_of(kind, row) for row in marked.values()])
            chosen = [
                row
                for row in marked.values()
                if leaves.mark_of(kind, row) in missing and row.get("act") not in leaves.UNLOGGED
            ]
            leaves.add_rows(conn, kind, chosen, now_ms)
    return LogSigner(origin, key)


RECORDED: dict[LeafKind, sa.Table] = {
    "facts": schema.facts, "calendar": schema.calendar, "decisions": schema.decisions, "disputes": schema.disputes,
}  # fmt: skip


def _without_leaf(conn: sa.Connection, kind: LeafKind, marks: Sequence[str]) -> set[str]:
    logged = {mark for row in marks_of(conn, kind) for mark in row[1]}
    return {mark for mark in marks if mark not in logged}


def marks_of(conn: sa.Connection, kind: LeafKind, center: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """(leaf's row, its marks) of a kind, in the order of writing."""
    query = sa.select(_l.id, _l.body).where(_l.kind == kind).order_by(_l.id)
    for row in conn.execute(query if center is None else query.where(_l.center == center)):
        yield row.id, leaves.marks_in(bytes(row.body))


def adopt(conn: sa.Connection, standards: Sequence[tuple[str, str]], now_ms: int) -> None:
    """A leaf for each version of the standard, (id, digest), that has none."""
    logged = set(conn.scalars(sa.select(_l.name).where(_l.kind == "standard")))
    for name, digest in standards:
        if name not in logged:
            leaves.add(conn, "standard", "", name, now_ms, id=name, sha256=digest)


# ---------------------------------------------------------------- the tree


def size_of(conn: sa.Connection) -> int:
    """How many leaves have their number."""
    newest = conn.scalar(sa.select(sa.func.max(_l.number)))
    return 0 if newest is None else int(newest) + 1


def tiles_in(conn: sa.Connection) -> tiles.TileOf:
    """The tiles as they are stored; what lacks is empty."""
    held: dict[tuple[int, int], bytes] = {}

    def tile_of(level: int, index: int) -> bytes:
        if (level, index) not in held:
            query = sa.select(_t.hashes).where(_t.level == level, _t.tile == index)
            held[level, index] = bytes(conn.scalar(query) or b"")
        return held[level, index]

    return tile_of


def sequence(store: Store, signer: LogSigner, now_ms: int, most: int = AT_ONCE) -> int:
    """Numbers the leaves that wait, and signs the new head; returns how many. Call it again and again."""
    with store.keep() as conn:
        rows = conn.execute(sa.select(_l.id, _l.body).where(_l.number.is_(None)).order_by(_l.id).limit(most)).all()
        if not rows:
            return 0
        size = size_of(conn)
        p = sa.bindparam
        numbered = [{"the_id": row.id, "the_number": size + i} for i, row in enumerate(rows)]
        conn.execute(sa.update(schema.log_leaves).where(_l.id == p("the_id")).values(number=p("the_number")), numbered)
        _grow(conn, size, [merkle.leaf_hash(bytes(row.body)) for row in rows])
        _sign(conn, signer, size + len(rows), now_ms)
    return len(rows)


def _grow(conn: sa.Connection, size: int, hashes: Sequence[bytes]) -> None:
    """Adds hashes to the tiles of level 0, and those of tiles that are full to the level above."""
    level, count = 0, size
    tile_of = tiles_in(conn)
    while hashes:
        index, place = divmod(count, WIDTH)
        body = tile_of(level, index)[: place * merkle.HASH_BYTES] + b"".join(hashes)
        width = WIDTH * merkle.HASH_BYTES
        cut = [body[at : at + width] for at in range(0, len(body), width)]
        rows = [{"level": level, "tile": index + i, "hashes": part} for i, part in enumerate(cut)]
        upsert(conn, schema.log_tiles, rows)
        full = [part for part in cut if len(part) == width]
        level, count = level + 1, count // WIDTH
        hashes = [merkle.folded([part[at : at + 32] for at in range(0, width, 32)]) for part in full]


def _sign(conn: sa.Connection, signer: LogSigner, size: int, now_ms: int) -> None:
    head = Checkpoint(signer.origin, size, merkle.root(size, tiles.hashes_from(tiles_in(conn))))
    note = notes.signed(head.text, signer.origin, signer.key)
    upsert(conn, schema.log_checkpoints, [{"size": size, "at_ms": now_ms, "note": str(note)}])


# ---------------------------------------------------------------- asking


def newest(conn: sa.Connection, *, cosigned: bool = False) -> Note | None:
    """The newest head; the newest that somebody cosigned, where one is wanted and there is one."""
    query = sa.select(_c.note).order_by(_c.size.desc())
    if cosigned:
        for text in conn.scalars(query.limit(1000)):
            note = Note.parse(text.encode())
            if len(note.signatures) > 1:
                return note
    text = conn.scalar(query.limit(1))
    return Note.parse(text.encode()) if text else None


def keep_cosignatures(conn: sa.Connection, note: Note, key: NoteKey) -> None:
    """Of a head of ours that a witness with this key cosigned. Raises NoteError."""
    head, line = Checkpoint.parse(note.text), note.signed_by(key)
    text = conn.scalar(sa.select(_c.note).where(_c.size == head.size))
    held = Note.parse(text.encode()) if text else None
    if held is None or held.text != note.text:
        raise notes.NoteError(f"checkpoint of {head.size} leaves: is none of this log; cosign one that it serves")
    if line is None or key.kind != notes.COSIGNED:
        raise notes.NoteError(f"checkpoint of {head.size} leaves: is not cosigned with the key of {key.name}")
    conn.execute(
        sa.update(schema.log_checkpoints).where(_c.size == head.size).values(note=str(held.with_signatures([line])))
    )


def served(conn: sa.Connection, path: TilePath) -> bytes | None:
    """A tile or a bundle as others fetch it; None where the log does not have so much."""
    if path.level is None:
        first = path.index * WIDTH
        query = sa.select(_l.body).where(_l.number.between(first, first + path.width - 1)).order_by(_l.number)
        entries = [bytes(body) for body in conn.scalars(query)]
        return tiles.bundle(entries) if len(entries) == path.width else None
    body = tiles_in(conn)(path.level, path.index)
    length = path.width * merkle.HASH_BYTES
    return body[:length] if len(body) >= length else None


def proven(conn: sa.Connection, number: int, head: Checkpoint) -> list[bytes]:
    """That a leaf is in the tree of a head."""
    return merkle.inclusion_proof(number, head.size, tiles.hashes_from(tiles_in(conn)))
