"""What is held of each spool, what its gateway has accounted for as lost, and what is lacking.

A number that is neither held nor accounted for is asked for in the next receipt. What is not being filled is a finding.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from typing import Any

import sqlalchemy as sa

from agent import wire
from agent.common.reasons import Reason, encode
from collector.common.messages import DeviceFinding
from collector.common.sequence_ranges import Numbers, Range, forks, holes, joined, missing, parse, render
from collector.ingest.verify import VerifiedBatch
from collector.store import schema, upsert, warm
from collector.store.cold import held

MAX_MARKS = 64  # of the earliest times of a spool's readings
MAX_LOST = 2_000  # ranges; a gateway gives up whole runs
UNFILLED_MS = 45 * 60_000  # a hole that is no smaller after its gateway was heard for that time is not being filled
DARK_MS = 5 * 60_000  # a gateway that sent nothing for so long cannot fill anything
LISTED = 5  # ranges that a finding names

SpoolKey = tuple[str, str, str]  # center, device, spool
Row = dict[str, object]


@dataclass
class SpoolState:
    """What is held of one spool, as the transaction goes on."""

    ranges: list[Range] = field(default_factory=list)
    duplicates: int = 0
    lost: list[Numbers] = field(default_factory=list)  # as its gateway has accounted for them
    lacking: int = 0  # numbers neither held nor lost
    hole_ms: int | None = None  # since when these are no fewer, of the time in which its gateway was heard
    updated_ms: int | None = None  # when something of it came last
    is_disputed: bool = False  # there is a second story of it
    marks: list[tuple[int, int]] = field(default_factory=list)  # (number, ms): what follows was not taken before

    @classmethod
    def of(cls, row: sa.Row[Any]) -> SpoolState:
        hole = row.lacking, row.hole_ms, row.updated_ms
        marks = [(seq, ms) for seq, ms in json.loads(row.marks)]
        return cls(parse(row.ranges), row.duplicates, _parts(row.lost), *hole, row.disputed, marks)

    def copy(self) -> SpoolState:
        return replace(self, ranges=[*self.ranges], lost=[*self.lost], marks=[*self.marks])

    def mark(self, seq: int, at_ms: int) -> None:
        """What is numbered after `seq` was not taken before. Kept is the last mark, and the last before each hole."""
        ordered = sorted({*self.marks, (seq, at_ms)})
        latest = accumulate((ms for _, ms in ordered), max)  # a mark holds for all that is numbered after it
        marks = [(number, ms) for (number, _), ms in zip(ordered, latest, strict=True)]
        needed = {marks[-1]}
        for first, _ in holes(self.ranges, []):
            needed |= set([one for one in marks if one[0] < first][-1:])
        self.marks = sorted(needed)[-MAX_MARKS:]

    def after_ms(self, first_seq: int) -> int | None:
        """When readings numbered from `first_seq` on were taken at the earliest, as far as this spool shows."""
        return max((at_ms for seq, at_ms in self.marks if seq < first_seq), default=None)

    def account(self, parts: Sequence[Numbers]) -> None:
        if parts:
            self.lost = joined([*self.lost, *parts])[-MAX_LOST:]

    def holes(self) -> list[Numbers]:
        """The numbers that are asked for, ascending."""
        is_whole = len(self.ranges) == 1 and self.ranges[0].first == 1
        return [] if is_whole else holes(self.ranges, self.lost)

    def count(self, now_ms: int) -> None:
        """Holes that are being filled, that are new, or whose gateway was dark until now, are as of now."""
        lacking = sum(last - first + 1 for first, last in self.holes())
        was_dark = self.hole_ms is not None and self.updated_ms is not None and now_ms - self.updated_ms > DARK_MS
        if lacking != self.lacking or was_dark:
            self.hole_ms = now_ms if lacking else None
        self.lacking = lacking


def save(
    conn: sa.Connection, states: dict[SpoolKey, SpoolState], lost: Mapping[SpoolKey, Sequence[Numbers]], now_ms: int
) -> None:
    """Writes them, and what a gateway accounts for of spools that sent nothing now: those before its present one."""
    table = schema.spools.c
    for key, parts in lost.items():
        mine = (table.center == key[0]) & (table.device == key[1]) & (table.spool == key[2])
        if key not in states and (held := conn.execute(sa.select(schema.spools).where(mine)).one_or_none()):
            states[key] = SpoolState.of(held)
        if key in states:
            states[key].account(parts)
    with warm.written_through(conn, "spools"):
        upsert(conn, schema.spools, [_row(key, state, now_ms) for key, state in states.items()])
    for (center, device, spool), state in states.items():
        if (known := warm.held(conn, "spools", center)) is not None:
            known[device, spool] = replace(state.copy(), updated_ms=now_ms)


CenterSpools = dict[tuple[str, str], SpoolState]  # by gateway and spool
KnownSpools = dict[str, CenterSpools]  # by center


def of_centers(conn: sa.Connection, codes: Sequence[str]) -> KnownSpools:
    """Of these centers, by gateway and spool."""
    return warm.recall(conn, "spools", codes, partial(_read, conn))


def _read(conn: sa.Connection, codes: Sequence[str]) -> KnownSpools:
    """Asked by center alone, the head of the key: with devices and spools named too, SQLite looks at every pair of
    them. A center has few spools."""
    by_center: KnownSpools = {code: {} for code in codes}
    for row in conn.execute(_BY_CENTER, {"codes": codes}):
        by_center[row.center][row.device, row.spool] = SpoolState.of(row)
    return by_center


_BY_CENTER = sa.select(schema.spools).where(schema.spools.c.center.in_(sa.bindparam("codes", expanding=True)))


def _row(key: SpoolKey, state: SpoolState, now_ms: int) -> dict[str, object]:
    state.count(now_ms)
    return {
        **dict(zip(("center", "device", "spool"), key, strict=True)),
        "updated_ms": now_ms,
        "ranges": render(state.ranges),
        "duplicates": state.duplicates,
        "lost": json.dumps(state.lost),
        "lacking": state.lacking,
        "hole_ms": state.hole_ms,
        "disputed": state.is_disputed,
        "marks": json.dumps(state.marks),
    }


def others_after_ms(known: CenterSpools, device: str, spool: str) -> int | None:
    """When the readings of a spool that shows nothing itself were taken at the earliest: after what its gateway had
    sent live of its other spools."""
    others = (state for (owner, name), state in known.items() if owner == device and name != spool)
    return max((at_ms for state in others for _, at_ms in state.marks), default=None)


def taken_after_ms(known: CenterSpools, verified: VerifiedBatch, spool: SpoolState) -> int | None:
    """When the readings of this batch were taken at the earliest, as far as earlier ones of its gateway show."""
    after_ms = spool.after_ms(verified.run.first)
    if after_ms is not None or verified.batch.live:
        return after_ms
    return others_after_ms(known, verified.device.device, verified.batch.spool)


def last_spool(conn: sa.Connection, center: str, device: str, spool: str) -> tuple[str, int, int] | None:
    """(name, highest number, when it was last heard) of the spool that this gateway had before; None if it had none."""
    table = schema.spools.c
    mine = (table.center == center) & (table.device == device) & (table.spool != spool)
    query = sa.select(table.spool, table.ranges, table.updated_ms).where(mine)
    row = conn.execute(query.order_by(table.updated_ms.desc(), table.spool).limit(1)).one_or_none()
    return None if row is None else (row.spool, max((one.last for one in parse(row.ranges)), default=0), row.updated_ms)


def report_holes(conn: sa.Connection, now_ms: int) -> list[DeviceFinding]:
    """Writes a finding for each spool with a hole that is not being filled, once; returns them. To be called every
    minute or so: a gateway that is dark has all its time once it is heard again."""
    table, other = schema.spools, schema.spools.alias()
    heard = sa.exists().where(
        other.c.center == table.c.center, other.c.device == table.c.device, other.c.updated_ms > now_ms - DARK_MS
    )
    dark = conn.scalars(sa.select(table.c.center).where(table.c.hole_ms < now_ms, ~heard).distinct()).all()
    moved = sa.update(table).where(table.c.center.in_(dark), table.c.hole_ms < now_ms, ~heard).values(hole_ms=now_ms)
    conn.execute(moved, execution_options={warm.CENTERS: dark})
    rows = conn.execute(sa.select(table).where(table.c.hole_ms <= now_ms - UNFILLED_MS)).all()
    findings = []
    for row in rows:
        detail = _detail(conn, row)
        findings.append(DeviceFinding(row.device, "hole", detail, row.center))
        mine = (table.c.center == row.center) & (table.c.device == row.device) & (table.c.spool == row.spool)
        update = sa.update(table).where(mine).values(hole_ms=None)
        conn.execute(update, execution_options={warm.CENTERS: [row.center]})
        about = {"at_ms": now_ms, "center": row.center, "device": row.device, "finding": "hole"}
        conn.execute(sa.insert(schema.integrity).values(**about, detail=encode(detail)))
    return findings


def _detail(conn: sa.Connection, row: sa.Row[Any]) -> Reason:
    """The numbers, and between which times of receipt they must have been sent first."""
    parts = SpoolState.of(row).holes()
    before, after = held.beside(conn, row.device, row.spool, (parts[0][0], parts[-1][1]))
    return Reason.of(
        "receipt.hole",
        spool=row.spool,
        n=row.lacking,
        numbers=[f"{first}-{last}" for first, last in parts[:LISTED]],
        begin=moment(before.received_ms if before else None),
        end=moment(after.received_ms if after else row.updated_ms),
    )


def moment(at_ms: int | None) -> str:
    """UTC, to the minute (ISO 8601); a dash for unknown."""
    if at_ms is None:
        return "-"
    return datetime.datetime.fromtimestamp(at_ms // 1000, datetime.UTC).strftime("%Y-%m-%dT%H:%MZ")


def _parts(text: str) -> list[Numbers]:
    return joined([(first, last) for first, last in json.loads(text)])


# ---------------------------------------------------------------- what the evidence holds of a batch's numbers


@dataclass
class Stored:
    """What the evidence holds of the numbers a batch names: each reading's bytes, and the batches they came in."""

    raws: dict[int, bytes] = field(default_factory=dict)
    bodies: set[bytes] = field(default_factory=set)


