"""What a center must give: versioned criteria as data, each version with its dates and the digest of its file.

A version is one file that never changes once it holds, not by a byte: reports name its digest. What is asked next goes
into a file of its own with a later `valid_from`, and by that the version before has ended.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from agent.common.errors import describe
from agent.common.files import parse_toml
from collector.standard import check
from collector.standard.criteria import Standard

__all__ = [
    "Standard",
    "StandardError",
    "Standards",
    "consequences",
    "criteria",
    "documents",
    "example",
    "examples",
    "form",
    "load",
    "names",
    "read",
]

EXAMPLES = ("example-2026-1.toml", "example-2026-2.toml", "example-2026-3.toml")  # in order of their dates
EXAMPLE = EXAMPLES[-1]


class StandardError(ValueError):
    """A file that is no standard; `mistakes` names each one: file, criterion, key, rule, fix."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def read(body: bytes, where: str) -> Standard:
    """A standard from a file's bytes; `where` is the name used in mistakes. Raises StandardError."""
    try:
        values = parse_toml(body)
    except (ValueError, RecursionError) as error:  # tomllib's own, broken UTF-8, numbers of thousands of digits
        raise StandardError(
            [f"{where}: is not TOML: {describe(error)}; see the example standard for the form"]
        ) from None
    standard, mistakes = check.standard(values, hashlib.sha256(body).hexdigest(), where)
    if standard is None:
        raise StandardError(mistakes)
    return standard


def load(path: Path) -> Standard:
    """A standard from its file. Raises StandardError, also when the file cannot be read."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise StandardError(
            [f"{path}: cannot be read: {describe(error)}; give the path of a standard's file"]
        ) from None
    return read(body, str(path))


def documents(paths: Iterable[Path]) -> dict[str, bytes]:
    """The versions' files by their digests; the shipped examples where none is named. Raises OSError."""
    bodies = [path.read_bytes() for path in paths]
    bodies = bodies or [resources.files(__name__).joinpath(name).read_bytes() for name in EXAMPLES]
    return {hashlib.sha256(body).hexdigest(): body for body in bodies}


def examples() -> list[Standard]:
    """The versions that are shipped: made-up figures, since no official technical standard has been published."""
    return [_shipped(name) for name in EXAMPLES]


def example() -> Standard:
    """The newest version that is shipped."""
    return _shipped(EXAMPLE)


@functools.cache
def _shipped(name: str) -> Standard:
    return read(resources.files(__name__).joinpath(name).read_bytes(), name)


def _ended(version: Standard, next_ms: int) -> Standard:
    return version if version.valid_to_ms is not None else replace(version, valid_to_ms=next_ms)


@dataclass(frozen=True)
class Standards:
    """The versions, in order of their dates; a time belongs to at most one."""

    versions: tuple[Standard, ...]

    @classmethod
    def of(cls, versions: Iterable[Standard]) -> Standards:
        """A version without an end of its own holds until the next begins. Raises StandardError if two versions begin
        on one day, or if one begins before the end that another states."""
        ordered = sorted(versions, key=lambda item: item.valid_from_ms)
        pairs = list(itertools.pairwise(ordered))
        mistakes = []
        for before, after in pairs:
            if before.valid_from_ms == after.valid_from_ms:
                mistakes.append(f"{after.id}: valid_from: {before.id} begins on the same day; let one begin later")
            elif before.valid_to_ms is not None and before.valid_to_ms > after.valid_from_ms:
                mistakes.append(f"{after.id}: valid_from: {before.id} still holds then; begin after its valid_to")
        if mistakes:
            raise StandardError(mistakes)
        ended = [_ended(before, after.valid_from_ms) for before, after in pairs]
        return cls((*ended, *ordered[-1:]))

    def at(self, ms: int) -> Standard | None:
        """The version that holds at this instant; None if none does."""
        for version in reversed(self.versions):
            if version.valid_from_ms <= ms:
                return version if version.valid_to_ms is None or ms < version.valid_to_ms else None
        return None

    def within(self, from_ms: int, to_ms: int) -> Standards:
        """The versions that hold at any time of a period: what is said of it never depends on later ones."""
        held = (item for item in self.versions if item.valid_from_ms < to_ms)
        return Standards(tuple(item for item in held if item.valid_to_ms is None or from_ms < item.valid_to_ms))
