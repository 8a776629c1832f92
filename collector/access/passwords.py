"""Passwords of people: made, checked, stored by Argon2id (RFC 9106) with a salt of their own, and compared.

The cost is what OWASP's Password Storage Cheat Sheet names first: 46 MiB, one pass, one lane. What was stored by
scrypt (RFC 7914) before is still compared, and stored anew when its person next logs in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import unicodedata
from dataclasses import dataclass

from argon2 import Type, extract_parameters, low_level
from argon2.exceptions import InvalidHashError, VerificationError

LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"  # none that looks like another
GROUPS, GROUP = 5, 4  # 20 letters of 31: 99 bits
SHORTEST, LONGEST, FEWEST_DIFFERENT = 14, 200, 6
SALT_BYTES, HASH_BYTES = 16, 32
SCRYPT = "scrypt$"


@dataclass(frozen=True)
class Cost:
    """Of Argon2id: memory in KiB, passes over it, and lanes that run beside each other."""

    memory_kib: int = 47_104
    passes: int = 1
    lanes: int = 1


USUAL = Cost()


class Weak(ValueError):
    """A password that can be guessed; one sentence with the rule and the fix."""


def make() -> str:
    """A new one, such as `k3m9-p2vq-…`."""
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(GROUP)) for _ in range(GROUPS))


def judge(text: str) -> None:
    """Raises Weak. The rules are ours: length counts, kinds of letters do not (as in NIST SP 800-63B)."""
    if not SHORTEST <= len(text) <= LONGEST or len(set(text)) < FEWEST_DIFFERENT:
        rule = f"must have {SHORTEST} to {LONGEST} letters, {FEWEST_DIFFERENT} of them different"
        raise Weak(f"password: {rule}; take several words, or have one made")


def hash_password(text: str, cost: Cost = USUAL) -> str:
    """What is stored of it: a PHC string, `$argon2id$v=19$m=…,t=…,p=…$salt$hash`."""
    salt = secrets.token_bytes(SALT_BYTES)
    made = low_level.hash_secret(
        _secret(text), salt, cost.passes, cost.memory_kib, cost.lanes, HASH_BYTES, Type.ID
    )  # fmt: skip
    return made.decode()


def verify(text: str, kept: str) -> bool:
    """Whether `text` is what `hash_password` was given; takes as long for every text of up to LONGEST letters."""
    if kept.startswith(SCRYPT):
        return _fits_scrypt(text, kept)
    try:
        return low_level.verify_secret(kept.encode(), _secret(text), Type.ID)
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(kept: str, cost: Cost = USUAL) -> bool:
    """Whether it was stored in another way, or at another cost, than today's."""
    if kept.startswith(SCRYPT):
        return True
    stored = extract_parameters(kept)
    return (stored.memory_cost, stored.time_cost, stored.parallelism) != (cost.memory_kib, cost.passes, cost.lanes)


def _fits_scrypt(text: str, kept: str) -> bool:
    """As this program stored them until 2026: `scrypt$log2 N$r$p$salt$hash`."""
    _, log2_n, r, p, salt, digest = kept.split("$")
    n = 2 ** int(log2_n)
    memory_limit = 128 * n * int(r) + (1 << 22)  # OpenSSL counts a little more than the formula
    made = hashlib.scrypt(
        _secret(text), salt=base64.b64decode(salt), n=n, r=int(r), p=int(p), maxmem=memory_limit, dklen=HASH_BYTES
    )
    return hmac.compare_digest(made, base64.b64decode(digest))


def _secret(text: str) -> bytes:
    """As typed on any keyboard: one form of each letter (NFC, as RFC 8265 §4.2 has it)."""
    return unicodedata.normalize("NFC", text[: LONGEST + 1]).encode(errors="replace")


# What an unknown name is compared with, so that it takes as long as a known one.
DUMMY_HASH = "$argon2id$v=19$m={},t={},p={}${}${}".format(
    USUAL.memory_kib, USUAL.passes, USUAL.lanes,
    *(base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (SALT_BYTES, HASH_BYTES)),
)  # fmt: skip
