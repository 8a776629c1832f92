"""How far the centers are on their way from the register to complete readings, by province; and gateways in trouble.

Stages, each a part of the one before: registered (in the register, not closed), invited (a token was made for it),
enrolled (a gateway has joined), reporting (heard of late), complete (its line, a speed test, UPS and seats are all
measured). Silent are those enrolled that are not reporting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
import sqlalchemy as sa

from agent import wire
from collector.store import schema

STAGES = ("registered", "invited", "enrolled", "reporting", "complete", "silent")
HEARD_MS = 15 * 60_000
PARTS = ("link", "seats", "speed", "ups")
FRESH_MS = 2 * 86_400_000  # a speed test is seldom
DRIFT_MS = 60_000
ENDING_MS = 14 * 86_400_000
WAITING_READINGS = 1_000  # some three hours of a gateway

_c, _d, _p, _l, _x = (
    schema.centers.c, schema.devices.c, schema.pulse.c, schema.latest.c, schema.certificates.c,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GatewayTrouble:
    """`kind` is drift (`value`: ms its clock is ahead of ours), certificate (ms until it ends) or spool (readings that
    wait)."""

    center: str
    device: str
    kind: str
    value: int


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """Numbers of centers by province and stage; numbers of gateways by version; what is to be looked after."""

    provinces: dict[str, Counter[str]] = field(default_factory=dict)
    versions: Counter[str] = field(default_factory=Counter)
    troubles: list[GatewayTrouble] = field(default_factory=list)

    @property
    def total(self) -> Counter[str]:
        return sum(self.provinces.values(), Counter())


def survey(conn: sa.Connection, now_ms: int) -> Funnel:
    """As it is now. A handful of queries, each over a table with a row or two a center."""
    invited = set(conn.scalars(sa.select(schema.tokens.c.center).distinct()))
    enrolled = set(conn.scalars(sa.select(_d.center).where(_d.revoked_ms.is_(None)).distinct()))
    pulses = {row.center: row for row in conn.execute(sa.select(_p.center, _p.device, _p.heard_ms, _p.clock_ms))}
    measured = _measured(conn, now_ms)
    funnel = Funnel()
    for row in conn.execute(sa.select(_c.center, _c.province).where(_c.lifecycle != "closed")):
        counts = funnel.provinces.setdefault(row.province, Counter(dict.fromkeys(STAGES, 0)))
        is_heard = row.center in pulses and now_ms - pulses[row.center].heard_ms <= HEARD_MS
        counts["registered"] += 1
        counts["invited"] += row.center in invited | enrolled
        if row.center in enrolled:
            counts["enrolled"] += 1
            counts["reporting" if is_heard else "silent"] += 1
            counts["complete"] += is_heard and measured.get(row.center, set()) >= set(PARTS)
    for heard in pulses.values():
        if heard.clock_ms is not None and abs(heard.clock_ms) > DRIFT_MS:
            drift = GatewayTrouble(center=heard.center, device=heard.device, kind="drift", value=heard.clock_ms)
            funnel.troubles.append(drift)
    funnel.troubles.extend(_ending(conn, now_ms))
    for center, device, reading in _gateway_readings(conn):
        funnel.versions[reading.version or "unknown"] += 1
        waiting = reading.spool_readings or 0
        if waiting > WAITING_READINGS:
            funnel.troubles.append(GatewayTrouble(center=center, device=device, kind="spool", value=waiting))
    return funnel


def _measured(conn: sa.Connection, now_ms: int) -> dict[str, set[str]]:
    """The kinds that each center has a fresh reading of: `latest` holds the newest, failed ones too."""
    query = sa.select(_l.center, _l.kind, _l.body).where(_l.kind.in_(PARTS), _l.wall_ms > now_ms - FRESH_MS)
    by_center: dict[str, set[str]] = {}
    for row in conn.execute(query):
        if _reading(row.body, wire.Reading) is not None:
            by_center.setdefault(row.center, set()).add(row.kind)
    return by_center


def _gateway_readings(conn: sa.Connection) -> Iterator[tuple[str, str, wire.GatewayReading]]:
    for row in conn.execute(sa.select(_l.center, _l.device, _l.body).where(_l.kind == "gateway")):
        reading = _reading(row.body, wire.GatewayReading)
        if isinstance(reading, wire.GatewayReading):
            yield row.center, row.device, reading


def _reading(body: str, of: type[wire.Reading]) -> wire.Reading | None:
    """None for one that failed."""
    try:
        reading = wire.decode_reading(body.encode())
    except (wire.WireError, msgspec.MsgspecError):
        return None
    return reading if reading.failure is None and isinstance(reading, of) else None


def _ending(conn: sa.Connection, now_ms: int) -> Iterator[GatewayTrouble]:
    """Certificates that run out soon or have: gateways renew theirs at half of its life."""
    newest = sa.select(_x.device, sa.func.max(_x.expires_ms).label("end_ms")).group_by(_x.device).subquery()
    query = sa.select(_d.center, _d.device, newest.c.end_ms).join(newest, newest.c.device == _d.device)
    query = query.where(_d.revoked_ms.is_(None), newest.c.end_ms < now_ms + ENDING_MS).order_by(newest.c.end_ms)
    for row in conn.execute(query):
        yield GatewayTrouble(center=row.center, device=row.device, kind="certificate", value=row.end_ms - now_ms)
