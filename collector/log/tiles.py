"""A log as static files: tiles of 256 hashes and bundles of entries (C2SP tlog-tiles). Pure; standard library alone."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from collector.log.merkle import HASH_BYTES, HashOf, folded

WIDTH = 256
HEIGHT = 8  # 2^8 hashes
MAX_ENTRY = 65_535  # bytes: its length is sixteen bits
MAX_LEVEL = 7  # of tiles: 2^64 leaves

TileOf = Callable[[int, int], bytes]
"""The hashes of the tile at (level, index), one after the other, as many as there are."""

_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


class TileError(ValueError):
    """What is no tile, no bundle, or no path of one."""


@dataclass(frozen=True)
class TilePath:
    """`level` None: a bundle of entries. `width` is below 256 for a partial tile."""

    level: int | None
    index: int
    width: int = WIDTH

    def __str__(self) -> str:
        parts = [f"{self.index % 1000:03}"]
        left = self.index // 1000
        while left:
            parts.insert(0, f"x{left % 1000:03}")
            left //= 1000
        kind = "entries" if self.level is None else str(self.level)
        return f"tile/{kind}/{'/'.join(parts)}" + (f".p/{self.width}" if self.width < WIDTH else "")

    @classmethod
    def parse(cls, text: str) -> TilePath:
        """Raises TileError."""
        match = _PATH.fullmatch(text)
        if match is None or len(text) > 60:
            raise TileError(f"{text[:60]!r}: is no path of a tile; write e.g. tile/0/x001/234")
        kind, index, width = match.groups()
        path = cls(
            None if kind == "entries" else int(kind), int(index.replace("x", "").replace("/", "")), int(width or WIDTH)
        )
        if str(path) != text or (path.level or 0) > MAX_LEVEL:
            raise TileError(f"{text[:60]!r}: is not how that tile is written")
        return path


def hashes_from(tile_of: TileOf) -> HashOf:
    """The hashes of whole subtrees, by the tiles that hold them."""

    def hash_of(level: int, index: int) -> bytes:
        tile_level, within = divmod(level, HEIGHT)
        first = index << within
        tile, place = divmod(first, WIDTH)
        body = tile_of(tile_level, tile)
        end = (place + (1 << within)) * HASH_BYTES
        if end > len(body):
            raise TileError(f"tile {TilePath(tile_level, tile)}: has too few hashes")
        return folded([body[at : at + HASH_BYTES] for at in range(place * HASH_BYTES, end, HASH_BYTES)])

    return hash_of


def needed(size: int) -> Iterator[TilePath]:
    """The hash tiles of a tree of that size, partial ones with their widths."""
    level, count = 0, size
    while count:
        yield from (TilePath(level, index) for index in range(count // WIDTH))
        if count % WIDTH:
            yield TilePath(level, count // WIDTH, count % WIDTH)
        level, count = level + 1, count // WIDTH


def bundle(entries: Sequence[bytes]) -> bytes:
    """Entries of at most MAX_ENTRY bytes, each behind its length."""
    return b"".join(struct.pack(">H", len(entry)) + entry for entry in entries)


def unbundled(body: bytes) -> list[bytes]:
    """Raises TileError."""
    entries, at = [], 0
    while at < len(body):
        if at + 2 > len(body):
            raise TileError("bundle: ends within a length")
        (length,) = struct.unpack_from(">H", body, at)
        if at + 2 + length > len(body):
            raise TileError("bundle: ends within an entry")
        entries.append(body[at + 2 : at + 2 + length])
        at += 2 + length
    return entries
