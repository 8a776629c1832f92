"""What a repository offers, and whether this gateway may take it now: pure.

Two signatures decide. The signers of a release, who are offline, sign its rings: which centers may have it first, and
from when on each wider ring may. The collector's online key signs how many rings are open at present: it can hold a
release back, and can open none before its time nor add any. So whoever steals that key updates nobody to anything that
the signers did not sign, nor sooner.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from agent.common.releases.version import version_key

INDEX = "releases.json"  # the signed list of releases
PACE = "pace/"  # and a version: how far its rings are open
MAX_RELEASES = 8
MAX_RINGS = 8
MAX_RELEASE_BYTES = 8 * 1024 * 1024

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Version = Annotated[str, msgspec.Meta(pattern=r"^\d{1,5}(\.\d{1,5}){1,3}$")]
Millis = Annotated[int, msgspec.Meta(ge=0, le=253402300799999)]


class Ring(msgspec.Struct, frozen=True, kw_only=True):
    """Gateways that may have a release: those of `centers`, and this share of all, from `from_ms` (wall clock) on."""

    share: Share = 0.0
    centers: Annotated[list[str], msgspec.Meta(max_length=100)] = []
    from_ms: Millis = 0


class OfferedRelease(msgspec.Struct, frozen=True, kw_only=True):
    """`path` is its target in the repository; `needs` the oldest installed program that it runs beside, which brings
    the libraries."""

    version: Version
    path: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9.-]{1,80}$")]
    needs: Version
    rings: Annotated[list[Ring], msgspec.Meta(min_length=1, max_length=MAX_RINGS)]


class ReleaseIndex(msgspec.Struct, frozen=True, kw_only=True):
    releases: Annotated[list[OfferedRelease], msgspec.Meta(max_length=MAX_RELEASES)] = []


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How many rings of a release are open, since `at_ms`; 0 holds it back."""

    open: Annotated[int, msgspec.Meta(ge=0, le=MAX_RINGS)] = 0
    at_ms: Millis = 0


@dataclass(frozen=True, kw_only=True)
class GatewayPlace:
    """`running` and `installed` are versions: of the program that runs, and of the installed one."""

    center: str
    device: str
    running: str
    installed: str


@dataclass(frozen=True)
class Choice:
    """`code` is why: offered, or current, package, ring, early, held."""

    code: str
    release: OfferedRelease | None = None


def choose(index: Sequence[OfferedRelease], pace: Mapping[str, Pace], place: GatewayPlace, now_ms: int) -> Choice:
    """The newest release that this gateway may take now, or why the newest of all may not be."""
    newer = [release for release in index if version_key(release.version) > version_key(place.running)]
    newest_first = sorted(newer, key=lambda release: version_key(release.version), reverse=True)
    choices = [_judge(release, pace.get(release.version, Pace()), place, now_ms) for release in newest_first]
    offered = (choice for choice in choices if choice.code == "offered")
    return next(offered, choices[0] if choices else Choice("current"))


def _judge(release: OfferedRelease, pace: Pace, place: GatewayPlace, now_ms: int) -> Choice:
    if version_key(release.needs) > version_key(place.installed):
        return Choice("package", release)
    rings = [number for number, ring in enumerate(release.rings) if is_in_ring(release.version, ring, place)]
    if not rings:
        return Choice("ring", release)
    if rings[0] >= pace.open:
        return Choice("held", release)
    if all(now_ms < release.rings[number].from_ms for number in rings if number < pace.open):
        return Choice("early", release)
    return Choice("offered", release)


def is_in_ring(version: str, ring: Ring, place: GatewayPlace) -> bool:
    return place.center in ring.centers or lot(version, place.device) < ring.share


def lot(version: str, device: str) -> float:
    """A gateway's place in the order of a release, from 0 to below 1: another for each release, the same everywhere."""
    drawn = hashlib.sha256(f"{version}\n{device}".encode()).digest()[:7]
    return int.from_bytes(drawn, "big") / 2**56
