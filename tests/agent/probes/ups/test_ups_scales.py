"""Numbers: which are possible, in which scale they were sent, and what a device's object is known to send."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.probes.ups.profiles import PROFILES
from agent.probes.ups.profiles.table import LIMIT, TEXTS
from agent.probes.ups.scales import DOUBTS_TO_RELEARN, Scale, weigh

NUMBERS = sorted(
    {obj.field for profile in PROFILES for obj in profile.objects if obj.field and not obj.field.startswith(LIMIT)}
    - TEXTS
    - {"nut_status", "nut_alarm", "nut_test"}
)


@example("alarms_count", math.inf, None)
@given(st.sampled_from(NUMBERS), st.floats(), st.none() | st.builds(Scale, st.sampled_from([0.1, 1.0, 10.0])))
def test_no_impossible_number_is_believed(field: str, value: float, held: Scale | None) -> None:
    weighed = weigh(field, value, scale=0.1, held=held, on_mains=True)

    if weighed.value is not None:
        assert math.isfinite(weighed.value)
        low, high = {
            "battery_charge_pct": (0, 100),
            "load_pct": (0, 250),
            "battery_temp_c": (-40, 75),
            "input_voltage_v": (0, 690),
            "output_frequency_hz": (0, 70),
        }.get(field, (0, math.inf))
        assert low <= weighed.value <= high


@pytest.mark.parametrize(
    ("field", "value", "scale", "believed"),
    [
        ("input_voltage_v", 2302, 1, 230.2),
        ("input_voltage_v", 400, 1, 400),
        ("input_voltage_v", 23.0, 0.1, 230),
        ("output_voltage_v", 24.0, 1, 24),  # a DC system says whole volts and means them
        ("input_frequency_hz", 500.3, 0.1, 50.03),
        ("input_frequency_hz", 5, 0.1, 50),
        ("input_frequency_hz", 50, 1, 50),
        ("input_frequency_hz", 33, 1, None),
        ("battery_charge_pct", 980, 1, 98),
        ("battery_charge_pct", 120, 1, None),
        ("battery_charge_pct", -5, 1, None),
        ("battery_charge_pct", 255, 1, None),
        ("battery_charge_pct", 25.5, 0.1, 25.5),
        ("load_pct", 110, 1, 110),
        ("battery_voltage_v", 2.2, 0.1, None),
        ("battery_temp_c", 0, 1, None),
        ("battery_temp_c", 285, 1, 28.5),
        ("battery_temp_c", 25.5, 0.1, 25.5),
        ("battery_temp_c", 2.2, 0.1, 22),
        ("battery_temp_c", -12, 1, -12),
        ("battery_temp_c", 98, 1, 9.8),
        ("battery_temp_c", 70, 1, None),  # a hot battery, or 7.0 degrees
        ("runtime_s", 65535, 1, None),
        ("runtime_s", 32767, 1, None),
        ("runtime_s", 32767 * 60, 60, None),
        ("runtime_s", 9999 * 60, 60, None),
        ("runtime_s", 999 * 60, 60, 59940),
        ("output_voltage_v", 3276.7, 0.1, None),
        ("input_voltage_v", -32768, 1, None),
        ("input_voltage_v", 9999, 1, None),  # not 99.99 V
        ("input_voltage_v", 99.9, 0.1, 99.9),
        ("load_pct", 999, 1, None),
        ("load_pct", 99.9, 0.1, 99.9),
        ("runtime_s", 3932100, 1, None),  # 65535 minutes
        ("runtime_s", 257698037760, 60, None),
        ("on_battery_s", 2345678901 * 0.01 * 10, 0.01, None),
    ],
)
def test_known_faults_of_scale_are_put_right(field: str, value: float, scale: float, believed: float | None) -> None:
    assert weigh(field, value, scale=scale, on_mains=True).value == pytest.approx(believed)


def test_a_small_voltage_while_on_battery_is_left_as_it_is() -> None:
    assert weigh("input_voltage_v", 12.0, scale=0.1, on_mains=False).value == 12.0


def held_after(field: str, *values: float, scale: float = 1.0) -> tuple[Scale | None, list[float | None]]:
    held, believed = None, []
    for value in values:
        weighed = weigh(field, value, scale=scale, held=held, on_mains=True)
        held = weighed.scale if weighed.scale is not None or weighed.code == "against_scale" else held
        believed.append(weighed.value)
    return held, believed


@pytest.mark.parametrize(
    ("field", "values", "scale", "believed"),
    [
        # Tenths of a degree, learnt on a warm day: what could be either is read as this card sends it.
        ("battery_temp_c", (251.0, 70.0, 30.0), 1.0, [25.1, 7.0, 3.0]),
        # Whole degrees, learnt: a battery that is truly hot stays hot.
        ("battery_temp_c", (31.0, 70.0), 1.0, [31.0, 70.0]),
        # Whole volts where the MIB says tenths: a sag stays one.
        ("input_voltage_v", (23.1, 16.0), 0.1, [231.0, 160.0]),
        # Tenths of volts where the MIB says volts: 600 is a line of 60 V.
        ("input_voltage_v", (2314.0, 600.0), 1.0, [231.4, 60.0]),
    ],
)
def test_a_scale_is_learnt_and_decides_what_would_fit_two(
    field: str, values: tuple[float, ...], scale: float, believed: list[float]
) -> None:
    assert held_after(field, *values, scale=scale)[1] == pytest.approx(believed)


def test_a_scale_that_is_contradicted_again_and_again_is_learnt_anew() -> None:
    held, believed = held_after("battery_temp_c", 31.0, *[254.0] * (DOUBTS_TO_RELEARN + 1))
    assert believed == [31.0, *[None] * DOUBTS_TO_RELEARN, 25.4]
    assert held == Scale(0.1)
