"""One encrypted file of many: a gzipped tar (POSIX pax) in the age format (age-encryption.org/v1), a manifest last.

For keys alone it is a plain age file, which any age program opens. For a passphrase a key is made for this file,
wrapped by age's own passphrase format and put in front: magic, 4 bytes of length, the wrapped key, then the age file. A
reader believes nothing until the manifest's hashes fit: names are held to a form, and age notices a changed byte.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import msgspec

from agent.common.errors import describe
from collector.store import StoreError
from collector.store.backup import Progress, quiet

MAGIC = b"nabz-backup 1\n"
AGE = b"age-encryption.org/v1\n"
MANIFEST = "manifest.json"
NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._=-]{0,99}/){0,4}[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
MAX_WRAPPED, MAX_MANIFEST, MAX_MEMBERS = 4096, 64 << 20, 100_000
CHUNK = 1 << 20


class ArchiveError(StoreError):
    """The file cannot be read or written; one sentence with the thing, the rule and the fix."""


class Digest(msgspec.Struct, frozen=True):
    """Of one member: its bytes, and their SHA-256 in hex."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`about` is the writer's own; `members` by name."""

    format: int = 1
    about: dict[str, Any]
    members: dict[str, Digest]


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Who may read. `recipients` are age public keys (`age1…`), `identities` secret ones (`AGE-SECRET-KEY-1…`)."""

    recipients: Sequence[str] = ()
    identities: Sequence[str] = ()
    passphrase: str = ""


Take = Callable[[str, BinaryIO], None]
"""Gets each member by its name; reads it to its end."""


def is_archive(start: bytes) -> bool:
    return start.startswith((AGE, MAGIC))


def new_identity() -> tuple[str, str]:
    """A secret key and its public one."""
    from pyrage import x25519

    made = x25519.Identity.generate()
    return str(made), str(made.to_public())


def public_of(identity: str) -> str:
    """Raises ArchiveError."""
    from pyrage import IdentityError, x25519

    try:
        return str(x25519.Identity.from_str(identity.strip()).to_public())
    except IdentityError:
        raise ArchiveError("age key: is no secret key; name a file with AGE-SECRET-KEY-1…") from None


# ---------------------------------------------------------------- writing


def write(
    to: Path, members: Mapping[str, Path], about: dict[str, Any], keys: Keys, progress: Progress = quiet
) -> Manifest:
    """Writes `to`, which must not exist, durably. Raises ArchiveError, OSError; a half file is for the caller to
    remove."""
    import pyrage

    total = sum(path.stat().st_size for path in members.values()) or 1
    with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        readers = _recipients(keys.recipients)
        if keys.passphrase:
            secret, public = new_identity()
            wrapped = pyrage.passphrase.encrypt(secret.encode(), keys.passphrase)
            out.write(MAGIC + len(wrapped).to_bytes(4, "big") + wrapped)
            readers += _recipients([public])
        if not readers:
            raise ArchiveError("backup: is encrypted to nobody; name a recipient or a passphrase")
        with _pipe(lambda source: pyrage.encrypt_io(source, out, readers)) as sink:
            manifest = _write_tar(sink, members, about, lambda done: progress(done / total))
        out.flush()
        os.fsync(out.fileno())
    return manifest


def _recipients(keys: Sequence[str]) -> list[Any]:
    from pyrage import RecipientError, x25519

    try:
        return [x25519.Recipient.from_str(key) for key in keys]
    except RecipientError as error:
        raise ArchiveError(f"recipient: is no age public key ({describe(error)}); name one as age1…") from None


def _write_tar(
    sink: IO[bytes], members: Mapping[str, Path], about: dict[str, Any], progress: Callable[[int], None]
) -> Manifest:
    digests, done = {}, 0
    with (
        gzip.GzipFile(fileobj=sink, mode="wb", compresslevel=1) as zipped,
        tarfile.open(fileobj=zipped, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, path in members.items():
            assert NAME.fullmatch(name), name
            with path.open("rb") as file:
                entry = tarfile.TarInfo(name)
                entry.size = os.fstat(file.fileno()).st_size
                hashed = _Hashed(file, lambda size, before=done: progress(before + size))  # type: ignore[misc]
                tar.addfile(entry, hashed)
            digests[name] = hashed.digest()
            done += entry.size
        manifest = Manifest(about=about, members=digests)
        content = msgspec.json.encode(manifest)
        entry = tarfile.TarInfo(MANIFEST)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return manifest


class _Hashed:
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes], progress: Callable[[int], None] = lambda _size: None) -> None:
        self._file, self._progress = file, progress
        self._sha256, self._size = hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._sha256.update(block)
        self._size += len(block)
        self._progress(self._size)
        return block

    def digest(self) -> Digest:
        return Digest(self._size, self._sha256.hexdigest())


@contextmanager
def _pipe(work: Callable[[IO[bytes]], None]) -> Iterator[IO[bytes]]:
    """A file to write to whose other end `work` reads in a thread. What `work` raises is raised here."""
    reading, writing = os.pipe()
    failed: list[BaseException] = []

    def run() -> None:
        with os.fdopen(reading, "rb") as source:
            try:
                work(source)
            except BaseException as error:
                failed.append(error)

    thread = threading.Thread(target=run, name="archive")
    thread.start()
    try:
        with os.fdopen(writing, "wb") as sink:
            yield sink
    except BrokenPipeError:
        pass
    finally:
        thread.join()
    if failed:
        raise failed[0]


# ---------------------------------------------------------------- reading


def read(source: Path, keys: Keys, take: Take, progress: Progress = quiet) -> Manifest:
    """Gives every member to `take` and returns the manifest that fits them all. Raises ArchiveError: nothing that was
    taken before is to be believed then."""
    digests: dict[str, Digest] = {}

    def members(tar: tarfile.TarFile) -> bytes:
        for entry in tar:
            content = tar.extractfile(entry) if entry.isreg() else None
            if content is None or not NAME.fullmatch(entry.name) or entry.name in digests or len(digests) > MAX_MEMBERS:
                raise ArchiveError(f"{source}: holds {entry.name[:100]!r}, which is no part of a backup; take another")
            if entry.name == MANIFEST:
                return content.read(MAX_MANIFEST)
            hashed = _Hashed(content)
            take(entry.name, hashed)  # type: ignore[arg-type]  # it only reads
            while hashed.read(CHUNK):
                pass
            digests[entry.name] = hashed.digest()
        raise ArchiveError(f"{source}: has no manifest; take another copy")

    content = _decrypted(source, keys, members, progress)
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{source}: its manifest is not read ({describe(error)}); take another copy") from None
    if manifest.members != digests:
        names = sorted(
            name for name in {*manifest.members, *digests} if manifest.members.get(name) != digests.get(name)
        )
        raise ArchiveError(f"{source}: {names[0]} is not what its manifest says; take another copy")
    return manifest


class _Metered:
    """A file that tells how much of it was read."""

    def __init__(self, file: IO[bytes], progress: Progress) -> None:
        self._file, self._progress = file, progress
        self._size = os.fstat(file.fileno()).st_size or 1

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._progress(self._file.tell() / self._size)
        return block


def _decrypted(source: Path, keys: Keys, work: Callable[[tarfile.TarFile], bytes], progress: Progress) -> bytes:
    import pyrage

    content: list[bytes] = []

    def unpack(stream: IO[bytes]) -> None:
        with tarfile.open(fileobj=stream, mode="r|gz") as tar:
            content.append(work(tar))
        while stream.read(CHUNK):  # age must come to its end: only there a cut shows
            pass

    try:
        with source.open("rb") as file:
            identities = _identities(file, source, keys)
            with _pipe(unpack) as sink:
                pyrage.decrypt_io(_Metered(file, progress), sink, identities)
    except pyrage.DecryptError as error:
        why = f"cannot be decrypted ({describe(error)})"
        raise ArchiveError(f"{source}: {why}; give the passphrase or key it was made for, or another copy") from None
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise ArchiveError(f"{source}: cannot be read ({describe(error)}); take another copy") from None
    return content[0]


def _identities(file: IO[bytes], source: Path, keys: Keys) -> list[Any]:
    """The secret keys to try; `file` is left where the age file begins."""
    from pyrage import DecryptError, IdentityError, passphrase, x25519

    secrets = [*keys.identities]
    start = file.read(len(MAGIC))
    if start == MAGIC:
        size = int.from_bytes(file.read(4), "big")
        wrapped = file.read(min(size, MAX_WRAPPED))
        if keys.passphrase:
            try:
                secrets.append(passphrase.decrypt(wrapped, keys.passphrase).decode())
            except (DecryptError, UnicodeDecodeError):
                raise ArchiveError(f"{source}: the passphrase does not fit; give the one it was made with") from None
    else:
        file.seek(0)
    try:
        identities = [x25519.Identity.from_str(key.strip()) for key in secrets]
    except IdentityError:
        raise ArchiveError("age key: is no secret key; name a file with AGE-SECRET-KEY-1…") from None
    if not identities:
        raise ArchiveError(f"{source}: is encrypted; give its passphrase or --identity FILE")
    return identities
