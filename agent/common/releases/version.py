"""Versions of programs, and their order."""

from __future__ import annotations

import re

_VERSION = re.compile(r"\d{1,5}(\.\d{1,5}){1,3}")


def version_key(version: str) -> tuple[int, ...]:
    """Orders versions such as 0.3.1. Raises ValueError for any other text."""
    if _VERSION.fullmatch(version) is None:
        raise ValueError(f"version {version[:40]!r}: is not of numbers and full stops; write for example 0.3.1")
    return tuple(map(int, version.split(".")))


def is_older(version: str, than: str) -> bool:
    """False where the version is none."""
    return _VERSION.fullmatch(version) is not None and version_key(version) < version_key(than)
