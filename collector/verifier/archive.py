"""The files of a bundle, as far as they may be read: a zip of strangers is hostile until it has been counted."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent.common.errors import describe

FORMATS = (1, 2)  # 1 had no records of measurement servers
MANIFEST = "manifest.json"
LIMITS: Mapping[str, int] = {  # bytes, unpacked
    MANIFEST: 1 << 20,
    "gateways.jsonl": 1 << 20,
    "spools.jsonl": 16 << 20,
    "batches.jsonl": 2 << 30,
    "servers.jsonl": 1 << 20,
    "records.jsonl": 512 << 20,
    "facts.jsonl": 16 << 20,
    "calendar.jsonl": 64 << 20,
    "sheets.jsonl": 64 << 20,
    "report.json": 16 << 20,
    "leaves.jsonl": 256 << 20,
    "checkpoint.txt": 1 << 20,
}
STANDARD = "standards/"  # files below: the documents, named by their digests
MAX_STANDARDS = 32
MAX_STANDARD = 4 << 20
UNREADABLE = (  # what zipfile raises of a file inside a zip; a local name may be no UTF-8
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, UnicodeDecodeError,
)  # fmt: skip
MAX_RATIO = 400  # text of readings packs to a tenth; what packs to a thousandth is a bomb


class BundleError(ValueError):
    """What is no bundle; one sentence."""


class Bundle:
    """An opened one. Files are read as streams, once their hash has been compared with the manifest's."""

    def __init__(self, path: Path) -> None:
        """Raises BundleError, OSError."""
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise BundleError(f"{path.name}: is no zip file ({describe(error)})") from None
        self._files = {info.filename: info for info in self._zip.infolist()}
        self._check_names()
        self.manifest = self._manifest()
        self._check_hashes()

    def close(self) -> None:
        self._zip.close()

    def _check_names(self) -> None:
        names = [info.filename for info in self._zip.infolist()]
        if len(names) != len(set(names)):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise BundleError(f"{twice[0]!r:.60}: stands twice in the zip; a bundle has each file once")
        if sum(name.startswith(STANDARD) for name in names) > MAX_STANDARDS:
            raise BundleError(f"has more than {MAX_STANDARDS} standards")
        for name, info in self._files.items():
            limit = limit_of(name)
            if limit is None:
                raise BundleError(f"{name!r:.60}: is no file of a bundle")
            if info.file_size > limit or info.file_size > 4096 + info.compress_size * MAX_RATIO:
                raise BundleError(f"{name}: unpacks to {info.file_size} bytes, more than a bundle has")
            if info.flag_bits & 1:
                raise BundleError(f"{name}: is encrypted")

    def _manifest(self) -> dict[str, Any]:
        manifest = _object(self._read(MANIFEST), MANIFEST)
        if manifest.get("format") not in FORMATS:
            raise BundleError(f"{MANIFEST}: is of format {manifest.get('format')!r:.20}, this program reads 1 and 2")
        for name, kind in (("center", str), ("month", str), ("from_ms", int), ("to_ms", int), ("files", dict)):
            if not isinstance(manifest.get(name), kind):
                raise BundleError(f"{MANIFEST}: `{name}` is missing or is of another kind")
        return manifest

    def _check_hashes(self) -> None:
        stated = self.manifest["files"]
        if set(stated) != set(self._files) - {MANIFEST}:
            other = sorted(set(stated) ^ (set(self._files) - {MANIFEST}))
            raise BundleError(f"{other[0]!r:.60}: the manifest and the zip do not name the same files")
        for name, digest in stated.items():
            running = hashlib.sha256()
            for part in self._parts(name):
                running.update(part)
            if running.hexdigest() != digest:
                raise BundleError(f"{name}: is not the file that the manifest names")

    def _parts(self, name: str) -> Iterator[bytes]:
        left = self._files[name].file_size
        try:
            with self._zip.open(name) as file:
                while part := file.read(1 << 20):
                    left -= len(part)
                    if left < 0:
                        raise BundleError(f"{name}: unpacks to more than it says")
                    yield part
        except UNREADABLE as error:
            raise BundleError(f"{name}: cannot be unpacked ({describe(error)})") from None

    def _read(self, name: str) -> bytes:
        if name not in self._files:
            raise BundleError(f"{name}: is missing")
        return b"".join(self._parts(name))

    def text(self, name: str) -> bytes:
        """Raises BundleError."""
        return self._read(name)

    def object(self, name: str) -> dict[str, Any]:
        """Raises BundleError."""
        return _object(self._read(name), name)

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        """One JSON object a line. Raises BundleError."""
        if name not in self._files:
            raise BundleError(f"{name}: is missing")
        left = b""
        for part in self._parts(name):
            *lines, left = (left + part).split(b"\n")
            yield from (_object(line, name) for line in lines if line)
        if left:
            yield _object(left, name)

    def standards(self) -> dict[str, bytes]:
        """The documents, by the digests that they are named by."""
        names = [name for name in self._files if name.startswith(STANDARD)]
        return {name.removeprefix(STANDARD).removesuffix(".toml"): self._read(name) for name in names}


def limit_of(name: str) -> int | None:
    """How large a file of that name may be; None where a bundle has none."""
    digest = name.removeprefix(STANDARD).removesuffix(".toml")
    if name == f"{STANDARD}{digest}.toml" and len(digest) == 64 and set(digest) <= set("0123456789abcdef"):
        return MAX_STANDARD
    return LIMITS.get(name)


def _object(body: bytes, name: str) -> dict[str, Any]:
    try:
        content = json.loads(body, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{name}: is no JSON ({describe(error)[:80]})") from None
    if not isinstance(content, dict):
        raise BundleError(f"{name}: has a line that is no object")
    return content


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
