"""Is a number possible for its field, and in which scale was it sent? Pure.

1. Bounds are physics, not standards: mains is 40 to 70 Hz, no low-voltage line carries more than 690 V, a battery at
   98 °C would be on fire.
2. A scale is a property of a device's object, not of one value. What a value proves (a factor that alone makes it
   possible) is held for that object, and decides later values that would fit two scales.
3. What fits two scales and was never decided is unknown, where a wrong guess would mislead (temperatures).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from agent.common.power import LEAST_MAINS_V

MOST_LINE_V = 690.0
MOST_BATTERY_V = 1000.0
LEAST_BATTERY_V = 6.0  # less is one cell's voltage
MOST_MAINS_V = 290.0  # phase to neutral, anywhere in the world
MOST_SECONDS = 31 * 86400.0
MOST_ALARMS = 10_000.0  # a card that reports more counts something else
MOST_LOAD_PCT = 250.0
LEAST_TENTHS_PCT = 200.0  # a charge of 120 % is a full battery to some UPSs, and 12 % in tenths to others

# All-ones of 8 to 32 bits and their kin: what agents and drivers send for "I do not know".
ALL_ONES = frozenset({-1, 32767, -32768, 65534, 65535, 655350, 2147483647, -2147483648, 4294967294, 4294967295, -9999})
SCALED_ONES = frozenset(round(ones * factor, 3) for ones in (32767, 65535, 4294967295) for factor in (0.1, 0.01, 60.0))
NINES = frozenset({9999, 99999})  # all that a display of so many digits can show
NINES_MEAN_NOTHING = frozenset({"runtime_s", "load_pct", "input_voltage_v", "output_voltage_v", "battery_voltage_v"})
ONES_OF_A_BYTE = frozenset({"battery_charge_pct", "battery_temp_c", "load_pct"})  # fields in which 255 means unknown

CODES = {0.1: "tenths", 0.01: "hundredths", 0.001: "thousandths"}
FACTORS = {code: factor for factor, code in CODES.items()}

DOUBTS_TO_RELEARN = 3  # values that contradict the scale held, one after the other


class Fit(NamedTuple):
    """How well a value suits its field: 0 impossible, 1 possible, 2 what such a device shows nearly always."""

    field: str
    on_mains: bool = False

    def of(self, value: float) -> int:
        match self.field:
            case "battery_charge_pct":
                return 2 if 0 <= value <= 100 else 0
            case "load_pct":
                return 2 if 0 <= value <= MOST_LOAD_PCT else 0
            case "runtime_s" | "on_battery_s":
                return 2 if 0 <= value <= MOST_SECONDS else 0
            case "input_voltage_v" | "output_voltage_v":
                if not self.on_mains:
                    return 2 if 0 <= value <= MOST_LINE_V else 0
                return 2 if LEAST_MAINS_V <= value <= MOST_LINE_V else 1 if 0 <= value < LEAST_MAINS_V else 0
            case "input_frequency_hz" | "output_frequency_hz":
                return 2 if value == 0 or 40 <= value <= 70 else 0
            case "battery_voltage_v":
                return 2 if LEAST_BATTERY_V <= value <= MOST_BATTERY_V else 0
            case "battery_temp_c":
                return 2 if 5 <= value <= 60 else 1 if -40 <= value <= 75 else 0
            case _:
                return 2 if 0 <= value <= MOST_ALARMS else 0


def factors_of(field: str, scale: float) -> Sequence[float]:
    """By what a value may be off, the likeliest first. `scale` is the one it was already multiplied with: an agent may
    send whole units where its MIB says tenths."""
    whole = [1 / scale] if scale < 1 else []
    match field:
        case "battery_charge_pct" | "load_pct":
            return [0.1]
        case "input_voltage_v" | "output_voltage_v":
            return [*whole, 0.1, 0.01, 0.001]
        case "input_frequency_hz" | "output_frequency_hz":
            return [0.1, 10.0, 0.01]
        case "battery_voltage_v":
            return [0.1, 0.01, 0.001]
        case "battery_temp_c":
            return [*whole, 0.1]
        case _:
            return []


@dataclass(frozen=True)
class Scale:
    """What is known of one object's scale. `doubts` counts the values in a row that contradict it."""

    factor: float
    doubts: int = 0


class Weighed(NamedTuple):
    """`value` None: refused, with `code`. `code` is empty when the number was believed as it came. `scale` is what is
    known of the object from now on."""

    value: float | None
    code: str = ""
    scale: Scale | None = None


def is_unknown(field: str, value: float, scale: float = 1.0) -> bool:
    """Whether a number is one of those that mean "unknown", as it was sent or as it was scaled."""
    raw = round(value / scale, 3) if scale else value
    if value in ALL_ONES or raw in ALL_ONES or round(value, 3) in SCALED_ONES:
        return True
    if field in NINES_MEAN_NOTHING and (raw in NINES or (field == "load_pct" and value == 999)):
        return True
    if field == "battery_temp_c" and value in (0, -273):
        return True  # no sensor
    return field in ONES_OF_A_BYTE and value == 255


def weigh(
    field: str, value: float, *, scale: float = 1.0, held: Scale | None = None, on_mains: bool = False
) -> Weighed:
    """The value to believe for one numeric field, in the field's unit, and what it teaches of its object's scale.

    `on_mains` says that the UPS itself names mains as its source, so that a tiny line voltage is a fault of scale.
    """
    if is_unknown(field, value, scale):
        return Weighed(None, "sentinel", held)
    fit = Fit(field, on_mains)
    if held is not None:
        return _by_scale_held(fit, value, held)
    as_sent = fit.of(value)
    better = [factor for factor in factors_of(field, scale) if fit.of(value * factor) == 2]
    if as_sent == 2:
        return Weighed(value, "", _taught(fit, value, scale))
    if as_sent == 0:
        if not better:
            return Weighed(None, "one_cell" if field == "battery_voltage_v" and value >= 0 else "impossible")
        if field == "battery_charge_pct" and value < LEAST_TENTHS_PCT:
            return Weighed(None, "undecided_scale")
        return _scaled(fit, value, better[0], Scale(better[0]))
    if scale < 1 and better and better[0] == 1 / scale:
        return _scaled(fit, value, better[0], Scale(better[0]) if field != "battery_temp_c" else None)
    if field == "battery_temp_c" and value > 60 and better:
        return Weighed(None, "undecided_scale")
    return Weighed(value)


def _by_scale_held(fit: Fit, value: float, held: Scale) -> Weighed:
    if fit.of(value * held.factor):
        return _scaled(fit, value, held.factor, replace(held, doubts=0))
    doubts = held.doubts + 1
    return Weighed(None, "against_scale", None if doubts >= DOUBTS_TO_RELEARN else replace(held, doubts=doubts))


def _taught(fit: Fit, value: float, scale: float) -> Scale | None:
    """A temperature that only its declared scale makes likely proves that scale."""
    if fit.field != "battery_temp_c" or any(fit.of(value * factor) == 2 for factor in factors_of(fit.field, scale)):
        return None
    return Scale(1.0)


def _scaled(fit: Fit, value: float, factor: float, scale: Scale | None) -> Weighed:
    up = "tenfold" if fit.field.endswith("_hz") else "whole"
    return Weighed(round(value * factor, 4), up if factor > 1 else CODES.get(factor, ""), scale)
