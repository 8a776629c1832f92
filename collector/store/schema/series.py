"""The tables of readings and their sums, derived from the wire types; and which tables lie in monthly parts."""

from __future__ import annotations

import types
import typing

import sqlalchemy as sa

from agent import wire
from collector.store.schema.batches import evidence
from collector.store.schema.common import Code, Device, Ms, metadata


def _column_type(annotation: object) -> sa.types.TypeEngine[typing.Any]:
    """The column for a wire field: numbers and words as themselves, everything with parts as JSON text."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _column_type(typing.get_args(annotation)[0])
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        inner = [part for part in typing.get_args(annotation) if part is not type(None)]
        return _column_type(inner[0]) if len(inner) == 1 else sa.Text()
    if typing.get_origin(annotation) is typing.Literal or annotation is str:
        return sa.Text()
    if annotation is bool:
        return sa.Boolean()
    if annotation is int:
        return sa.BigInteger()
    if annotation is float:
        return sa.Float()
    return sa.Text()


def _readings_table(kind: str, struct: type[wire.Reading]) -> sa.Table:
    hints = typing.get_type_hints(struct, include_extras=True)
    own = [name for name in struct.__struct_fields__ if name not in ("at", "subject")]
    return sa.Table(
        f"{kind}_readings",
        metadata,
        sa.Column("wall_ms", Ms, primary_key=True),
        sa.Column("center", Code, primary_key=True),
        sa.Column("device", Device, primary_key=True),
        sa.Column("spool", sa.String(64), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("received_ms", Ms, nullable=False),
        *(sa.Column(name, _column_type(hints[name])) for name in own),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (wall_ms)",
    )


readings = {kind: _readings_table(kind, row.struct) for kind, row in wire.KINDS.items()}

boots_by_center = sa.Index("boots_by_center", readings["boot"].c.center, readings["boot"].c.wall_ms)
# Readings of a UPS that come late have the cuts around them computed again from those of the same center.
ups_by_center = sa.Index("ups_by_center", readings["ups"].c.center, readings["ups"].c.wall_ms)
speeds_by_test = sa.Index("speeds_by_test", readings["speed"].c.test_id)

# The tables that PostgreSQL has in monthly parts, and the time each is parted by.
PARTED = {evidence.name: "received_ms", **dict.fromkeys((table.name for table in readings.values()), "wall_ms")}
for _name in PARTED:
    _rest = sa.DDL(f"CREATE TABLE {_name}_rest PARTITION OF {_name} DEFAULT")  # type: ignore[no-untyped-call]
    sa.event.listen(metadata.tables[_name], "after_create", _rest.execute_if(dialect="postgresql"))

# What is summed of the readings of each kind, by the figure's name.
FIGURES = {kind: {figure.name: figure for figure in row.figures} for kind, row in wire.KINDS.items() if row.figures}


def of_record(kind: str, raw: sa.FromClause | None = None) -> sa.ColumnElement[bool]:
    """Which readings may stand in one trend: those of speed only by the engine of record. `raw`: instead of their
    table."""
    if kind != "speed":
        return sa.true()
    engine = (readings["speed"] if raw is None else raw).c.engine
    return sa.or_(engine.is_(None), engine == wire.ENGINE_OF_RECORD)  # none: of before readings named it


def _rollup_table(kind: str, step: str) -> sa.Table:
    """Sums of `step` (hours, days); a mean is kept as its sum and count. Clustered by center, as charts ask."""
    figures = [
        sa.Column(name, sa.Float)
        for figure in FIGURES[kind].values()
        for name in ((f"{figure.name}_sum", f"{figure.name}_n") if figure.how == "avg" else (figure.name,))
    ]
    return sa.Table(
        f"{kind}_{step}",
        metadata,
        sa.Column("center", Code, primary_key=True),
        sa.Column("subject", sa.String(64), primary_key=True),
        sa.Column("from_ms", Ms, primary_key=True),
        sa.Column("n", sa.Integer, nullable=False),
        *figures,
        sa.Index(f"{kind}_{step}_by_time", "from_ms"),
        sqlite_with_rowid=False,
    )


hours = {kind: _rollup_table(kind, "hours") for kind in FIGURES}
days = {kind: _rollup_table(kind, "days") for kind in FIGURES}

# Hours that had ended when something more of them came: their sums are made again (collector.store.rollups).
late_hours = sa.Table(
    "late_hours",
    metadata,
    sa.Column("hour_ms", Ms, primary_key=True),
    sa.Column("center", Code, primary_key=True),
    sa.Column("marked_ms", Ms, nullable=False),
)
