"""Packed batches: shorter, the same signed bytes, and no bomb."""

from __future__ import annotations

import hashlib
import json
import random
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import pack, wire
from tests.helpers import ROOT

GOLDEN = ROOT / "tests" / "wire" / "v1"
SIGNATURE = bytes(range(64))


@given(st.binary(min_size=1, max_size=4000), st.binary(min_size=64, max_size=64))
def test_what_is_packed_comes_out_as_it_was(body: bytes, signature: bytes) -> None:
    packed = pack.pack(body, signature)
    assert pack.is_packed(packed)
    assert pack.unseal(packed) == (body, signature)


def test_the_golden_packed_batch_is_the_sealed_one() -> None:
    assert pack.unseal((GOLDEN / "batch.packed").read_bytes()) == wire.unseal((GOLDEN / "batch.sealed").read_bytes())


def test_an_unpacked_batch_is_read_as_ever() -> None:
    sealed = (GOLDEN / "batch.sealed").read_bytes()
    assert not pack.is_packed(sealed)
    assert pack.unseal(sealed) == wire.unseal(sealed)


def test_the_words_of_format_1_are_what_gateways_have() -> None:
    assert (pack.FORMAT, hashlib.sha256(pack.WORDS).hexdigest()) == (
        1,
        "16ba7cccd55b710b32d58f8981b8966471ebc9b029801ce161748aa98cea5d1a",
    )


def of_a_minute(dice: random.Random) -> bytes:
    """A batch with twenty seats, and figures that nobody can foresee."""
    raws = []
    for kind in ("link", "gateway", "ups", "seats"):
        reading = json.loads((GOLDEN / f"{kind}.json").read_bytes())
        reading["at"] |= {"wall_ms": dice.randrange(10**12), "mono_ms": dice.randrange(10**9)}
        if kind == "seats":
            parts = ("cpu_pct", "memory_pct", "disk_pct")
            columns = {name: [round(dice.uniform(0, 90), 1) for _ in range(20)] for name in parts}
            columns |= {"uptime_s": [float(dice.randrange(90_000)) for _ in range(20)]}
            names = [f"PC-{number:02}" for number in range(20)]
            reading["seats"] = {"id": names, "state": ["healthy"] * 20, "why": [""] * 20, **columns}
        raws.append(msgspec.Raw(msgspec.json.encode(reading)))
    names = {"device": "g56475aa75463474c", "spool": dice.randbytes(16).hex(), "prev": dice.randbytes(32).hex()}
    nonce, first_seq = dice.randbytes(16).hex(), dice.randrange(10**6)
    return wire.encode(wire.Batch(v=1, first_seq=first_seq, readings=raws, nonce=nonce, **names))


def test_a_minute_of_twenty_seats_costs_at_most_1_5_kb() -> None:
    bodies = [of_a_minute(random.Random(seed)) for seed in range(20)]
    assert min(len(body) for body in bodies) > 2_000
    assert max(len(pack.pack(body, SIGNATURE)) for body in bodies) <= 1_000


def squeezed(data: bytes) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, pack.RAW, zdict=pack.WORDS)
    return b"\x01" + SIGNATURE + squeeze.compress(data) + squeeze.flush()


def test_no_more_than_the_limit_is_ever_unpacked() -> None:
    most = squeezed(bytes(wire.MAX_BATCH_BYTES))
    assert len(pack.unseal(most)[0]) == wire.MAX_BATCH_BYTES
    bomb = squeezed(bytes(60_000_000))
    assert len(bomb) < wire.MAX_BATCH_BYTES
    with pytest.raises(wire.WireError, match="more than 65536 bytes are packed in"):
        pack.unseal(bomb)
    with pytest.raises(wire.WireError, match="over the limit"):
        pack.unseal(b"\x01" + bytes(wire.MAX_BATCH_BYTES + 128))


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"\x01", "signature has 0 bytes"),
        (b"\x01" + SIGNATURE[:63], "signature has 63 bytes"),
        (b"\x01" + SIGNATURE, "cut short"),
        (squeezed(b"{}" * 500)[:-1], "cut short"),
        (squeezed(b"{}") + b"x", "something follows"),
        (b"\x01" + SIGNATURE + b"\xff\xff\xff", "packed batch: Error -3"),
    ],
)
def test_what_cannot_be_unpacked_says_why(payload: bytes, why: str) -> None:
    with pytest.raises(wire.WireError, match=why):
        pack.unseal(payload)


@given(st.binary(max_size=300))
def test_nothing_that_comes_can_do_worse_than_be_refused(payload: bytes) -> None:
    try:
        pack.unseal(b"\x01" + payload)
    except wire.WireError:
        return
