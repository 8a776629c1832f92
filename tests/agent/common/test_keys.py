"""Keys for which anybody can sign, and keys with two names, are taken nowhere."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent import identity
from agent.common.keys import P, is_sound
from agent.uplink import enrol
from collector.access.enrolment import is_signed

# The y of all points of order 1, 2, 4 and 8; with the sign of x these are all their encodings in canonical y.
ORDER_8 = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
SMALL_Y = [1, P - 1, 0, ORDER_8, P - ORDER_8]
SIGN = 1 << 255
SMALL = [(y | sign).to_bytes(32, "little") for y in SMALL_Y for sign in (0, SIGN)]
NOT_CANONICAL = [(y | sign).to_bytes(32, "little") for y in range(P, P + 19) for sign in (0, SIGN)]


@pytest.mark.parametrize("key", SMALL, ids=bytes.hex)
def test_a_key_of_small_order_is_not_taken(key: bytes) -> None:
    assert not is_sound(key)


@pytest.mark.parametrize("key", NOT_CANONICAL, ids=bytes.hex)
def test_a_key_that_has_another_name_is_not_taken(key: bytes) -> None:
    assert not is_sound(key)


def test_what_anybody_can_sign_for_all_messages_is_signed_by_nobody() -> None:
    neutral = (1).to_bytes(32, "little")
    signature = neutral + bytes(32)  # R is the neutral element, S is 0: it fits every message
    Ed25519PublicKey.from_public_bytes(neutral).verify(signature, b"any")  # so the library says
    assert not is_signed(neutral, b"any", signature)


def test_honest_keys_are_taken() -> None:
    for number in range(300):
        private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(str(number).encode()).digest())
        key = private.public_key().public_bytes_raw()
        assert is_sound(key)
        assert is_signed(key, b"body", private.sign(b"body"))
    assert not is_sound(key[:31])


def test_a_collector_whose_key_anybody_could_hold_is_not_trusted(tmp_path: Path) -> None:
    key = identity.make_key(tmp_path)
    known = identity.Enrolled(
        device=identity.device_name(key.public_key().public_bytes_raw()), center="LHR-1", name="One",
        collector_key=SMALL[0], broker_host="b", broker_port=1, measure_url="", enrolled_ms=1,
    )  # fmt: skip
    identity.save(tmp_path, known)
    with pytest.raises(identity.IdentityError, match="collector_key"):
        identity.load(tmp_path)
    answer = enrol.EnrolmentAnswer(
        device=known.device, center="LHR-1", collector_key=SMALL[0], broker=identity.BrokerEndpoint("b", 1)
    )
    with pytest.raises(enrol.EnrolFailed, match="small order"):
        enrol.checked(answer, "http://c", key, 1)
