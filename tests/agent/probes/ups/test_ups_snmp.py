"""What cards do to a question: too big, too long, all or nothing, garbage, silence, answers of others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pysnmp.proto.rfc1902 import Integer32

from agent.probes.ups import UpsProbe
from agent.probes.ups.pdu import SnmpResponse, decode, encode
from agent.probes.ups.snmp import Community, NoResponse, SnmpSession, SnmpTarget
from agent.wire import UpsReading

Look = Callable[..., UpsReading]
CardMaker = Callable[..., Any]


def failure_of(reading: UpsReading) -> tuple[str, str]:
    assert reading.failure is not None
    assert reading.output_state is None
    return reading.failure.cause, reading.failure.detail


def test_v1_drops_the_object_named_by_the_error_and_asks_the_rest_again(card: CardMaker, look: Look) -> None:
    device = card("rfc1628")
    probe = UpsProbe(wait_s=0.25)
    look(device.target(version="1"), probe)
    del device.objects["1.3.6.1.2.1.33.1.2.5.0"]  # as if the battery meter went away between two polls
    reading = look(device.target(version="1"), probe)

    assert reading.battery_voltage_v is None
    assert reading.battery_charge_pct == 97


@pytest.mark.parametrize("manner", ["too_big", "deaf"])
def test_a_card_that_takes_few_objects_is_asked_in_small_parts(card: CardMaker, look: Look, manner: str) -> None:
    device = card("powernet", **{manner: 10})
    reading = look(device.target())

    assert reading.output_state == "trim"
    assert reading.load_pct == 17.6


def test_the_size_that_worked_is_remembered(card: CardMaker, look: Look) -> None:
    device = card("powernet", too_big=10)
    probe = UpsProbe(wait_s=0.25)
    look(device.target(), probe)
    device.questions.clear()
    look(device.target(), probe)

    assert max(map(len, device.questions)) <= 10


def test_a_card_without_a_working_getnext_is_still_recognised(card: CardMaker, look: Look) -> None:
    lines: list[str] = []
    look(card("rfc1628", broken_next=True).target(), say=lines.append)

    assert any("answers to GET" in line for line in lines)


def test_a_getnext_that_never_ends_does_not_hold_the_poll(card: CardMaker, look: Look) -> None:
    device = card("rfc1628")
    device.look = lambda name, _following: ((*name, 1), Integer32(7))
    started = time.monotonic()
    look(device.target())

    assert time.monotonic() - started < 30


ALARMS, DESCR, KNOWN = (f"1.3.6.1.2.1.33.1.6.{part}" for part in ("1.0", "2.1.2", "3"))
ON_BATTERY, BATTERY_BAD, OVERLOAD = f"{KNOWN}.2", f"{KNOWN}.1", f"{KNOWN}.8"


def stand(device: Any, alarms: dict[int, str]) -> None:
    """The card's table of alarms holds exactly these."""
    kept = {oid: row for oid, row in device.objects.items() if not oid.startswith(f"{DESCR}.")}
    rows = {f"{DESCR}.{index}": ("6", alarm) for index, alarm in alarms.items()}
    device.objects = {**kept, **rows, ALARMS: ("66", str(len(alarms)))}


@pytest.mark.parametrize("version", ["1", "2c"])
def test_alarms_are_asked_for_only_while_some_stand(card: CardMaker, look: Look, version: str) -> None:
    device, probe = card("rfc1628"), UpsProbe(wait_s=0.25)

    def told(alarms: dict[int, str]) -> tuple[bool | None, int]:
        stand(device, alarms)
        device.questions.clear()
        reading = look(device.target(version=version), probe)
        assert reading.alarms_count == len(alarms)
        return reading.battery_replace, len(device.questions)

    told({})
    assert told({}) == (None, 1)
    assert told({7: ON_BATTERY, 22: BATTERY_BAD})[0] is None, "a word of one look may be a glitch"
    # In v1 the end of the tree is an error, and costs a question more.
    assert told({7: ON_BATTERY, 22: BATTERY_BAD}) == (True, 2 if version == "2c" else 3)
    # Another one in its place: the count is the same, and the old word is not kept.
    assert told({7: ON_BATTERY, 23: OVERLOAD})[0] is None
    assert told({}) == (None, 1)


def test_a_table_of_alarms_without_end_does_not_hold_the_poll(card: CardMaker, look: Look) -> None:
    device = card("rfc1628")
    stand(device, dict.fromkeys(range(1, 200), ON_BATTERY))
    probe = UpsProbe(wait_s=0.25)
    reading = look(device.target(), probe)
    assert reading.output_state == "online"
    assert len(device.questions) <= 8, "finding out what it is, and three for the alarms"
    for _ in range(60):
        device.questions.clear()
        look(device.target(), probe)

    assert len(device.questions) <= 5


def test_a_dead_port_is_told_from_silence(look: Look, free_port: int) -> None:
    cause, detail = failure_of(look(SnmpTarget(host="127.0.0.1", port=free_port)))

    assert cause == "unreachable"
    assert f"127.0.0.1:{free_port}" in detail


