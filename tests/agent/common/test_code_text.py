"""Codes with parameters as short text: there and back, and whatever else may stand in such a field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.common import code_text
from agent.common.reading_codes import BOOT_EVIDENCE, CORRECTIONS, SEAT_FAULTS, corrections_of, evidence_of, faults_of
from agent.common.reasons import Reason
from agent.wire import SeatColumns

TABLES = {"seat_fault": SEAT_FAULTS, "boot": BOOT_EVIDENCE, "correction": CORRECTIONS}
ALL = [Reason(f"{room}.{code}", params) for room, table in TABLES.items() for code, params in table.items()]


@pytest.mark.parametrize("reason", ALL, ids=lambda reason: reason.code)
def test_every_code_comes_back_as_it_went(reason: Reason) -> None:
    text = code_text.encode([reason])
    assert len(text) <= 200
    assert " " not in text
    assert code_text.decode(text, reason.code.partition(".")[0]) == (reason,)


def test_several_codes_stand_in_one_text_and_none_in_an_empty_one() -> None:
    faults = [Reason(f"seat_fault.{code}", params) for code, params in SEAT_FAULTS.items()]
    assert code_text.decode(code_text.encode(faults), "seat_fault") == tuple(faults)
    assert code_text.encode([]) == ""
    assert code_text.decode("", "seat_fault") == ()


def test_a_code_of_a_later_version_is_a_code() -> None:
    assert code_text.decode("keyboard_gone:keys=104,layout=urdu", "seat_fault") == (
        Reason("seat_fault.keyboard_gone", {"keys": 104.0, "layout": "urdu"}),
    )


@pytest.mark.parametrize(
    "sentence",
    [
        "silent for 300 s: the PC does not answer, it is off, asleep or unplugged",
        "battery_voltage_v: reported in tenths", "no boot mark", "disk gone: 256 GB", ";", ";;cpu", "cpu:", "cpu:a",
        "cpu:a=", "cpu:a=1,", "cpu:a=1 ", "cpu:a=<b>", "x" * 200, "cpu:" + ",".join(f"p{n}=1" for n in range(17)),
        "\u202eupc", "cpu:a=1\n", "",
    ],
)  # fmt: skip
def test_what_is_no_code_is_a_sentence_as_it_stands(sentence: str) -> None:
    assert code_text.decode(sentence, "seat_fault") == ((Reason.text(sentence),) if sentence else ())


@given(st.text(max_size=200))
def test_whatever_a_stranger_sends_can_be_decoded(text: str) -> None:
    for reason in code_text.decode(text, "seat_fault"):
        assert reason.code == "text" or reason.code.startswith("seat_fault.")


@given(st.text(max_size=100))
def test_whatever_a_parameter_holds_the_text_is_codes(value: str) -> None:
    (back,) = code_text.decode(code_text.encode([Reason("correction.tenths", {"mib": value})]), "correction")
    assert back.code == "correction.tenths"


def test_a_seats_faults_are_its_codes_and_before_codes_its_sentence() -> None:
    now = SeatColumns(id=["a", "b"], state=["healthy", "missing"], why=["", ""], faults={"b": "silent:silent_s=180"})
    assert faults_of(now) == {"b": (Reason("seat_fault.silent", {"silent_s": 180}),)}
    before = SeatColumns(id=["a", "b"], state=["healthy", "missing"], why=["", "silent for 180 s"])
    assert faults_of(before) == {"b": (Reason.text("silent for 180 s"),)}


def test_evidence_and_corrections_of_before_and_of_now_stand_in_the_same_field() -> None:
    assert evidence_of(["went_down", "new boot 75 s ago"]) == (
        Reason("boot.went_down"),
        Reason.text("new boot 75 s ago"),
    )
    assert corrections_of(["battery_voltage_v: reported in tenths"]) == (
        Reason.text("battery_voltage_v: reported in tenths"),
    )
