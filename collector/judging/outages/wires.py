"""Feeders and exchanges by name: which names of the register are one wire. Somebody wrote `lesco f-7` for `LESCO F-7`,
or an Arabic letter for an Urdu one; and there is a *City* feeder in more than one province."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import sqlalchemy as sa

from collector.store import schema

Wire = Literal["feeder", "exchange"]
Named = tuple[str, str]  # name and province, as the register has them

# Arabic keyboards write yeh, alef maksura, kaf and heh for the Urdu yeh, kaf and heh goal (Unicode code points).
_URDU = {0x064A: 0x06CC, 0x0649: 0x06CC, 0x0643: 0x06A9, 0x0647: 0x06C1}

_ce = schema.centers.c


def folded(name: str) -> str:
    """The same for every way of writing one name."""
    return " ".join(name.translate(_URDU).split()).casefold()


def keys_of(counts: Mapping[Named, int]) -> dict[Named, str]:
    """One name for each wire, from how many centers each spelling has: the usual one, with the province where others
    have such a wire too."""
    return _keys_of(frozenset(counts.items()))


@lru_cache(8)  # the register is another a few times a day, and is looked at in each transaction of an outage
def _keys_of(items: frozenset[tuple[Named, int]]) -> dict[Named, str]:
    counts = dict(items)
    spellings: dict[str, list[Named]] = defaultdict(list)
    for named in sorted(counts):
        spellings[folded(named[0])].append(named)
    keys: dict[Named, str] = {}
    for same in spellings.values():
        usual = _usual((name, counts[name, province]) for name, province in same)
        provinces = {folded(province) for _, province in same if province}
        for name, province in same:
            keys[name, province] = f"{usual}, {province}" if province and len(provinces) > 1 else usual
    return keys


def _usual(counts: Iterable[tuple[str, int]]) -> str:
    totals = Counter[str]()
    for name, count in counts:
        totals[name] += count
    return max(sorted(totals), key=totals.__getitem__)


@dataclass
class WireNames:
    """The wires of the register as one transaction sees them, asked for when they are first needed."""

    conn: sa.Connection

    def key(self, wire: Wire, name: str, province: str) -> str:
        return self._keys[wire].get((name, province), name) if name else ""

    def on(self, wire: Wire, key: str) -> sa.ColumnElement[bool]:
        """The centers on it."""
        named = self._named[wire].get(key, [])
        names, provinces = {name for name, _ in named} or {key}, {province for _, province in named}
        mine = _ce[wire].in_(sorted(names))
        return mine & _ce.province.in_(sorted(provinces)) if provinces else mine

    @cached_property
    def _keys(self) -> dict[Wire, dict[Named, str]]:
        wires: tuple[Wire, ...] = ("feeder", "exchange")
        return {wire: keys_of(self._counts(wire)) for wire in wires}

    @cached_property
    def _named(self) -> dict[Wire, dict[str, list[Named]]]:
        by_key: dict[Wire, dict[str, list[Named]]] = {wire: defaultdict(list) for wire in self._keys}
        for wire, keys in self._keys.items():
            for named, key in keys.items():
                by_key[wire][key].append(named)
        return by_key

    def _counts(self, wire: Wire) -> dict[Named, int]:
        name = _ce[wire]
        query = sa.select(name, _ce.province, sa.func.count()).where(name != "").group_by(name, _ce.province)
        return {(row[0], row[1]): row[2] for row in self.conn.execute(query)}
