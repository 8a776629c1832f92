"""Which readings are given up when a spool is full, and the readings that account for lost numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace

from agent import wire
from agent.spool.file import Lost, SpoolFile, Why
from agent.spool.record import VALUES, Group, Ident


def make_room(
    file: SpoolFile, limit: int, why: Why, forgotten: Collection[Ident]
) -> tuple[dict[Ident, int], list[Lost]]:
    """The groups to give up (with the readings lost with each), receipted ones first, then the oldest of the least
    value; and what to report, for the reason `why`. `limit` is in bytes."""
    enough = over = file.used_bytes() + wire.MAX_BATCH_BYTES // 2 - limit
    victims: dict[Ident, int] = {}
    lost: list[Lost] = []
    if over <= 0:
        return victims, lost
    enough += limit // 100
    for ident, size in file.oldest_receipted():
        if enough <= 0:
            return victims, lost
        victims[ident] = 0
        enough -= size
    for group, size in (found for value in VALUES for found in file.oldest_of(value)):
        if enough <= 0:
            break
        enough -= size
        victims[group.ident] = 0
        if group.ident not in forgotten:
            victims[group.ident] = len(group.raws)
            lost.append(Lost(why, group.spool, group.first_seq, group.last_seq))
            lost += reported_by(group)
    return victims, lost


def encoded(lost: Iterable[Lost], own: str, stamp: Callable[[], wire.Stamp]) -> list[bytes]:
    """One encoded reading for each range lost; `own` is the spool id that its readers take for granted."""
    return [
        wire.encode_reading(
            wire.ShedReading(
                at=stamp(),
                subject="" if gone.spool == own else gone.spool,
                first_seq=gone.first_seq,
                last_seq=gone.last_seq,
                count=gone.count,
                why=gone.why,
            )
        )
        for gone in joined(lost)
    ]


def reported_by(group: Group) -> list[Lost]:
    """What a group that is given up had itself accounted for: it must be reported again."""
    found = []
    for raw in group.raws:
        if raw.startswith(b'{"kind":"shed"'):
            with suppress(wire.WireError):
                shed_before = wire.decode_reading(raw)
                if isinstance(shed_before, wire.ShedReading):
                    found.append(
                        Lost(
                            shed_before.why,
                            shed_before.subject or group.spool,
                            shed_before.first_seq,
                            shed_before.last_seq,
                        )
                    )
    return found


def joined(lost: Iterable[Lost]) -> list[Lost]:
    """Neighbouring and overlapping ranges of one spool and reason become one."""
    joined: list[Lost] = []
    for gone in sorted(lost):
        last = joined[-1] if joined else None
        if last and (last.why, last.spool) == (gone.why, gone.spool) and gone.first_seq <= last.last_seq + 1:
            joined[-1] = replace(last, last_seq=max(last.last_seq, gone.last_seq))
        else:
            joined.append(gone)
    return joined
