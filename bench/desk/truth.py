"""A scripted truth: what really fails in a fleet over some days, and where. Pure: the same seed gives the same script.

Rates a year are ours, chosen so that every kind is seen often; no official figures of Pakistan's outages per feeder or
provider were found. A center has one trouble at a time, with two hours between: overlaps have stories of their own.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.common.center_time import UTC_AHEAD_MS
from collector.commands.simulation.fleet import SimulatedCenter
from collector.desk.symptoms import Family
from collector.judging.flags.cause import Name

Kind = Literal["feeder", "provider", "exchange", "blackout", "line", "lan", "loss", "agent", "pulled", "battery"]

MINUTE_MS, DAY_MS = 60_000, 86_400_000
APART_MS = 2 * 3_600_000
FROM_H, TO_H = 9, 20  # local hours in which troubles begin: at night most centers are closed
WEAK_LINE = 0.2  # of centers: their line's box is not on the UPS

# What a cause may be called. Nobody can tell a pulled plug from a broken machine; a worn battery is no silence.
NAMES: dict[Kind, frozenset[Name]] = {
    "feeder": frozenset({"mains_carried", "ups_exhausted"}), "blackout": frozenset({"mains_carried", "ups_exhausted"}),
    "provider": frozenset({"isp_down"}), "exchange": frozenset({"isp_down"}), "line": frozenset({"isp_down"}),
    "loss": frozenset({"isp_down"}), "lan": frozenset({"lan_fault"}), "agent": frozenset({"agent_stopped"}),
    "pulled": frozenset({"unknown"}), "battery": frozenset(),
}  # fmt: skip
FAMILIES: dict[Kind, frozenset[Family]] = {
    "feeder": frozenset({"power"}), "blackout": frozenset({"power"}), "battery": frozenset({"power"}),
    "provider": frozenset({"line", "dark"}), "exchange": frozenset({"line", "dark"}),
    "line": frozenset({"line", "dark"}), "loss": frozenset({"line"}), "lan": frozenset({"dark", "line"}),
    "agent": frozenset({"dark"}), "pulled": frozenset({"dark"}),
}  # fmt: skip


@dataclass(frozen=True)
class Rate:
    """How often a year: of each group, of each center, or of the whole fleet; how long, in minutes."""

    kind: Kind
    a_year: float
    minutes: tuple[int, int]
    places: Callable[[Sequence[SimulatedCenter]], list[list[SimulatedCenter]]]


@dataclass(frozen=True, eq=False)
class TrueCause:
    """What failed, at which centers, and when."""

    kind: Kind
    place: str
    centers: tuple[SimulatedCenter, ...]
    from_ms: int
    to_ms: int


def _by(key: Callable[[SimulatedCenter], str]) -> Callable[[Sequence[SimulatedCenter]], list[list[SimulatedCenter]]]:
    def places(fleet: Sequence[SimulatedCenter]) -> list[list[SimulatedCenter]]:
        found: dict[str, list[SimulatedCenter]] = defaultdict(list)
        for center in fleet:
            found[key(center)].append(center)
        return list(found.values())

    return places


def _several(places: list[list[SimulatedCenter]]) -> list[list[SimulatedCenter]]:
    return [some for some in places if len(some) > 1]


RATES = (
    Rate("feeder", 3.0, (20, 150), _by(lambda center: center.feeder)),
    Rate("provider", 0.5, (30, 240), lambda fleet: _several(_by(_provider)(fleet))),
    Rate("exchange", 0.5, (30, 240), lambda fleet: _several(_by(lambda center: center.exchange)(fleet))),
    Rate("blackout", 1.0, (120, 360), _by(lambda _center: "")),
    Rate("line", 0.2, (25, 240), _by(lambda center: center.code)),
    Rate("lan", 0.1, (25, 180), _by(lambda center: center.code)),
    Rate("loss", 0.1, (30, 180), _by(lambda center: center.code)),
    Rate("agent", 0.1, (25, 120), _by(lambda center: center.code)),
    Rate("pulled", 0.05, (25, 120), _by(lambda center: center.code)),
    Rate("battery", 0.05, (120, 300), _by(lambda center: center.code)),
)


def _provider(center: SimulatedCenter) -> str:
    return f"{center.isp}, {center.place.city}"


def script(fleet: Sequence[SimulatedCenter], days: int, seed: int, from_ms: int) -> list[TrueCause]:
    """In the order of time."""
    dice = random.Random(f"nabz:truth:{seed}")
    busy: dict[str, list[tuple[int, int]]] = defaultdict(list)
    found = []
    for rate in sorted(RATES, key=lambda one: -max(map(len, one.places(fleet)))):  # the widest find room first
        for centers in rate.places(fleet):
            whole, part = divmod(rate.a_year * days / 365, 1)
            for _ in range(int(whole) + (dice.random() < part)):
                cause = _placed(rate, centers, from_ms + dice.randrange(days) * DAY_MS, dice)
                if all(_is_free(busy[center.code], cause) for center in centers):
                    found.append(cause)
                    for center in centers:
                        busy[center.code].append((cause.from_ms, cause.to_ms))
    return sorted(found, key=lambda cause: (cause.from_ms, cause.kind, cause.place))


def _placed(rate: Rate, centers: Sequence[SimulatedCenter], day_ms: int, dice: random.Random) -> TrueCause:
    begins_ms = day_ms - (day_ms + UTC_AHEAD_MS) % DAY_MS + dice.randrange(FROM_H * 60, TO_H * 60) * MINUTE_MS
    minutes = dice.randint(*rate.minutes)
    first = centers[0]
    places: dict[Kind, str] = {"feeder": first.feeder, "provider": _provider(first), "exchange": first.exchange}
    place = places.get(rate.kind, first.code if len(centers) == 1 else "*")
    return TrueCause(rate.kind, place, tuple(centers), begins_ms, begins_ms + minutes * MINUTE_MS)


def _is_free(busy: Sequence[tuple[int, int]], cause: TrueCause) -> bool:
    return all(cause.from_ms > to_ms + APART_MS or cause.to_ms < from_ms - APART_MS for from_ms, to_ms in busy)


def has_weak_line(center: SimulatedCenter) -> bool:
    return random.Random(f"{center.code}:line").random() < WEAK_LINE
