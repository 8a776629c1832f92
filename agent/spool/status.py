"""What a spool says of itself, of an append and of what it has lost. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SpoolStats:
    """``shed`` and ``unreadable`` count readings lost since this agent started, ``bytes`` what the file uses."""

    readings: int
    bytes: int
    volatile: bool
    shed: int
    unreadable: int
    trouble: str  # why the disk is not used, empty when it is


@dataclass(frozen=True)
class Appended:
    """Where appended readings went: the last number given, and whether a power cut would spare them."""

    spool: str
    last_seq: int
    durable: bool


Why = Literal["full", "unreadable", "disk", "receipted"]


@dataclass(frozen=True, order=True)
class Lost:
    """A range of numbers of one spool that is gone, and why."""

    why: Why
    spool: str
    first_seq: int
    last_seq: int

    @property
    def count(self) -> int:
        return self.last_seq - self.first_seq + 1
