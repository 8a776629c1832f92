"""How far the journal was verified at the last start, in a signed file beside it: a start verifies what came since.

A line costs a signature and a parse, 0.1 ms; the bytes up to a checkpoint cost their hash. It is believed only where it
is signed by the collector's own key, the journal's first bytes have its hash, and the database's line of that number is
the same; after a restore it is not looked at.
"""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.common.errors import describe
from agent.common.files import write_atomically
from agent.common.logs import Event

SUFFIX = ".checkpoint"
CHUNK = 1 << 20

UNSAVED = Event(
    __name__, "warning", "journal_checkpoint_unsaved", "how far the journal was verified cannot be noted; the next "
    "start verifies all of it", key="file", fields="error",
)  # fmt: skip


class JournalCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The first `lines` of the journal are its first `size` bytes, with this SHA-256 (hex); `mark` is the hash of the
    last of them. Acts on incidents up to number `events` have their line."""

    lines: int
    size: int
    digest: str
    mark: str
    events: int

    def fits(self, journal: int) -> bool:
        """Whether the open file begins with these bytes. Raises OSError."""
        return os.fstat(journal).st_size >= self.size and digest_of(journal, self.size) == self.digest


def digest_of(file: int, size: int) -> str:
    """The SHA-256 in hex of the first `size` bytes of an open file. Raises OSError."""
    sha256 = hashlib.sha256()
    for start in range(0, size, CHUNK):
        sha256.update(os.pread(file, min(CHUNK, size - start), start))
    return sha256.hexdigest()


def beside(journal: Path) -> Path:
    return journal.with_name(journal.name + SUFFIX)


def load(journal: Path, key: Ed25519PublicKey) -> JournalCheckpoint | None:
    """None where there is none that this key has signed; then all is verified."""
    try:
        body, _, signature = beside(journal).read_bytes().rpartition(b" ")
        key.verify(base64.b64decode(signature, validate=True), body)
        return msgspec.json.decode(body, type=JournalCheckpoint)
    except (OSError, ValueError, InvalidSignature, msgspec.MsgspecError):
        return None


def save(journal: Path, checkpoint: JournalCheckpoint, key: Ed25519PrivateKey) -> None:
    """Raises nothing: it saves time, and is no part of what is promised."""
    body = msgspec.json.encode(checkpoint)
    try:
        write_atomically(beside(journal), body + b" " + base64.b64encode(key.sign(body)))
    except OSError as error:
        UNSAVED.log(file=beside(journal), error=describe(error))
