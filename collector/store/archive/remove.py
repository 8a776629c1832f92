"""What goes from the archive: parts that are too old or empty, and files that a killed program left."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import sqlalchemy as sa

from agent.common.logs import Event
from collector.store import Store, schema
from collector.store.cold import parts
from collector.store.cold.bucket import Bucket
from collector.store.cold.parts import ArchiveMissing, Folder

LEFT_OVER = Event(
    __name__, "warning", "archive_files_left", "files of the archive that no record names were removed, or put aside",
    key="part", fields="done",
)  # fmt: skip

ASIDE = "unknown"  # in the archive's folder: files that no record names, and whose content the tables do not have
SOME = 5_000
YOUNG_MS = 86_400_000  # a part in a bucket is not left over before: another machine may be writing it

_KINDS = (*schema.readings, parts.BATCHES)
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


def remove(store: Store, folder: Folder, names: Sequence[str], now_ms: int) -> int:
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


def sweep(store: Store, folder: Folder, now_ms: int) -> int:
    """Removes files that no record names, while the tables have all that is in them; puts others aside. Returns how
    many parts. To be called with the folder's lock. Raises OSError."""
    count = _sweep(store, parts.local(folder), _names_in(parts.local(folder)))
    if isinstance(folder, Bucket):
        names = [name for kind in _KINDS for name in folder.names(kind)]
        old = [name for name in names if _made_ms(PurePosixPath(name).stem) <= now_ms - YOUNG_MS]
        count += _sweep(store, folder, old)
    return count


def _names_in(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for kind in _KINDS for path in (folder / kind).glob("day=*/*")]


def _made_ms(part: str) -> int:
    """As its name says (`pack`); 0 of a name that does not."""
    try:
        return int(part.partition("-")[0], 16)
    except ValueError:
        return 0


def _sweep(store: Store, folder: Folder, names: Iterable[str]) -> int:
    by_part: dict[str, list[str]] = {}
    for name in names:
        by_part.setdefault(PurePosixPath(name).stem, []).append(name)
    with store.read() as conn:
        known = set(conn.scalars(sa.select(_parts.part)))
    unknown = {part: some for part, some in by_part.items() if part not in known}
    for part, some in unknown.items():
        done = "removed" if _is_in_tables(store, folder, some) else "put aside"
        for name in some:
            if done == "removed":
                _unlink(folder, name)
            else:
                _put_aside(folder, name)
        LEFT_OVER.log(part=part, done=done)
    return len(unknown)


def _unlink(folder: Folder, name: str) -> None:
    if isinstance(folder, Bucket):
        folder.remove(name)
    else:
        (folder / name).unlink()


def _put_aside(folder: Folder, name: str) -> None:
    if isinstance(folder, Bucket):
        folder.move(name, f"{ASIDE}/{name}")
        return
    place = folder / ASIDE / name
    place.parent.mkdir(parents=True, exist_ok=True)
    (folder / name).rename(place)


def _is_in_tables(store: Store, folder: Folder, names: Sequence[str]) -> bool:
    """A part without its file of batches, which is the last to get its name, was never finished: nothing was let go."""
    batches = [name for name in names if name.startswith(f"{parts.BATCHES}/") and name.endswith(".parquet")]
    if not batches:
        return True
    try:
        ids = parts.ids_of(folder, batches[0])
    except ArchiveMissing:
        return False
    e, count = schema.evidence.c, 0
    with store.read() as conn:
        for first in range(0, len(ids), SOME):
            named = sa.select(sa.func.count()).where(e.id.in_(ids[first : first + SOME]))
            count += conn.scalar(named) or 0
    return count == len(ids)
