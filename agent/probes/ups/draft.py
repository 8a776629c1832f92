"""What a look at a UPS brings, what is kept between looks, and the reading in the making. No judgement here.

Words of evidence (`Evidence.words`), whatever the source calls them:
  on_battery, on_mains, off (the output) · charging, discharging · low, replace, no_battery, battery_fault · testing,
  test_failed · lost (the card has lost its UPS) · input_bad · by_volts (a DC plant that names no state) ·
  generator, solar, grid (named as such by a device that knows other sources).
Limits (`Evidence.limits`), in the units of their names:
  charge_low_pct, runtime_low_s · transfer_low_v, transfer_high_v · input_nominal_v, output_nominal_v ·
  battery_nominal_v · real_power_w, real_power_nominal_w, power_nominal_va.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agent.probes.ups.scales import Scale


class Candidate(NamedTuple):
    """What one object or variable says of a field: in the field's unit, by the scale its source declares for it.
    `key` names the object (its scale is learnt), `source` the vendor table or ``nut``."""

    value: float | bool | str
    source: str = ""
    key: str = ""
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What stands around the values: `words` and `limits` as this module lists them."""

    words: frozenset[str] = frozenset()
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """All that one look at a UPS brought, of whatever source. `remarks` are findings about the conversation itself."""

    candidates: Mapping[str, Sequence[Candidate]]
    evidence: Evidence = Evidence()
    makers: Mapping[str, str] = field(default_factory=dict)  # by source: who makes what has no name of its maker
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PowerMemory:
    """What one device said of its power so far. Times in seconds of a monotonic clock."""

    mains_s: float | None = None  # when it was on mains last
    counted_s: float = 0.0  # what its counter of seconds on battery showed then, or at the first look
    counted: tuple[float, float] | None = None  # (when, seconds): since when that counter stands still
    since_s: float | None = None  # the first look of the discharge that lasts
    input: tuple[float | None, float | None] = (None, None)  # volts and hertz at the input, at the last look
    moved: bool = False  # they have changed since the discharge began
    honest: bool | None = None  # in an earlier discharge the input was seen to die (True), or never to move (False)
    live: bool = False  # the input has ever shown mains


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What is known of one device from the looks before. Times are of a monotonic clock, in seconds."""

    scales: Mapping[str, Scale] = field(default_factory=dict)
    power: PowerMemory = PowerMemory()
    held: frozenset[str] = frozenset()  # words of trouble that stood at the last look


@dataclass
class Draft:
    """A reading in the making."""

    evidence: Evidence
    memory: Memory
    now_s: float
    fields: dict[str, Any] = field(default_factory=dict)
    corrections: dict[str, str] = field(default_factory=dict)  # field -> code of what was put right
    chosen: dict[str, Candidate] = field(default_factory=dict)  # field -> the one believed, else the first refused

    def get(self, name: str) -> Any:
        return self.fields.get(name)

    def has(self, word: str) -> bool:
        return word in self.evidence.words

    def limit(self, name: str) -> float | None:
        return self.evidence.limits.get(name)

    def source(self, name: str) -> str:
        """Whose word a field is."""
        return self.chosen[name].source if name in self.chosen else ""

    def refuse(self, name: str, code: str) -> None:
        """Unknown after all; `code` says why."""
        if self.fields.pop(name, None) is not None:
            self.corrections[name] = code

    def put(self, name: str, value: object, code: str) -> None:
        """Another value than the one told; `code` says why."""
        self.fields[name] = value
        self.corrections[name] = code
