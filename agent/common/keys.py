"""Which Ed25519 public keys are taken: points of the large subgroup, each in its one encoding.

The library takes the eight points of small order too, for which whoever likes can make a signature that fits any
message, and coordinates past the prime, with which one key has two names (RFC 8032 section 5.1.3; "Taming the many
EdDSAs", Chalkias, Garillot and Nikolaenko, 2020).
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

KEY_BYTES = 32
P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P  # of the curve -x² + y² = 1 + d x² y²


def _doubled_y(y: int) -> int | None:
    """The y of twice a point, from its y alone; None for what is on no curve. x² = (y² - 1) / (d y² + 1)."""
    square = y * y % P
    x_square = (square - 1) * pow(D * square + 1, -1, P) % P
    denominator = (1 - D * x_square * square) % P
    return (square + x_square) * pow(denominator, -1, P) % P if denominator else None


def is_sound(public_key: bytes) -> bool:
    """Whether these 32 bytes are in their one encoding, and of a point whose order is not 1, 2, 4 or 8."""
    if len(public_key) != KEY_BYTES:
        return False
    y = int.from_bytes(public_key, "little") & (2**255 - 1)
    if y >= P:
        return False
    for _ in range(3):  # eight times a point of small order is the neutral element, whose y is 1
        doubled = _doubled_y(y)
        if doubled is None:
            return False
        y = doubled
    return y != 1


@lru_cache(maxsize=16_384)
def verifier(public_key: bytes) -> Ed25519PublicKey:
    """Raises ValueError for a key that is not taken."""
    if not is_sound(public_key):
        raise ValueError("the public key is of small order or not in its one encoding; make a new one")
    return Ed25519PublicKey.from_public_bytes(public_key)
