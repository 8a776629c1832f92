"""What a spool says of itself and of an append. No I/O."""

from __future__ import annotations

from dataclasses import dataclass


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
