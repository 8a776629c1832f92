"""A second set of conditions that people reported in public, rebuilt as small inputs: what is right of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from agent.probes.ups import nut, settle
from agent.probes.ups.draft import Memory
from agent.wire import Failure, UpsReading

SYSTEM = {"1.3.6.1.2.1.1.1.0": ("4", "Example card"), "1.3.6.1.2.1.1.2.0": ("6", "1.3.6.1.4.1.8072.3.2.10")}
MIB = "1.3.6.1.2.1.33.1."
UNKNOWN = (None,)
TOLERANCE = {"runtime_s": 1.0, "input_frequency_hz": 0.05, "battery_voltage_v": 0.05}


class Condition(NamedTuple):
    """`says` are `upsd`'s variables, `card` what a card holds below the RFC's root. `right` lists what can be
    defended for each field; `failure` is the cause that is right."""

    source: str
    right: dict[str, tuple[Any, ...]]
    says: dict[str, str] = {}  # noqa: RUF012
    card: dict[str, tuple[str, str]] = {}  # noqa: RUF012
    failure: str | None = None


def card_of(**numbers: int) -> dict[str, tuple[str, str]]:
    """`_2_1_0=2` is the object 2.1.0."""
    return {name.strip("_").replace("_", "."): ("2", str(value)) for name, value in numbers.items()}


CONDITIONS = {
    "charge-in-no-scale-and-a-guessed-ob": Condition(
        "networkupstools/nut issue 3061",
        {"battery_charge_pct": UNKNOWN, "battery_status": ("normal", None), "output_state": ("battery", None)},
        {"battery.charge": "1500", "battery.charge.low": "150", "ups.status": "OB", "device.model": "UPS HI"},
    ),
    "output-beyond-what-it-can-be": Condition(
        "networkupstools/nut issue 459",
        {"output_state": ("online",), "output_voltage_v": UNKNOWN, "input_voltage_v": (119,), "runtime_s": (5100,)},
        {
            "battery.charge": "100",
            "battery.runtime": "5100",
            "battery.voltage": "16.0",
            "ups.status": "OL",
            "battery.voltage.nominal": "24",
            "input.voltage": "119.0",
            "input.voltage.nominal": "120",
            "input.transfer.low": "88",
            "input.transfer.high": "136",
            "output.voltage": "136.0",
            "ups.load": "5",
        },
    ),
    "dc-ups-on-mains": Condition(
        "networkupstools/nut issue 495",
        {"output_state": ("online",), "runtime_s": UNKNOWN, "battery_charge_pct": (72,), "battery_temp_c": (40.5,)},
        {
            "battery.charge": "72",
            "battery.runtime": "3932100",
            "battery.temperature": "40.50",
            "battery.voltage": "13.78",
            "input.voltage": "23.96",
            "output.voltage": "12.01",
            "ups.status": "OL CHRG",
        },
    ),
    "dc-ups-charged-on-mains": Condition(
        "networkupstools/nut issue 495, its charged state",
        {"output_state": ("online",), "battery_charge_pct": (100,)},
        {"battery.charge": "100", "input.voltage": "23.96", "output.voltage": "12.01", "ups.status": "OL"},
    ),
    "dc-ups-on-battery": Condition(
        "networkupstools/nut issue 495",
        {"output_state": ("battery",), "runtime_s": (39060,), "battery_charge_pct": (73,)},
        {
            "battery.charge": "73",
            "battery.runtime": "39060",
            "battery.voltage": "13.17",
            "input.voltage": "0.02",
            "output.voltage": "12.01",
            "ups.status": "OB DISCHRG",
            "battery.charge.low": "5",
        },
    ),
    "a-test-that-ended-in-a-warning": Condition(
        "networkupstools/nut issue 2008",
        {
            "output_state": ("online",),
            "self_test": ("warning",),
            "battery_charge_pct": (48,),
            "input_voltage_v": (123,),
        },
        {
            "battery.charge": "48",
            "battery.runtime": "1092",
            "battery.runtime.low": "300",
            "input.voltage": "123.0",
            "input.voltage.nominal": "120",
            "ups.status": "OL CHRG",
            "ups.test.result": "Done and warning",
        },
    ),
    "hertz-in-tenths": Condition(
        "networkupstools/nut issue 2717",
        {"input_frequency_hz": (49.9,), "output_state": ("online",), "self_test": UNKNOWN},
        {
            "battery.charge": "100",
            "input.frequency": "499.0",
            "input.voltage": "234.0",
            "output.voltage": "233.0",
            "ups.status": "OL",
            "ups.test.result": "No test initiated",
        },
    ),
    "whole-volts-beside-tenths": Condition(
        "librenms/librenms issue 4391",
        {
            "input_frequency_hz": (60,),
            "battery_voltage_v": (27.0,),
            "output_voltage_v": (120,),
            "output_state": ("online",),
        },
        card=card_of(
            _2_1_0=2,
            _2_3_0=55,
            _2_4_0=100,
            _2_5_0=270,
            _3_3_1_2_1=600,
            _3_3_1_3_1=121,
            _4_1_0=3,
            _4_2_0=600,
            _4_4_1_2_1=120,
            _4_4_1_5_1=11,
            _9_7_0=3,
            _9_3_0=60,
        ),
    ),
    "minutes-are-minutes": Condition(
        "librenms/librenms issue 14935",
        {"runtime_s": (1500,), "output_state": ("online",)},
        card=card_of(_2_1_0=2, _2_3_0=25, _2_4_0=100, _3_3_1_3_1=230, _4_1_0=3, _4_4_1_2_1=230),
    ),
    "no-output-frequency-and-a-hot-battery": Condition(
        "librenms/librenms issue 1216",
        {
            "battery_temp_c": (51,),
            "output_frequency_hz": UNKNOWN,
            "battery_voltage_v": (82.4,),
            "runtime_s": (5700,),
            "output_state": ("online",),
            "input_frequency_hz": (49.9,),
        },
        card=card_of(
            _2_1_0=2,
            _2_2_0=0,
            _2_3_0=95,
            _2_4_0=100,
            _2_5_0=824,
            _2_7_0=51,
            _3_3_1_2_1=499,
            _3_3_1_3_1=229,
            _4_1_0=3,
            _4_2_0=0,
            _4_4_1_2_1=230,
        ),
    ),
    "zeros-for-lines-that-are-not-there": Condition(
        "networkupstools/nut issue 1042",
        {
            "output_state": ("online",),
            "input_voltage_v": UNKNOWN,
            "input_frequency_hz": UNKNOWN,
            "runtime_s": (1260,),
            "battery_charge_pct": (100,),
            "battery_voltage_v": (27,),
        },
        {
            "battery.charge": "100.00",
            "battery.runtime": "1260.00",
            "battery.voltage": "27.00",
            "ups.status": "OL",
            "battery.voltage.nominal": "0.00",
            "input.frequency": "0.00",
            "input.L1-L2.voltage": "0.00",
            "battery.packs": "0.00",
            "ambient.temperature": "-1.0",
        },
    ),
    "trimming-is-on-mains": Condition(
        "home-assistant/core issue 22631",
        {"output_state": ("trim",), "input_voltage_v": (252,), "output_voltage_v": (228,)},
        {
            "battery.charge": "100",
            "input.voltage": "252.0",
            "output.voltage": "228.0",
            "ups.status": "TRIM OL",
            "input.voltage.nominal": "230",
        },
    ),
    "bypass-beside-on-line": Condition(
        "networkupstools/nut issue 2254",
        {"output_state": ("bypass",), "battery_charge_pct": (100,)},
        {"battery.charge": "100", "ups.status": "OL BYPASS", "input.voltage": "231", "output.voltage": "231"},
    ),
    "bypass-alone": Condition(
        "desertwitch/NUT-unRAID pull request 3",
        {"output_state": ("bypass",), "battery_status": ("normal", None)},
        {"battery.charge": "100", "ups.status": "BYPASS", "input.voltage": "231", "output.voltage": "231"},
    ),
    "high-efficiency": Condition(
        "networkupstools/nut issue 1201",
        {"output_state": ("eco",), "battery_status": ("normal", None)},
        {"battery.charge": "100", "ups.status": "OL ECO", "input.voltage": "233", "output.voltage": "233"},
    ),
    "asleep-after-the-battery-was-spent": Condition(
        "networkupstools/nut issue 2044",
        {"output_state": ("off",), "battery_charge_pct": (3,)},
        {"battery.charge": "3", "ups.status": "OFF", "input.voltage": "0", "output.voltage": "0", "ups.load": "0"},
    ),
    "switched-off-while-mains-are-there": Condition(
        "networkupstools/nut issue 303",
        {"output_state": ("off",), "input_voltage_v": (230,)},
        {"battery.charge": "100", "ups.status": "OFF", "input.voltage": "230", "output.voltage": "0", "ups.load": "0"},
    ),
    "a-transfer-switch-that-borrows-the-mib": Condition(
        "librenms/librenms issue 6552",
        {"output_state": UNKNOWN, "battery_status": UNKNOWN},
        card=card_of(_3_2_0=2, _3_3_1_3_1=121, _3_3_1_3_2=120, _4_1_0=8, _4_2_0=600, _4_4_1_2_1=120),
        failure="not_a_ups",
    ),
    "a-driver-that-still-waits": Condition(
        "networkupstools/nut issues 3080 and 2496",
        {"output_state": UNKNOWN},
        {"ups.status": "WAIT", "device.type": "ups", "driver.name": "usbhid-ups"},
        failure="not_ready",
    ),
    "charging-at-a-hundred": Condition(
        "gawindx/WinNUT-Client issue 21",
        {"output_state": ("online",), "battery_status": ("normal",), "battery_charge_pct": (100,)},
        {"battery.charge": "100", "ups.status": "OL CHRG", "ups.load": "14"},
    ),
    "a-long-runtime-that-is-true": Condition(
        "networkupstools/nut issue 731",
        {"runtime_s": (18358,), "load_pct": (11,)},
        {"battery.charge": "100", "battery.runtime": "18358", "ups.load": "11", "ups.status": "OL"},
    ),
    "no-battery-said-of-one-that-is-there": Condition(
        "networkupstools/nut issue 3246",
        {"battery_status": ("normal", None), "battery_replace": (False, None), "output_state": ("online",)},
        {
            "ups.alarm": "No battery installed!",
            "ups.status": "ALARM OL CHRG",
            "battery.charge": "81",
            "battery.voltage": "12.9",
            "battery.voltage.nominal": "12.0",
            "input.voltage": "19.1",
        },
    ),
    "a-bit-beyond-the-largest-number": Condition(
        "dangmocrang/check_idrac issue 12, the same number in a UPS",
        {"battery_charge_pct": UNKNOWN, "runtime_s": UNKNOWN, "battery_temp_c": UNKNOWN, "output_state": ("online",)},
        card=card_of(_2_1_0=2, _3_3_1_3_1=230, _4_1_0=3, _4_4_1_2_1=230)
        | {f"2.{n}.0": ("66", "2147483648") for n in (3, 4, 7)},
    ),
}


def is_right(got: object, right: object, tolerance: float) -> bool:
    if isinstance(right, (int, float)) and not isinstance(right, bool) and isinstance(got, (int, float)):
        return abs(got - right) <= tolerance
    return got == right


@pytest.mark.parametrize("name", CONDITIONS)
def test_what_people_reported_is_read_as_is_right(
    card: Callable[..., Any], look: Callable[..., UpsReading], name: str
) -> None:
    condition = CONDITIONS[name]
    if condition.card:
        reading = look(card(SYSTEM | {MIB + oid: value for oid, value in condition.card.items()}).target())
    else:
        gathered = nut.gather(condition.says, lambda _line: None)
        settled = settle.settle(gathered, Memory(), 0.0, lambda _line: None).reading
        reading = settled or UpsReading(failure=Failure("not_ready"))
    wrong = {
        field: getattr(reading, field)
        for field, accepted in condition.right.items()
        if not any(is_right(getattr(reading, field), right, TOLERANCE.get(field, 0.5)) for right in accepted)
    }
    assert not wrong, condition.source
    assert (reading.failure.cause if reading.failure else None) == condition.failure, condition.source
