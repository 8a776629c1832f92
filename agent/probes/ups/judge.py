"""Is a number possible for its field? Pure: puts known scale faults right and says so, refuses the impossible.

The bounds are physics, not standards: mains is 40 to 70 Hz, no low-voltage line carries more than 690 V.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_LINE_V = 690.0
MAX_BATTERY_V = 1000.0
MIN_BATTERY_V = 6.0  # less is one cell's voltage
LEAST_MAINS_V, MOST_MAINS_V = 85.0, 290.0  # phase to neutral, anywhere in the world
MAX_SECONDS = 31 * 86400.0
MAX_COUNT = 10_000.0  # of alarms: a card that reports more counts something else


class Settled(NamedTuple):
    """`value` None: refused. `why` is a line for --explain, `code` one of CORRECTIONS where the scale was put right;
    both are empty when the number was believed as it came."""

    value: float | None
    why: str = ""
    code: str = ""


def possible(field: str, value: float, scale: float = 1.0, *, on_mains: bool = False) -> Settled:
    """The value to believe for one numeric field, in the field's unit.

    `scale` is what the raw number was multiplied with: tells a tenth that was meant as a whole. `on_mains` says that
    the UPS itself names mains as its source, so that a tiny line voltage is a fault of scale and not of the line.
    """
    match field:
        case "battery_charge_pct":
            return _percent(value, 100)
        case "load_pct":
            return _percent(value, 250)
        case "runtime_s" | "on_battery_s":
            return Settled(value) if 0 <= value <= MAX_SECONDS else Settled(None, f"{value:g} s is no duration")
        case "input_voltage_v" | "output_voltage_v":
            return _line_voltage(value, scale, on_mains)
        case "input_frequency_hz" | "output_frequency_hz":
            return _hertz(value)
        case "battery_voltage_v":
            return _battery_voltage(value)
        case "battery_temp_c":
            return _celsius(value, scale)
        case _:
            return Settled(value) if 0 <= value <= MAX_COUNT else Settled(None, f"{value:g} is no count")


def _percent(value: float, most: float) -> Settled:
    if 0 <= value <= most:
        return Settled(value)
    if most < value <= most * 10 and value / 10 <= 100:
        return Settled(value / 10, f"{value:g} % read as tenths", "tenths")
    return Settled(None, f"{value:g} % is impossible")


def _scaled(value: float, most: float, unit: str) -> Settled:
    if value < 0:
        return Settled(None, f"{value:g} {unit} is impossible")
    for power, name in ((1, ""), (10, "tenths"), (100, "hundredths"), (1000, "thousandths")):
        if value / power <= most:
            return Settled(value / power, f"{value:g} {unit} read as {name}" if name else "", name)
    return Settled(None, f"{value:g} {unit} is impossible")


def _line_voltage(value: float, scale: float, on_mains: bool) -> Settled:
    if on_mains and scale < 1 and LEAST_MAINS_V <= value / scale <= MOST_MAINS_V:
        return Settled(value / scale, f"{value:g} V on mains read as whole volts", "whole")
    return _scaled(value, MAX_LINE_V, "V")


def _hertz(value: float) -> Settled:
    if value == 0:
        return Settled(0.0)
    for factor, code in ((1, ""), (0.1, "tenths"), (10, "tenfold"), (0.01, "hundredths")):
        if 40 <= value * factor <= 70:
            return Settled(round(value * factor, 4), f"{value:g} Hz read as {code}" if code else "", code)
    return Settled(None, f"{value:g} Hz is no mains frequency")


def _battery_voltage(value: float) -> Settled:
    if value < MIN_BATTERY_V:
        return Settled(None, f"{value:g} V is not a battery's: one cell's, or not measured")
    return _scaled(value, MAX_BATTERY_V, "V")


def _celsius(value: float, scale: float) -> Settled:
    if value == 0:
        return Settled(None, "0 °C: no sensor")
    if scale < 1 and 10 <= value / scale <= 60:
        return Settled(value / scale, f"{value:g} °C read as whole degrees", "whole")
    if -40 <= value <= 120:
        return Settled(value)
    if 120 < value <= 1200:
        return Settled(value / 10, f"{value:g} °C read as tenths", "tenths")
    return Settled(None, f"{value:g} °C is impossible")
