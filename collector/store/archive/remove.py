"""What goes from the archive: parts that are too old or empty, and files that a killed program left."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from agent.common.logs import Event
from collector.store import Store, schema
from collector.store.cold import parts
from collector.store.cold.parts import ArchiveMissing

LEFT_OVER = Event(
    __name__, "warning", "archive_files_left", "files of the archive that no record names were removed, or put aside",
    key="part", fields="done",
)  # fmt: skip

ASIDE = "unknown"  # in the archive's folder: files that no record names, and whose content the tables do not have
SOME = 5_000

_parts, _a = schema.archive_parts.c, schema.archived.c


@contextmanager
def folder_lock(folder: Path, *, shared: bool = False) -> Iterator[bool]:
    """Whether it was free: one program changes the folder, or others (`shared`) read all of it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)


def too_old(conn: sa.Connection, before_ms: int) -> list[str]:
    """Parts of days that ended before this time."""
    query = sa.select(_parts.part).where(_parts.day_ms + 86_400_000 <= before_ms, _parts.removed_ms.is_(None))
    return list(conn.scalars(query.order_by(_parts.part)))


def empty(conn: sa.Connection) -> list[str]:
    """Parts of which every center was taken out."""
    named = sa.select(_a.part)
    return list(conn.scalars(sa.select(_parts.part).where(_parts.part.not_in(named), _parts.removed_ms.is_(None))))


def remove(store: Store, folder: Path, names: Sequence[str], now_ms: int) -> int:
    """Off the record first, then the files; what a death leaves between the next call carries on. Returns parts."""
    with store.keep() as conn:
        conn.execute(sa.delete(schema.archived).where(_a.part.in_(names)))
        conn.execute(sa.update(schema.archive_parts).where(_parts.part.in_(names)).values(removed_ms=now_ms))
        query = sa.select(_parts.part, _parts.day_ms).where(_parts.removed_ms.is_not(None))
        gone = [(str(row.part), int(row.day_ms)) for row in conn.execute(query)]
    for part, day_ms in gone:
        parts.remove(folder, day_ms, part)
    with store.keep() as conn:
        conn.execute(sa.delete(schema.archive_parts).where(_parts.part.in_([part for part, _ in gone])))
    return len(gone)


def sweep(store: Store, folder: Path) -> int:
    """Removes files that no record names, while the tables have all that is in them; puts others aside. Returns how
    many parts. To be called with the folder's lock."""
    found: dict[str, list[Path]] = {}
    for kind in (*schema.readings, parts.BATCHES):
        for path in (folder / kind).glob("day=*/*"):
            found.setdefault(path.stem, []).append(path)
    with store.read() as conn:
        known = set(conn.scalars(sa.select(_parts.part)))
    unknown = {part: paths for part, paths in found.items() if part not in known}
    for part, paths in unknown.items():
        done = "removed" if _is_in_tables(store, paths) else "put aside"
        for path in paths:
            if done == "removed":
                path.unlink()
            else:
                place = folder / ASIDE / path.relative_to(folder)
                place.parent.mkdir(parents=True, exist_ok=True)
                path.rename(place)
        LEFT_OVER.log(part=part, done=done)
    return len(unknown)


def _is_in_tables(store: Store, paths: Sequence[Path]) -> bool:
    """A part without its file of batches, which is the last to get its name, was never finished: nothing was let go."""
    batches = [path for path in paths if path.parent.parent.name == parts.BATCHES and path.suffix == ".parquet"]
    if not batches:
        return True
    try:
        ids = parts.ids_of(batches[0])
    except ArchiveMissing:
        return False
    e, count = schema.evidence.c, 0
    with store.read() as conn:
        for first in range(0, len(ids), SOME):
            named = sa.select(sa.func.count()).where(e.id.in_(ids[first : first + SOME]))
            count += conn.scalar(named) or 0
    return count == len(ids)