@pytest.mark.parametrize("version", ["2c", "3"])
@pytest.mark.parametrize("host", ["ups.invalid", "a..b"])
def test_a_name_that_is_none_is_said(look: Look, host: str, version: str) -> None:
    cause, detail = failure_of(look(SnmpTarget(host=host, version=version, user="nabz")))  # type: ignore[arg-type]

    assert cause == "unreachable"
    assert host in detail
    assert "\n" not in detail


def test_a_card_that_speaks_v1_only_is_named(card: CardMaker, look: Look) -> None:
    cause, detail = failure_of(look(card("rfc1628", versions=(0,)).target(version="2c")))

    assert cause == "version"
    assert 'snmp_version to "1"' in detail


@pytest.mark.parametrize(
    "mangle",
    [lambda answer: answer[:-7], lambda _: b"", lambda _: b"\x30\x80" * 400, lambda answer: answer[::-1]],
    ids=["truncated", "empty", "bottomless", "reversed"],
)
def test_broken_messages_are_survived_and_named(card: CardMaker, look: Look, mangle: Callable[[bytes], bytes]) -> None:
    cause, detail = failure_of(look(card("rfc1628", mangle=mangle).target()))

    assert cause in ("garbage", "timeout")
    assert "127.0.0.1" in detail


def test_a_look_that_is_broken_off_anywhere_leaves_no_socket(card: CardMaker) -> None:
    device = card("rfc1628")
    device.deaf = 0  # it answers nothing, so that the second socket is opened
    sockets = set()

    async def looks() -> None:
        for step in range(60):
            with suppress(TimeoutError, NoResponse):
                async with asyncio.timeout(step * 0.0005), Community(device.target(), 0.001) as talk:
                    await talk.exchange("get", ["1.3.6.1.2.1.1.2.0"], 0.02)
            await asyncio.sleep(0.001)  # the loop closes a socket in its next round
            sockets.add(sum(link.startswith("socket:") for link in open_files()))

    asyncio.run(looks())
    assert max(sockets) - min(sockets) <= 2, sockets


def open_files() -> Iterator[str]:
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            yield str(entry.readlink())


def test_one_lost_answer_costs_a_second_question_not_the_reading(card: CardMaker, look: Look) -> None:
    losses = iter([True])
    device = card("rfc1628", mangle=lambda answer: None if next(losses, False) else answer)

    assert look(device.target()).battery_charge_pct == 97


@pytest.mark.row(36)
def test_an_answer_to_an_older_question_is_not_taken(card: CardMaker, look: Look) -> None:
    device = card("rfc1628")
    held: list[bytes] = []

    def late(answer: bytes) -> bytes:
        held.append(answer)
        return held[-2] if len(held) == 2 else answer

    device.mangle = late
    reading = look(device.target())

    assert reading.battery_charge_pct == 97
    assert reading.output_state == "online"


# ---------------------------------------------------------------- bytes


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_random_bytes_are_never_taken_for_an_answer(datagram: bytes) -> None:
    with pytest.raises(ValueError, match="not SNMP"):
        decode("2c", datagram)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_bent_answer_is_refused_or_decoded_to_plain_values(data: st.DataObject) -> None:
    target = SnmpTarget(host="127.0.0.1")
    whole = bytearray(encode(target, 7, "get", ["1.3.6.1.2.1.33.1.4.1.0", "1.3.6.1.2.1.33.1.2.4.0"]))
    whole[whole.index(0xA0)] = 0xA2
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        number, answer = decode("2c", bytes(whole))
    except ValueError:
        return
    assert isinstance(number, int)
    assert all(value is None or isinstance(value, (int, float, bytes, str)) for _, value in answer.bindings)


def test_a_question_is_not_taken_for_an_answer() -> None:
    with pytest.raises(ValueError, match="not SNMP"):
        decode("2c", encode(SnmpTarget(host="x"), 1, "get", ["1.3.6.1.2.1.1.3.0"]))


# ---------------------------------------------------------------- the session alone, with an agent as a function


def test_only_the_object_that_the_error_names_is_dropped() -> None:
    requests = []

    async def lacks_one(_command: str, oids: Any, _wait_s: float) -> SnmpResponse:
        requests.append(list(oids))
        if "1.3.6.1.4.0" in oids:
            return SnmpResponse(2, oids.index("1.3.6.1.4.0") + 1, [])
        return SnmpResponse(0, 0, [(oid, 1) for oid in oids])

    found = asyncio.run(SnmpSession(lacks_one).get([f"1.3.6.1.{n}.0" for n in range(9)]))

    assert set(found) == {f"1.3.6.1.{n}.0" for n in range(9)} - {"1.3.6.1.4.0"}
    assert len(requests) == 2


def test_an_error_without_an_index_ends() -> None:
    async def generally_bad(_command: str, _oids: Any, _wait_s: float) -> SnmpResponse:
        return SnmpResponse(5, 0, [])

    assert asyncio.run(SnmpSession(generally_bad).get([f"1.3.6.1.{n}.0" for n in range(9)])) == {}


def test_an_agent_that_says_too_big_to_one_object_loses_that_object() -> None:
    async def tiny(_command: str, _oids: Any, _wait_s: float) -> SnmpResponse:
        return SnmpResponse(1, 0, [])

    assert asyncio.run(SnmpSession(tiny).get(["1.3.6.1.1.0", "1.3.6.1.2.0"])) == {}
