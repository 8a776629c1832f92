"""Whether the log in the database is the one that was signed: leaves, tiles and every head that is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import sqlalchemy as sa

from agent.common.reasons import Reason
from collector.log import merkle, tiles
from collector.log.notes import Checkpoint, Note, NoteError, NoteKey
from collector.log.sequencing import newest, size_of, tiles_in
from collector.log.tiles import WIDTH, TileError, TileOf, TilePath
from collector.store import schema

PAGE = 20 * WIDTH

_l, _c = schema.log_leaves.c, schema.log_checkpoints.c


def check(conn: sa.Connection, key: NoteKey, progress: Callable[[float], None] | None = None) -> Iterator[Reason]:
    """All of it, leaf by leaf; `progress` is told the share of the leaves, from 0 to 1."""
    head = newest(conn)
    if head is None:
        yield Reason("log.unnumbered")
        return
    yield from heads(conn, key)
    tile_of, size = tiles_in(conn), Checkpoint.parse(head.text).size
    yield from _missing(conn, size)
    for first in range(0, size, PAGE):
        within = _l.number.between(first, first + PAGE - 1)
        rows = conn.execute(sa.select(_l.number, _l.body).where(within).order_by(_l.number))
        yield from numbered((row.number, bytes(row.body)) for row in rows if not _stands(tile_of, row.number, row.body))
        if progress is not None:
            progress(min(1.0, (first + PAGE) / size))
    for path in tiles.needed(size):
        if path.level and _folded_below(tile_of, path) != tile_of(path.level, path.index)[: path.width * 32]:
            yield Reason.of("log.tile", tile=str(path))


def check_some(conn: sa.Connection, key: NoteKey, leaves: Iterable[tuple[int | None, bytes]]) -> Iterator[Reason]:
    """The newest head, that no leaf lacks, and that these leaves (number, body) stand in the tree. What waits for its
    number is no part of it yet."""
    head = newest(conn)
    if head is None:
        return
    yield from _head(conn, key, head)
    yield from _missing(conn, Checkpoint.parse(head.text).size)
    tile_of = tiles_in(conn)
    yield from numbered((n, body) for n, body in leaves if n is not None and not _stands(tile_of, n, body))


def heads(conn: sa.Connection, key: NoteKey) -> Iterator[Reason]:
    """Every head that was signed under this name."""
    for text in conn.scalars(sa.select(_c.note).order_by(_c.size.desc())):
        note = Note.parse(text.encode())
        if note.text.startswith(key.name + "\n"):
            yield from _head(conn, key, note)


def _head(conn: sa.Connection, key: NoteKey, note: Note) -> Iterator[Reason]:
    try:
        head = Checkpoint.parse(note.text)
        root = merkle.root(head.size, tiles.hashes_from(tiles_in(conn)))
    except (NoteError, TileError):
        yield Reason.of("log.root", size=note.text.split("\n")[1][:20] if note.text.count("\n") > 1 else "-")
        return
    if note.signed_by(key) is None:
        yield Reason.of("log.signature", size=str(head.size))
    if root != head.root:
        yield Reason.of("log.root", size=str(head.size))


def _missing(conn: sa.Connection, size: int) -> Iterator[Reason]:
    held = conn.scalar(sa.select(sa.func.count()).select_from(schema.log_leaves).where(_l.number < size)) or 0
    if held != size or size_of(conn) < size:
        yield Reason.of("log.gone", held=str(held), n=size)


def numbered(wrong: Iterable[tuple[int, bytes]]) -> Iterator[Reason]:
    return (Reason.of("log.leaf", leaf=str(number)) for number, _ in wrong)


def _stands(tile_of: TileOf, number: int, body: bytes) -> bool:
    tile, place = divmod(number, WIDTH)
    return tile_of(0, tile)[place * 32 : place * 32 + 32] == merkle.leaf_hash(bytes(body))


def _folded_below(tile_of: TileOf, path: TilePath) -> bytes:
    """The hashes of a tile by those of the full tiles below it."""
    assert path.level
    hashes = []
    for index in range(path.index * WIDTH, path.index * WIDTH + path.width):
        body = tile_of(path.level - 1, index)
        full = len(body) == WIDTH * 32
        hashes.append(merkle.folded([body[at : at + 32] for at in range(0, len(body), 32)]) if full else b"")
    return b"".join(hashes)
