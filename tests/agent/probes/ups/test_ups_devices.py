"""Every hand-written device is read as its MIB says, over a real socket, in SNMP v1 and v2c."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.probes.ups import UpsProbe
from agent.probes.ups.profiles import PROFILES
from agent.wire import UpsReading

DEVICES = sorted((Path(__file__).parent / "devices").glob("*.snmprec"))
FIELD = sorted((Path(__file__).parent / "field").glob("*.snmprec"))
UPSES = [path for path in DEVICES if not path.stem.startswith("not-a-ups")]
OTHERS = [path for path in DEVICES if path.stem.startswith("not-a-ups")]

Look = Callable[..., UpsReading]


def expected(path: Path) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    return fields


@pytest.mark.parametrize("version", ["1", "2c"])
@pytest.mark.parametrize("path", UPSES, ids=lambda path: path.stem)
def test_a_device_is_read_as_its_mib_says(card: Callable[..., Any], look: Look, path: Path, version: str) -> None:
    reading = look(card(path.stem).target(version=version))

    assert reading.failure is None
    for name, value in expected(path).items():
        assert getattr(reading, name) == (pytest.approx(value, abs=0.01) if isinstance(value, float) else value), name


@pytest.mark.parametrize("path", UPSES, ids=lambda path: path.stem)
def test_a_later_poll_says_the_same_in_fewer_questions(card: Callable[..., Any], look: Look, path: Path) -> None:
    device = card(path.stem)
    probe = UpsProbe()
    first = look(device.target(), probe)
    count = len(device.questions)
    second = look(device.target(), probe)

    assert second == first
    assert len(device.questions) - count <= min(count, 3)


def test_every_profile_has_a_device() -> None:
    proven = {profile for path in UPSES for profile in expected(path).get("profiles", [])}
    roots = [line.split("|")[0] for path in (*UPSES, *FIELD) for line in path.read_text().splitlines()]

    for profile in PROFILES:
        assert profile.name in proven or any(oid.startswith(profile.root + ".") for oid in roots), profile.name


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_what_is_no_ups_is_called_so_and_gets_no_power_state(card: Callable[..., Any], look: Look, path: Path) -> None:
    reading = look(card(path.stem).target())

    assert reading.failure is not None
    assert reading.failure.cause == "not_a_ups"
    assert reading.output_state is None
    assert reading.runtime_s is None


def test_the_explanation_names_profile_object_value_and_correction(card: Callable[..., Any], look: Look) -> None:
    lines: list[str] = []
    look(card("rfc1628-wrong-scale").target(), say=lines.append)
    text = "\n".join(lines)

    assert "rfc1628: matches, 1.3.6.1.2.1.33.1" in text
    assert "upsInputVoltage 1.3.6.1.2.1.33.1.3.3.1.3.1.0 = 2314" in text
    assert "input_voltage_v = 231.4" in text
    assert "corrected: input_voltage_v: tenths" in text
    assert "powernet: nothing under 1.3.6.1.4.1.318.1.1.1" in text


def test_mains_turning_to_battery_is_seen_by_the_next_poll(card: Callable[..., Any], look: Look) -> None:
    device = card("powernet")
    probe = UpsProbe()
    assert look(device.target(), probe).output_state == "trim"
    device.objects["1.3.6.1.4.1.318.1.1.1.4.1.1.0"] = ("2", "3")

    assert look(device.target(), probe).output_state == "battery"


def test_another_ups_behind_the_same_card_is_found_again(card: Callable[..., Any], look: Look) -> None:
    device = card("cyberpower")
    probe = UpsProbe()
    look(device.target(), probe)
    device.objects = card("delta").objects

    assert look(device.target(), probe).model == "RT-6K"
