"""A key of a seat's own, agreed with the gateway once, so that one PC that leaks its secrets cannot speak for another.

The center's seat key is on every PC: it lets a seat in, and nothing more. Once approved, seat and gateway agree on a
key by Diffie-Hellman (RFC 3526 group 14, from the standard library's integers alone), both halves sealed under the
center's key. An eavesdropper on the LAN learns nothing by it, even one who has the center's key.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

# RFC 3526 section 3: 2^2048 - 2^1984 - 1 + 2^64 * ([2^1918 pi] + 124476), generator 2.
P = int(
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd"
    "ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed"
    "ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f"
    "83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b"
    "e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510"
    "15728e5a8aacaa68ffffffffffffffff",
    16,
)
G = 2
SECRET_BITS = 256
LABEL = b"nabz-own-key-1\n"


def make_secret() -> int:
    return secrets.randbits(SECRET_BITS) | 1 << (SECRET_BITS - 1)


def half(secret: int) -> str:
    """The public half of a secret, hexadecimal."""
    return f"{pow(G, secret, P):0512x}"


def agree(secret: int, theirs: str, center_key: bytes, seat_id: str) -> bytes:
    """The seat's own key of 32 bytes, the same on both sides. Raises ValueError for a half that is none."""
    other = int(theirs, 16) if theirs else 0
    if not 1 < other < P - 1:
        raise ValueError("the other half of the key is no public value of this group")
    shared = pow(other, secret, P).to_bytes(256, "big")
    return hmac.new(center_key, LABEL + seat_id.encode() + b"\n" + shared, hashlib.sha256).digest()
