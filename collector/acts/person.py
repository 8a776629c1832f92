"""Who acts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ActingPerson:
    """Who does something, and when; `is_proven` by a password, else the name is as given."""

    name: str
    now_ms: int
    is_proven: bool = False
