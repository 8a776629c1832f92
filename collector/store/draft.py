"""`make migration WHY="…"`: drafts the next step from what the schema has and the steps before it have not made yet."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations.ops import CreateTableOp, MigrateOperation
from alembic.runtime.migration import MigrationContext

from agent.common.errors import describe
from collector.store import migrate, schema

FILE = '''"""{why}."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "{number}", "{before}"


def upgrade() -> None:
    {body}
'''


# A table in monthly parts needs one for the rest, or PostgreSQL refuses rows of a month that has none.
REST = """
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT")"""


def draft(why: str, metadata: sa.MetaData = schema.metadata) -> str:
    """The text of the next step. Raises ValueError when the steps make all that `metadata` has."""
    engine = sa.create_engine("sqlite://")
    try:
        with engine.begin() as conn:
            migrate.upgrade(conn)
            options = {"compare_type": True, "include_object": migrate.is_of_both}
            script = produce_migrations(MigrationContext.configure(conn, opts=options), metadata)
    finally:
        engine.dispose()
    assert script.upgrade_ops is not None
    if script.upgrade_ops.is_empty():
        raise ValueError("the steps make all that the schema has; there is nothing to draft")
    lines = render_python_code(script.upgrade_ops).splitlines()
    body = "\n".join(line for line in lines if not line.lstrip().startswith("# ###"))  # alembic's banners
    body += "".join(REST.format(table=name) for name in _new_parted_tables(script.upgrade_ops.ops))
    number = f"{int(migrate.HEAD) + 1:04}"
    return FILE.format(why=why.rstrip("."), number=number, before=migrate.HEAD, body=body.strip())


def _new_parted_tables(steps: Iterable[MigrateOperation]) -> list[str]:
    new = [step.to_table() for step in steps if isinstance(step, CreateTableOp)]
    return [table.name for table in new if table.dialect_options["postgresql"]["partition_by"]]


def main(words: list[str]) -> int:
    try:
        text = draft(" ".join(words) or "What the schema has gained")
    except ValueError as error:
        sys.stderr.write(f"{describe(error)}\n")
        return 1
    path = migrate.STEPS / f"m{int(migrate.HEAD) + 1:04}.py"
    path.write_text(text, "utf-8")
    sys.stdout.write(f"{path}\nread it, correct it, say in its name what it is about, and commit it with the schema\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
