"""Cards as they are: slow, answering from elsewhere, cutting answers short, dead, of a wrong community, or with several
UPSs behind them."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pyasn1.codec.ber import decoder, encoder
from pysnmp.proto import api

from agent.probes.ups import UpsProbe
from agent.probes.ups.pdu import SnmpResponse
from agent.probes.ups.snmp import Community, NoResponse, SnmpSession, SnmpTarget
from agent.wire import UpsReading

Look = Callable[..., UpsReading]
CardMaker = Callable[..., Any]
REPEAT_S = 0.2
CHARGE, CHARGE_TENTHS = (f"1.3.6.1.4.1.318.1.1.1.2.{part}" for part in ("2.1.0", "3.1.0"))  # PowerNet
RFC_CHARGE, RFC_ALARMS = "1.3.6.1.2.1.33.1.2.4.0", "1.3.6.1.2.1.33.1.6.1.0"


def cause_of(reading: UpsReading) -> str | None:
    return reading.failure.cause if reading.failure else None


# ---------------------------------------------------------------- slow


class Slow:
    """Puts a delay between a card and whoever asks it: on each answer for itself, or (`queueing`) one after the other,
    as a card does that works on one question at a time."""

    def __init__(self, card: Any, delay_s: float, *, queueing: bool = False) -> None:
        self.card, self.delay_s, self.queueing = card, delay_s, queueing
        self.asked = 0
        self.free_s = 0.0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def target(self, **settings: Any) -> SnmpTarget:
        return SnmpTarget(host="127.0.0.1", port=self.socket.getsockname()[1], **settings)

    def serve(self) -> None:
        while True:
            question, asker = self.socket.recvfrom(65535)
            if not question:
                return
            self.asked += 1
            now_s = time.monotonic()
            self.free_s = max(now_s, self.free_s) + self.delay_s
            due_s = self.free_s - now_s if self.queueing else self.delay_s
            answer = self.card.answer(question)
            if answer is not None:
                threading.Timer(due_s, self.say, (answer, asker)).start()

    def say(self, answer: bytes, asker: Any) -> None:
        try:
            self.socket.sendto(answer, asker)
        except OSError:  # the test is over
            return

    def stop(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self.socket.getsockname())
        self.thread.join(5)
        self.socket.close()


@pytest.fixture
def slow(card: CardMaker) -> Iterator[Callable[..., Slow]]:
    made: list[Slow] = []

    def start(device: str, delay_s: float, *, queueing: bool = False, **manners: Any) -> Slow:
        made.append(Slow(card(device, **manners), delay_s, queueing=queueing))
        return made[-1]

    yield start
    for one in made:
        one.stop()


@pytest.mark.parametrize("queueing", [False, True], ids=["each-for-itself", "one-at-a-time"])
def test_a_card_that_needs_more_than_a_second_is_read_at_the_first_look(
    slow: Callable[..., Slow], queueing: bool
) -> None:
    device, probe = slow("powernet", 1.1, queueing=queueing), UpsProbe()
    began_s = time.monotonic()
    reading = asyncio.run(probe.measure(device.target(), 5.0, lambda _: None))

    assert time.monotonic() - began_s < 5.2
    if queueing and reading.failure is not None:  # what was found out is kept, and the next look ends it
        assert cause_of(reading) == "slow"
        reading = asyncio.run(probe.measure(device.target(), 5.0, lambda _: None))
    assert (reading.output_state, reading.battery_charge_pct, reading.runtime_s) == ("trim", 100, 3420)


@pytest.mark.slow
def test_a_card_that_needs_nearly_three_seconds_is_read_within_a_few_looks(slow: Callable[..., Slow]) -> None:
    device, probe = slow("powernet", 2.7), UpsProbe()
    causes: list[str | None] = []
    while None not in causes and len(causes) < 8:
        charge = 90 - len(causes)  # what an earlier look saw is not true any more
        device.card.objects |= {CHARGE: ("2", str(charge)), CHARGE_TENTHS: ("2", str(10 * charge))}
        began_s = time.monotonic()
        reading = asyncio.run(probe.measure(device.target(), 5.0, lambda _: None))
        assert time.monotonic() - began_s < 5.2
        causes.append(cause_of(reading))
    assert causes[-1] is None, causes
    assert set(causes) == {None, "slow"}
    assert reading.battery_charge_pct == charge


class Failing:
    """Gives the first answers of a card, then empty ones until it is well again."""

    def __init__(self, card: Any, answers: int) -> None:
        self.card, self.left = card, answers

    def answer(self, question: bytes) -> bytes:
        self.left -= 1
        return self.card.answer(question) if self.left >= 0 else b""


@pytest.mark.parametrize("answers", [8, *(pytest.param(late, marks=pytest.mark.slow) for late in (17, 20, 23))])
def test_values_of_a_look_that_was_broken_off_are_not_those_of_the_next(
    slow: Callable[..., Slow], answers: int
) -> None:
    device, probe = slow("rfc1628", 0.0, too_big=5), UpsProbe(wait_s=0.3)
    device.card.objects |= {RFC_CHARGE: ("2", "90"), RFC_ALARMS: ("2", "1")}
    well, device.card = device.card, Failing(device.card, answers)
    first = asyncio.run(probe.measure(device.target(), 5.0, lambda _: None))
    well.objects[RFC_CHARGE] = ("2", "40")
    device.card = well
    second = asyncio.run(probe.measure(device.target(), 5.0, lambda _: None))
    assert (first.battery_charge_pct, second.battery_charge_pct) in ((90, 40), (None, 40))


def test_a_card_that_is_slower_than_allowed_is_called_slow_and_not_of_a_wrong_community(
    slow: Callable[..., Slow],
) -> None:
    device = slow("rfc1628", 0.9)
    reading = asyncio.run(UpsProbe().measure(device.target(answer_s=0.5), 5.0, lambda _: None))

    assert cause_of(reading) == "slow"
    assert "raise answer_s" in getattr(reading.failure, "detail", "")
    assert reading.output_state is None


def test_a_repeated_question_keeps_its_number_and_a_slow_card_is_not_flooded(slow: Callable[..., Slow]) -> None:
    device, probe = slow("rfc1628", 1.1), UpsProbe()
    asyncio.run(probe.measure(device.target(), 5.0, lambda _: None))
    device.asked = 0
    device.card.questions.clear()
    assert asyncio.run(probe.measure(device.target(), 5.0, lambda _: None)).failure is None
    assert device.asked == len({tuple(request) for request in device.card.questions}), "nothing was asked twice"


# ---------------------------------------------------------------- silence


def test_a_wrong_community_is_told_from_a_dead_host_by_whether_the_host_lives(card: CardMaker, look: Look) -> None:
    reading = look(card("rfc1628", community="secret").target(community="public"))

    assert cause_of(reading) == "community"
    detail = getattr(reading.failure, "detail", "")
    assert "wrong community" in detail
    assert "check" in detail or "allow" in detail
    assert "secret" not in detail
    assert "\n" not in detail


def test_a_host_that_is_not_there_is_a_timeout(look: Look) -> None:
    began_s = time.monotonic()
    reading = look(SnmpTarget(host="192.0.2.1"))  # nobody's address (RFC 5737)

    assert cause_of(reading) in ("timeout", "unreachable")
    assert time.monotonic() - began_s < 5.2


# ---------------------------------------------------------------- answers


def test_an_answer_from_another_address_is_taken_by_its_number_and_said(card: CardMaker, look: Look) -> None:
    device, probe = card("rfc1628", answers_from_elsewhere=True), UpsProbe(wait_s=1.0)
    first = look(device.target(), probe)
    began_s = time.monotonic()
    second = look(device.target(), probe)

    for reading in (first, second):
        assert reading.failure is None
        assert reading.output_state == "online"
    assert time.monotonic() - began_s < 0.9, "once known, it costs no wait"


def test_an_answer_of_another_number_is_taken_from_nobody(card: CardMaker, look: Look) -> None:
    def renumbered(answer: bytes) -> bytes:
        module = api.PROTOCOL_MODULES[1]
        message, _ = decoder.decode(answer, asn1Spec=module.Message())
        module.apiPDU.set_request_id(module.apiMessage.get_pdu(message), 7)
        return bytes(encoder.encode(message))

    assert cause_of(look(card("rfc1628", mangle=renumbered).target())) == "community"


def cut(octets: int) -> Callable[[bytes], bytes]:
    """A card whose buffer ends: it leaves out the bindings that do not fit, and calls that no error."""

    def shorten(answer: bytes) -> bytes:
        module = api.PROTOCOL_MODULES[1]
        message, _ = decoder.decode(answer, asn1Spec=module.Message())
        pdu = module.apiMessage.get_pdu(message)
        bindings = module.apiPDU.get_varbinds(pdu)
        while len(answer) > octets and bindings:
            bindings = bindings[:-1]
            module.apiPDU.set_varbinds(pdu, bindings)
            answer = bytes(encoder.encode(message))
        return answer

    return shorten


def test_what_an_answer_lacks_is_asked_again_and_said(card: CardMaker, look: Look) -> None:
    device, probe = card("powernet", mangle=cut(484)), UpsProbe(wait_s=1.0)
    whole = look(card("powernet").target())
    for reading in (look(device.target(), probe), look(device.target(), probe)):
        assert "cut_short" in reading.corrected or reading is not None
        for name in ("output_state", "battery_charge_pct", "runtime_s", "load_pct", "serial", "model"):
            assert getattr(reading, name) == getattr(whole, name), name
    first = look(card("powernet", mangle=cut(484)).target())
    assert "cut_short" in first.corrected


def test_an_answer_that_is_always_empty_ends() -> None:
    request = itertools.count()

    async def empty(_command: str, _oids: Any, _wait_s: float) -> SnmpResponse:
        assert next(request) < 100
        return SnmpResponse(0, 0, [])

    session = SnmpSession(empty)
    assert asyncio.run(session.get([f"1.3.6.1.{n}.0" for n in range(28)])) == {}


def test_many_questions_to_a_slow_card_are_under_way_at_once() -> None:
    clock, under_way, most = [0.0], 0, 0

    async def slowly(_command: str, oids: Any, _wait_s: float) -> SnmpResponse:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        clock[0] += 1.1
        under_way -= 1
        return SnmpResponse(0, 0, [(oid, 1) for oid in oids])

    session = SnmpSession(slowly, now_s=lambda: clock[0])
    oids = [f"1.3.6.1.{n}.0" for n in range(100)]
    assert set(asyncio.run(session.get(oids))) == set(oids)
    assert session.is_slow
    assert most == 3  # the first for itself, then the rest of 28 each


def test_a_card_that_never_answers_one_object_is_given_up_in_time(card: CardMaker) -> None:
    device = card("rfc1628", community="another")

    async def ask() -> None:
        async with Community(device.target(), repeat_s=0.1) as talk:
            await talk.exchange("get", ["1.3.6.1.2.1.1.3.0"], 0.5)

    began_s = time.monotonic()
    with pytest.raises(NoResponse):
        asyncio.run(ask())
    assert time.monotonic() - began_s < 1.0


# ---------------------------------------------------------------- several behind one card


def test_each_of_two_upses_behind_one_card_is_read_for_itself(card: CardMaker, look: Look) -> None:
    device = card("tripplite-two-devices")
    first, second = look(device.target()), look(device.target(device=2))

    assert (first.output_state, first.battery_charge_pct, first.runtime_s) == ("online", 100, None)
    assert (second.output_state, second.battery_charge_pct, second.runtime_s) == ("battery", 38, 540)
    assert second.input_voltage_v == 0
