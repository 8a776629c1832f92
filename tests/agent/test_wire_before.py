"""Gateways and collectors of 0.1 and of today understand each other: golden messages in the structs of then, and
those of then in the structs of today."""

from __future__ import annotations

import msgspec
import pytest

from agent import wire
from agent.common.reading_codes import faults_of
from agent.uplink.receipts import is_other_history
from tests.helpers import ROOT

GOLDEN = ROOT / "tests" / "wire" / "v1"


class ReceiptOf01(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A receipt as gateways of 0.1 decode it."""

    v: int
    device: wire.Word
    spool: wire.Hex
    first_seq: wire.SeqNumber
    last_seq: wire.SeqNumber
    chain: wire.Hex
    outcome: str = "stored"
    reason: wire.Text = ""
    nonce: wire.Hex = ""
    at_ms: wire.Millis
    pace_ms: wire.Count = 0


class SeatColumnsOf01(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The columns as collectors of 0.1 decode them, as far as they matter here."""

    id: list[wire.Word]
    state: list[str]
    why: list[wire.Text]
    changed: list[wire.Text] = []

    def __post_init__(self) -> None:
        assert len(self.id) == len(self.state) == len(self.why)


class SeatsOf01(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="seats", tag_field="kind"):
    unhealthy: int
    seats: SeatColumnsOf01


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes()


def test_a_receipt_with_a_code_is_the_same_receipt_for_a_gateway_before_codes() -> None:
    then = msgspec.json.decode(golden("receipt-other-history"), type=ReceiptOf01)
    now = wire.decode_receipt(golden("receipt-other-history"))
    assert msgspec.structs.asdict(then) == {
        name: value
        for name, value in msgspec.structs.asdict(now).items()
        if name not in ("code", "epoch", "lacks", "standing", "packing", "decisions")
    }
    assert then.reason.startswith(("equivocation", "fork"))  # by which it begins a new spool


def test_a_receipt_that_lacks_readings_is_the_same_receipt_for_a_gateway_of_then() -> None:
    then = msgspec.json.decode(golden("receipt-lacks"), type=ReceiptOf01)
    now = wire.decode_receipt(golden("receipt-lacks"))
    assert (then.first_seq, then.last_seq, then.chain) == (now.first_seq, now.last_seq, now.chain)


def test_a_receipt_that_tells_how_the_center_stands_is_the_same_receipt_for_a_gateway_of_then() -> None:
    then = msgspec.json.decode(golden("receipt-standing"), type=ReceiptOf01)
    now = wire.decode_receipt(golden("receipt-standing"))
    assert (then.first_seq, then.last_seq, then.chain) == (now.first_seq, now.last_seq, now.chain)
    assert wire.decode_receipt(golden("receipt")).standing is None  # of a collector before


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("receipt", False),
        ("receipt-set-aside", False),
        ("receipt-other-history", True),
        ("receipt-equivocation", True),  # of a collector before codes
    ],
)
def test_which_receipts_tell_of_another_history(name: str, other: bool) -> None:
    assert is_other_history(wire.decode_receipt(golden(name))) == other


def test_seats_with_codes_are_the_same_seats_for_a_collector_before_codes() -> None:
    then = msgspec.json.decode(golden("seats-faults"), type=SeatsOf01)
    now = wire.decode_reading(golden("seats-faults"))
    assert isinstance(now, wire.SeatsReading)
    assert now.seats is not None
    assert (then.seats.id, then.seats.state) == (now.seats.id, now.seats.state)
    assert then.seats.why == ["", "", ""]  # what is wrong it does not learn, that something is it does
    assert bool(then.seats.changed[1])


def test_seats_before_codes_show_their_sentences() -> None:
    reading = wire.decode_reading(golden("seats-changed"))
    assert isinstance(reading, wire.SeatsReading)
    assert reading.seats is not None
    assert {name: found[0].params["text"] for name, found in faults_of(reading.seats).items()} == {
        "seat-01": "disk gone: 256 GB",
        "seat-02": "silent for 300 s: the PC does not answer, it is off, asleep or unplugged",
    }


@pytest.mark.parametrize("reason", ["equivocation: 1", "fork: 1"])
def test_a_code_decides_and_no_sentence(reason: str) -> None:
    receipt = wire.decode_receipt(golden("receipt-set-aside"))
    assert not is_other_history(msgspec.structs.replace(receipt, code="unreadable", reason=reason))
    assert is_other_history(msgspec.structs.replace(receipt, code="other_history", reason="whatever it says"))
    assert is_other_history(msgspec.structs.replace(receipt, reason=reason))
