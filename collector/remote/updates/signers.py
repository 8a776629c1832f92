"""Keys of those who sign: Ed25519, one file each. Those of releases belong on machines without a network."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from securesystemslib.signer import CryptoSigner, SSlibKey

from agent.common.errors import describe


class UpdateError(ValueError):
    """Something of an update cannot be done; one sentence with the thing, the rule and the fix."""


def make(path: Path, passphrase: str) -> SSlibKey:
    """A new key in this file (0600, encrypted where there is a passphrase), its public half beside it as FILE.pub.
    Raises UpdateError."""
    key = Ed25519PrivateKey.generate()
    locked = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
        public_pem = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        path.with_name(path.name + ".pub").write_bytes(public_pem)
    except FileExistsError:
        raise UpdateError(f"{path}: is there already, and a key is never written over; name another file") from None
    except OSError as error:
        raise UpdateError(f"{path}: cannot be written ({error.strerror})") from None
    return SSlibKey.from_crypto(key.public_key())


def load(path: Path, passphrase: str = "") -> CryptoSigner:
    """Raises UpdateError."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), passphrase.encode() or None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UpdateError(f"{path}: no key can be read ({describe(error)}); give a file of `update key`") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UpdateError(f"{path}: is no Ed25519 key; give the file that `update key` made")
    return CryptoSigner(key)


def load_public(path: Path) -> SSlibKey:
    """Raises UpdateError."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise UpdateError(f"{path}: no public key can be read ({describe(error)}); give a signer's .pub") from None
    if not isinstance(key, Ed25519PublicKey):
        raise UpdateError(f"{path}: is no Ed25519 key; give the .pub file of a signer")
    return SSlibKey.from_crypto(key)
