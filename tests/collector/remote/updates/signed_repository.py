"""A repository of releases in a folder, and a gateway's look at it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from securesystemslib.signer import CryptoSigner

from agent.common.http import HttpFailed
from agent.updates.offers import Choice, GatewayPlace, OfferedRelease, Ring, choose
from agent.updates.repository import Repository
from collector.remote.updates.repository import UpdateRepository

URL = "https://updates.example"
PLACE = GatewayPlace(center="C-1", device="d" * 16, running="0.2.0", installed="0.2.0")
ALL = [Ring(share=1.0)]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class SignedRepository:
    """Three signers, two of whom must sign; `online` is the collector's key."""

    folder: Path
    signers: list[CryptoSigner]
    online: CryptoSigner

    @classmethod
    def begun(cls, folder: Path) -> SignedRepository:
        made = cls(folder, [CryptoSigner.generate_ed25519() for _ in range(3)], CryptoSigner.generate_ed25519())
        made.tool.stage_root([one.public_key for one in made.signers], 2, made.online.public_key, now_ms())
        made.published()
        return made

    @property
    def tool(self) -> UpdateRepository:
        return UpdateRepository(self.folder)

    def published(self, number: int = 2, at_ms: int | None = None) -> None:
        """Signed by so many, and published."""
        for signer in self.signers[:number]:
            self.tool.sign(signer)
        self.tool.publish(self.online, at_ms or now_ms())

    def release(self, version: str, content: bytes, rings: list[Ring] | None = None, needs: str = "0.2.0") -> None:
        """Published, with every ring open."""
        self.tool.stage_release(version, content, needs, rings or ALL, now_ms())
        self.published()
        self.tool.set_pace(version, len(rings or ALL), self.online, now_ms())

    def root(self) -> bytes:
        return self.tool.root()


def opening(folder: Path, url: str = URL) -> Callable[[str], IO[bytes]]:
    """As a web server would serve the folder."""

    def open_url(wanted: str) -> IO[bytes]:
        assert wanted.startswith(url)
        try:
            return (folder / wanted.removeprefix(url).lstrip("/")).open("rb")
        except OSError:
            raise HttpFailed("answered 404", 404) from None

    return open_url


@dataclass
class Gateway:
    """What one gateway has seen of the repository, over several looks."""

    folder: Path
    root: bytes
    max_bytes: int = 1_000_000

    def looks(self, repository: Path) -> Repository:
        return Repository(URL, self.folder, self.root, self.max_bytes, opening(repository))

    def choice(self, repository: Path, place: GatewayPlace = PLACE, at_ms: int | None = None) -> Choice:
        look = self.looks(repository)
        releases = look.releases()
        return choose(releases, {one.version: look.pace(one.version) for one in releases}, place, at_ms or now_ms())

    def takes(self, repository: Path, place: GatewayPlace = PLACE) -> bytes | None:
        """The program that it would take; None for none. Raises RepositoryError."""
        look = self.looks(repository)
        releases = look.releases()
        found = choose(releases, {one.version: look.pace(one.version) for one in releases}, place, now_ms())
        return look.program(found.release) if found.code == "offered" and found.release is not None else None


def named(releases: list[OfferedRelease]) -> list[str]:
    return [release.version for release in releases]
