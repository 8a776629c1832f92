"""What is known of the clocks of gateways, boot by boot, and which readings were dated before more was known.

A boot that synchronises late dates what came before it too: readings that were filed by a worse figure are found again
by `guesses` and moved to their time, in the transaction that brings the better one. So are those of a boot that never
synchronises, when a batch of it or of a boot beside it shows more of its time, whichever came first. Flags stay as they
were judged: the reading was news then. The gateway's own stamps stay in evidence.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from agent import wire
from agent.wire import Stamp
from collector.ingest.times.event_time import Ahead, Bracket, First, OffsetBounds, boots_of, dated, settled
from collector.ingest.verify import VerifiedBatch
from collector.store import bulk_insert, schema, upsert, warm

NAME = re.compile(r"[0-9A-Za-z-]{1,64}")  # of a boot, as agents name them; others are not remembered

Row = dict[str, object]
SPOOLS = 8  # that a boot can have been in; honest ones are in one or two
Key = tuple[str, str]  # device, boot
Floor = tuple[str, str, int, int]  # device, spool, number, ms: what is numbered after it was not taken before
Filed = tuple[str, str, int, Stamp, int]  # kind, subject, number, the gateway's stamp, the time it was stored under

_b, _g, _l = schema.boots.c, schema.guesses.c, schema.latest.c


@dataclass
class BootClocks:
    """The figures of the boots that a transaction touches, and what it files by them."""

    known: dict[Key, Ahead] = field(default_factory=dict)
    moved: dict[Key, str] = field(default_factory=dict)  # -> center
    better: set[Key] = field(default_factory=set)  # of `moved`, those by which readings may have been filed already
    guesses: list[Row] = field(default_factory=list)
    floors: list[Floor] = field(default_factory=list)

    def figures(self, verified: VerifiedBatch, stamps: Mapping[int, Stamp], when: Bracket) -> dict[str, Ahead]:
        """The figure of each boot in these stamps, by their numbers; what they show of it is remembered."""
        device = verified.device
        names = {stamp.boot for stamp in stamps.values()}
        before = {boot: self.known[device.device, boot] for boot in names if (device.device, boot) in self.known}
        clocks = boots_of([*stamps.values()], when, before)
        for boot, ahead in clocks.items():
            was, key = before.get(boot), (device.device, boot)
            if NAME.fullmatch(boot) is None:
                continue
            first = min((seq, stamp.mono_ms) for seq, stamp in stamps.items() if stamp.boot == boot)
            kept = was if was and was.sure and not ahead.sure else ahead
            now = replace(kept, firsts=_with_first(was.firsts if was else {}, verified.batch.spool, first))
            if now == was:
                continue
            if was and not was.sure and (now.ms, now.sure) != (was.ms, was.sure):
                self.better.add(key)
            self.known[key], self.moved[key] = now, device.center
        return clocks

    def settle(self) -> None:
        """Dates the boots of gateways of which something was learnt that never synchronised, by all that is known."""
        centers = {device: center for (device, _), center in self.moved.items()}
        for device, center in sorted(centers.items()):
            mine = {boot: ahead for (owner, boot), ahead in self.known.items() if owner == device}
            for boot, ahead in settled(mine).items():
                if ahead.ms != mine[boot].ms:
                    self.better.add((device, boot))
                    self.known[device, boot], self.moved[device, boot] = ahead, center

    def closed(self, rows: Iterable[Mapping[Any, Any]]) -> list[Row]:
        """Those of these guesses that a batch, which came late, shows to have been taken after it; as they are then."""
        rows_now: dict[tuple[object, ...], Row] = {}
        for row in rows:
            key, spool, first = (row["device"], row["boot"]), row["spool"], row["first_seq"]
            from_ms = max((ms for *of, seq, ms in self.floors if of == [key[0], spool] and seq < first), default=0)
            if from_ms <= row["from_ms"] or key not in self.known:
                continue
            first_ms = min(mono_ms for _, _, _, mono_ms, _ in json.loads(row["readings"]))
            was = self.known[key]
            self.known[key] = replace(was, bounds=was.bounds | OffsetBounds(floor_ms=from_ms - first_ms))
            self.better.add(key)
            self.moved[key] = row["center"]
            rows_now[*key, spool, first] = {**row, "from_ms": from_ms}
        return list(rows_now.values())

    def filed(self, verified: VerifiedBatch, rows: Sequence[Filed], clocks: Mapping[str, Ahead], when: Bracket) -> None:
        """Remembers the readings that no synchronised clock has dated."""
        unsure: dict[str, list[list[object]]] = defaultdict(list)
        for kind, subject, seq, stamp, wall_ms in rows:
            if not clocks[stamp.boot].sure and NAME.fullmatch(stamp.boot):
                unsure[stamp.boot].append([kind, subject, seq, stamp.mono_ms, wall_ms])
        for boot, some in unsure.items():
            self.guesses.append(
                {
                    "device": verified.device.device,
                    "boot": boot,
                    "spool": verified.batch.spool,
                    "first_seq": some[0][2],
                    "center": verified.device.center,
                    "received_ms": when.received_ms,
                    "from_ms": when.from_ms,
                    "readings": json.dumps(some, separators=(",", ":")),
                }
            )


def _with_first(firsts: Mapping[str, First], spool: str, first: First) -> dict[str, First]:
    every = {**firsts, spool: min(first, firsts.get(spool, first))}
    return dict(sorted(every.items())[:SPOOLS])


def load(conn: sa.Connection, verified_batches: Iterable[VerifiedBatch]) -> BootClocks:
    """What is known of the boots that these readable batches name."""
    keys = {
        (verified.device.device, boot): verified.device.center
        for verified in verified_batches
        for boot in _named(verified)
    }
    known: dict[str, dict[Key, Ahead | None]] = warm.recall(
        conn, "boots", set(keys.values()), lambda codes: {code: {} for code in codes}
    )
    if cold := sorted(key for key, center in keys.items() if key not in known[center]):
        by_boot = stored(conn, sa.tuple_(_b.device, _b.boot).in_(cold))
        for key in cold:
            known[keys[key]][key] = by_boot.get(key)
    figures = {key: known[center][key] for key, center in keys.items()}
    return BootClocks({key: ahead for key, ahead in figures.items() if ahead is not None})


def stored(conn: sa.Connection, mine: sa.ColumnElement[bool]) -> dict[Key, Ahead]:
    """What is known of these boots."""
    return {(row.device, row.boot): ahead_of(row) for row in conn.execute(sa.select(schema.boots).where(mine))}


def ahead_of(row: sa.Row[Any]) -> Ahead:
    bounds = OffsetBounds(row.floor_ms, row.limit_ms, row.claim_ms, row.last_ms)
    firsts = {spool: (seq, mono_ms) for spool, (seq, mono_ms) in json.loads(row.firsts).items()}
    return Ahead(row.ahead_ms, row.sure, bounds, firsts)


def _named(verified: VerifiedBatch) -> set[str]:
    boots = {entry[1].boot for entry in verified.readings if not isinstance(entry, wire.WireError)}
    return {boot for boot in boots if NAME.fullmatch(boot)}


def flush(conn: sa.Connection, boots: BootClocks, now_ms: int) -> list[tuple[int, str]]:
    """Writes what is known now, after the readings themselves; returns the moves: (time of a reading, center), both
    the old and the new one."""
    bulk_insert(conn, schema.guesses, boots.guesses)
    if boots.moved or boots.floors:
        _settle(conn, boots)
    rows = [_row(key, center, boots.known[key], now_ms) for key, center in sorted(boots.moved.items())]
    with warm.written_through(conn, "boots"):
        upsert(conn, schema.boots, rows)
    for key, center in boots.moved.items():
        if (known := warm.held(conn, "boots", center)) is not None:
            known[key] = boots.known[key]
    return [move for key in sorted(boots.better) for move in _move(conn, key, boots.known[key])]


def _settle(conn: sa.Connection, boots: BootClocks) -> None:
    """Nothing of a gateway whose boots have all synchronised is read."""
    devices = sorted({device for device, _ in boots.moved} | {device for device, *_ in boots.floors})
    news = sorted({key[0] for key in boots.moved if not boots.known[key].sure})
    lost = sa.select(_b.device).where(_b.device.in_(devices), _b.sure.is_(sa.false()))
    boots.known = stored(conn, _b.device.in_(news) | _b.device.in_(lost)) | boots.known
    if boots.floors:
        spools = sa.tuple_(_g.device, _g.spool).in_(sorted({floor[:2] for floor in boots.floors}))
        upsert(conn, schema.guesses, boots.closed(conn.execute(sa.select(schema.guesses).where(spools)).mappings()))
    boots.settle()


def _row(key: Key, center: str, ahead: Ahead, now_ms: int) -> Row:
    return {
        "device": key[0],
        "boot": key[1],
        "center": center,
        "ahead_ms": ahead.ms,
        "sure": ahead.sure,
        "noted_ms": now_ms,
        "floor_ms": ahead.bounds.floor_ms,
        "limit_ms": ahead.bounds.limit_ms,
        "claim_ms": ahead.bounds.claim_ms,
        "last_ms": ahead.bounds.last_ms,
        "firsts": json.dumps(ahead.firsts, separators=(",", ":")),
    }


def _move(conn: sa.Connection, key: Key, ahead: Ahead) -> list[tuple[int, str]]:
    """Readings filed by a worse figure of this boot go to their time."""
    mine = sa.and_(_g.device == key[0], _g.boot == key[1])
    moves: dict[str, list[Row]] = defaultdict(list)
    again: list[Row] = []
    touched: list[tuple[int, str]] = []
    for row in conn.execute(sa.select(schema.guesses).where(mine)).mappings():
        readings = json.loads(row["readings"])
        for reading in readings:
            kind, subject, seq, mono_ms, was_ms = reading
            reading[4] = dated(mono_ms, ahead, row["received_ms"], row["from_ms"])
            names = {"the_center": row["center"], "the_device": key[0], "the_spool": row["spool"], "the_seq": seq}
            touched += [(was_ms, row["center"]), (reading[4], row["center"])]
            moves[kind].append({**names, "the_subject": subject, "was_ms": was_ms, "is_ms": reading[4]})
        again.append({**row, "readings": json.dumps(readings, separators=(",", ":"))})
    for kind, some in moves.items():
        _redate(conn, kind, [item for item in some if item["was_ms"] != item["is_ms"]])
    if ahead.sure:
        conn.execute(sa.delete(schema.guesses).where(mine))
    else:
        upsert(conn, schema.guesses, again)
    return touched


def _redate(conn: sa.Connection, kind: str, moves: Sequence[Row]) -> None:
    if not moves:
        return
    table, p = schema.readings[kind], sa.bindparam
    condition = sa.and_(
        table.c.wall_ms == p("was_ms"), table.c.center == p("the_center"), table.c.device == p("the_device"),
        table.c.spool == p("the_spool"), table.c.seq == p("the_seq"),
    )  # fmt: skip
    conn.execute(sa.update(table).where(condition).values(wall_ms=p("is_ms")), moves)
    newest = sa.and_(
        _l.center == p("the_center"), _l.kind == kind, _l.subject == p("the_subject"),
        _l.device == p("the_device"), _l.wall_ms == p("was_ms"),
    )  # fmt: skip
    codes = {item["the_center"] for item in moves}
    redated = sa.update(schema.latest).where(newest).values(wall_ms=p("is_ms"))
    conn.execute(redated, moves, execution_options={warm.CENTERS: codes})
