"""Reads what can still be read from a spool file that SQLite cannot: every whole record in every page of it.

A record proves itself (`spool_record`), so a broken tree, a torn log or a flipped bit costs only the records it lies
in. Page and cell layout: sqlite.org/fileformat2.html, §1.6 (cells, overflow) and §4 (the write-ahead log).
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from agent.common.files import sync_folder
from agent.spool.record import HEADER, MAGIC, Group, Head, Ident, RecordDamaged, record_bytes, unpack
from agent.spool.status import Lost
from agent.spool.tables import PAGE_SIZES

WAL_HEADER = 32
FRAME_HEADER = 24
KEPT_ASIDE = 2  # damaged files kept for inspection
TRIAL_BYTES = 64 * 1024
MAX_VERSIONS = 64  # of one long record, in a log that holds its pages many times
# One wrong bit in a journal lets SQLite stretch a file to terabytes of nothing; a spool holds 4 GiB at most.
LARGEST_BYTES = min(5 << 30, sys.maxsize // 2)


class Salvage:
    """What is left of the file at ``path`` and its log, without holding it all in memory.

    ``known`` is the head a running agent last saw committed: what lies beyond it in that spool was never promised and
    is left out. ``heads`` are the ends of the spools found, oldest first; ``holes`` the numbers missing between what
    was found (some of them may have been delivered and forgotten: a hole is the most that can be missing).
    Raises OSError when the disk cannot be read at all.
    """

    def __init__(self, path: Path, known: Head | None = None) -> None:
        self._path = path
        self._chosen: dict[Ident, bytes] = {}
        self.heads: list[Head] = []
        self.holes: list[Lost] = []
        self._survey(_groups(path), known)

    def groups(self) -> Iterator[Group]:
        """Each group once, in no order."""
        left = dict(self._chosen)
        for group in _groups(self._path):
            if left.get(group.ident) == _mark(group):
                del left[group.ident]
                yield group

    def _survey(self, groups: Iterable[Group], known: Head | None) -> None:
        by_ident: dict[Ident, set[_Found]] = defaultdict(set)
        prevs: set[tuple[str, bytes]] = set()
        for group in groups:
            if known is None or group.spool != known.spool or group.last_seq <= known.seq:
                by_ident[group.ident].add(_Found(group.first_seq, group.wall_ms, group.after, _mark(group)))
                prevs.add((group.spool, group.prev))
        ends: dict[str, tuple[int, Head]] = {}
        for (spool, last_seq), rivals in sorted(by_ident.items()):
            one = _agreed(rivals, {after for after in (rival.after for rival in rivals) if (spool, after) in prevs})
            if one is None:
                continue
            since, head = ends.get(spool, (one.wall_ms, Head(spool, one.first_seq - 1)))
            if one.first_seq > head.seq + 1:
                self.holes.append(Lost("unreadable", spool, head.seq + 1, one.first_seq - 1))
            if one.first_seq > head.seq:
                self._chosen[spool, last_seq] = one.mark
                ends[spool] = (since, Head(spool, last_seq, one.after, one.wall_ms))
        self.heads = [head for _since, head in sorted(ends.values(), key=lambda end: end[0])]


@dataclass(frozen=True)
class _Found:
    first_seq: int
    wall_ms: int
    after: bytes
    mark: bytes


def _mark(group: Group) -> bytes:
    """Distinguishes a group from others with the same number."""
    return group.after[:8] + group.prev[:8]


def _agreed(rivals: set[_Found], chained: set[bytes]) -> _Found | None:
    """Where a rolled-back write left a rival for a number, the one its successor is chained to stands."""
    if len(rivals) > 1:
        rivals = {rival for rival in rivals if rival.after in chained}
    return rivals.pop() if len(rivals) == 1 else None


def _groups(path: Path) -> Iterator[Group]:
    """Every whole record, in no order, some of them several times."""
    for size in _page_sizes(path):
        with _Pages(path, size) as pages:
            yield from pages.groups()


def _page_sizes(path: Path) -> Sequence[int]:
    """Of the file as its own head and that of its log tell; where neither does, all there may be (a record proves
    itself, wherever its pages seem to begin)."""
    file, log = _beginning(path), _beginning(path.with_name(path.name + "-wal"))
    named = {int.from_bytes(file[16:18], "big"), int.from_bytes(log[8:12], "big")}
    return [size for size in PAGE_SIZES if size in named] or PAGE_SIZES


def _beginning(path: Path) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        return file.read(WAL_HEADER)


class _Pages:
    """The pages of a file and of its log, also by number; in the log the same number may stand many times."""

    def __init__(self, path: Path, size: int) -> None:
        self.size = size
        self._file = _map(path)
        self._written = list(_written(path, len(self._file), size))
        self._wal = _map(path.with_name(path.name + "-wal"))
        self._in_wal: dict[int, list[int]] = defaultdict(list)
        for offset in range(WAL_HEADER, len(self._wal) - FRAME_HEADER - size + 1, FRAME_HEADER + size):
            number = int.from_bytes(self._wal[offset : offset + 4], "big")
            self._in_wal[number].append(offset + FRAME_HEADER)

    def __enter__(self) -> _Pages:
        return self

    def __exit__(self, *_error: object) -> None:
        for mapped in (self._file, self._wal):
            if isinstance(mapped, mmap.mmap):
                mapped.close()

    def groups(self) -> Iterator[Group]:
        """Every whole record in every page, in no order, some of them several times."""
        for page in self._all():
            yield from _records(page, self)

    def _all(self) -> Iterator[bytes]:
        for start, end in self._written:
            for offset in range(start, end, self.size):
                yield self._file[offset : offset + self.size]
        for offsets in list(self._in_wal.values()):
            for offset in offsets:
                yield self._wal[offset : offset + self.size]

    def numbered(self, number: int) -> Iterator[bytes]:
        for offset in reversed(self._in_wal.get(number, [])):
            yield self._wal[offset : offset + self.size]
        if number >= 1:
            yield self._file[(number - 1) * self.size : number * self.size]


def _map(path: Path) -> mmap.mmap | bytes:
    size = min(path.stat().st_size, LARGEST_BYTES) if path.exists() else 0
    if size == 0:
        return b""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)


def _written(path: Path, size: int, page_bytes: int) -> Iterator[tuple[int, int]]:
    """Where the file is no hole, from the start of a page on; nothing twice."""
    if size == 0:
        return
    with path.open("rb") as file:
        end = 0
        while end < size:
            try:
                data = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # only a hole is left
                    return
                raise
            start = max(end, data // page_bytes * page_bytes)
            end = min(size, -(-os.lseek(file.fileno(), data, os.SEEK_HOLE) // page_bytes) * page_bytes)
            yield start, end


def _records(page: bytes, pages: _Pages) -> Iterator[Group]:
    start = page.find(MAGIC)
    while start >= 0:
        header = page[start : start + HEADER.size]
        length = record_bytes(header) if len(header) == HEADER.size else None
        if length is not None:
            for record in _whole(page, start, length, pages):
                try:
                    yield unpack(record)
                    break
                except RecordDamaged:
                    continue
        start = page.find(MAGIC, start + 1)


def _whole(page: bytes, start: int, length: int, pages: _Pages) -> Iterator[bytes]:
    """The record at ``start``, followed through its overflow pages; several when a page has several versions."""
    before = _cell_header_bytes(length)
    local = _local_bytes(before + length, pages.size) - before
    if local >= length:
        yield page[start : start + length]
        return
    following = int.from_bytes(page[start + local : start + local + 4], "big")
    yield from islice(_chains(page[start : start + local], following, length, pages), MAX_VERSIONS)


def _chains(so_far: bytes, number: int, length: int, pages: _Pages) -> Iterator[bytes]:
    for overflow in pages.numbered(number):
        grown = so_far + overflow[4 : 4 + min(pages.size - 4, length - len(so_far))]
        if len(grown) == length:
            yield grown
        elif len(grown) > len(so_far):
            yield from _chains(grown, int.from_bytes(overflow[:4], "big"), length, pages)


def _cell_header_bytes(length: int) -> int:
    """The record header of a row (NULL key, blob of ``length``): its own size, one byte, and the blob's type."""
    serial = length * 2 + 12
    return 2 + (serial.bit_length() + 6) // 7


