"""That the signers of releases signed one, as a gateway shows it to its seats and a seat verifies it.

What is shown are files of The Update Framework as the gateway has verified them: its chain of roots, and the signed
list of targets. A seat has no reliable clock and no line of its own, so it checks what needs neither: the signatures,
their threshold, the chain of roots from the one that it knows, and that nothing is older than what it saw. Dates and
rings are the gateway's part. Needs python-tuf, which is imported only here, and only while a release is verified.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.common.errors import describe

MAX_BYTES = 1024 * 1024
MAX_ROOTS = 33
SEEN = "updates"  # below a gateway's state folder: what it saw last of its repository
HISTORY, TARGETS = "root_history", "targets.json"  # as python-tuf keeps them


@dataclass(frozen=True)
class SignedList:
    """`roots` and `targets` are files of TUF, oldest root first."""

    roots: Sequence[bytes]
    targets: bytes


@dataclass(frozen=True)
class TrustedSigners:
    """`root` is the newest root that was verified, `targets` the number of the newest list of targets."""

    root: bytes
    targets: int = 0


def collect(folder: Path) -> bytes:
    """What the gateway saw last in its repository, for its seats. Raises OSError."""
    roots = sorted((folder / HISTORY).glob("*.root.json"), key=lambda path: int(path.name.split(".")[0]))
    texts = [path.read_text("utf-8") for path in roots[-MAX_ROOTS:]]
    return json.dumps({"roots": texts, "targets": (folder / TARGETS).read_text("utf-8")}).encode()


def parse(content: bytes) -> SignedList:
    """Raises ValueError."""
    if len(content) > MAX_BYTES:
        raise ValueError(f"the signed list of releases has {len(content)} bytes, over the limit of {MAX_BYTES}")
    try:
        table = json.loads(content)
        roots = [str(text).encode() for text in table["roots"]]
        targets = str(table["targets"]).encode()
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"the signed list of releases is none: {describe(error)}") from None
    if not 1 <= len(roots) <= MAX_ROOTS:
        raise ValueError(f"the signed list of releases has {len(roots)} roots; 1 to {MAX_ROOTS} are taken")
    return SignedList(roots, targets)


def verify(shown: SignedList, known: TrustedSigners | None, version: str, digest: str) -> TrustedSigners:
    """Whom to trust from now on, if the signers signed this release; `known` None: the first root shown is trusted.
    Raises ValueError."""
    try:
        from tuf.api.exceptions import RepositoryError
        from tuf.api.metadata import Root, Targets
    except ImportError as error:
        raise ValueError(f"this program cannot verify releases ({describe(error)}): install a newer package") from None
    known = known or TrustedSigners(shown.roots[0])
    try:
        content = _newest_root(known.root, shown.roots)
        targets = _metadata(shown.targets, Targets)
        _signed_by(_metadata(content, Root), Targets.type, targets)
    except (RepositoryError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"the release is not signed by those whom this seat knows: {describe(error)}") from None
    if targets.signed.version < known.targets:
        raise ValueError(f"the list of releases {targets.signed.version} is older than {known.targets}, seen before")
    target = targets.signed.targets.get(f"nabz-agent-{version}.zip")
    if target is None or target.hashes.get("sha256") != digest:
        raise ValueError(f"the signers have signed no release {version} of these bytes")
    return TrustedSigners(content, targets.signed.version)


def _newest_root(content: bytes, shown: Sequence[bytes]) -> bytes:
    """Each root is followed by the next one, which the signers of both have signed (TUF 1.0, section 5.3)."""
    from tuf.api.metadata import Root

    root = _metadata(content, Root)
    _signed_by(root, Root.type, root)
    for newer_content in shown:
        newer = _metadata(newer_content, Root)
        if newer.signed.version <= root.signed.version:
            continue
        if newer.signed.version != root.signed.version + 1:
            raise ValueError(f"root {newer.signed.version} does not follow root {root.signed.version}")
        _signed_by(root, Root.type, newer)
        _signed_by(newer, Root.type, newer)
        content, root = newer_content, newer
    return content


def _metadata(content: bytes, kind: type[Any]) -> Any:
    from tuf.api.metadata import Metadata

    metadata: Any = Metadata.from_bytes(content)
    if not isinstance(metadata.signed, kind):
        raise ValueError(f"a {metadata.signed.type} stands where a {kind.__name__.lower()} is expected")
    return metadata


def _signed_by(root: Any, role: str, metadata: Any) -> None:
    root.signed.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
