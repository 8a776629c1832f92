"""A reading's signed bytes as the columns of its table, and back. Pure.

A row has most of what was signed. What it lacks stands beside it: the stamp (`clock_error_ms`: the gateway's wall clock
less the time filed under; `ahead_ms`: that clock less its monotonic one), and the `shape`: the names of the fields in
the order in which they were signed, each with how its value was written where that is not how we would write it: `:i` a
whole number in a field of fractions, `:~` JSON of parts signed with other spelling (the column holds that; a reader of
rows has it as ingest writes it). What still cannot be rebuilt is kept whole as `raw`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from agent import wire
from collector.store.columns import own_columns

STAMP = ("clock_error_ms", "ahead_ms", "boot", "clock")
EXTRA = (*STAMP, "shape", "raw")

Row = dict[str, Any]

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def split(kind: str, raw: bytes | None, row: Mapping[str, Any]) -> Row:
    """The row as it is archived: with EXTRA, and `:~` columns as signed. `raw` is in it if nothing less will do. Of a
    reading whose signed bytes are held no more (None) the row alone."""
    if raw is None:
        return {**row, **dict.fromkeys(EXTRA)}
    stamped = _stamp(raw, row)
    for candidate in (_shaped(kind, raw, row), {"shape": None, "raw": raw}):
        made = {**row, **stamped, **candidate}
        if joined(kind, made) == raw and plain_row(kind, made) == dict(row):
            return made
    raise ValueError(f"reading {row.get('device')} {row.get('seq')}: cannot be rebuilt from its row")


def _stamp(raw: bytes, row: Mapping[str, Any]) -> Row:
    try:
        at = wire.decode_reading(raw).at
    except wire.WireError:
        at = None
    if at is None:
        return dict.fromkeys(STAMP)
    error_ms = at.wall_ms - int(row["wall_ms"])
    return {"clock_error_ms": error_ms, "ahead_ms": at.wall_ms - at.mono_ms, "boot": at.boot, "clock": at.clock}


def _shaped(kind: str, raw: bytes, row: Mapping[str, Any]) -> Row:
    try:
        fields = _fields.decode(raw)
    except wire.UNREADABLE:
        return {"shape": None, "raw": raw}
    words, changed = [], {}
    for name, value in fields.items():
        written = bytes(value)
        if name in row and written not in _written(row[name]):
            is_whole = isinstance(row[name], float) and row[name].is_integer() and written == b"%d" % int(row[name])
            if not is_whole and name not in _parts(kind):
                return {"shape": None, "raw": raw}
            if not is_whole:
                changed[name] = written.decode(errors="replace")
            name += ":i" if is_whole else ":~"
        words.append(name)
    return {**changed, "shape": " ".join(words), "raw": None}


def _written(value: object) -> tuple[bytes, ...]:
    """How a column's value may have been signed: as a word, or, with parts, as the JSON it is."""
    plain = msgspec.json.encode(value)
    return (plain, value.encode()) if isinstance(value, str) else (plain,)


def joined(kind: str, row: Mapping[str, Any]) -> bytes:
    """The signed bytes of an archived row."""
    if row["raw"] is not None or row["shape"] is None:
        return bytes(row["raw"] or b"")
    parts = [b'"%s":%s' % (name.encode(), _value(kind, name, how, row)) for name, how in _words(row["shape"])]
    return b"{" + b",".join(parts) + b"}"


@lru_cache(4096)
def _words(shape: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, how) for name, _, how in (word.partition(":") for word in shape.split(" ")))


def _value(kind: str, name: str, how: str, row: Mapping[str, Any]) -> bytes:
    if name == "kind":
        return b'"%s"' % kind.encode()
    if name == "at":
        wall_ms = row["wall_ms"] + row["clock_error_ms"]
        at = wire.Stamp(wall_ms=wall_ms, mono_ms=wall_ms - row["ahead_ms"], boot=row["boot"], clock=row["clock"])
        return msgspec.json.encode(at)
    value = row[name]
    if how == "i":
        return b"%d" % int(value)
    if how == "~" or (isinstance(value, str) and name in _parts(kind)):
        return str(value).encode()
    return msgspec.json.encode(value)


@lru_cache
def _parts(kind: str) -> frozenset[str]:
    """The columns of a kind that hold JSON of parts: lists, structs."""
    columns = set()
    for field in msgspec.structs.fields(wire.KINDS[kind].struct):
        info = msgspec.inspect.type_info(field.type)
        some = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
        words = (msgspec.inspect.StrType, msgspec.inspect.LiteralType)
        plain = (msgspec.inspect.IntType, msgspec.inspect.FloatType, msgspec.inspect.BoolType)
        if not all(isinstance(one, (*words, *plain, msgspec.inspect.NoneType)) for one in some):
            columns.add(field.name)
    return frozenset(columns - {"at"})


def plain_row(kind: str, archived: Mapping[str, Any]) -> Row:
    """An archived row as its table has it."""
    row = {name: value for name, value in archived.items() if name not in EXTRA}
    if archived["shape"] is None or ":~" not in archived["shape"]:
        return row
    own = own_columns(kind, wire.decode_reading(joined(kind, archived)))
    return row | {name: own[name] for name, how in _words(archived["shape"]) if how == "~"}
