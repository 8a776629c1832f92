"""Settings go to gateways in rings, as releases do: one gateway, one in a hundred, one in ten, all.

Those whose center is to have the same settings are one group, in an order drawn by lot. A ring opens when four in five
of the one before have had them proven by receipts for ten minutes, and are still heard. Where they fail, or measure
less than before, no further gateway is sent them: a person changes them, tries them again, or sends them to all.

Two things that cannot be told from each other are waited for, never passed by: a gateway in the dark, and one that a
setting has cut off (that one is back by itself within ten minutes).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from agent.updates.offers import lot
from collector.remote.standing import GatewaySettings
from collector.remote.updates import health

SHARES = (0.0, 0.01, 0.1, 1.0)  # of a group, at least one gateway; of no standard
ENOUGH = 0.8  # of a ring: the others may be in the dark
SETTLED_MS = 10 * 60_000
BEFORE_MS = 60 * 60_000  # before the change: what it is compared with
WORSE_PCT = 30.0  # of ten minutes' measurements: one of ten fails by chance
SAMPLE = 200  # gateways whose measurements are compared
HEARD_MS = 180_000  # one not heard for longer is sent nothing: it will report when it is back


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Of one group: `limit` gateways may have its settings by now; none is sent any while it is held."""

    digest: str
    is_held: bool
    members: int
    settled: int
    failed: int
    worse_pct: float
    limit: int


def groups(every: Iterable[GatewaySettings]) -> list[list[GatewaySettings]]:
    """Those that are to have the same settings."""
    by_digest: dict[str, list[GatewaySettings]] = defaultdict(list)
    for one in every:
        by_digest[one.wanted_digest].append(one)
    return [*by_digest.values()]


def under_way(conn: sa.Connection, every: Iterable[GatewaySettings], now_ms: int) -> list[Rollout]:
    """Of each group in which one that is heard waits for its settings."""
    waiting = [group for group in groups(every) if any(map(partial(is_waiting, now_ms=now_ms), group))]
    return [judge(group, worse_pct(conn, group, now_ms), now_ms) for group in waiting]


def judge(group: Sequence[GatewaySettings], worse_pct: float, now_ms: int) -> Rollout:
    """`worse_pct` of those that have them measure less than before. What cannot report settings is no member."""
    members = [one for one in group if one.standing != "unable"]
    settled = [one for one in members if is_settled(one, now_ms)]
    tried = [one for one in members if one.standing != "waiting"]
    failed = [one for one in tried if one.standing == "failed"]
    sizes = [max(1, math.ceil(share * len(members))) for share in SHARES]
    limit = next((size for size in sizes if len(settled) < ENOUGH * size), len(members))
    most = health.MAX_FAILED_PCT
    is_held = 100 * len(failed) > most * len(tried) or worse_pct > most
    return Rollout(
        digest=group[0].wanted_digest, members=len(members), settled=len(settled), failed=len(failed),
        is_held=is_held, worse_pct=worse_pct, limit=0 if is_held else limit,
    )  # fmt: skip


def due(group: Sequence[GatewaySettings], rollout: Rollout, now_ms: int) -> list[GatewaySettings]:
    """Who is to have them now: those of a ring that is open, and all whose version goes to all at once."""
    waiting = [one for one in group if one.standing == "waiting"]
    under_way = [one for one in waiting if one.sent == one.wanted_digest]
    room = max(0, rollout.limit - len([one for one in group if one.standing in ("applied", "trial", "failed")]))
    fresh = [one for one in waiting if one.sent != one.wanted_digest and is_heard(one, now_ms) and not one.at_once]
    fresh.sort(key=lambda one: lot(one.wanted_digest, one.device))
    ringed = [one for one in under_way if not one.at_once][:room]
    chosen = ringed + fresh[: max(0, room - len(under_way))]
    return [one for one in [*chosen, *(one for one in waiting if one.at_once)] if is_heard(one, now_ms)]


def worse_pct(conn: sa.Connection, group: Sequence[GatewaySettings], now_ms: int) -> float:
    """How many of those that took them since they were changed fail to measure more often than in the hour before."""
    changed_ms = max(one.changed_ms for one in group)
    took = [one.device for one in group if is_settled(one, now_ms) and (one.since_ms or 0) >= changed_ms][:SAMPLE]
    before = dict(health.failing(conn, changed_ms - BEFORE_MS, changed_ms, took))
    after = dict(health.failing(conn, now_ms - SETTLED_MS, now_ms, took))
    worse = [one for one in took if health.is_worse(before.get(one), after.get(one), WORSE_PCT)]
    return 100 * len(worse) / len(took) if took else 0.0


def is_settled(one: GatewaySettings, now_ms: int) -> bool:
    return one.standing == "applied" and now_ms - (one.since_ms or 0) >= SETTLED_MS and is_heard(one, now_ms)


def is_waiting(one: GatewaySettings, now_ms: int) -> bool:
    return one.standing == "waiting" and is_heard(one, now_ms)


def is_heard(one: GatewaySettings, now_ms: int) -> bool:
    return one.heard_ms is not None and now_ms - one.heard_ms <= HEARD_MS
