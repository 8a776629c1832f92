"""Reasons as codes with parameters: sentences of before become the code `text`, and alerts say which are summaries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0006", "0005"

MAX_TEXT = 500  # characters of a sentence, as agent.common.reasons keeps
SENTENCES = (("flags", "reason"), ("changes", "reason"), ("integrity", "detail"), ("set_aside", "reason"))
SUMMARIES = "Many changes at once%"  # how titles of summaries began

# One sentence, or a JSON list of them, as SQL that makes reasons of it.
ONE = {
    "sqlite": "json_object('code', 'text', 'params', json_object('text', substr({0}, 1, {1})))",
    "postgresql": "json_build_object('code', 'text', 'params', json_build_object('text', substr({0}, 1, {1})))",
}
LIST = {
    "sqlite": "(SELECT json_group_array(json({one})) FROM json_each({0}))",
    "postgresql": (
        "(SELECT coalesce(json_agg({one} ORDER BY place), '[]'::json) "
        "FROM json_array_elements_text(({0})::json) WITH ORDINALITY AS item (value, place))"
    ),
}
CUTS = {
    "sqlite": "json_set(facts, '$.evidence', json({list}))",
    "postgresql": "jsonb_set(facts::jsonb, '{{evidence}}', ({list})::jsonb)::text",
}
EVIDENCE_OF_CUT = {"sqlite": "json_extract(facts, '$.evidence')", "postgresql": "facts::json -> 'evidence'"}


def upgrade() -> None:
    name = op.get_bind().dialect.name
    cast = "::text" if name == "postgresql" else ""
    op.add_column("alerts", sa.Column("kind", sa.String(length=8), server_default="change", nullable=False))
    op.execute(sa.text("UPDATE alerts SET kind = 'summary' WHERE title LIKE :title").bindparams(title=SUMMARIES))
    for table, column in SENTENCES:
        op.execute(f"UPDATE {table} SET {column} = {ONE[name].format(column, MAX_TEXT)}{cast}")  # noqa: S608
    one = ONE[name].format("value", MAX_TEXT)
    op.execute(f"UPDATE gaps SET evidence = {LIST[name].format('evidence', one=one)}{cast}")  # noqa: S608
    evidence = LIST[name].format(EVIDENCE_OF_CUT[name], one=one)
    op.execute(f"UPDATE cuts SET facts = {CUTS[name].format(list=evidence)}")  # noqa: S608
