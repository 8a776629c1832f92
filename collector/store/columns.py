"""A reading as the columns of its table."""

from __future__ import annotations

from operator import attrgetter

import msgspec

from agent import wire
from collector.common.messages import printable

_OWN = {
    name: [field for field in kind.struct.__struct_fields__ if field not in ("at", "subject")]
    for name, kind in wire.KINDS.items()
}
_VALUES = {name: attrgetter(*fields) for name, fields in _OWN.items()}
_AS_IT_IS = (int, bool, type(None))


def own_columns(kind: str, reading: wire.Reading) -> dict[str, object]:
    """What a reading says of its own kind, as its table has it. No minus zero, which SQLite does not tell from zero:
    both databases hold the same."""
    return {
        name: value if value.__class__ in _AS_IT_IS else value + 0.0 if value.__class__ is float else _plain(value)
        for name, value in zip(_OWN[kind], _VALUES[kind](reading), strict=True)
    }  # dozens in every reading: most of them need no call


def _plain(value: object) -> object:
    """A wire value as a column: parts as JSON text, no NUL, which PostgreSQL has no text for."""
    if isinstance(value, str):
        return printable(value, len(value)) if "\x00" in value else value
    return msgspec.json.encode(value).decode()
