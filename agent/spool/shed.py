"""What a full spool gives up, and the readings that account for lost ones: which numbers are gone, and why."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from agent import wire
from agent.spool import dropped
from agent.spool.dropped import DroppedRun
from agent.spool.file import SpoolFile
from agent.spool.record import VALUES, Group, Ident
from agent.spool.status import Lost, Why


@dataclass
class Room:
    """The groups to give up, with the readings lost with each; what to report; and those given up that were receipted
    before a collector lost them."""

    victims: dict[Ident, int] = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)
    again: list[Group] = field(default_factory=list)


def make_room(file: SpoolFile, limit_bytes: int, forgotten: Container[Ident], *, is_ram: bool) -> Room:
    """Receipted groups first, then the oldest of the least value. `forgotten` are receipted, which the file does not
    know yet."""
    room = Room()
    enough = over = file.used_bytes() + wire.MAX_BATCH_BYTES // 2 - limit_bytes
    if over <= 0:
        return room
    enough += limit_bytes // 100
    for ident, size in file.oldest_receipted():
        if enough <= 0:
            return room
        room.victims[ident] = 0
        enough -= size
    for group, size in (pair for value in VALUES for pair in file.oldest_of(value)):
        if enough <= 0:
            break
        enough -= size
        room.victims[group.ident] = 0
        if group.ident not in forgotten:
            room.victims[group.ident] = len(group.raws)
            was_receipted = file.waits_again(group.ident)
            room.again += [group] if was_receipted else []
            why: Why = "receipted" if was_receipted else "disk" if is_ram else "full"
            room.lost.append(Lost(why, group.spool, group.first_seq, group.last_seq))
            room.lost += reported_by(group)
    return room


def encoded(
    lost: Iterable[Lost],
    own: str,
    stamp: Callable[[], wire.Stamp],
    runs: Mapping[str, Sequence[DroppedRun]] | None = None,
) -> list[bytes]:
    """Encoded readings for each range lost; `own` is the spool id that its readers take for granted, `runs` say of
    each spool when receipted readings were taken that are held no more."""
    return [
        wire.encode_reading(
            wire.ShedReading(
                at=stamp(),
                subject="" if gone.spool == own else gone.spool,
                first_seq=first,
                last_seq=last,
                count=last - first + 1,
                why=gone.why,
                spans=spans,
            )
        )
        for gone in joined(lost)
        for first, last, spans in dropped.accounts(_runs(gone, runs or {}), gone.first_seq, gone.last_seq)
    ]


def _runs(gone: Lost, runs: Mapping[str, Sequence[DroppedRun]]) -> Sequence[DroppedRun]:
    return runs.get(gone.spool, ()) if gone.why == "receipted" else ()


def reported_by(group: Group) -> list[Lost]:
    """What a group that is given up had itself accounted for: it must be reported again."""
    losses = []
    for raw in group.raws:
        if raw.startswith(b'{"kind":"shed"'):
            with suppress(wire.WireError):
                shed_before = wire.decode_reading(raw)
                if isinstance(shed_before, wire.ShedReading):
                    losses.append(
                        Lost(
                            shed_before.why,
                            shed_before.subject or group.spool,
                            shed_before.first_seq,
                            shed_before.last_seq,
                        )
                    )
    return losses


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
