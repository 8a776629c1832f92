"""Parsing and settling, apart from any wire: what a device's objects mean together, and over time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import wire
from agent.probes.ups import merge, nut, settle
from agent.probes.ups.draft import Memory
from agent.probes.ups.profiles import PROFILES
from agent.probes.ups.profiles.rfc1628 import RFC1628
from agent.probes.ups.profiles.table import LIMIT, TEXTS, WORDS, Obj, Raw, number_of, parse, text_of
from agent.probes.ups.scales import ALL_ONES

RAWS = st.one_of(
    st.none(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.binary(max_size=40),
    st.text(max_size=40),
    st.sampled_from(sorted(ALL_ONES)),
)
NAMES = sorted({name for table in (nut.NUMBERS, nut.NAMES, nut.LIMITS) for it in table.values() for name in it})
STATUS = st.lists(st.sampled_from([*nut.STATES, *nut.WORDS, "ALARM", "FSD", "x"]), max_size=5).map(" ".join)
ROOT = "1.3.6.1.2.1.33.1"
NUT_TEXTS = ("nut_status", "nut_alarm", "nut_test")


def silent(_line: str) -> None:
    return None


def read(raw: Mapping[str, Raw], memory: Memory = Memory(), now_s: float = 0.0) -> wire.UpsReading | None:  # noqa: B008
    return settle.settle(merge.gather([RFC1628], raw, silent), memory, now_s, silent).reading


class Ups:
    """One UPS behind NUT, looked at again and again."""

    def __init__(self, **variables: str) -> None:
        self.variables = variables
        self.memory = Memory()

    def at(self, second: float, **changes: str) -> wire.UpsReading:
        """What is read then; dots of names as underscores."""
        answer = {name.replace("_", "."): value for name, value in {**self.variables, **changes}.items()}
        reading, self.memory = settle.settle(nut.gather(answer, silent), self.memory, second, silent)
        assert reading is not None
        return reading


def travels(reading: wire.UpsReading | None) -> None:
    if reading is not None:
        stamp = wire.Stamp(wall_ms=1, mono_ms=1, boot="b", clock="synced")
        stamped = msgspec.structs.replace(reading, at=stamp)
        assert wire.decode_reading(wire.encode_reading(stamped)) == stamped


@given(RAWS, st.sampled_from([obj for profile in PROFILES for obj in profile.objects if obj.field]))
def test_any_raw_value_is_parsed_or_refused(raw: Raw, obj: Obj) -> None:
    value = parse(obj, raw)

    if obj.field in TEXTS:
        assert value is None or (isinstance(value, str) and value.isprintable() and len(value) <= 200)
    elif obj.judge is not None:
        assert value is None or isinstance(value, str)
    elif obj.enum is None and obj.words is None:
        assert value is None or math.isfinite(float(value))
    else:
        assert value is None or value in [*(obj.enum or {}).values(), *(obj.words or {}).values()]


@given(
    st.lists(
        st.dictionaries(st.sampled_from([f"{ROOT}.{o.oid}.{n}" for o in RFC1628.objects for n in (0, 1)]), RAWS),
        max_size=3,
    )
)
def test_any_answers_make_readings_that_travel_or_none(looks: list[dict[str, Raw]]) -> None:
    memory = Memory()
    for second, raw in enumerate(looks):
        reading, memory = settle.settle(merge.gather([RFC1628], raw, silent), memory, second, silent)
        travels(reading)


@given(
    st.lists(
        st.tuples(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=9)), STATUS, st.text(max_size=40)),
        max_size=3,
    )
)
def test_any_variables_make_readings_that_travel_or_none(looks: list[tuple[dict[str, str], str, str]]) -> None:
    memory = Memory()
    for second, (variables, status, alarm) in enumerate(looks):
        answer = {**variables, "ups.status": status, "ups.alarm": alarm}
        reading, memory = settle.settle(nut.gather(answer, silent), memory, second * 60.0, silent)
        travels(reading)


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


def answers(**objects: Raw) -> dict[str, Raw]:
    return {f"{ROOT}.{oid.replace('_', '.')[1:]}": value for oid, value in objects.items()}


@pytest.mark.parametrize(
    ("state", "status", "charge", "runtime"),
    [(3, 2, 100, None), (3, 2, 3, None), (5, 2, 97, None), (5, 2, 4, 0), (5, 3, None, 0), (5, 2, None, None)],
    ids=["mains", "mains-after-a-cut", "battery", "battery-empty", "battery-low-flag", "battery-nothing-agrees"],
)
def test_minutes_that_are_zero_are_believed_on_battery_when_charge_or_the_low_flag_agrees(
    state: int, status: int, charge: int | None, runtime: float | None
) -> None:
    reading = read(answers(o2_1_0=status, o2_3_0=0, o2_4_0=charge, o4_1_0=state))

    assert reading is not None
    assert reading.runtime_s == runtime
    assert ("zero:field=runtime_s,raw=0,mib=rfc1628" in reading.corrected) == (runtime is None)


@pytest.mark.parametrize(
    ("state", "status", "minutes", "charge"),
    [(3, 2, 45, None), (5, 2, 45, None), (5, 2, 4, 0), (5, 3, 45, 0), (3, 2, None, 0)],
    ids=["mains", "battery", "battery-nearly-empty", "battery-low-flag", "nothing-contradicts"],
)
def test_a_charge_of_zero_is_unknown_where_the_battery_is_well_and_lasts(
    state: int, status: int, minutes: int | None, charge: int | None
) -> None:
    reading = read(answers(o2_1_0=status, o2_3_0=minutes, o2_4_0=0, o4_1_0=state))

    assert reading is not None
    assert reading.battery_charge_pct == charge
    assert ("zero:field=battery_charge_pct,raw=0,mib=rfc1628" in reading.corrected) == (charge is None)


@pytest.mark.parametrize(
    ("volts", "load", "believed"), [(0, 9, None), (2, 9, None), (0, 0, 0), (0, None, 0), (230, 9, 230)]
)
def test_an_output_that_feeds_a_load_has_a_voltage(volts: int, load: int | None, believed: int | None) -> None:
    reading = read(answers(o2_1_0=2, o2_4_0=90, o4_1_0=3, o4_4_1_2_1=volts, o4_4_1_5_1=load))

    assert reading is not None
    assert reading.output_voltage_v == believed


def test_a_state_that_no_object_names_follows_from_the_seconds_on_battery() -> None:
    on_mains = read(answers(o2_2_0=0, o2_4_0=90, o3_3_1_3_1=228))
    on_battery = read(answers(o2_2_0=12, o2_4_0=90, o3_3_1_3_1=0))
    untold = read(answers(o2_2_0=0, o2_4_0=90))

    assert on_mains is not None
    assert on_mains.output_state == "online"
    assert "by_time:field=output_state,on_battery_s=0" in on_mains.corrected
    assert on_battery is not None
    assert on_battery.output_state == "battery"
    assert untold is not None
    assert untold.output_state is None


def test_a_ups_without_an_output_source_is_not_on_battery_for_ever() -> None:
    memory = Memory()
    states = []
    for second, counted in ((0, 10), (10, 20), (20, 25), (30, 25), (40, 25)):
        gathered = merge.gather(
            [RFC1628], answers(o2_2_0=counted, o2_4_0=90, o3_3_1_3_1=228 if second > 15 else 0), silent
        )
        reading, memory = settle.settle(gathered, memory, second, silent)
        assert reading is not None
        states.append(reading.output_state)
    assert states == ["battery", "battery", "online", "online", "online"]


def test_an_instance_without_its_zero_is_taken() -> None:
    reading = read(answers(o2_4=77, o1_2=b"Minute"))

    assert reading is not None
    assert reading.battery_charge_pct == 77
    assert reading.model == "Minute"


def test_names_and_alarms_alone_are_no_ups() -> None:
    assert read(answers(o1_2_0=b"rPDU", o6_1_0=0)) is None


def test_every_object_of_every_profile_names_a_field_of_the_reading_or_evidence() -> None:
    fields = {*wire.UpsReading.__struct_fields__, *NUT_TEXTS, WORDS, *(LIMIT + name for name in nut.LIMITS)}
    for profile in PROFILES:
        for obj in profile.objects:
            assert obj.field in fields or not obj.field, (profile.name, obj.name)
            assert obj.name, (profile.name, obj.oid)
        assert profile.source, profile.name


# ---------------------------------------------------------------- over time


def test_seconds_on_battery_count_from_the_last_look_on_mains() -> None:
    ups = Ups(ups_status="OL", battery_charge="100", battery_runtime_elapsed="7230")
    assert [ups.at(second).on_battery_s for second in (0, 10)] == [0, 0]
    cut = [ups.at(s, ups_status="OB", battery_runtime_elapsed=str(7230 + s - 10)) for s in (12, 14, 30)]
    assert [reading.on_battery_s for reading in cut] == [2, 4, 20]
    assert "not_reset:field=on_battery_s,raw=7232,mib=nut" in cut[0].corrected


def test_seconds_of_a_cut_that_was_under_way_before_the_first_look_are_believed() -> None:
    assert Ups(ups_status="OB", battery_charge="60", battery_runtime_elapsed="1800").at(5).on_battery_s == 1800


@pytest.mark.parametrize("word", ["LB", "RB"])
def test_a_word_of_trouble_that_stands_for_one_look_on_mains_is_a_glitch(word: str) -> None:
    ups = Ups(ups_status="OL", battery_charge="30")
    field = "battery_status" if word == "LB" else "battery_replace"
    calm = getattr(ups.at(0), field)
    answer = [
        getattr(ups.at(s, ups_status=f"OL {word}" if s in (10, 30, 40) else "OL"), field) for s in range(10, 60, 10)
    ]
    assert answer == [None, calm, None, "low" if word == "LB" else True, calm]


def test_a_word_that_stands_at_the_first_look_is_believed() -> None:
    assert Ups(ups_status="OL RB", battery_charge="30").at(0).battery_replace is True


MAINS = {"input_voltage": "229.4", "input_frequency": "50.0", "battery_charge": "80"}


def power(reading: wire.UpsReading) -> tuple[str | None, str | None]:
    return reading.output_state, reading.source


def test_a_ups_whose_input_is_seen_to_die_runs_by_choice_when_it_does_not() -> None:
    ups = Ups(ups_status="OL", **MAINS)
    ups.at(0)
    assert power(ups.at(10, ups_status="OB", input_voltage="0")) == ("battery", "battery")
    ups.at(60)
    # The very same volts as a moment ago: a meter that was seen to tell a cut is believed.
    assert power(ups.at(70, ups_status="OB")) == ("online", "battery")


def test_of_an_input_that_never_moved_it_is_not_known_at_once_whether_it_is_alive() -> None:
    ups = Ups(ups_status="OL", **MAINS)
    ups.at(0)
    sources = [power(ups.at(second, ups_status="OB")) for second in (10, 100, 129, 131, 200)]
    assert sources == [("battery", "unknown")] * 3 + [("battery", "battery")] * 2
    late = ups.at(210, ups_status="OB")
    assert late.on_battery_s == 200, "the discharge keeps its true beginning"
    ups.at(300)
    assert power(ups.at(310, ups_status="OB")) == ("battery", "battery"), "known by now: that meter is stuck"


@pytest.mark.parametrize(
    ("volts", "more", "state"),
    [
        ("228.9", {}, "online"),
        ("190", {"input_transfer_low": "170", "input_transfer_high": "280"}, "online"),
        ("160", {"input_transfer_low": "170", "input_transfer_high": "280"}, "battery"),
        ("160", {}, "battery"),
        ("228.9", {"input_frequency": "43.1"}, "battery"),
        ("0", {}, "battery"),
        ("120.4", {}, "online"),
    ],
)
def test_the_grid_is_there_when_its_line_could_be_used(volts: str, more: dict[str, str], state: str) -> None:
    ups = Ups(ups_status="OL", **MAINS)
    ups.at(0)
    assert power(ups.at(10, ups_status="OB", input_voltage=volts, **more)) == (state, "battery")


def test_a_ups_that_tests_its_battery_says_nothing_of_a_source() -> None:
    ups = Ups(ups_status="OL", **MAINS)
    ups.at(0)
    reading = ups.at(10, ups_status="OB TEST", input_voltage="228.0")
    assert (reading.self_test, reading.source) == ("running", None)


@pytest.mark.parametrize(
    ("variables", "source"),
    [
        ({"input_source": "generator"}, "generator"),
        ({"input_source": "Primary Utility", "input_voltage": "231"}, "grid"),
        ({"input_source": "utility", "input_voltage": "0", "ups_status": "OB"}, "battery"),
        ({"input_source": "utility", "input_voltage": "231", "ups_status": "OL TRIM"}, "grid"),
        ({"input_source": "utility", "ups_status": "OFF"}, None),
        ({"input_source": "1", "input_voltage": "231"}, None),  # of a transfer switch: whichever line that is
        ({"input_source": "mains", "input_voltage": "231"}, None),
        ({"ups_status": "OB", "pv1_power": "850"}, "solar"),
        ({"input_voltage": "231"}, None),  # the grid, or a generator behind a switch
    ],
)
def test_generators_and_panels_are_named_where_the_device_tells_them(variables: Any, source: str | None) -> None:
    given = {"ups_status": "OL", "battery_charge": "90", **variables}
    assert Ups(**given).at(0).source == source


@pytest.mark.parametrize(
    ("variables", "volts", "correction"),
    [
        ({"battery_voltage": "273", "ups_power_nominal": "1500"}, 27.3, "tenths"),
        ({"battery_voltage": "273", "ups_realpower_nominal": "900"}, 27.3, "tenths"),
        ({"battery_voltage": "1365", "ups_power_nominal": "650"}, 13.65, "hundredths"),
        ({"battery_voltage": "546", "ups_power_nominal": "2200"}, 54.6, "tenths"),
        (
            {"battery_voltage": "210", "ups_power_nominal": "1500", "ups_status": "OB", "input_voltage": "0"},
            21.0,
            "tenths",
        ),
        ({"battery_voltage": "819", "ups_power_nominal": "3000"}, 81.9, "tenths"),  # no UPS has so much
        ({"battery_voltage": "273", "battery_voltage_nominal": "24"}, 27.3, "tenths"),
        ({"battery_voltage": "82.4", "ups_power_nominal": "1500"}, 82.4, ""),
        ({"battery_voltage": "273", "ups_power_nominal": "6000"}, 273.0, ""),
        ({"battery_voltage": "273", "ups_power_nominal": "6"}, 273.0, ""),  # kW
        ({"battery_voltage": "273", "battery_voltage_nominal": "240", "ups_power_nominal": "1500"}, 273.0, ""),
        ({"battery_voltage": "273"}, 273.0, ""),  # of a larger UPS as likely: nothing tells
        ({"battery_voltage": "27.3", "battery_voltage_nominal": "12"}, 27.3, ""),  # the nominal voltage is wrong
        ({"battery_voltage": "175", "ups_power_nominal": "1500"}, None, "impossible"),  # 17.5 V is of no whole blocks
        ({"battery_voltage": "880", "ups_power_nominal": "10000"}, 88.0, "tenths"),
    ],
)
def test_a_battery_voltage_in_the_wrong_scale_is_put_right_where_the_ups_has_no_such_battery(
    variables: dict[str, str], volts: float | None, correction: str
) -> None:
    usual = {"ups_status": "OL", "battery_charge": "100", "input_voltage": "230"}
    reading = Ups(**{**usual, **variables}).at(0)
    assert reading.battery_voltage_v == volts
    mine = [one for one in reading.corrected if "battery_voltage_v" in one]
    assert [one.partition(":")[0] for one in mine] == ([correction] if correction else [])


def test_the_scale_of_a_batterys_voltage_is_learnt_and_holds_when_its_size_is_told_no_more() -> None:
    ups = Ups(ups_status="OL", battery_charge="100", input_voltage="230", battery_voltage="273")
    assert ups.at(0).battery_voltage_v == 273.0
    assert ups.at(10, ups_power_nominal="1500").battery_voltage_v == 27.3
    assert ups.at(20).battery_voltage_v == 27.3
    assert ups.at(30, battery_voltage="221").battery_voltage_v == 22.1
