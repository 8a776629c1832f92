"""Backups in their folder: made, checked, named by their time, the oldest let go. One in its folder has the database
and the keys; of the archive it names what lies in files of parts beside it (collector.recovery.part_files).

A backup is written under another name, read back whole, and only then gets its own: what has its name is good. The
collector keeps an age key of its own to read back with; whoever has its folder has all that is in a backup anyway.
"""

from __future__ import annotations

import calendar
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from agent import __version__
from agent.common.errors import describe
from agent.common.files import sync_folder
from collector.access.atomic_files import keep_once
from collector.common.config import Settings
from collector.recovery import archive, contents, part_files
from collector.recovery.archive import Keys, Manifest
from collector.recovery.part_files import LocatedPart, PartIndex
from collector.store import Store, StoreError
from collector.store.archive.remove import folder_lock
from collector.store.backup import Progress, backup, quiet, within

FILE = re.compile(r"nabz-(\d{8}T\d{6}Z)\.backup")
NAMED_BY = "%Y%m%dT%H%M%SZ"
STAGING = "backup.staging"
GATHERED, COPIED, WRITTEN = 0.2, 0.6, 0.8  # of the work, when these have ended


@dataclass(frozen=True, kw_only=True)
class Made:
    """A backup that was read back whole; `parts_size` are the bytes of the archive that were copied for it besides."""

    file: Path
    size: int
    took_s: float
    made_ms: int
    manifest: Manifest
    parts_size: int = 0


class CopiedArchive(NamedTuple):
    """Where all of the archive lies, and the bytes of the new file of parts."""

    located: Mapping[str, LocatedPart]
    size: int

    @property
    def files(self) -> list[str]:
        return sorted({part.file for part in self.located.values()})


def make(
    store: Store, settings: Settings, config: Path | None, to: Path, keys: Keys, now_ms: int,
    progress: Progress = quiet, *, is_whole: bool = True,
) -> Made:  # fmt: skip
    """Writes `to`; unless it shall be whole, beside it what of the archive no file of parts has. Raises StoreError;
    leaves no half file."""
    if to.exists():
        raise StoreError(f"{to}: exists already and is not overwritten; name a new file")
    begun_s, part = time.monotonic(), to.with_name(f"{to.name}.part")
    identity = own_identity(settings.data_dir)
    keys = Keys(recipients=(*keys.recipients, archive.public_of(identity)), passphrase=keys.passphrase)
    index = PartIndex.load(settings.data_dir)
    try:
        with staging(settings.data_dir) as folder, _steady_archive(settings):
            members, about = _gathered(store, settings, config, folder, now_ms, within(progress, 0, GATHERED))
            _drop_unfinished(to.parent)
            archived = contents.archived(settings)
            if is_whole:
                members, copied = members | archived, CopiedArchive({}, 0)
            else:
                copied = _copy_parts(index, archived, to, now_ms, keys, identity, within(progress, GATHERED, COPIED))
                about[part_files.ABOUT] = msgspec.to_builtins(copied.located)
            manifest = archive.write(part, members, about, keys, within(progress, COPIED, WRITTEN))
        _check(part, identity, within(progress, WRITTEN, 1))
        progress(1.0)
        part.rename(to)
        sync_folder(to.parent)
        if not is_whole:
            index.backups[to.name] = copied.files
            index.save(settings.data_dir, to.parent)
    except OSError as error:
        raise StoreError(f"{to}: cannot be written ({describe(error)}); name a place with room") from None
    finally:
        part.unlink(missing_ok=True)
    size, took_s = to.stat().st_size, time.monotonic() - begun_s
    return Made(file=to, size=size, took_s=took_s, made_ms=now_ms, manifest=manifest, parts_size=copied.size)


def _drop_unfinished(folder: Path) -> None:
    """What was left by one that was killed: there is no other now."""
    for file in folder.glob("nabz-*.part"):
        file.unlink(missing_ok=True)


def _gathered(
    store: Store, settings: Settings, config: Path | None, folder: Path, now_ms: int, progress: Progress
) -> tuple[dict[str, Path], dict[str, object]]:
    """What every backup has, by its name there, with the database's copy in `folder`; and what it says of itself."""
    copy = folder / ("nabz.dump" if store.parted else "nabz.db")
    about = _copied(store, copy, progress)
    about |= {"made_ms": now_ms, "program": __version__, "make": contents.make_of(store)}
    files = contents.files(settings, config)
    about["named"] = contents.named_in(files)
    return {f"{contents.DATABASE}/{copy.name}": copy, **files}, about


