"""Passphrases of users: made, checked, stored as scrypt (RFC 7914) with a salt of their own, and compared.

Argon2id would do as well, but the standard library has scrypt and no dependency has to be trusted for it. The cost is
what OWASP's Password Storage Cheat Sheet names for 32 MiB: N = 2^15, r = 8, p = 3; here about 0.25 s of a core.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import unicodedata
from dataclasses import dataclass

LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"  # none that looks like another
GROUPS, GROUP = 5, 4  # 20 letters of 31: 99 bits
SHORTEST, LONGEST, FEWEST_DIFFERENT = 14, 200, 6
SALT_BYTES, HASH_BYTES = 16, 32


@dataclass(frozen=True)
class Cost:
    """N is 2 to the power of `log2_n`; memory is 128 * N * r bytes."""

    log2_n: int = 15
    r: int = 8
    p: int = 3


USUAL = Cost()


class Weak(ValueError):
    """A passphrase that can be guessed; one sentence with the rule and the fix."""


def make() -> str:
    """A new one, such as `k3m9-p2vq-…`."""
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(GROUP)) for _ in range(GROUPS))


def judge(text: str) -> None:
    """Raises Weak. The rules are ours: length counts, kinds of letters do not (as in NIST SP 800-63B)."""
    if not SHORTEST <= len(text) <= LONGEST or len(set(text)) < FEWEST_DIFFERENT:
        rule = f"must have {SHORTEST} to {LONGEST} letters, {FEWEST_DIFFERENT} of them different"
        raise Weak(f"passphrase: {rule}; take several words, or have one made")


def hash_password(text: str, cost: Cost = USUAL) -> str:
    """What is stored of it: `scrypt$log2 N$r$p$salt$hash`."""
    salt = secrets.token_bytes(SALT_BYTES)
    return _written(cost, salt, _scrypt(text, cost, salt))


def verify(text: str, kept: str) -> bool:
    """Whether `text` is what `hash_password` was given; takes as long for every text of up to LONGEST letters."""
    _, log2_n, r, p, salt, digest = kept.split("$")
    made = _scrypt(text, Cost(int(log2_n), int(r), int(p)), base64.b64decode(salt))
    return hmac.compare_digest(made, base64.b64decode(digest))


def _scrypt(text: str, cost: Cost, salt: bytes) -> bytes:
    """As typed on any keyboard: one form of each letter (NFC, as RFC 8265 §4.2 has it)."""
    secret = unicodedata.normalize("NFC", text[: LONGEST + 1]).encode(errors="replace")
    n = 2**cost.log2_n
    memory_limit = 128 * n * cost.r + (1 << 22)  # OpenSSL counts a little more than the formula
    return hashlib.scrypt(secret, salt=salt, n=n, r=cost.r, p=cost.p, maxmem=memory_limit, dklen=HASH_BYTES)


def _written(cost: Cost, salt: bytes, digest: bytes) -> str:
    parts = (str(cost.log2_n), str(cost.r), str(cost.p), *(base64.b64encode(item).decode() for item in (salt, digest)))
    return "$".join(("scrypt", *parts))


# What an unknown name is compared with, so that it takes as long as a known one.
DUMMY_HASH = _written(USUAL, secrets.token_bytes(SALT_BYTES), secrets.token_bytes(HASH_BYTES))
