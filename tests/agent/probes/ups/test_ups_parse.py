"""Parsing, judging and merging, apart from any wire: what numbers mean and which are refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent import wire
from agent.probes.ups.judge import possible
from agent.probes.ups.merge import read
from agent.probes.ups.profiles import PROFILES
from agent.probes.ups.profiles.rfc1628 import RFC1628
from agent.probes.ups.profiles.table import NEVER, TEXTS, Obj, Raw, number_of, parse, text_of

RAWS = st.one_of(
    st.none(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.binary(max_size=40),
    st.text(max_size=40),
    st.sampled_from(sorted(NEVER)),
)
ROOT = "1.3.6.1.2.1.33.1"


def silent(_line: str) -> None:
    return None


@given(RAWS, st.sampled_from([obj for profile in PROFILES for obj in profile.objects if obj.field]))
def test_any_raw_value_is_parsed_or_refused(raw: Raw, obj: Obj) -> None:
    value = parse(obj, raw)

    if obj.field in TEXTS:
        assert value is None or (isinstance(value, str) and value.isprintable() and len(value) <= 200)
    elif obj.enum is None and obj.words is None:
        assert value is None or math.isfinite(float(value))
    else:
        assert value is None or value in [*(obj.enum or {}).values(), *(obj.words or {}).values()]


@given(st.dictionaries(st.sampled_from([f"{ROOT}.{o.oid}.{n}" for o in RFC1628.objects for n in (0, 1)]), RAWS))
def test_any_answers_make_a_reading_that_travels_or_none(raw: dict[str, Raw]) -> None:
    reading = read([RFC1628], raw, silent)

    if reading is not None:
        stamp = wire.Stamp(wall_ms=1, mono_ms=1, boot="b", clock="synced")
        stamped = wire.UpsReading(**{**{f: getattr(reading, f) for f in reading.__struct_fields__}, "at": stamp})
        assert wire.decode_reading(wire.encode_reading(stamped)) == stamped


@example("alarms_count", math.inf)
@given(st.sampled_from(sorted({o.field for p in PROFILES for o in p.objects if o.field} - TEXTS)), st.floats())
def test_the_judge_gives_no_impossible_number(field: str, value: float) -> None:
    verdict = possible(field, value, 0.1, on_mains=True)

    if verdict.value is not None:
        assert math.isfinite(verdict.value)
        low, high = {
            "battery_charge_pct": (0, 100),
            "load_pct": (0, 250),
            "battery_temp_c": (-40, 120),
            "input_voltage_v": (0, 690),
            "output_frequency_hz": (0, 70),
        }.get(field, (0, math.inf))
        assert low <= verdict.value <= high


@pytest.mark.parametrize(
    ("raw", "number"),
    [(b"230.5 VAC", 230.5), (b" 49,9", 49.9), (b"-3", -3.0), (b"N/A", None), (b"", None), (None, None), (True, 1.0)],
)
def test_numbers_are_read_from_whatever_type_a_card_sends(raw: Raw, number: float | None) -> None:
    assert number_of(raw) == number


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"EAST   \0\0", "EAST"), (b"A\nB ", "A B"), (b"\0\0", None), (b"   ", None), (b"\xff\xfeUPS", "\ufffd\ufffdUPS")],
)
def test_text_loses_its_padding_only(raw: Raw, text: str | None) -> None:
    assert text_of(raw) == text


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
        ("battery_charge_pct", -5, 1, None),
        ("load_pct", 110, 1, 110),
        ("battery_voltage_v", 2.2, 0.1, None),
        ("battery_temp_c", 0, 1, None),
        ("battery_temp_c", 285, 1, 28.5),
        ("battery_temp_c", 2.2, 0.1, 22),
        ("battery_temp_c", -12, 1, -12),
        ("runtime_s", 257698037760, 60, None),
        ("on_battery_s", 2345678901 * 0.01 * 10, 0.01, None),
    ],
)
def test_known_faults_of_scale_are_put_right(field: str, value: float, scale: float, believed: float | None) -> None:
    assert possible(field, value, scale, on_mains=True).value == pytest.approx(believed)


def test_a_small_voltage_while_on_battery_is_left_as_it_is() -> None:
    assert possible("input_voltage_v", 12.0, 0.1, on_mains=False).value == 12.0


def answers(**objects: Raw) -> dict[str, Raw]:
    return {f"{ROOT}.{oid.replace('_', '.')[1:]}": value for oid, value in objects.items()}


def test_zero_runtime_on_mains_with_a_full_battery_is_unknown() -> None:
    reading = read([RFC1628], answers(o2_3_0=0, o2_4_0=100, o4_1_0=3), silent)

    assert reading is not None
    assert reading.runtime_s is None


def test_zero_runtime_on_battery_is_zero() -> None:
    reading = read([RFC1628], answers(o2_3_0=0, o2_4_0=2, o4_1_0=5), silent)

    assert reading is not None
    assert reading.runtime_s == 0


def test_a_state_that_no_object_names_follows_from_the_seconds_on_battery() -> None:
    on_mains = read([RFC1628], answers(o2_2_0=0, o2_4_0=90, o3_3_1_3_1=228), silent)
    on_battery = read([RFC1628], answers(o2_2_0=12, o2_4_0=90, o3_3_1_3_1=0), silent)
    untold = read([RFC1628], answers(o2_2_0=0, o2_4_0=90), silent)

    assert on_mains is not None
    assert on_mains.output_state == "online"
    assert any("output_state" in note for note in on_mains.corrected)
    assert on_battery is not None
    assert on_battery.output_state == "battery"
    assert untold is not None
    assert untold.output_state is None


def test_an_instance_without_its_zero_is_taken() -> None:
    reading = read([RFC1628], answers(o2_4=77, o1_2=b"Minute"), silent)

    assert reading is not None
    assert reading.battery_charge_pct == 77
    assert reading.model == "Minute"


def test_names_and_alarms_alone_are_no_ups() -> None:
    assert read([RFC1628], answers(o1_2_0=b"rPDU", o6_1_0=0), silent) is None


def test_every_object_of_every_profile_names_a_field_of_the_reading() -> None:
    fields = set(wire.UpsReading.__struct_fields__)
    for profile in PROFILES:
        for obj in profile.objects:
            assert obj.field in fields or not obj.field, (profile.name, obj.name)
            assert obj.name, (profile.name, obj.oid)
        assert profile.source, profile.name
