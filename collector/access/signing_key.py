"""The collector's signing key: made at first start, readable to its own user only, never shown."""

from __future__ import annotations

import hmac
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.common.errors import describe
from collector.access.atomic_files import keep_once
from collector.database import KEY_FILE
from collector.store import StoreError


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


def drawing_secret(key: Ed25519PrivateKey) -> bytes:
    """32 bytes of which nobody learns anything by what the key signs; the same for every start of this collector."""
    return hmac.digest(key.private_bytes_raw(), b"nabz drawn tests 1", "sha256")


def cluster_password(key: Ed25519PrivateKey) -> str:
    """By which the machines of one broker know each other; the same for all that are set up by this collector."""
    return hmac.digest(key.private_bytes_raw(), b"nabz broker cluster 1", "sha256").hex()
