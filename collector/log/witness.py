"""Whether another's log still begins with what it showed before: a witness remembers one head, and cosigns the next.
Pure; standard library and `cryptography` alone, but for the words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.common.reasons import Reason
from collector.log import merkle, tiles
from collector.log.notes import Checkpoint
from collector.log.tiles import WIDTH, TileOf, TilePath

Fetch = Callable[[TilePath], bytes]
"""The bytes of a tile, as the log serves it. May raise TileError."""


@dataclass(frozen=True)
class WitnessedHead:
    """What a witness remembers of a log."""

    size: int
    root: bytes


def tiles_by(fetch: Fetch, size: int) -> TileOf:
    """The tiles of a tree of that size, each fetched once. Raises TileError for one of another length."""
    held: dict[tuple[int, int], bytes] = {}

    def tile_of(level: int, index: int) -> bytes:
        if (level, index) not in held:
            count = size >> (tiles.HEIGHT * level)
            path = TilePath(level, index, min(WIDTH, count - index * WIDTH))
            body = fetch(path)
            if len(body) != path.width * merkle.HASH_BYTES:
                raise tiles.TileError(f"{path}: has {len(body)} bytes, must have {path.width * merkle.HASH_BYTES}")
            held[level, index] = body
        return held[level, index]

    return tile_of


def refusal(known: WitnessedHead | None, head: Checkpoint, fetch: Fetch) -> Reason | None:
    """Why this head is not cosigned; None where the log has only grown. Raises TileError."""
    if known is not None and head.size < known.size:
        return Reason.of("log.rollback", n=known.size, size=str(head.size))
    fork = Reason.of("log.fork", n=known.size if known else 0, size=str(head.size))
    if known is not None and head.size == known.size:
        return None if head.root == known.root else fork
    hash_of = tiles.hashes_from(tiles_by(fetch, head.size))
    if merkle.root(head.size, hash_of) != head.root:
        return Reason.of("log.root", size=str(head.size))
    if known is None or known.size == 0:
        return None
    proof = merkle.consistency_proof(known.size, head.size, hash_of)
    return None if merkle.extends(known.size, known.root, head.size, head.root, proof) else fork
