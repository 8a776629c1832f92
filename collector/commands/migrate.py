"""`nabz-collector migrate`: the database's tables to what this program needs, or what that would take."""

from __future__ import annotations

import argparse
import json
from contextlib import closing

import sqlalchemy as sa

from collector.commands.console import answers, common_arguments, say, settings_of
from collector.run.upgrades import upgrade
from collector.store import Store, StoreError, migrate, roles
from collector.store.database import make_data_dir, opened

EXAMPLE = "nabz-collector migrate --dry-run"


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="do nothing; exit 1 if there is something to do")
    what.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    what.add_argument(
        "--roles", action="store_true", help="also make PostgreSQL's roles, owner and grants; as a superuser"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


@answers
def run(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    settings = settings if options.roles else settings.as_keeper
    make_data_dir(settings)
    with closing(Store.attach(settings.database_url)) as store, store.read() as conn:
        held, steps = migrate.version(conn), migrate.pending(conn)
    if held is not None and held > migrate.HEAD:
        raise StoreError(f"its tables are version {held}, this program knows {migrate.HEAD}; update the program")
    copy = None
    if not (options.check or options.dry_run):
        if held is not None:
            steps, copy = upgrade(settings)
        with opened(settings) as store:  # makes the tables of an empty database
            if options.roles:
                _make_roles(store)
    facts = {"held": held, "wanted": migrate.HEAD, "steps": [vars(step) for step in steps]}
    if options.json:
        say(json.dumps(facts | {"copy": str(copy) if copy else None}))
    else:
        for line in _lines(held, steps, done=not (options.check or options.dry_run)):
            say(line)
        if options.roles:
            say(f"the roles are made: {', '.join((roles.INGEST, roles.WEB, roles.AUDITOR, roles.OWNER))}")
        if copy:
            say(f"the copy of before: {copy}")
    return 1 if options.check and (steps or held is None) else 0


def _make_roles(store: Store) -> None:
    """Raises StoreError."""
    if not store.parted:
        raise StoreError("--roles: SQLite has no roles, whoever may read the file may do all; use PostgreSQL")
    try:
        with store.write() as conn:
            roles.make(conn)
    except sa.exc.DBAPIError as error:
        first = str(error.orig).partition("\n")[0]
        raise StoreError(
            f"--roles: {first}; run it as a superuser: --database postgresql+psycopg://postgres@…"
        ) from None


def _lines(held: str | None, steps: list[migrate.Step], *, done: bool) -> list[str]:
    if held is None:
        return [f"the database is empty; {'its tables were' if done else 'its tables would be'} made"]
    if not steps:
        return [f"nothing to do: the tables are version {held}, as this program needs"]
    return [f"{'done' if done else 'to do'}: {step.number} {step.why}" for step in steps]