def _local_bytes(payload: int, page_bytes: int) -> int:
    """How much of a payload stays in its page (sqlite.org/fileformat2.html, section 1.6)."""
    most, least = page_bytes - 35, (page_bytes - 12) * 32 // 255 - 23
    if payload <= most:
        return payload
    local = least + (payload - least) % (page_bytes - 4)
    return local if local <= most else least


# ---------------------------------------------------------------- a rebuilt file takes the place


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def finish_replacement(path: Path, now_ms: int) -> None:
    """A rebuilt file takes the damaged one's place. The old log goes first: SQLite would play it into the new file."""
    rebuilt = beside(path, ".rebuilt")
    if not rebuilt.exists():
        return
    target = beside(path, f".damaged-{now_ms}")
    for suffix in ("-wal", "-journal", ""):
        if (old := beside(path, suffix)).exists():
            old.replace(beside(target, suffix))
    rebuilt.replace(path)
    sync_folder(path.parent)
    kept = sorted({part.name.removesuffix("-wal").removesuffix("-journal") for part in _damaged(path)})
    for name in kept[:-KEPT_ASIDE]:
        remove(path.with_name(name))


def _damaged(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{path.name}.damaged-*"))


def remove(path: Path) -> None:
    for suffix in ("", "-wal", "-journal"):
        beside(path, suffix).unlink(missing_ok=True)


def try_folder(folder: Path) -> None:
    """Raises OSError unless a small write here becomes durable."""
    trial = folder / "disk.trial"
    with trial.open("wb") as file:
        file.write(bytes(TRIAL_BYTES))
        file.flush()
        os.fsync(file.fileno())
    trial.unlink()