def _copy_parts(
    index: PartIndex, archived: Mapping[str, Path], to: Path, now_ms: int, keys: Keys, identity: str,
    progress: Progress,
) -> CopiedArchive:  # fmt: skip
    """Copies what no file of parts has."""
    located, size = index.located(to.parent, archived), 0
    if new := {name: path for name, path in archived.items() if name not in located}:
        file = to.with_suffix(".parts")
        part = file.with_name(f"{file.name}.part")
        try:
            manifest = archive.write(part, new, {"made_ms": now_ms}, keys, within(progress, 0, 0.5))
            _check(part, identity, within(progress, 0.5, 1))
            part.rename(file)
        finally:
            part.unlink(missing_ok=True)
        index.add(file.name, new, manifest)
        located |= {name: LocatedPart(file.name, one.size, one.sha256) for name, one in manifest.members.items()}
        size = file.stat().st_size
    return CopiedArchive(located, size)


def _check(part: Path, identity: str, progress: Progress) -> None:
    """Reads it back whole. Raises ArchiveError."""
    archive.read(part, Keys(identities=(identity,)), lambda _name, _content: None, progress)


@contextmanager
def _steady_archive(settings: Settings) -> Iterator[None]:
    """What the copied database names of the archive is still there when its files are copied. Raises StoreError."""
    if not settings.archive_folder.exists():
        yield
        return
    with folder_lock(settings.archive_folder, shared=True) as is_free:
        if not is_free:
            raise StoreError(f"{settings.archive_folder}: days are being archived; try again when that has ended")
        yield


def _copied(store: Store, copy: Path, progress: Progress) -> dict[str, object]:
    """What the copy says of itself, of one moment with it."""
    if store.parted:
        with store.read() as conn:
            conn.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            snapshot = str(conn.scalar(sa.select(sa.func.pg_export_snapshot())))
            facts = contents.facts(conn)
            backup(store, copy, progress, snapshot)
        return facts
    backup(store, copy, progress)
    with closing(Store.attach(f"sqlite:///{copy}")) as copied, copied.read() as conn:
        return contents.facts(conn)


def own_identity(data_dir: Path) -> str:
    """The collector's own age key, made when there is none. Raises StoreError."""
    path = data_dir / contents.BACKUP_KEY
    try:
        if not path.exists():
            keep_once(path, archive.new_identity()[0].encode())
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: cannot be used ({describe(error)}); delete it, another is made") from None


@contextmanager
def staging(data_dir: Path) -> Iterator[Path]:
    """An empty folder for what is not encrypted yet; one backup or drill at a time. Raises StoreError."""
    folder = data_dir / STAGING
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(f"{folder}: another backup or drill is under way; wait for its end") from None
        _clear(folder)
        try:
            yield folder
        finally:
            _clear(folder)
    finally:
        os.close(lock)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


# ---------------------------------------------------------------- the folder


def name_at(now_ms: int) -> str:
    return f"nabz-{time.strftime(NAMED_BY, time.gmtime(now_ms / 1000))}.backup"


def next_file(folder: Path, now_ms: int) -> Path:
    """Where the next backup goes: named by its time, but after all that are there. What is newest by name is kept and
    restored, and it must not be one that was made while the clock was ahead. When it was made stands in it."""
    newest_ms = max((named_ms(path.name) or 0 for path in listed(folder)), default=0)
    return folder / name_at(max(now_ms, newest_ms + 1_000))


def named_ms(name: str) -> int | None:
    """The time in the name of a backup; None for any other name."""
    match = FILE.fullmatch(name)
    try:
        return calendar.timegm(time.strptime(match[1], NAMED_BY)) * 1_000 if match else None
    except ValueError:
        return None


def listed(folder: Path) -> list[Path]:
    """The backups of a folder, oldest first: their names tell their order."""
    return sorted(path for path in folder.glob("nabz-*.backup") if named_ms(path.name) is not None)


def let_go(folder: Path, keep: int, data_dir: Path) -> tuple[Path, ...]:
    """Deletes all but the newest, and files of parts that none of those needs; returns what it deleted."""
    files = listed(folder)
    old = [*files[:-keep], *PartIndex.load(data_dir).spare(folder, [path.name for path in files[-keep:]])]
    for path in old:
        with suppress(OSError):
            path.unlink()
    return tuple(old)
