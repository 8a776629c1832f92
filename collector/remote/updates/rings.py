"""How far a release goes: the next ring, opened or held by how gateways fare; by a person or by the hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from securesystemslib.signer import CryptoSigner

from agent.common.releases.version import version_key
from agent.updates.offers import OfferedRelease, Pace
from collector.remote.updates import health
from collector.remote.updates.repository import UpdateRepository


@dataclass(frozen=True, kw_only=True)
class RingStep:
    """Rings that were open and that are now; `found` is how they fare, where any was open."""

    release: OfferedRelease
    before: int
    now: int
    found: health.RingHealth | None = None


def newest(releases: Sequence[OfferedRelease]) -> OfferedRelease | None:
    return max(releases, key=lambda one: version_key(one.version), default=None)


def judged(conn: sa.Connection, release: OfferedRelease, pace: Pace, now_ms: int) -> health.RingHealth | None:
    """None while no ring is open."""
    if pace.open == 0:
        return None
    gateways = health.survey(conn, pace.at_ms, now_ms)
    return health.judge_ring(release, pace.open - 1, gateways, pace.at_ms, now_ms)


def step(
    repository: UpdateRepository,
    release: OfferedRelease,
    online: CryptoSigner,
    ring_health: health.RingHealth | None,
    now_ms: int,
    wanted: int | None = None,
) -> RingStep:
    """Opens so many rings as a person wants, or as their health allows; says in any case what is current. Raises
    UpdateError or OSError."""
    pace = repository.paces().get(release.version, Pace())
    rings = health.next_open(release, pace, ring_health, now_ms) if wanted is None else wanted
    if rings == pace.open:
        repository.publish(online, now_ms)
    else:
        repository.set_pace(release.version, rings, online, now_ms)
    return RingStep(release=release, before=pace.open, now=rings, found=ring_health)
