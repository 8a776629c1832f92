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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from agent.common.files import sync_folder
from agent.spool.record import HEADER, MAGIC, Group, Head, Ident, RecordDamaged, record_bytes, unpack
from agent.spool.status import Lost
from agent.spool.tables import PAGE_BYTES

WAL_HEADER = 32
FRAME_HEADER = 24
LOCAL_MAX = PAGE_BYTES - 35  # a payload up to this stays in its page
LOCAL_MIN = (PAGE_BYTES - 12) * 32 // 255 - 23
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
        with _Pages(path) as pages:
            self._survey(pages.groups(), known)

    def groups(self) -> Iterator[Group]:
        """Each group once, in no order."""
        left = dict(self._chosen)
        with _Pages(self._path) as pages:
            for group in pages.groups():
                if left.get(group.ident) == _mark(group):
                    del left[group.ident]
                    yield group

    def _survey(self, groups: Iterable[Group], known: Head | None) -> None:
        found: dict[Ident, set[_Found]] = defaultdict(set)
        prevs: set[tuple[str, bytes]] = set()
        for group in groups:
            if known is None or group.spool != known.spool or group.last_seq <= known.seq:
                found[group.ident].add(_Found(group.first_seq, group.wall_ms, group.after, _mark(group)))
                prevs.add((group.spool, group.prev))
        ends: dict[str, tuple[int, Head]] = {}
        for (spool, last_seq), rivals in sorted(found.items()):
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


class _Pages:
    """The pages of a file and of its log, also by number; in the log the same number may stand many times."""

    def __init__(self, path: Path) -> None:
        self._file = _map(path)
        self._written = list(_written(path, len(self._file)))
        self._wal = _map(path.with_name(path.name + "-wal"))
        self._in_wal: dict[int, list[int]] = defaultdict(list)
        for offset in range(WAL_HEADER, len(self._wal) - FRAME_HEADER - PAGE_BYTES + 1, FRAME_HEADER + PAGE_BYTES):
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
            for offset in range(start, end, PAGE_BYTES):
                yield self._file[offset : offset + PAGE_BYTES]
        for offsets in list(self._in_wal.values()):
            for offset in offsets:
                yield self._wal[offset : offset + PAGE_BYTES]

    def numbered(self, number: int) -> Iterator[bytes]:
        for offset in reversed(self._in_wal.get(number, [])):
            yield self._wal[offset : offset + PAGE_BYTES]
        if number >= 1:
            yield self._file[(number - 1) * PAGE_BYTES : number * PAGE_BYTES]


def _map(path: Path) -> mmap.mmap | bytes:
    size = min(path.stat().st_size, LARGEST_BYTES) if path.exists() else 0
    if size == 0:
        return b""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)


def _written(path: Path, size: int) -> Iterator[tuple[int, int]]:
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
            start = max(end, data // PAGE_BYTES * PAGE_BYTES)
            end = min(size, -(-os.lseek(file.fileno(), data, os.SEEK_HOLE) // PAGE_BYTES) * PAGE_BYTES)
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
    local = _local_bytes(before + length) - before
    if local >= length:
        yield page[start : start + length]
        return
    following = int.from_bytes(page[start + local : start + local + 4], "big")
    yield from islice(_chains(page[start : start + local], following, length, pages), MAX_VERSIONS)


def _chains(so_far: bytes, number: int, length: int, pages: _Pages) -> Iterator[bytes]:
    for overflow in pages.numbered(number):
        grown = so_far + overflow[4 : 4 + min(PAGE_BYTES - 4, length - len(so_far))]
        if len(grown) == length:
            yield grown
        elif len(grown) > len(so_far):
            yield from _chains(grown, int.from_bytes(overflow[:4], "big"), length, pages)


def _cell_header_bytes(length: int) -> int:
    """The record header of a row (NULL key, blob of ``length``): its own size, one byte, and the blob's type."""
    serial = length * 2 + 12
    return 2 + (serial.bit_length() + 6) // 7


def _local_bytes(payload: int) -> int:
    if payload <= LOCAL_MAX:
        return payload
    local = LOCAL_MIN + (payload - LOCAL_MIN) % (PAGE_BYTES - 4)
    return local if local <= LOCAL_MAX else LOCAL_MIN


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
