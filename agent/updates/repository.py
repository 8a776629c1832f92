"""The client of a repository of The Update Framework (python-tuf, extra `updates`). Costs some 30 MB while it is
imported: the running agent has it looked at by a process of its own.

What it returns was signed by as many signers as the trusted root asks for, is not older than what was seen before, and
belongs together (TUF specification 1.0, section 5). Raises RepositoryError for all else.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import IO, TypeVar

import msgspec
from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError
from tuf.api.exceptions import RepositoryError as TufError
from tuf.ngclient import FetcherInterface, TargetFile, Updater, UpdaterConfig

from agent.common import http
from agent.common.errors import describe
from agent.common.files import sync_folder
from agent.updates.offers import INDEX, MAX_RELEASE_BYTES, PACE, OfferedRelease, Pace, ReleaseIndex

TIMEOUT_S = 900.0  # for a whole file: 1 MB over a poor line
CHUNK = 16 * 1024
LIMITS = UpdaterConfig(
    max_root_rotations=32, root_max_length=64_000, timestamp_max_length=16_000, snapshot_max_length=64_000,
    targets_max_length=256_000, max_delegations=4,
)  # fmt: skip

Open = Callable[[str], IO[bytes]]
Shape = TypeVar("Shape")


class RepositoryError(Exception):
    """The repository cannot be used; `code` is unreachable, budget or refused."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class BudgetSpent(DownloadError):
    """As many bytes as updates may cost this month are used."""


class CountingFetcher(FetcherInterface):
    """Counts what it loads, and ends at `max_bytes`. `open_url` raises OSError."""

    def __init__(self, open_url: Open, max_bytes: int) -> None:
        self._open, self._max_bytes, self.bytes = open_url, max_bytes, 0

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            with self._open(url) as answer:
                while chunk := answer.read(CHUNK):
                    self.bytes += len(chunk)
                    if self.bytes > self._max_bytes:
                        raise BudgetSpent(f"{url}: over the {self._max_bytes} bytes that are left for updates")
                    yield chunk
        except http.HttpFailed as error:
            if error.status:
                raise DownloadHTTPError(f"{url}: answered {error.status}", error.status) from None
            raise DownloadError(f"{url}: no answer ({describe(error)})") from None
        except (OSError, HTTPException) as error:
            raise DownloadError(f"{url}: no answer ({describe(error)})") from None


def opener(context: ssl.SSLContext | None) -> Open:
    """Opens URLs; with a context, https servers are judged by it."""
    return lambda url: open_url(url, context)


def open_url(url: str, context: ssl.SSLContext | None = None) -> IO[bytes]:
    """By HTTP or HTTPS. Raises OSError."""
    return http.open_page(url, within_s=TIMEOUT_S, context=context)


class Repository:
    """One look at a repository. `root` is the trusted root of the start, `folder` keeps what was seen since."""

    def __init__(self, url: str, folder: Path, root: bytes, max_bytes: int, open_url: Open = open_url) -> None:
        self.fetcher = CountingFetcher(open_url, max_bytes)
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _refusals():
            self._updater = Updater(
                str(folder), f"{url.rstrip('/')}/metadata/", None, f"{url.rstrip('/')}/targets/",
                fetcher=self.fetcher, config=LIMITS, bootstrap=root,
            )  # fmt: skip

    def releases(self) -> list[OfferedRelease]:
        with _refusals():
            self._updater.refresh()
            target = self._updater.get_targetinfo(INDEX)
            self._sync()
            return [] if target is None else _decoded(self._load(target, 64_000), ReleaseIndex).releases

    def pace(self, version: str) -> Pace:
        with _refusals():
            target = self._updater.get_targetinfo(PACE + version)
            return Pace() if target is None else _converted(target.custom or {}, Pace)

    def digest(self, release: OfferedRelease) -> str:
        """The SHA-256 of the file of a release, in hex, as the signers have it."""
        with _refusals():
            return self._target(release).hashes["sha256"]

    def program(self, release: OfferedRelease) -> bytes:
        """The file of a release."""
        with _refusals():
            return self._load(self._target(release), MAX_RELEASE_BYTES)

    def _target(self, release: OfferedRelease) -> TargetFile:
        target = self._updater.get_targetinfo(release.path)
        if target is None or "sha256" not in target.hashes:
            raise RepositoryError("refused", f"{release.path}: is named by the list and is no target with a SHA-256")
        return target

    def _load(self, target: TargetFile, limit: int) -> bytes:
        if target.length > limit:
            raise RepositoryError("refused", f"{target.path}: {target.length} bytes are over the limit of {limit}")
        place = self._folder / "download"
        try:
            self._updater.download_target(target, str(place))
            return place.read_bytes()
        finally:
            place.unlink(missing_ok=True)

    def _sync(self) -> None:
        """What was seen holds after a power cut: python-tuf replaces its files whole, and does not sync them."""
        for path in self._folder.rglob("*.json"):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(self._folder)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except DownloadLengthMismatchError as error:
        raise RepositoryError("refused", describe(error)) from None
    except BudgetSpent as error:
        raise RepositoryError("budget", describe(error)) from None
    except DownloadError as error:
        raise RepositoryError("unreachable", describe(error)) from None
    except (TufError, ValueError, RecursionError) as error:
        raise RepositoryError("refused", describe(error)) from None


def _decoded(raw: bytes, shape: type[Shape]) -> Shape:
    try:
        return msgspec.json.decode(raw, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RepositoryError("refused", f"{INDEX}: {describe(error)}") from None


def _converted(value: object, shape: type[Shape]) -> Shape:
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise RepositoryError("refused", f"{PACE}: {describe(error)}") from None
