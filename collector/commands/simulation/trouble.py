"""The script of troubles: which centers, what, from when to when. Pure: the same seed stages the same play.

Time is cut into cycles of at most an hour; each cycle stages every kind once, so that a short demonstration shows
them all and an endless one keeps changing.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from collector.commands.simulation.fleet import SimulatedCenter

What = Literal[
    "feeder_cut",
    "carrier_outage",
    "slow_line",
    "broken_seats",
    "silent_gateway",
    "lying_clock",
    "cable_out",
    "switched_off",
    "agent_killed",
    "forged_speed",
    "replayed_test",
    "inflated_speed",
]
Window = Callable[[tuple[float, float], tuple[float, float]], tuple[int, int]]  # shares of a cycle -> (from, to) in ms

CYCLE_MS = 3_600_000
RECHARGE_S = 3 * 3600.0  # empty to full
MEMORY_MS = 6 * 3_600_000  # a trouble this long over shows in no reading any more
START_UP_MS = 90_000  # from mains back to the agent's first reading
# What the next start says of troubles that end the agent (see `agent.wire.BootReading.previous_end`).
ENDS: dict[What, str] = {"silent_gateway": "unknown", "switched_off": "reboot", "agent_killed": "killed"}
LIE_MS = 5 * 3_600_000  # Pakistan's offset from UTC: the commonest wrong clock


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One staged trouble; `subject` is the feeder, the carrier or the number of seats it is about, if any."""

    what: What
    centers: tuple[str, ...]
    from_ms: int
    to_ms: int
    subject: str

    def covers(self, at_ms: int) -> bool:
        return self.from_ms <= at_ms < self.to_ms


def stage(fleet: Sequence[SimulatedCenter], seed: int, cycle: int, from_ms: int, cycle_ms: int) -> list[Trouble]:
    """The troubles of one cycle, which begins at `from_ms` and lasts `cycle_ms`."""
    dice = random.Random(f"nabz-trouble:{seed}:{cycle}")

    def window(start: tuple[float, float], length: tuple[float, float]) -> tuple[int, int]:
        begin = from_ms + int(dice.uniform(*start) * cycle_ms)
        return begin, min(begin + int(dice.uniform(*length) * cycle_ms), from_ms + cycle_ms)

    return [*_cuts(fleet, dice, window), *_outage(fleet, dice, window), *_ailments(fleet, dice, window)]


