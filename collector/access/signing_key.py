"""The collector's signing key: made at first start, readable to its own user only, never shown."""

from __future__ import annotations

import hmac
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.common import base64url
from agent.common.errors import describe
from collector.access.atomic_files import keep_once
from collector.store import StoreError
from collector.store.database import KEY_FILE

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # SP 800-186 §3.2.1.3
PUSH_BYTES = 48  # 128 bits more than the order, so that the remainder favours no key (FIPS 186-5 A.2.1)


def load_or_make(data_dir: Path) -> Ed25519PrivateKey:
    """The 32-byte Ed25519 key (RFC 8032) of this collector. Raises StoreError when what is there cannot be used.

    Gateways trust receipts of this key alone: a lost key means enrolling them again, so a bad file is never replaced.
    """
    path = data_dir / KEY_FILE
    try:
        raw = path.read_bytes() if path.exists() else keep_once(path, Ed25519PrivateKey.generate().private_bytes_raw())
    except OSError as error:
        raise StoreError(f"{path}: cannot be used ({describe(error)}); check its folder's owner and space") from None
    if len(raw) != 32:
        raise StoreError(f"{path}: holds {len(raw)} bytes, an Ed25519 key has 32; restore it from a backup")
    return Ed25519PrivateKey.from_private_bytes(raw)


def push_key(key: Ed25519PrivateKey) -> ec.EllipticCurvePrivateKey:
    """The key by which push services know this collector (VAPID, RFC 8292), made of its own: the same for every start,
    and in its backup."""
    derive = HKDF(SHA256(), PUSH_BYTES, salt=None, info=b"nabz web push 1")
    number = int.from_bytes(derive.derive(key.private_bytes_raw()), "big")
    return ec.derive_private_key(number % (P256_ORDER - 1) + 1, ec.SECP256R1())


def push_key_text(key: Ed25519PrivateKey) -> str:
    """Its public point in base64url, as browsers take it."""
    point = push_key(key).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return base64url.encode(point)


def drawing_secret(key: Ed25519PrivateKey) -> bytes:
    """32 bytes of which nobody learns anything by what the key signs; the same for every start of this collector."""
    return hmac.digest(key.private_bytes_raw(), b"nabz drawn tests 1", "sha256")


def cluster_password(key: Ed25519PrivateKey) -> str:
    """By which the machines of one broker know each other; the same for all that are set up by this collector."""
    return hmac.digest(key.private_bytes_raw(), b"nabz broker cluster 1", "sha256").hex()
