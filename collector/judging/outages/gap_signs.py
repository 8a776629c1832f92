"""What readings say of a gap: those of this transaction, and those that are written near it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import msgspec
import sqlalchemy as sa

from agent import wire
from collector.judging.evaluate import FreshReading
from collector.judging.flags import gap_facts
from collector.judging.flags.gap_facts import Sign
from collector.store import schema
from collector.store.cold import held

_l = schema.latest.c


class FreshSigns:
    """What a transaction's readings say of gaps, by center: made when it is wanted, as most are near none."""

    def __init__(self, fresh: Mapping[str, Sequence[FreshReading]]) -> None:
        self._fresh = fresh
        self._made: dict[str, list[Sign]] = {}
        self.oldest_ms = {code: min(one.at_ms for one in some) for code, some in fresh.items() if some}

    def __getitem__(self, code: str) -> list[Sign]:
        if code not in self._made:
            self._made[code] = [
                gap_facts.sign_of(one.reading, one.kind, one.at_ms, one.id) for one in self._fresh[code]
            ]
        return self._made[code]


def of_ups(conn: sa.Connection, code: str, span: tuple[int, int], fresh: Iterable[Sign]) -> list[Sign]:
    """What the UPSs of a center said around a gap."""
    held = {sign.id: sign for sign in written(conn, "ups", code, span)}
    return list((held | {sign.id: sign for sign in fresh if sign.run is not None}).values())


def written(conn: sa.Connection, kind: str, code: str, span: tuple[int, int]) -> list[Sign]:
    """The readings of a kind that are written and lie near a gap."""
    first_ms, last_ms = gap_facts.reach(*span)
    rows = conn.execute(_near(kind), {"code": code, "first_ms": first_ms, "last_ms": last_ms})
    return [
        gap_facts.sign_of(
            SimpleNamespace(**{name: _plain(name, value) for name, value in row._mapping.items()}),
            kind,
            min(row.wall_ms, row.received_ms),
            f"{row.device} {row.spool} {row.seq}",
        )
        for row in rows
    ]


@cache
def _near(kind: str) -> sa.Select[Any]:
    table = schema.readings[kind].c
    names = [name for name in (*_TELLING, "wall_ms", "received_ms", "device", "spool", "seq") if name in table]
    mine = (table.center == sa.bindparam("code")) & table.wall_ms.between(
        sa.bindparam("first_ms"), sa.bindparam("last_ms")
    )
    return sa.select(*(table[name] for name in names)).where(mine)


# What a sign is made of, whatever its kind.
_TELLING = (
    "subject", "failure", "previous_end", "dark_s", "output_state", "self_test", "source", "on_battery_s",
    "battery_status", "battery_charge_pct", "last_gasp", "causes", "fault_place", "seats",
)  # fmt: skip


def _plain(name: str, value: object) -> object:
    """A column as the wire has it."""
    if not isinstance(value, str) or value[:1] not in "[{":
        return value
    if name == "seats":
        return msgspec.json.decode(value, type=wire.SeatColumns)
    if name == "failure":
        return SimpleNamespace(**msgspec.json.decode(value))
    return msgspec.json.decode(value) if name == "causes" else value


def latest(conn: sa.Connection, code: str, kinds: Sequence[str]) -> list[Sign]:
    query = sa.select(_l.kind, _l.device, _l.wall_ms, _l.received_ms, _l.body)
    rows = conn.execute(query.where(_l.center == code, _l.kind.in_(kinds))).all()
    signs = []
    for row in rows:
        table = held.readings(conn, row.kind, [code], row.wall_ms, row.wall_ms + 1, ()).c
        named = sa.select(table.spool, table.seq).where(
            table.wall_ms == row.wall_ms, table.center == code, table.device == row.device
        )
        first = conn.execute(named.limit(1)).first()
        id = f"{row.device} {first.spool} {first.seq}" if first else row.device
        reading = wire.decode_reading(row.body.encode())
        signs.append(gap_facts.sign_of(reading, row.kind, min(row.wall_ms, row.received_ms), id))
    return signs
