"""Bringing a database to this program's tables, with a copy of it made before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from agent.common.logs import Event
from collector.common.config import Settings
from collector.store import NeedsMigration, Store, migrate, roles
from collector.store.backup import backup
from collector.store.database import make_data_dir, opened

MIGRATED = Event(
    __name__, "warning", "database_migrated", "the database's tables were migrated, after a copy was made",
    fields="version steps copy",
)  # fmt: skip


def upgrade(settings: Settings) -> tuple[list[migrate.Step], Path | None]:
    """Runs what is pending; returns the steps and where the copy of before is, None if there was nothing to do.

    The steps are one transaction: all or none. Raises StoreError.
    """
    with closing(Store.attach(settings.as_keeper.database_url)) as store:
        with store.read() as conn:
            held, steps = migrate.version(conn), migrate.pending(conn)
        if held is None or not steps:
            return [], None
        copy = copy_place(settings, held)
        backup(store, copy)
        with store.write() as conn:
            migrate.upgrade(conn)
            if roles.made(conn):
                roles.grant(conn)
        return steps, copy


def copy_place(settings: Settings, held: str) -> Path:
    """A free name in `data_dir` for the copy made before a migration."""
    make_data_dir(settings)
    for number in range(1, 10_000):
        path = settings.data_dir / f"before-{migrate.HEAD}-from-{held or '0000'}-{number}.backup"
        if not path.exists():
            return path
    raise AssertionError("ten thousand copies of one version")


@contextmanager
def opened_and_upgraded(
    settings: Settings, *, migrates: bool, keys: bool = False, is_new: bool = False
) -> Iterator[Store]:
    """As `database.opened`; a database of an older program is migrated first, if it is an SQLite file or `migrates`."""
    try:
        with opened(settings, is_new=is_new):
            pass
    except NeedsMigration:
        if not (migrates or settings.database_url.startswith("sqlite")):
            raise
        steps, copy = upgrade(settings)
        MIGRATED.log(version=migrate.HEAD, steps=len(steps), copy=copy)
    with opened(settings, keys=keys, is_new=is_new) as store:
        yield store
