"""Layers of settings: what a person sets for the country, a province, a tier or a center, version by version.

A narrower layer holds over a wider one, key by key. A version is checked by the agent's own rules before it is written,
by itself and in what it makes of every center's settings.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import msgspec
import sqlalchemy as sa

from agent.remote.settings import Tables, problems
from agent.wire import SettingTables
from collector.register import centers
from collector.store import schema

LayerKind = Literal["country", "province", "tier", "center"]
KINDS: tuple[LayerKind, ...] = ("country", "province", "tier", "center")  # each over those before it
MAX_REASON = 500

_r = schema.remote_settings.c


class LayerError(Exception):
    """A layer cannot be what was given; one sentence with the thing, the rule and the fix."""


class Layered(Protocol):
    """What decides which layers hold for a center."""

    @property
    def code(self) -> str: ...
    @property
    def province(self) -> str: ...
    @property
    def tier(self) -> str: ...


@dataclass(frozen=True, order=True)
class Layer:
    """`name` is empty for the country."""

    kind: LayerKind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}={self.name}" if self.name else self.kind


@dataclass(frozen=True, kw_only=True)
class Version:
    """What a layer says from `at_ms` on, and who had it say so, why; `at_once`: to all, not from ring to ring."""

    id: int
    at_ms: int
    layer: Layer
    tables: SettingTables
    person: str
    reason: str
    at_once: bool = False


def parse(conn: sa.Connection, text: str) -> Layer:
    """From `country`, `province=NAME`, `tier=NAME` or `center=CODE`, as the register has them. Raises LayerError."""
    word, _, name = text.partition("=")
    kind = next((kind for kind in KINDS if kind == word), None)
    if kind is None or (kind == "country") != (name == ""):
        raise LayerError(f"layer {text[:60]!r}: write country, province=NAME, tier=NAME or center=CODE")
    known = _names(conn, kind)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        meant = f"; did you mean {close[0]}?" if close else "; see `nabz-collector center list`"
        raise LayerError(f"layer {text[:60]}: no center has this {kind}{meant}")
    return Layer(kind, name)


def _names(conn: sa.Connection, kind: LayerKind) -> list[str]:
    if kind == "country":
        return [""]
    if kind == "tier":
        return list(centers.TIERS)
    column = schema.centers.c.province if kind == "province" else schema.centers.c.center
    return list(conn.scalars(sa.select(column).distinct()))


def change(
    conn: sa.Connection, layer: Layer, values: Mapping[str, object], dropped: Iterable[str], person: str, reason: str,
    now_ms: int, at_once: bool = False,
) -> Version:  # fmt: skip
    """The layer with these keys (`table.key`) set and those dropped, as its next version. What it says already may be
    said again to have it go to all at once. Raises LayerError."""
    if not reason.strip() or len(reason) > MAX_REASON:
        raise LayerError(f"{layer}: a change needs a reason of 1 to {MAX_REASON} characters; give --reason TEXT")
    newest = current(conn)
    before = newest[layer].tables if layer in newest else {}
    after = _changed(before, values, dropped)
    if after == before and not at_once:
        raise LayerError(f"{layer}: says so already; see `nabz-collector settings show --layer {layer}`")
    made = Version(id=0, at_ms=now_ms, layer=layer, tables=after, person=person, reason=reason.strip(), at_once=at_once)
    _check(conn, made, newest | {layer: made})
    row = {
        "at_ms": now_ms, "layer": layer.kind, "name": layer.name, "person": person, "reason": made.reason,
        "at_once": at_once,
    }  # fmt: skip
    key = conn.execute(sa.insert(schema.remote_settings).values(tables=encode(after), **row)).inserted_primary_key
    assert key is not None
    return replace(made, id=int(key[0]))


def _changed(before: SettingTables, values: Mapping[str, object], dropped: Iterable[str]) -> SettingTables:
    after: dict[str, dict[str, Any]] = {table: dict(keys) for table, keys in before.items()}
    for name, value in values.items():
        table, key = _parts(name)
        after.setdefault(table, {})[key] = value
    for name in dropped:
        table, key = _parts(name)
        if after.get(table, {}).pop(key, None) is None:
            raise LayerError(f"{name}: is not set in this layer; see `nabz-collector settings show`")
    return {table: keys for table, keys in after.items() if keys}


def value_of(text: str) -> object:
    """A value as in a settings file; what is no TOML is a text."""
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except (tomllib.TOMLDecodeError, ValueError, RecursionError):
        return text


def _parts(name: str) -> tuple[str, str]:
    table, dot, key = name.partition(".")
    if not dot or not table or not key:
        raise LayerError(f"{name[:60]!r}: is no key; write TABLE.KEY, such as speed.mode")
    return table, key


def _check(conn: sa.Connection, made: Version, newest: Mapping[Layer, Version]) -> None:
    """By itself, and in every combination of layers that some center has."""
    wrong = [*problems(made.tables)]
    if not wrong:
        for center in centers.all_centers(conn):
            if made.layer in layers_of(center) and (wrong := [*problems(effective(newest, center))]):
                wrong = [f"with the other layers of {center.code}: {problem}" for problem in wrong]
                break
    if wrong:
        raise LayerError("\n".join(f"{made.layer}: {problem}" for problem in wrong))


# ---------------------------------------------------------------- what holds


def current(conn: sa.Connection) -> dict[Layer, Version]:
    """The newest version of each layer that was ever set."""
    newest = sa.select(sa.func.max(_r.id)).group_by(_r.layer, _r.name)
    rows = conn.execute(sa.select(schema.remote_settings).where(_r.id.in_(newest)))
    return {version.layer: version for version in map(_version, rows)}


def history(conn: sa.Connection, layer: Layer | None = None) -> list[Version]:
    """Every version of a layer, or of all, oldest first."""
    query = sa.select(schema.remote_settings).order_by(_r.id)
    if layer is not None:
        query = query.where(_r.layer == layer.kind, _r.name == layer.name)
    return [_version(row) for row in conn.execute(query)]


def layers_of(center: Layered) -> tuple[Layer, ...]:
    """The layers of a center, the widest first."""
    names: dict[LayerKind, str] = {
        "country": "", "province": center.province, "tier": center.tier, "center": center.code,
    }  # fmt: skip
    return tuple(Layer(kind, names[kind]) for kind in KINDS)


def origins(newest: Mapping[Layer, Version], center: Layered) -> dict[str, tuple[object, Version]]:
    """Of each key that is set for a center: its value, and the version that it comes from."""
    return {
        f"{table}.{key}": (value, newest[layer])
        for layer in layers_of(center)
        if layer in newest
        for table, keys in newest[layer].tables.items()
        for key, value in keys.items()
    }


def effective(newest: Mapping[Layer, Version], center: Layered) -> SettingTables:
    """What is set for a center."""
    tables: dict[str, dict[str, Any]] = {}
    for name, (value, _version) in sorted(origins(newest, center).items()):
        table, key = _parts(name)
        tables.setdefault(table, {})[key] = value
    return tables


def difference(before: Tables, after: Tables) -> list[tuple[str, object, object]]:
    """(key, value before, value after) of each that differs; None for one that is not set."""
    flat = [_flat(before), _flat(after)]
    names = sorted(flat[0].keys() | flat[1].keys())
    return [(name, flat[0].get(name), flat[1].get(name)) for name in names if flat[0].get(name) != flat[1].get(name)]


def _flat(tables: Tables) -> dict[str, object]:
    return {f"{table}.{key}": value for table, keys in tables.items() for key, value in keys.items()}


def encode(tables: SettingTables) -> str:
    return msgspec.json.encode(tables, order="deterministic").decode()


def _version(row: sa.Row[Any]) -> Version:
    return Version(
        id=row.id, at_ms=row.at_ms, layer=Layer(row.layer, row.name), person=row.person, reason=row.reason,
        tables=msgspec.json.decode(row.tables, type=SettingTables), at_once=row.at_once,
    )  # fmt: skip
