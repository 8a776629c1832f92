"""What is in the battery, by all the evidence. Pure.

1. Zero is seldom a number: a runtime of 0 on mains, or with charge left, is not known; a charge of 0 that a driver
   reckoned from one cell's voltage, or that a battery's voltage or its runtime contradicts, is none either.
2. "Low" is held against the limits that the UPS itself tells; where they contradict, it is a doubt.
3. "No battery" of a battery that has a voltage and a charge is a word to be forgotten.
4. A voltage that no battery of this UPS has (by its nominal voltage, else by the size of the UPS), and whose tenth or
   hundredth is that of whole blocks of 12 V, is that; where neither is told, 27.3 V in the wrong scale cannot be told
   from the 273 V of a larger UPS, and is believed.
"""

from __future__ import annotations

import math

from agent.probes.ups.draft import Draft
from agent.probes.ups.scales import CODES, FACTORS
from agent.probes.ups.words import ON_MAINS

LASTING_S = 300.0  # no battery without a charge lasts so long
LEFT_PCT = 10.0  # so much charge is not "nothing left"
MOST_LOW_PCT, MOST_LOW_S = 60.0, 900.0  # limits beyond are no limits: some UPSs tell 100 % or 59,940 s
CELL_SHARE = 0.5  # of the nominal voltage: less is one cell's, or no battery's
SURELY_THERE = 0.8  # of the nominal voltage
MOST_NOMINALS = 1.5  # times its nominal voltage: no battery has more
BLOCK_V = (10.0, 15.0)  # of a lead battery of six cells, empty to charging
SMALL_VA, SMALL_W = (200.0, 2200.0), (100.0, 1800.0)  # a UPS of this size (less are kW)
MOST_SMALL_V, MOST_V = 120.0, 650.0  # has no battery of more, and a larger one none of more than the other
LOADED_PCT = 110.0  # beyond, a load is held against the power that is measured


def settle_battery(draft: Draft) -> None:
    cell = _voltage(draft)
    _zeros(draft, cell=cell)
    _load(draft)
    _missing(draft)
    _low(draft)


def _voltage(draft: Draft) -> bool:
    """Whether what is told is one cell's voltage; then it is refused."""
    volts, nominal = draft.get("battery_voltage_v"), draft.limit("battery_nominal_v")
    if volts is not None and volts > _most_volts(draft, nominal):
        _scale_down(draft, volts, nominal)
    elif volts is not None and nominal is not None and nominal >= 6 and volts < CELL_SHARE * nominal:
        draft.refuse("battery_voltage_v", "one_cell")
    return draft.corrections.get("battery_voltage_v") == "one_cell"


def _most_volts(draft: Draft, nominal: float | None) -> float:
    if nominal is not None and nominal >= 6:
        return MOST_NOMINALS * nominal
    sizes = ((draft.limit("power_nominal_va"), SMALL_VA), (draft.limit("real_power_nominal_w"), SMALL_W))
    is_small = any(size is not None and least <= size <= most for size, (least, most) in sizes)
    return MOST_SMALL_V if is_small else MOST_V


def _scale_down(draft: Draft, volts: float, nominal: float | None) -> None:
    """A tenth or a hundredth where that is a battery's; a nominal voltage that suits neither may itself be wrong."""
    before = FACTORS.get(draft.corrections.get("battery_voltage_v", ""), 1.0)  # what it is scaled by already
    for factor in (0.1, 0.01):
        scaled, code = round(volts * factor, 3), CODES.get(round(before * factor, 4), "thousandths")
        if _is_of_blocks(scaled) and (nominal is None or nominal < 6 or 0.8 * nominal <= scaled <= 1.3 * nominal):
            draft.put("battery_voltage_v", scaled, code)
            return
    if nominal is None or nominal < 6:
        draft.refuse("battery_voltage_v", "impossible")


def _is_of_blocks(volts: float) -> bool:
    """Whether whole blocks of 12 V have this voltage together."""
    least, most = BLOCK_V
    return volts >= least and math.ceil(volts / most) <= math.floor(volts / least)


