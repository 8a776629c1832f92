"""The findings of this room and the figures of its rules. No figure here is official."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from agent.common.reasons import Reason

PatternFinding = Literal[
    "twin_seats",
    "one_boot",
    "one_machine",
    "one_address",
    "virtual_seats",
    "ups_frozen",
    "ups_unloaded",
    "ups_never_cut",
    "ups_contradicted",
    "repeated_values",
]
FINDINGS: tuple[PatternFinding, ...] = get_args(PatternFinding)


@dataclass(frozen=True, kw_only=True)
class PatternRules:
    """`rounds`: roll calls of a day in which two seats are compared. `boot_span_s` and `boot_seats`: so many PCs that
    began within so short a time were begun by one hand; the mains bring PCs back within tens of seconds. `alike`: so
    many seats, and of all present `alike_share`, that the gateway says come from one address or are virtual. `frozen`:
    readings on mains with the same volts, load and time left. `unloaded`: readings without load beside seats at work.
    `cuts`: of neighbours on one feeder. `plenty_s`: time left by which a gateway should not have died. `block`: so many
    readings one after the other are compared with those before; `blocks`: so many, at least half of whose readings are
    unlike each other and a third unlike the one before in what is noise, that were there before are no chance.
    `repeat_bits`: nor are readings as unlikely as two to the minus this; a day beside a week of minutes makes 2^24
    pairs, a month of 10,000 centers 2^18 such days, and the rest is room for noise that is less free than it looks.
    What stands at more than `copies` places says nothing."""

    rounds: int = 40
    boot_span_s: float = 1.0
    boot_seats: int = 5
    alike: int = 4
    alike_share: float = 0.6
    frozen: int = 600
    unloaded: int = 600
    unloaded_pct: float = 1.0
    cuts: int = 5
    neighbours: int = 3
    plenty_s: float = 900.0
    block: int = 30
    blocks: int = 2
    repeat_bits: float = 80.0
    copies: int = 24


RULES = PatternRules()
FoundPattern = tuple[str, str, Reason]  # center, finding, detail
