"""A center's gaps with their causes, and what its cuts say of its batteries: for its page, the API and the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from msgspec import to_builtins

from agent.common.reasons import Reason
from collector.judging.flags.backup import Battery, Cut, battery
from collector.judging.flags.judge import bound_of
from collector.judging.outages import gaps as causes
from collector.judging.outages import mains_cuts
from collector.register.centers import Center
from collector.standard.criteria import Standard

MINUTE_MS = 60_000
SHOWN = 20  # gaps and cuts of a page
BACKUP_FIELD = "runtime_s"  # the criterion on it says how long a battery must hold


@dataclass(frozen=True)
class UpsHistory:
    """One UPS: its cuts, newest first, and what all of them say of its battery."""

    name: str
    battery: Battery
    cuts: list[Cut]


def values(conn: sa.Connection, center: Center, standard: Standard | None) -> dict[str, Any]:
    """{gaps, upses} of the page."""
    asked_s = backup_asked_s(center, standard)
    return {
        "gaps": causes.gaps_of(conn, center.code, limit=SHOWN),
        "upses": [
            UpsHistory(name, battery(some, asked_s), some[: -SHOWN - 1 : -1])
            for name, some in mains_cuts.cuts_of(conn, center.code).items()
        ],
    }


def backup_asked_s(center: Center, standard: Standard | None) -> float | None:
    """How long the standard wants this center's battery to hold; None if it does not say."""
    criteria = (item for item in standard.criteria if BACKUP_FIELD in item.fields) if standard else iter(())
    criterion = next(criteria, None)
    return None if criterion is None else bound_of(criterion, center)


def plain(
    conn: sa.Connection, center: Center, standard: Standard | None, renderer: Callable[[Reason], object] = to_builtins
) -> dict[str, Any]:
    """The same as plain values, ready for JSON; `told` makes each reason such a value."""
    facts = values(conn, center, standard)
    return {
        "gaps": [_gap(gap, renderer) for gap in facts["gaps"]],
        "power": [
            {"ups": item.name, **asdict(item.battery), "list": [_cut(cut, renderer) for cut in item.cuts]}
            for item in facts["upses"]
        ],
    }


def book(conn: sa.Connection, center: Center, standard: Standard | None, from_ms: int, to_ms: int) -> dict[str, Any]:
    """A period's account: how many gaps of each cause and their minutes, and the cuts of each UPS with its battery as
    known at the end of the period. A battery's trend needs more than a month, so earlier cuts count for it."""
    gaps: dict[str, dict[str, int]] = {}
    for gap in causes.judged(conn, center.code, from_ms, to_ms):
        row = gaps.setdefault(gap.cause.name, {"count": 0, "minutes": 0, "unsupported": 0})
        row["count"] += 1
        row["minutes"] += round((gap.to_ms - gap.from_ms) / MINUTE_MS)
        row["unsupported"] += gap.cause.grade == "unsupported"
    asked_s = backup_asked_s(center, standard)
    power = []
    for name, known in mains_cuts.cuts_of(conn, center.code, 0, to_ms).items():
        mine = [cut for cut in known if cut.from_ms >= from_ms]
        month, whole = battery(mine, asked_s), battery(known, asked_s)
        trend = {"trend_min_a_month": whole.trend_min_a_month, "below_ms": whole.below_ms}
        power.append({"ups": name, **asdict(month), **trend, "list": [_cut(cut) for cut in mine]})
    return {"gaps": dict(sorted(gaps.items())), "asked_backup_s": asked_s, "power": power}


def _gap(gap: causes.GapView, renderer: Callable[[Reason], object]) -> dict[str, Any]:
    cause = {
        "name": gap.cause.name,
        "grade": gap.cause.grade,
        "evidence": [renderer(item) for item in gap.cause.evidence],
    }
    return {"from_ms": gap.from_ms, "to_ms": gap.to_ms, "revision": gap.revision, "cause": cause}


def _cut(cut: Cut, renderer: Callable[[Reason], object] = to_builtins) -> dict[str, Any]:
    return {
        "from_ms": cut.from_ms,
        "to_ms": cut.to_ms,
        "carried": cut.carried,
        "backup_s": cut.backup_s,
        "load_pct": cut.load_pct,
        "recharge_s": cut.recharge_s,
        "evidence": [renderer(item) for item in cut.evidence],
    }
