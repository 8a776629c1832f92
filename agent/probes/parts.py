"""What a seat is made of, and what of that has gone. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.common.reading_codes import fault
from agent.common.reasons import Reason
from agent.seat.snapshot import Snapshot

MEMORY_SLACK = 0.06  # firmware and graphics take more or less of the same memory from one start to the next


@dataclass(frozen=True, kw_only=True)
class SeatParts:
    """`memory_mb` None and an empty `drives` (id to gigabytes) are unknown, never gone."""

    memory_mb: float | None = None
    drives: Mapping[str, float] = field(default_factory=dict)


def parts_of(snapshot: Snapshot) -> SeatParts:
    drives = {drive.id: drive.size_gb for drive in snapshot.drives or ()}
    return SeatParts(memory_mb=snapshot.memory_mb, drives=drives)


def lost(accepted: SeatParts, now: SeatParts) -> list[Reason]:
    """A fault for each part that was accepted and is not there now."""
    gone = []
    if _is_less(now.memory_mb, accepted.memory_mb):
        gone.append(fault("memory_gone", left_gb=_gb(now.memory_mb), all_gb=_gb(accepted.memory_mb)))
    if now.drives:
        missing = (size for drive, size in sorted(accepted.drives.items()) if drive not in now.drives)
        gone += [fault("disk_gone", size_gb=size) for size in missing]
    return gone


def grown(accepted: SeatParts, now: SeatParts) -> SeatParts:
    """What was accepted and what has come to it since: a part added counts, so that its loss is noticed."""
    more = accepted.memory_mb is None or _is_less(accepted.memory_mb, now.memory_mb)
    return SeatParts(memory_mb=now.memory_mb if more else accepted.memory_mb, drives={**now.drives, **accepted.drives})


def _is_less(value: float | None, than: float | None) -> bool:
    return value is not None and than is not None and value < than * (1 - MEMORY_SLACK)


def _gb(megabytes: float | None) -> float:
    return round((megabytes or 0) / 1000, 1)