def _cuts(fleet: Sequence[SimulatedCenter], dice: random.Random, window: Window) -> Iterator[Trouble]:
    feeders = defaultdict(list)
    for center in fleet:
        feeders[center.feeder].append(center.code)
    for feeder in dice.sample(sorted(feeders), max(1, len(feeders) // 10)):
        begin, end = window((0.02, 0.4), (0.2, 0.5))
        yield Trouble(
            what="feeder_cut",
            centers=tuple(feeders[feeder]),
            from_ms=begin,
            to_ms=end,
            subject=feeder,
        )


def _outage(fleet: Sequence[SimulatedCenter], dice: random.Random, window: Window) -> Iterator[Trouble]:
    """One carrier of one province: a national carrier's whole fall would hide everything else on the map."""
    regions = defaultdict(list)
    for center in fleet:
        regions[f"{center.isp}, {center.place.province}"].append(center.code)
    largest = sorted(regions, key=lambda region: (-len(regions[region]), region))[:5]
    region = dice.choice(largest)
    begin, end = window((0.25, 0.6), (0.1, 0.2))
    yield Trouble(
        what="carrier_outage",
        centers=tuple(regions[region]),
        from_ms=begin,
        to_ms=end,
        subject=region,
    )


def _ailments(fleet: Sequence[SimulatedCenter], dice: random.Random, window: Window) -> Iterator[Trouble]:
    """Troubles of single centers, each on centers of its own while there are enough of them."""
    codes = [center.code for center in fleet]
    dice.shuffle(codes)
    kinds: tuple[tuple[What, int], ...] = (
        ("silent_gateway", 1),
        ("lying_clock", 1),
        ("slow_line", max(1, len(codes) // 25)),
        ("broken_seats", max(1, len(codes) // 25)),
        ("cable_out", max(1, len(codes) // 50)),
        ("switched_off", max(1, len(codes) // 50)),
        ("agent_killed", max(1, len(codes) // 50)),
        ("forged_speed", max(1, len(codes) // 50)),
        ("replayed_test", max(1, len(codes) // 50)),
        ("inflated_speed", max(1, len(codes) // 50)),
    )
    for what, count in kinds:
        for code in codes[:count]:
            begin, end = window((0.02, 0.25), (0.4, 0.7))
            yield Trouble(
                what=what,
                centers=(code,),
                from_ms=begin,
                to_ms=end,
                subject=str(dice.randint(1, 6)) if what == "broken_seats" else "",
            )
        del codes[:count]


class Stage:
    """The troubles of a run by center, extended cycle by cycle as time passes."""

    def __init__(self, fleet: Sequence[SimulatedCenter], seed: int, start_ms: int, cycle_ms: int = CYCLE_MS) -> None:
        self._fleet, self._seed, self._start_ms, self._cycle_ms = fleet, seed, start_ms, cycle_ms
        self._cycles = 0
        self.troubles: list[Trouble] = []
        self._by_center: dict[str, list[Trouble]] = defaultdict(list)

    def extend(self, until_ms: int) -> list[Trouble]:
        """Stage every cycle that begins before `until_ms`; the troubles that are new."""
        new: list[Trouble] = []
        while (begin := self._start_ms + self._cycles * self._cycle_ms) < until_ms:
            new += stage(self._fleet, self._seed, self._cycles, begin, self._cycle_ms)
            self._cycles += 1
        for trouble in new:
            for code in trouble.centers:
                kept = [t for t in self._by_center[code] if t.to_ms > trouble.from_ms - MEMORY_MS]
                self._by_center[code] = [*kept, trouble]
        self.troubles = [t for t in self.troubles if t.to_ms > until_ms - MEMORY_MS] + new
        return new

    def troubled(self, at_ms: int) -> set[str]:
        """The centers in any trouble at this moment."""
        return {code for trouble in self.troubles if trouble.covers(at_ms) for code in trouble.centers}

    def of(self, code: str, what: What, at_ms: int) -> Trouble | None:
        return next((item for item in self._by_center[code] if item.what == what and item.covers(at_ms)), None)

    def last_cut(self, code: str, at_ms: int) -> Trouble | None:
        """The newest cut that has begun, over or not."""
        begun = [t for t in self._by_center[code] if t.what == "feeder_cut" and t.from_ms <= at_ms]
        return begun[-1] if begun else None

    def dark(self, center: SimulatedCenter, at_ms: int) -> tuple[int, int, str] | None:
        """(from, to, why) while this center's agent does not run: ended, its UPS is empty, or nobody knows why."""
        for what, end in ENDS.items():
            if silent := self.of(center.code, what, at_ms):
                return silent.from_ms, silent.to_ms, end
        cut = self.last_cut(center.code, at_ms)
        if cut is None:
            return None
        empty_ms = cut.from_ms + int(center.autonomy_s * 1000)
        back_ms = cut.to_ms + START_UP_MS
        return (empty_ms, back_ms, "power") if empty_ms < cut.to_ms and empty_ms <= at_ms < back_ms else None

    def offline(self, center: SimulatedCenter, at_ms: int) -> bool:
        """Its gateway runs but nothing reaches the collector. In every third cut the carrier's box dies as well."""
        if self.of(center.code, "carrier_outage", at_ms) or self.of(center.code, "cable_out", at_ms):
            return True
        cut = self.of(center.code, "feeder_cut", at_ms)
        return cut is not None and center.index % 3 == 0

    def clock_error_ms(self, center: SimulatedCenter, at_ms: int) -> int:
        return LIE_MS if self.of(center.code, "lying_clock", at_ms) else 0
