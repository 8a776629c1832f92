"""How a day's readings count: what became of each, and those that make one sample a day. Pure.

A figure of a month leads back by `TracedReading` to what was signed. What counts by the day is the mean of all its
readings, each by its weight.

A minute's twenty echoes tell loss in steps of 5 %; a day's thousands tell it to a thousandth. So loss is weighed by the
packets that were sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Literal, NamedTuple

import msgspec

from agent.wire import Hop
from collector.judging.flags.judge import Verdict, judge
from collector.standard.criteria import Criterion, Promise

WEIGHED_BY = {"link": "hops"}  # kind -> the column that tells a reading's weight

_hops = msgspec.json.Decoder(list[Hop])


@dataclass
class Day:
    """What one day brought; `slots` (parts of the day) and `minutes` are those of its readings."""

    weight: float = 0.0
    total: float = 0.0
    slots: set[int] = field(default_factory=set)
    minutes: set[int] = field(default_factory=set)


@dataclass
class Days:
    """The days of one criterion and subject."""

    criterion: Criterion
    days: dict[int, Day] = field(default_factory=dict)

    def add(self, day: int, value: float, weight: float, slots: Iterable[int], minutes: Iterable[int]) -> None:
        mine = self.days.setdefault(day, Day())
        mine.weight += weight
        mine.total += weight * value
        mine.slots.update(slots)
        mine.minutes.update(minutes)

    def verdicts(self, held_on: Callable[[int], Promise]) -> Iterator[tuple[int, Day, Verdict]]:
        plain = replace(self.criterion, only={}, ignore={}, lower_bound={})  # of its readings, these have been asked
        for number, day in sorted(self.days.items()):
            if day.weight:
                value = round(day.total / day.weight, 4)
                reading = SimpleNamespace(**{self.criterion.fields[0]: value}, failure=None)
                yield number, day, judge(plain, reading, held_on(number))


def weight_of(kind: str, text: object) -> float:
    """Packets sent to the far end; 1 for a reading that does not tell."""
    if kind != "link" or not isinstance(text, str):
        return 1.0
    try:
        hops = _hops.decode(text)
    except msgspec.DecodeError:
        return 1.0
    return float(hops[-1].sent) if hops and hops[-1].role == "collector" else 1.0


# ---------------------------------------------------------------- what became of each

Fate = Literal["meets", "below", "unknown", "mean", "excused", "closed"]
"""Under a criterion: a sample that met it or did not, no sample, a part of its day's mean, or of a time that was taken
out or not open."""


class TracedReading(NamedTuple):
    """A reading, by its signed id, and what became of it under one criterion."""

    wall_ms: int
    device: str
    spool: str
    seq: int
    subject: str
    received_ms: int
    criterion: Criterion
    verdict: Verdict
    fate: Fate


def fate_of(
    criterion: Criterion, verdict: Verdict, minute: int, open_minutes: Collection[int], excused: Collection[int]
) -> Fate:
    """`minute`: in which it was taken, since 1970."""
    if criterion.when == "open_hours" and minute not in open_minutes:
        return "closed"
    if minute in excused:
        return "excused"
    return "mean" if criterion.month.per == "day" and verdict.value is not None else verdict.word
