"""A server from one backup: everything is read and checked first, then put in place, all of it or nothing."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from agent.common.errors import describe
from agent.common.files import sync_folder
from collector.access.atomic_files import put
from collector.common.config import ConfigError, Settings, load
from collector.recovery import archive, contents, part_files
from collector.recovery.archive import ArchiveError, Keys, Manifest
from collector.store import Store, StoreError
from collector.store.backup import Progress, begin_epoch, quiet, restore, within
from collector.store.database import UNFINISHED, database_file, held_keys

ASIDE = "before-restore"
CLOCK_SLACK_MS = 600_000  # ours


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """A backup whose every byte is what its manifest says, in `folder`."""

    folder: Path
    manifest: Manifest
    names: tuple[str, ...]

    @property
    def database(self) -> Path:
        return next(self.folder / name for name in self.names if name.startswith(f"{contents.DATABASE}/"))

    @property
    def settings(self) -> Path | None:
        path = self.folder / contents.SETTINGS_FILE
        return path if path.exists() else None

    def of(self, part: str) -> dict[str, Path]:
        """The files of one part, by their path in it."""
        prefix = f"{part}/"
        return {name.removeprefix(prefix): self.folder / name for name in self.names if name.startswith(prefix)}


def unpack(source: Path, keys: Keys, folder: Path, progress: Progress = quiet) -> Unpacked:
    """With what it needs of files of parts beside it. Raises StoreError; what is in the folder then is not to be
    used."""
    names: list[str] = []
    shares = _shares(source, progress)
    wanted: Collection[str] | None = None

    def take(name: str, content: BinaryIO) -> None:
        if wanted is not None and name not in wanted:
            return
        path = folder / name
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                shutil.copyfileobj(content, file, archive.CHUNK)
        except OSError as error:  # of the copy's place, as what is wrong with the backup is no OSError
            words = f"cannot be written ({describe(error)}); make room, or name another place with --data"
            raise StoreError(f"{folder}: {words}") from None
        names.append(name)

    manifest = archive.read(source, keys, take, shares[source.name])
    if sum(name.startswith(f"{contents.DATABASE}/") for name in names) != 1:
        raise ArchiveError(f"{source}: holds no database, or several; take another copy")
    for name, members in part_files.needed_by(manifest, source).items():
        file, wanted = source.with_name(name), members
        if not file.is_file():
            raise ArchiveError(f"{source}: needs {name}, which is not beside it; put that there too")
        held = archive.read(file, keys, take, shares.get(name, quiet)).members
        if any(held.get(member) != digest for member, digest in members.items()):
            raise ArchiveError(f"{file}: is not what {source.name} needs; take another copy")
    progress(1.0)
    return Unpacked(folder=folder, manifest=manifest, names=tuple(names))


def _shares(source: Path, progress: Progress) -> dict[str, Progress]:
    """By name, what a backup and the files of parts beside it are of the work at most."""
    files = [source, *sorted(source.parent.glob("*.parts"))]
    ends = list(itertools.accumulate((file.stat().st_size for file in files), initial=0))
    total = ends[-1] or 1
    return {
        file.name: within(progress, first / total, last / total)
        for file, (first, last) in zip(files, itertools.pairwise(ends), strict=True)
    }


def settings_in(unpacked: Unpacked) -> Settings:
    """The settings of the server that was copied; the defaults where it had none. Raises ConfigError."""
    return load(unpacked.settings) if unpacked.settings else Settings()


def check_target(settings: Settings, *, force: bool) -> None:
    """Raises StoreError where a server lives already."""
    file = database_file(settings.database_url)
    held = [*held_keys(settings.data_dir), *([file] if file is not None and file.exists() else [])]
    if held and not force:
        raise StoreError(
            f"{held[0]}: is of a server that lives here, and a restore never overwrites; name an empty folder with "
            "--data, or give --force to put what is here aside"
        )


def check_clock(unpacked: Unpacked, now_ms: int, *, force: bool) -> None:
    """What was receipted between the copy and now is ours where no gateway has it any more, so a machine whose clock
    has not been set yet would charge centers for it. Raises StoreError."""
    made_ms = int(unpacked.manifest.about.get("made_ms") or 0)
    if made_ms - now_ms > CLOCK_SLACK_MS and not force:
        made, now = (time.strftime("%Y-%m-%d %H:%M", time.gmtime(at_ms / 1000)) for at_ms in (made_ms, now_ms))
        raise StoreError(
            f"the backup was made at {made} UTC, and here it is {now}; set this machine's clock, or give --force if it "
            "was the other's that was wrong"
        )


def install(
    unpacked: Unpacked, settings: Settings, config: Path | None, now_ms: int, progress: Progress = quiet
) -> str:
    """Puts it all in place and begins a new epoch, which it returns; the database last, as keys without one are
    refused. `config`: where the settings go. Raises StoreError; what lived there before lives on then."""
    with _in_place_of(settings, config, now_ms, with_data=True):
        _put_keys(unpacked, settings, config)
        _put_archive(unpacked, settings)
        with closing(Store.attach(settings.database_url)) as store:
            restore(store, unpacked.database, progress)
            store.close()
            return begin_epoch(store, now_ms)


def install_keys(unpacked: Unpacked, settings: Settings, config: Path | None, now_ms: int) -> None:
    """As `install`, but for the database and the archive, which are there: PostgreSQL counts another timeline after a
    recovery, by which the collector begins a new epoch at its start. Raises StoreError."""
    with _in_place_of(settings, config, now_ms, with_data=False):
        _put_keys(unpacked, settings, config)


@contextmanager
def _in_place_of(settings: Settings, config: Path | None, now_ms: int, *, with_data: bool) -> Iterator[None]:
    """What lives there is put aside, and back if the other cannot take its place: no room, a database that is not
    empty."""
    moved: dict[Path, Path | None] = {} if config is None or config.exists() else {config: None}
    try:
        with unfinished(settings, lambda: _put_back(moved)):
            _put_aside(settings, now_ms, moved, with_data=with_data)
            yield
    except OSError as error:
        raise StoreError(f"{settings.data_dir}: cannot be written ({describe(error)}); check owner and space") from None


@contextmanager
def unfinished(settings: Settings, undo: Callable[[], None]) -> Iterator[None]:
    """A mark stands from here until all is done or undone: no collector starts beside it, for what it found half
    restored after a kill it would complete with keys and tables of its own. Raises OSError."""
    mark = settings.data_dir / UNFINISHED
    put(mark, b"")
    try:
        yield
    except BaseException:
        undo()
        mark.unlink()
        raise
    mark.unlink()
    sync_folder(mark.parent)


def _put_keys(unpacked: Unpacked, settings: Settings, config: Path | None) -> None:
    for name, path in unpacked.of(contents.DATA).items():
        target = settings.data_dir / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        put(target, path.read_bytes())
    if config is not None and unpacked.settings is not None:
        _put_settings(unpacked, settings, config)


def _put_aside(settings: Settings, now_ms: int, moved: dict[Path, Path | None], *, with_data: bool) -> None:
    """`moved` is told, one after the other, what lay where, and where nothing lay."""
    aside = settings.data_dir / f"{ASIDE}-{now_ms}"
    places = [settings.data_dir / name for name in (*contents.OWN_FILES, *contents.OWN_FOLDERS)]
    if with_data and (file := database_file(settings.database_url)) is not None:
        places += [file.with_name(file.name + suffix) for suffix in ("", "-wal", "-shm")]
    targets = {path: aside / path.name for path in places}
    if with_data:  # the archive beside itself: it may be a disk of its own
        folder = settings.archive_folder
        targets[folder] = folder.with_name(f"{folder.name}-{aside.name}")
    for path, target in targets.items():
        if path.exists():
            if target.parent == aside:
                aside.mkdir(mode=0o700, exist_ok=True)
            path.rename(target)
        moved[path] = target if target.exists() else None


def _put_back(moved: Mapping[Path, Path | None]) -> None:
    for path, target in moved.items():
        _delete(path)
        if target is not None:
            target.rename(path)
            with suppress(OSError):  # until it is empty
                target.parent.rmdir()


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _put_archive(unpacked: Unpacked, settings: Settings) -> None:
    for name, path in unpacked.of(contents.ARCHIVE).items():
        target = settings.archive_folder / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        put(target, path.read_bytes())


def _put_settings(unpacked: Unpacked, settings: Settings, config: Path) -> None:
    """The files that the settings name go beside the data, and the settings name them there."""
    assert unpacked.settings is not None
    try:
        old = load(unpacked.settings)
    except ConfigError as error:
        raise StoreError(f"settings in the backup: {error}") from None
    named: Mapping[str, str] = unpacked.manifest.about.get("named") or {}
    moved = {old.data_dir: settings.data_dir}
    for name, was in named.items():
        source, target = unpacked.folder / name, settings.data_dir / name
        if name in unpacked.names and not Path(str(was)).exists():
            target.parent.mkdir(mode=0o700, exist_ok=True)
            put(target, source.read_bytes())
            moved[Path(str(was))] = target
    config.parent.mkdir(parents=True, exist_ok=True)
    put(config, contents.moved_settings(unpacked.settings.read_text("utf-8"), moved).encode())
