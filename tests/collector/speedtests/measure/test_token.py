"""Tokens for one test: made by a collector, told true from false by a measurement server that knows only its key."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from agent.common.tcp.http_server import HttpRefused
from collector.speedtests.measure import token
from collector.speedtests.measure.admission import SPARE_LINES, ByToken, UsedTokens
from collector.speedtests.measure.token import Claims, TokenRefused

NOW = 1_795_000_000_000
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()
CLAIMS = Claims(test="t1", device="g1", server="isb", expires_ms=NOW + 1, max_bytes=9, purpose="routine")


def refusal(text: str, test: str = "t1", server: str = "isb", now_ms: int = NOW) -> str:
    with pytest.raises(TokenRefused) as caught:
        token.read(text, PUBLIC, test=test, server=server, now_ms=now_ms)
    return caught.value.reason


def test_a_token_says_what_it_was_made_of() -> None:
    made = token.make(CLAIMS, KEY.sign)
    assert token.read(made, PUBLIC, test="t1", server="isb", now_ms=NOW) == CLAIMS
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", made)


def test_the_longest_token_fits_the_wire() -> None:
    long = Claims(
        test="t" * 64, device="g" * 64, server="s" * 64, expires_ms=2**53, max_bytes=2**53, purpose="self-test"
    )
    assert len(token.make(long, KEY.sign)) <= token.MAX_CHARS


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"server": "khi"}, "other_server"),
        ({"test": "t2"}, "other_test"),
        ({"now_ms": NOW + 1}, "expired"),
    ],
)
def test_a_true_token_admits_one_test_at_one_server_in_time(changes: dict[str, object], reason: str) -> None:
    assert refusal(token.make(CLAIMS, KEY.sign), **changes) == reason  # type: ignore[arg-type]


def test_no_token_and_false_ones_are_told_apart() -> None:
    made = token.make(CLAIMS, KEY.sign)
    assert refusal("") == "no_token"
    assert refusal(token.make(CLAIMS, Ed25519PrivateKey.generate().sign)) == "bad_signature"
    assert refusal("A" * 600) == "bad_signature"
    body = msgspec.json.encode(msgspec.structs.replace(CLAIMS, max_bytes=2**40))
    swapped = base64.urlsafe_b64encode(body).rstrip(b"=").decode() + "." + made.partition(".")[2]
    assert refusal(swapped) == "bad_signature"


def test_what_the_key_signs_for_other_ends_is_no_token() -> None:
    body = msgspec.json.encode(CLAIMS)
    receipt = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (body, KEY.sign(body)))
    assert refusal(receipt) == "bad_signature"


@given(st.text(max_size=700), st.integers(0, 400))
def test_no_bytes_break_the_reading_of_a_token(text: str, cut: int) -> None:
    made = token.make(CLAIMS, KEY.sign)
    for hostile in (text, made[:cut] + text, text + made[cut:]):
        if hostile != made:
            assert refusal(hostile) in ("no_token", "bad_signature")


# ---------------------------------------------------------------- used once


def admission(used: UsedTokens, counted: list[str] | None = None) -> ByToken:
    return ByToken(PUBLIC.public_bytes_raw(), "isb", used, (counted if counted is not None else []).append)


def test_a_used_token_is_refused_also_after_a_restart(tmp_path: Path) -> None:
    made, path = token.make(CLAIMS, KEY.sign), tmp_path / "used"
    first = admission(UsedTokens(path, NOW))
    claims = first.check("t1", made, "192.0.2.1", NOW)
    assert claims == CLAIMS
    first.use(claims, NOW)
    for door in (first, admission(UsedTokens(path, NOW))):
        with pytest.raises(HttpRefused, match=r"^used: "):
            door.check("t1", made, "192.0.2.1", NOW)


def test_refusals_are_counted_by_their_reason(tmp_path: Path) -> None:
    counted: list[str] = []
    door = admission(UsedTokens(None, NOW), counted)
    for text in ("", "x", "x"):
        with pytest.raises(HttpRefused):
            door.check("t1", text, "192.0.2.1", NOW)
    assert counted == ["no_token", "bad_signature", "bad_signature"]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_machine_itself_needs_no_token_and_proves_nothing(address: str) -> None:
    assert admission(UsedTokens(None, NOW)).check("", "", address, NOW) is None


def test_what_was_torn_by_a_power_cut_harms_neither_what_was_before_nor_what_comes_after(tmp_path: Path) -> None:
    path = tmp_path / "used"
    used = UsedTokens(path, NOW)
    used.add("a", NOW + 9, NOW)
    with path.open("a") as file:
        file.write("\n17950000")
    UsedTokens(path, NOW).add("b", NOW + 9, NOW)
    with path.open("a") as file:
        file.write("\n1795000000009 c-to")
    used.add("d", NOW + 9, NOW)  # after a write that failed half way
    held = UsedTokens(path, NOW)
    assert all(test in held for test in "abd")


def test_expired_tokens_are_forgotten_so_that_the_file_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "used"
    used = UsedTokens(path, NOW)
    for number in range(SPARE_LINES + 10):
        used.add(f"t{number}", NOW + number, NOW + number)
    assert len(used) < 20
    assert len(path.read_text().split()) < 40


def test_a_disk_that_takes_nothing_admits_nobody(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "used"
    path.parent.mkdir()
    door = admission(UsedTokens(path, NOW))
    path.unlink()
    path.parent.rmdir()
    with pytest.raises(HttpRefused, match="No such file"):
        door.use(CLAIMS, NOW)
