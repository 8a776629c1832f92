"""Signed notes, checkpoints and cosignatures (C2SP signed-note, tlog-checkpoint, tlog-cosignature; Ed25519). Pure;
needs the standard library and `cryptography` alone."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from collector.log.merkle import HASH_BYTES

SIGNED, COSIGNED = 0x01, 0x04  # kinds of keys
MAX_NOTE = 1_000_000  # bytes
MAX_SIGNATURES = 100
MAX_SIZE = 2**63 - 1
DASH = "\N{EM DASH} "

_NAME = re.compile(r"[^\s+]{1,200}")


class NoteError(ValueError):
    """What is no signed note, no checkpoint, no key, or is not signed; one sentence."""


@dataclass(frozen=True)
class NoteKey:
    """A key that signs notes (`kind` SIGNED) or cosigns checkpoints (COSIGNED), with its name."""

    name: str
    public: bytes
    kind: int = SIGNED

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        """As others are configured with it: NAME+ID+KEY."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> NoteKey:
        """Raises NoteError."""
        name, _, rest = text.partition("+")
        key_id, _, body = rest.partition("+")
        raw = unbased(body)
        if raw is None or len(raw) != 33 or raw[0] not in (SIGNED, COSIGNED) or _NAME.fullmatch(name) is None:
            raise NoteError(f"key {text[:80]!r}: must be NAME+ID+KEY with an Ed25519 key; copy it whole")
        key = cls(name, raw[1:], raw[0])
        if key_id != key.id.hex():
            raise NoteError(f"key {text[:80]!r}: its id does not fit; copy it whole")
        return key

    def signs(self, text: str, signature: bytes) -> bool:
        """Whether this is its signature of the note's text; of a cosignature, with the time within."""
        message = text.encode()
        if self.kind == COSIGNED:
            if len(signature) != 72:
                return False
            message = cosigned_message(text, struct.unpack(">Q", signature[:8])[0])
            signature = signature[8:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class NoteSignature:
    """One line under a note."""

    name: str
    key_id: bytes
    body: bytes

    def __str__(self) -> str:
        return f"{DASH}{self.name} {base64.b64encode(self.key_id + self.body).decode()}\n"


@dataclass(frozen=True)
class Note:
    """A text that ends with a line feed, and the signatures under it."""

    text: str
    signatures: tuple[NoteSignature, ...] = ()

    def __str__(self) -> str:
        return self.text + "\n" + "".join(map(str, self.signatures))

    @classmethod
    def parse(cls, body: bytes) -> Note:
        """Raises NoteError."""
        try:
            whole = body.decode() if len(body) <= MAX_NOTE else ""
        except UnicodeDecodeError:
            whole = ""
        text, gap, lines = whole.rpartition("\n\n")
        if not gap or not lines.endswith("\n") or any(ord(c) < 32 and c != "\n" for c in whole):
            raise NoteError("is no signed note: a text, an empty line, and lines of signatures")
        rows = lines[:-1].split("\n")
        if len(rows) > MAX_SIGNATURES:
            raise NoteError(f"note: has {len(rows)} signatures, more than {MAX_SIGNATURES}")
        return cls(text + "\n", tuple(map(_signature, rows)))

    def signed_by(self, key: NoteKey) -> NoteSignature | None:
        """The signature of that key, if there is a true one and no false one."""
        mine = [one for one in self.signatures if (one.name, one.key_id) == (key.name, key.id)]
        return mine[0] if mine and all(key.signs(self.text, one.body) for one in mine) else None

    def with_signatures(self, more: Iterable[NoteSignature]) -> Note:
        """A newer one of the same key takes the place of an older."""
        new = {(one.name, one.key_id): one for one in (*self.signatures, *more)}
        return Note(self.text, tuple(new.values()))


def _signature(line: str) -> NoteSignature:
    name, _, rest = line.removeprefix(DASH).partition(" ")
    raw = unbased(rest)
    if not line.startswith(DASH) or raw is None or len(raw) < 5 or _NAME.fullmatch(name) is None:
        raise NoteError(f"note: {line[:60]!r} is no line of a signature")
    return NoteSignature(name, raw[:4], raw[4:])


def unbased(text: str) -> bytes | None:
    """None for what is no base64 as it is written once only."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None


# ---------------------------------------------------------------- checkpoints


@dataclass(frozen=True)
class Checkpoint:
    """The head of a log: its origin, how many leaves it has, and the root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Further lines are extensions, which say nothing here. Raises NoteError."""
        lines = text.split("\n")
        if len(lines) < 4 or not lines[0] or re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]) is None:
            raise NoteError("is no checkpoint: an origin, a size, and a root")
        root, size = unbased(lines[2]), int(lines[1])
        if root is None or len(root) != HASH_BYTES or size > MAX_SIZE:
            raise NoteError("checkpoint: its root must be a SHA-256 in base64, its size below 2^63")
        return cls(lines[0], size, root)


def signed(text: str, name: str, key: Ed25519PrivateKey) -> Note:
    public = NoteKey(name, key.public_key().public_bytes_raw())
    return Note(text, (NoteSignature(name, public.id, key.sign(text.encode())),))


def cosignature(text: str, name: str, key: Ed25519PrivateKey, at_s: int) -> NoteSignature:
    """That whoever has this key saw this head at that time, the largest of its log, and that it is consistent."""
    public = NoteKey(name, key.public_key().public_bytes_raw(), COSIGNED)
    return NoteSignature(name, public.id, struct.pack(">Q", at_s) + key.sign(cosigned_message(text, at_s)))


def cosigned_message(text: str, at_s: int) -> bytes:
    return f"cosignature/v1\ntime {at_s}\n{text}".encode()


def opened(body: bytes, key: NoteKey) -> tuple[Note, Checkpoint]:
    """A checkpoint that this log's key signed. Raises NoteError."""
    note = Note.parse(body)
    head = Checkpoint.parse(note.text)
    if head.origin != key.name:
        raise NoteError(f"checkpoint: is of {head.origin[:80]!r}, the key of {key.name!r}")
    if note.signed_by(key) is None:
        raise NoteError(f"checkpoint: is not signed with the key of {key.name}")
    return note, head
