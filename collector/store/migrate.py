"""From the tables of an older program to those of this one: numbered steps, each run once, all in one transaction.

A step is a file of `migrations/`, drafted from the schema by `make migration` and held to it by a test. An empty
database is made from the schema at once. Alembic is loaded only when there is something to do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

HERE = Path(__file__).parent
STEPS = HERE / "migrations"
HEAD = max(path.stem[1:5] for path in STEPS.glob("m[0-9]*.py"))
STAMP = sa.table("alembic_version", sa.column("version_num", sa.String(32)))
PARTITION = re.compile(r"_(p\d{4}_\d{2}|rest)$")  # tables that PostgreSQL has beside those of the schema

ONLY_POSTGRESQL = "evidence_id_received_ms_key"


@dataclass(frozen=True)
class Step:
    """One migration: its number and what it is for."""

    number: str
    why: str


def version(conn: sa.Connection) -> str | None:
    """The number of the last step run here; "" for tables of before there were steps; None for no tables at all."""
    names = set(sa.inspect(conn).get_table_names())
    if STAMP.name in names:
        return str(conn.scalar(sa.select(STAMP.c.version_num)) or "")
    return "" if "about" in names else None


def stamp(conn: sa.Connection) -> None:
    """Says of tables just made from the schema that they need no step."""
    conn.execute(sa.text(f"CREATE TABLE {STAMP.name} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    conn.execute(sa.insert(STAMP).values(version_num=HEAD))


def pending(conn: sa.Connection) -> list[Step]:
    """The steps between these tables and the program, in order."""
    held = version(conn) or ""
    paths = sorted(STEPS.glob("m[0-9]*.py"))
    return [Step(path.stem[1:5], _why(path)) for path in paths if path.stem[1:5] > held]


def _why(path: Path) -> str:
    return path.read_text("utf-8").partition('"""')[2].partition("\n")[0].rstrip('"').rstrip(".")


def is_of_both(_thing: object, name: str | None, kind: str, *_more: object) -> bool:
    """What alembic may compare with the schema: not what only PostgreSQL has."""
    return name != ONLY_POSTGRESQL and not (kind == "table" and PARTITION.search(name or ""))


def upgrade(conn: sa.Connection, to: str = HEAD) -> None:
    """Runs the pending steps inside the caller's transaction."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    steps = ScriptDirectory(HERE, version_locations=[str(STEPS)])

    def path(held: object, _context: object) -> object:
        return steps._upgrade_revs(to, held)  # type: ignore[arg-type]  # as alembic's own `upgrade` command does

    with EnvironmentContext(Config(), steps, fn=path, destination_rev=to) as environment:
        environment.configure(connection=conn)
        environment.run_migrations()
