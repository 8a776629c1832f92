"""Rows that decide whom to trust: which tables, from when on, and which of their columns. A line of the journal is one
of them whole."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from collector.store import schema

# What is decided of each table, as far as a row says it: what the column is when it counts.
DECIDED: dict[str, sa.ColumnElement[bool]] = {
    "persons": sa.true(),
    "second_factors": schema.second_factors.c.confirmed_ms.is_not(None),
    "api_keys": sa.true(),
    "devices": sa.true(),
    "revocations": sa.true(),
    "tokens": schema.tokens.c.used_ms.is_not(None),
    "enrolments": schema.enrolments.c.state.in_(("approved", "refused")),
    "measure_servers": sa.true(),
    "adoptions": sa.true(),
    "visit_lists": sa.true(),
    "inspections": sa.true(),
    "attachments": sa.true(),
    "report_recipients": sa.true(),
    "server_tokens": schema.server_tokens.c.used_ms.is_not(None),
    "centers": sa.true(),
    "erasures": sa.true(),
    "second_stories": schema.second_stories.c.state != "held",
}
# Columns that decide nothing: a row that differs in them alone is the same. Of a center, that it is registered counts.
UNCHANGING = {
    "devices": {"hostname", "version"},
    "second_factors": {"counter"},
    "api_keys": {"used_ms"},
    "report_recipients": {"at_ms"},  # who has it has it
    "centers": {column.name for column in schema.centers.c if not column.primary_key},
    "second_stories": {"first_ms", "last_ms", "batches", "filed_ms"},
}
# Columns that no line has: a journal is for ever, and who asks to be forgotten is.
LEFT_OUT = {"centers": {"contact", "phone"}}


def key_of(name: str, row: dict[str, Any]) -> str:
    return json.dumps([row.get(column.name) for column in schema.metadata.tables[name].primary_key])


def deciding(name: str, row: dict[str, Any]) -> dict[str, Any]:
    return {column: value for column, value in row.items() if column not in UNCHANGING.get(name, ())}
