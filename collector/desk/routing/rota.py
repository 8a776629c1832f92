"""Who is on duty: members take turns of equal length; overrides and holidays come before the turn. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.common.center_time import TZ
from collector.common.scope import EVERYWHERE, Scope
from collector.register.opening_hours import DayRule, is_open, parse

DAY_S = 86_400


@dataclass(frozen=True)
class RotaOverride:
    """Somebody else, or nobody (empty), from a time to another; `to_ms` is exclusive."""

    person: str
    from_ms: int
    to_ms: int
    reason: str = ""
    id: int = 0

    def holds(self, at_ms: int) -> bool:
        return self.from_ms <= at_ms < self.to_ms


@dataclass(frozen=True)
class Rota:
    """`members` are keys of accounts; the first one's first turn begins at `from_ms`. Outside of `hours` nobody is on
    duty, nor on holidays unless `on_holidays`."""

    name: str
    members: tuple[str, ...]
    from_ms: int
    turn_s: int = 7 * DAY_S
    scope: Scope = EVERYWHERE
    hours: str = "always"
    on_holidays: bool = True
    overrides: tuple[RotaOverride, ...] = ()
    id: int = 0


def on_duty(rota: Rota, at_ms: int, days: tuple[DayRule, ...] = ()) -> str | None:
    """The key of whoever is on duty then; None for nobody. The last override that holds decides; `days` are the
    holidays."""
    holding = [one for one in rota.overrides if one.holds(at_ms)]
    if holding:
        return max(holding, key=lambda one: one.id).person or None
    if not rota.members or at_ms < rota.from_ms:
        return None
    if not is_open(parse(rota.hours, TZ, () if rota.on_holidays else days), at_ms):
        return None
    turn = (at_ms - rota.from_ms) // (rota.turn_s * 1000)
    return rota.members[turn % len(rota.members)]


def upcoming(rota: Rota, at_ms: int, count: int) -> Sequence[tuple[int, str]]:
    """(begin, member) of the turn at a time and those after it, as the rota has them without overrides."""
    if not rota.members:
        return []
    first = max(0, (at_ms - rota.from_ms) // (rota.turn_s * 1000))
    turns = range(first, first + count)
    return [(rota.from_ms + turn * rota.turn_s * 1000, rota.members[turn % len(rota.members)]) for turn in turns]