def _zeros(draft: Draft, *, cell: bool) -> None:
    volts, nominal = draft.get("battery_voltage_v"), draft.limit("battery_nominal_v")
    stands = volts is not None and nominal is not None and volts >= nominal
    if draft.get("battery_charge_pct") == 0 and (cell or stands):
        draft.refuse("battery_charge_pct", "from_one_cell" if cell else "against_voltage")
    if draft.get("battery_charge_pct") == 0 and _has_runtime(draft):
        draft.refuse("battery_charge_pct", "zero")
    if draft.get("runtime_s") == 0 and not _is_empty(draft, stands=stands or cell):
        draft.refuse("runtime_s", "zero")


def _has_runtime(draft: Draft) -> bool:
    """Whether the UPS itself calls its battery well and lasting: then it is not empty."""
    return draft.get("battery_status") == "normal" and (draft.get("runtime_s") or 0) >= LASTING_S


def _is_empty(draft: Draft, *, stands: bool) -> bool:
    """Whether a runtime of 0 can be true: on battery, with nothing left, or low by the UPS's own word."""
    if stands or draft.get("output_state") in ON_MAINS:
        return False
    charge = draft.get("battery_charge_pct")
    if charge is not None:
        return bool(charge <= max(LEFT_PCT, _charge_low(draft) or 0))
    return draft.get("battery_status") in ("low", "depleted")


def _load(draft: Draft) -> None:
    """A load beyond the rating, of a UPS that measures its watts: tenths, if those say so."""
    load, watts, rated = draft.get("load_pct"), draft.limit("real_power_w"), draft.limit("real_power_nominal_w")
    if load is None or load <= LOADED_PCT or not watts or not rated:
        return
    by_power = 100 * watts / rated
    if by_power < 0.5 * load:
        near = abs(load / 10 - by_power) <= 0.25 * by_power + 2
        draft.put("load_pct", round(load / 10, 3) if near else round(by_power, 1), "tenths" if near else "by_power")


def _missing(draft: Draft) -> None:
    volts, nominal = draft.get("battery_voltage_v"), draft.limit("battery_nominal_v")
    there = volts is not None and (nominal is None or volts >= SURELY_THERE * nominal)
    if draft.has("no_battery"):
        if there and (draft.get("battery_charge_pct") or 0) > 50:
            draft.refuse("battery_replace", "battery_is_there")
            if draft.get("battery_status") == "fault":
                draft.refuse("battery_status", "battery_is_there")
        elif draft.get("battery_status") in (None, "normal"):
            draft.fields["battery_status"] = "fault"


def _low(draft: Draft) -> None:
    status, charge, runtime = (draft.get(name) for name in ("battery_status", "battery_charge_pct", "runtime_s"))
    charge_low, runtime_low = _charge_low(draft), _runtime_low(draft)
    reached = [
        value <= limit
        for value, limit in ((charge, charge_low), (runtime, runtime_low))
        if value is not None and limit is not None
    ]
    if status in ("low", "depleted"):
        known = draft.limit("charge_low_pct") is not None or draft.limit("runtime_low_s") is not None
        if known and not any(reached) and _has_plenty(charge, runtime, charge_low, runtime_low):
            draft.refuse("battery_status", "against_limits")
    elif status in (None, "normal") and draft.get("output_state") == "battery" and any(reached):
        draft.put("battery_status", "low", "by_limits")


def _has_plenty(
    charge: float | None, runtime: float | None, charge_low: float | None, runtime_low: float | None
) -> bool:
    """Whether what is known lies beyond its limit; a limit that is none counts as its usual value."""
    beyond = [
        value > (usual if limit is None else limit)
        for value, limit, usual in ((charge, charge_low, 30.0), (runtime, runtime_low, 300.0))
        if value is not None
    ]
    return bool(beyond) and all(beyond)


def _charge_low(draft: Draft) -> float | None:
    limit = draft.limit("charge_low_pct")
    return limit if limit is not None and 0 < limit <= MOST_LOW_PCT else None


def _runtime_low(draft: Draft) -> float | None:
    limit = draft.limit("runtime_low_s")
    return limit if limit is not None and 0 < limit <= MOST_LOW_S else None
