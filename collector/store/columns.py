"""A reading as the columns of its table."""

from __future__ import annotations

import msgspec

from agent import wire
from collector.common.messages import printable

_OWN = {
    name: [field for field in kind.struct.__struct_fields__ if field not in ("at", "subject")]
    for name, kind in wire.KINDS.items()
}


_AS_IT_IS = (int, bool)


def own_columns(kind: str, reading: wire.Reading) -> dict[str, object]:
    """What a reading says of its own kind, as its table has it."""
    values: dict[str, object] = {}
    for name in _OWN[kind]:  # many of them in every batch: what needs nothing done is not asked twice
        value = getattr(reading, name)
        values[name] = value if value is None or value.__class__ in _AS_IT_IS else _plain(value)
    return values


def _plain(value: object) -> object:
    """A wire value as a column: parts as JSON text, no NUL, which PostgreSQL has no text for, and no minus zero, which
    SQLite does not tell from zero, so that both databases hold the same."""
    if isinstance(value, str):
        return printable(value, len(value)) if "\x00" in value else value
    if isinstance(value, float):
        return value + 0.0
    if value is None or isinstance(value, bool | int):
        return value
    return msgspec.json.encode(value).decode()
