"""What a center must give: versioned criteria as data, each version with its dates and the digest of its file."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from agent.common.errors import describe
from agent.common.files import parse_toml
from collector.standard import check
from collector.standard.criteria import Standard

__all__ = ["Standard", "StandardError", "Standards", "criteria", "example", "load", "names", "read"]

EXAMPLE = "example-2026-1.toml"


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
    found, mistakes = check.standard(values, hashlib.sha256(body).hexdigest(), where)
    if found is None:
        raise StandardError(mistakes)
    return found


def load(path: Path) -> Standard:
    """A standard from its file. Raises StandardError, also when the file cannot be read."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise StandardError(
            [f"{path}: cannot be read: {describe(error)}; give the path of a standard's file"]
        ) from None
    return read(body, str(path))


def example() -> Standard:
    """The example that is shipped: made-up figures, since no official technical standard has been published."""
    return read(resources.files(__name__).joinpath(EXAMPLE).read_bytes(), EXAMPLE)


@dataclass(frozen=True)
class Standards:
    """The versions, in order of their dates; a time belongs to at most one."""

    versions: tuple[Standard, ...]

    @classmethod
    def of(cls, versions: Iterable[Standard]) -> Standards:
        """Raises StandardError if two versions hold at the same time."""
        ordered = tuple(sorted(versions, key=lambda item: item.valid_from_ms))
        overlaps = [
            f"{after.id}: valid_from: {before.id} still holds then; end it with valid_to the day before"
            for before, after in itertools.pairwise(ordered)
            if before.valid_to_ms is None or before.valid_to_ms > after.valid_from_ms
        ]
        if overlaps:
            raise StandardError(overlaps)
        return cls(ordered)

    def at(self, ms: int) -> Standard | None:
        """The version that holds at this instant; None if none does."""
        for version in reversed(self.versions):
            if version.valid_from_ms <= ms:
                return version if version.valid_to_ms is None or ms < version.valid_to_ms else None
        return None
