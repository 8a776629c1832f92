"""The store that the settings name, and the folder it lies in. Nothing is made anew in silence: a database that is
empty beside keys of before, or gateways whose key or authority is gone, is an accident until somebody says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.common.errors import describe
from collector.common.config import Settings
from collector.store import Store, StoreError, migrate, schema
from collector.store.cold.bucket import Bucket
from collector.store.journal import FILE as JOURNAL
from collector.store.journal import Journal

KEY_FILE = "collector.key"
AUTHORITY = "ca"  # the folder of the certificate authority
ROOTS = "root-*.pem"
UNFINISHED = "restore.unfinished"  # stands in the data folder as long as a restore goes on
LOG_SUFFIX = "-wal"  # of an SQLite database's log

RESTORE = "restore the newest backup with `nabz-collector restore`"
NEW = "to begin anew, which every gateway has to enrol again for, start with `nabz-collector serve --new`"


@contextmanager
def opened(settings: Settings, *, keys: bool = False, is_new: bool = False) -> Iterator[Store]:
    """The store of these settings, its folder made when it is missing. `keys`: the collector's key and its authority
    are going to be used, and made where there are none. `is_new`: what is missing is meant to be made.

    Raises StoreError.
    """
    make_data_dir(settings)
    _refuse_half_restored(settings.data_dir)
    if not is_new:
        _refuse_empty(settings)
    store = Store.open(settings.database_url)
    try:
        if keys and not is_new:
            _refuse_new_keys(store, settings.data_dir)
        store.journal = journal_of(settings)
        store.archive = archive_of(settings)
        yield store
    finally:
        store.close()


def archive_of(settings: Settings) -> Path | Bucket:
    """Raises ConfigError."""
    archive, folder = settings.archive, settings.archive_folder
    if not archive.url:
        return folder
    access_key, secret_key = archive.keys
    return Bucket(archive.url, folder, archive.endpoint, archive.region, access_key, secret_key)


@contextmanager
def existing(settings: Settings, *, keys: bool = False) -> Iterator[Store]:
    """The store of these settings for whoever only looks or decides: where there is none, none is made, for a wrong
    letter in an address would otherwise be a new and empty register. Raises StoreError."""
    _refuse_half_restored(settings.data_dir)
    if not _has_tables(settings.database_url):
        with closing(Store.attach(settings.database_url)) as store:
            where = f"database {store}"
        raise StoreError(
            f"{where}: holds no register; check [database] url and [collector] data_dir in the settings, --database "
            "and --data, or make one with `nabz-collector serve` or `nabz-collector center import`"
        )
    with opened(settings, keys=keys) as store:
        yield store


def journal_of(settings: Settings) -> Journal | None:
    """None on a machine without the collector's key: the collector itself notes then what was decided."""
    try:
        raw = (settings.data_dir / KEY_FILE).read_bytes()
    except OSError:
        return None
    return Journal(journal_file(settings), Ed25519PrivateKey.from_private_bytes(raw)) if len(raw) == 32 else None


def journal_file(settings: Settings) -> Path:
    return settings.backup.journal or settings.data_dir / JOURNAL


def make_data_dir(settings: Settings) -> None:
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{settings.data_dir}: cannot be made ({describe(error)}); set [collector] data_dir") from None


def database_file(url: str) -> Path | None:
    """The file of an SQLite database; None for another make."""
    prefix = "sqlite:///"
    return Path(url.removeprefix(prefix)) if url.startswith(prefix) else None


def data_files(settings: Settings) -> list[Path]:
    """What a running collector cannot lose without harm."""
    file, data_dir = database_file(settings.database_url), settings.data_dir
    database = [] if file is None else [file, file.with_name(file.name + LOG_SUFFIX)]
    return [data_dir, *database, data_dir / KEY_FILE, data_dir / AUTHORITY, journal_file(settings)]


def growing_files(settings: Settings) -> list[Path]:
    """Those of them that never get smaller while the collector runs: rows leave pages behind, and journals are added
    to."""
    file = database_file(settings.database_url)
    return [*([] if file is None else [file]), settings.data_dir / KEY_FILE, journal_file(settings)]


def held_keys(data_dir: Path) -> list[Path]:
    """The key and the roots that a collector has made in this folder."""
    key = data_dir / KEY_FILE
    return [*([key] if key.exists() else []), *sorted((data_dir / AUTHORITY).glob(ROOTS))]


def _refuse_half_restored(data_dir: Path) -> None:
    if (mark := data_dir / UNFINISHED).exists():
        raise StoreError(
            f"{mark}: a restore was cut short or is going on; run it again with `nabz-collector restore --force`, or "
            "put back what lies in before-restore-… and delete this file"
        )


def _refuse_empty(settings: Settings) -> None:
    """Keys are made after the database's tables, so an empty database beside keys is a lost one, or another."""
    if not (keys := held_keys(settings.data_dir)) or _has_tables(settings.database_url):
        return
    with closing(Store.attach(settings.database_url)) as store:
        where = f"database {store}"
    raise StoreError(
        f"{where}: is empty, but {keys[0]} is of a collector that had one; check [database] url, or {RESTORE}; {NEW}"
    )


def _has_tables(url: str) -> bool:
    """Makes no file where there is none. A server that cannot be reached is for whoever opens the store to report."""
    file = database_file(url)
    if file is not None and not (file.exists() and file.stat().st_size):
        return False
    with closing(Store.attach(url)) as store:
        try:
            with store.read() as conn:
                return migrate.version(conn) is not None
        except sa.exc.DBAPIError:
            return True


def _refuse_new_keys(store: Store, data_dir: Path) -> None:
    """Gateways trust the key and the authority they enrolled with, no other."""
    key, authority = data_dir / KEY_FILE, data_dir / AUTHORITY
    with store.read() as conn:
        if not key.exists() and (count := _count(conn, schema.devices)):
            raise StoreError(
                f"{key}: is missing, but {count} gateways of database {store} trust receipts of that key alone; "
                f"check [collector] data_dir, or {RESTORE}; {NEW}"
            )
        if not any(authority.glob(ROOTS)) and (count := _count(conn, schema.certificates)):
            raise StoreError(
                f"{authority}: the certificate authority is missing, but {count} certificates of it are on record in "
                f"database {store}; check [collector] data_dir, or {RESTORE}; {NEW}"
            )


def _count(conn: sa.Connection, table: sa.Table) -> int:
    return conn.scalar(sa.select(sa.func.count()).select_from(table)) or 0