def stored_raws(conn: sa.Connection, pending: Iterable[Row], verified: VerifiedBatch, spool: SpoolState) -> Stored:
    """What is held of the numbers this batch names: in the database, and in the evidence `pending` of this
    transaction."""
    run, batch = verified.run, verified.batch
    gaps = missing(spool.ranges, run.first, run.last)
    if gaps == [(run.first, run.last)] and not forks(spool.ranges, run) and not spool.is_disputed:
        return Stored()
    batches = held.batches(conn, device=verified.device.device, spool=batch.spool, numbers=(run.first, run.last))
    rows = [(one.body, one.fresh, one.first_seq) for one in batches]
    mine = (row for row in pending if (row["device"], row["spool"]) == (batch.device, batch.spool))
    rows += [(bytes(row["body"]), str(row["fresh"]), int(row["first_seq"])) for row in mine]  # type: ignore[call-overload]
    stored = Stored()
    for body, fresh, first in rows:
        stored.bodies.add(body)
        stored.raws |= fresh_raws(body, fresh, first)
    wanted = range(run.first, run.last + 1)
    stored.raws = {seq: raw for seq, raw in stored.raws.items() if seq in wanted}
    return stored


def fresh_raws(body: bytes, fresh: str, first: int) -> dict[int, bytes]:
    """The readings that this evidence was the first to bring, by number."""
    raws = wire.decode_frame(body).readings
    return {seq: bytes(raws[seq - first]) for start, end in json.loads(fresh) for seq in range(start, end + 1)}
