"""How the gateways fare that were the first to get a release: pure, besides one query.

A ring is well when, for a day, enough of its gateways have run the release and none of them is worse off: none crashes,
none is silent that was heard before, no more of their measurements fail than before. What is not well is held.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import sqlalchemy as sa

from agent import wire
from agent.updates.offers import GatewayPlace, OfferedRelease, Pace, is_in_ring
from collector.store import schema

DAY_MS = 86_400_000
SILENT_MS = 30 * 60_000
MAX_FAILED_PCT = 2.0  # of the gateways that took it; in a small ring a single one is more
MAX_WORSE_PCT = 5.0  # of a gateway's readings that fail, more than in the days before
MAX_CRASHES = 2  # of one gateway in a day: power cuts are no crashes
CRASHES = ("crash", "killed")

_d, _p, _l = schema.devices.c, schema.pulse.c, schema.latest.c


@dataclass(frozen=True, kw_only=True)
class GatewayFacts:
    """One gateway as it is seen now. `running` is None where it is not known; shares are None without readings."""

    center: str
    device: str
    running: str | None = None
    failed: str | None = None
    heard_ms: int | None = None
    crashes: int = 0
    failing_pct: float | None = None
    failing_before_pct: float | None = None


@dataclass(frozen=True, kw_only=True)
class RingHealth:
    """`members` of the ring, and how many `took` the release and run it; the devices that are worse off, by how."""

    state: Literal["waiting", "well", "bad"]
    members: int
    took: int
    failed: Sequence[str] = ()
    crashed: Sequence[str] = ()
    silent: Sequence[str] = ()
    worse: Sequence[str] = ()


def judge_ring(
    release: OfferedRelease, number: int, gateways: Iterable[GatewayFacts], opened_ms: int, now_ms: int
) -> RingHealth:
    """Of the gateways of this ring and of those before it; `opened_ms` is when it was opened."""
    rings = release.rings[: number + 1]
    members = [one for one in gateways if any(is_in_ring(release.version, ring, _place(one)) for ring in rings)]
    runs = [one for one in members if one.running == release.version]
    troubles = {
        "failed": [one.device for one in members if one.failed == release.version],
        "crashed": [one.device for one in runs if one.crashes > MAX_CRASHES],
        "silent": [one.device for one in runs if one.heard_ms is None or now_ms - one.heard_ms > SILENT_MS],
        "worse": [one.device for one in runs if is_worse(one.failing_before_pct, one.failing_pct)],
    }
    tried = {one.device for one in runs} | set(troubles["failed"])
    affected = {device for devices in troubles.values() for device in devices}
    state: Literal["waiting", "well", "bad"] = "waiting"
    if affected and 100 * len(affected) > MAX_FAILED_PCT * len(tried):
        state = "bad"
    elif runs and 2 * len(tried) >= len(members) and now_ms - opened_ms >= DAY_MS:
        state = "well"
    return RingHealth(state=state, members=len(members), took=len(runs), **troubles)


def next_open(release: OfferedRelease, pace: Pace, health: RingHealth | None, now_ms: int) -> int:
    """How many rings are to be open: the first, if none was yet; one more where all is well and its time has come; none
    where it is not well. One that was held stays so until a person opens it."""
    if health is None:
        return 0 if pace.at_ms else 1
    if health.state == "bad":
        return 0
    is_next = health.state == "well" and pace.open < len(release.rings) and now_ms >= release.rings[pace.open].from_ms
    return pace.open + is_next


def _place(one: GatewayFacts) -> GatewayPlace:
    return GatewayPlace(center=one.center, device=one.device, running="0.0", installed="0.0")


def is_worse(before_pct: float | None, after_pct: float | None, most: float = MAX_WORSE_PCT) -> bool:
    """Of two shares of measurements that failed, by more than `most` percent; None without measurements."""
    return before_pct is not None and after_pct is not None and after_pct - before_pct > most


# ---------------------------------------------------------------- what the database knows


def survey(conn: sa.Connection, since_ms: int, now_ms: int) -> list[GatewayFacts]:
    """Every gateway that may send; crashes and failures since `since_ms`, and failures in as long a time before."""
    newest = dict(_newest(conn))
    crashes = dict(_crashes(conn, since_ms))
    shares = [dict(failing(conn, *span)) for span in ((since_ms, now_ms), (2 * since_ms - now_ms, since_ms))]
    query = sa.select(_d.center, _d.device, _p.heard_ms).outerjoin(schema.pulse, _p.device == _d.device)
    return [
        GatewayFacts(
            center=row.center, device=row.device, heard_ms=row.heard_ms, crashes=crashes.get(row.device, 0),
            running=newest[row.device].version if row.device in newest else None,
            failed=newest[row.device].failed_release if row.device in newest else None,
            failing_pct=shares[0].get(row.device), failing_before_pct=shares[1].get(row.device),
        )
        for row in conn.execute(query.where(_d.revoked_ms.is_(None)))
    ]  # fmt: skip


def _newest(conn: sa.Connection) -> Iterable[tuple[str, wire.GatewayReading]]:
    for row in conn.execute(sa.select(_l.device, _l.body).where(_l.kind == "gateway")):
        try:
            reading = wire.decode_reading(row.body.encode())
        except (wire.WireError, msgspec.MsgspecError):
            continue
        if isinstance(reading, wire.GatewayReading) and reading.failure is None:
            yield row.device, reading


def _crashes(conn: sa.Connection, since_ms: int) -> Iterable[tuple[str, int]]:
    boot = schema.readings["boot"].c
    ends = boot.previous_end.in_(CRASHES) & (boot.wall_ms >= since_ms)
    query = sa.select(boot.device, sa.func.count()).where(ends).group_by(boot.device)
    return ((row[0], row[1]) for row in conn.execute(query))


def failing(
    conn: sa.Connection, since_ms: int, until_ms: int, devices: Sequence[str] | None = None
) -> Iterable[tuple[str, float]]:
    """The share of link measurements that could not be made at all, in percent; of these devices, or of all."""
    link = schema.readings["link"].c
    query = sa.select(link.device, sa.func.count(), sa.func.count(link.failure))
    if devices is not None:
        query = query.where(link.device.in_(devices))
    for row in conn.execute(query.where(link.wall_ms >= since_ms, link.wall_ms < until_ms).group_by(link.device)):
        yield row[0], 100 * row[2] / row[1]
