"""How far a gateway is with the settings that hold for its center."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from agent.remote.settings import digest_of
from agent.wire import SettingTables
from collector.remote.layers import Layer, Version, current, effective, layers_of
from collector.store import schema

Standing = Literal["applied", "trial", "waiting", "failed", "unable"]

_d, _s, _p, _c = schema.devices.c, schema.device_settings.c, schema.pulse.c, schema.centers.c


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """`standing` is `unable` for a gateway whose program does not report settings; `since_ms` when it last changed what
    it reports, `heard_ms` when its center was last heard; None: never. `sent` is the digest that it was sent last;
    `changed_ms` when a person last changed what is wanted, and `at_once` whether that goes to all without rings."""

    center: str
    device: str
    wanted: SettingTables
    wanted_digest: str
    digest: str
    standing: Standing
    why: str
    sent: str
    changed_ms: int
    at_once: bool
    since_ms: int | None
    heard_ms: int | None


@dataclass(frozen=True)
class _Place:
    """As much of a center as decides which layers hold for it."""

    code: str
    province: str
    tier: str


def gateways(conn: sa.Connection) -> Iterator[GatewaySettings]:
    """Every gateway that may send."""
    newest = current(conn)
    # Few: most centers share all their layers.
    wanted: dict[tuple[Layer, ...], tuple[SettingTables, str, Version | None]] = {}
    for row in conn.execute(_GATEWAYS):
        place = _Place(row.center, row.province, row.tier)
        layers = tuple(layer for layer in layers_of(place) if layer in newest)
        if layers not in wanted:
            tables = effective(newest, place)
            last = max((newest[layer] for layer in layers), key=lambda version: version.id, default=None)
            wanted[layers] = tables, digest_of(tables), last
        tables, digest, last = wanted[layers]
        standing = standing_of(digest, row.digest, row.state, row.failed if row.why else None)
        yield GatewaySettings(
            center=row.center, device=row.device, wanted=tables, wanted_digest=digest, digest=row.digest or "",
            standing=standing, why=row.why if standing == "failed" else "", since_ms=row.at_ms, heard_ms=row.heard_ms,
            sent=row.sent or "", changed_ms=last.at_ms if last else 0, at_once=last is not None and last.at_once,
        )  # fmt: skip


_GATEWAYS = (
    sa.select(_d.center, _d.device, _c.province, _c.tier, _p.heard_ms)
    .add_columns(_s.digest, _s.state, _s.failed, _s.why, _s.at_ms, _s.sent)
    .select_from(schema.devices)
    .join(schema.centers, _c.center == _d.center)
    .outerjoin(schema.device_settings, sa.and_(_s.device == _d.device, _s.center == _d.center))
    .outerjoin(schema.pulse, _p.center == _d.center)
    .where(_d.revoked_ms.is_(None))
    .order_by(_d.center, _d.device)
)


def standing_of(wanted: str, digest: str | None, state: str | None, failed: str | None) -> Standing:
    """From digests, None for none: of what holds for its center, of what it runs with, of what failed."""
    if digest is None:
        return "unable"
    if digest == wanted:
        return "trial" if state == "trial" else "applied"
    return "failed" if failed == wanted else "waiting"
