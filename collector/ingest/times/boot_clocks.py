"""What is known of the clocks of gateways, boot by boot, and which readings were dated before more was known.

A boot that synchronises late dates what came before it too: readings that were filed by a worse figure are found again
by `guesses` and moved to their time, in the transaction that brings the better one. Flags stay as they were judged: the
reading was news then. The gateway's own stamps stay in evidence.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from agent import wire
from agent.wire import Stamp
from collector.ingest.times.event_time import Ahead, Bracket, boots_of, dated
from collector.ingest.verify import VerifiedBatch
from collector.store import bulk_insert, schema, upsert, warm

NAME = re.compile(r"[0-9A-Za-z-]{1,64}")  # of a boot, as agents name them; others are not remembered

Row = dict[str, object]
Key = tuple[str, str]  # device, boot
Filed = tuple[str, str, int, Stamp, int]  # kind, subject, number, the gateway's stamp, the time it was stored under

_b, _g, _l = schema.boots.c, schema.guesses.c, schema.latest.c


@dataclass
class BootClocks:
    """The figures of the boots that a transaction touches, and what it files by them."""

    known: dict[Key, Ahead] = field(default_factory=dict)
    moved: dict[Key, str] = field(default_factory=dict)  # -> center
    better: set[Key] = field(default_factory=set)  # of `moved`, those by which readings may have been filed already
    guesses: list[Row] = field(default_factory=list)

    def figures(self, verified: VerifiedBatch, stamps: Sequence[Stamp], when: Bracket) -> dict[str, Ahead]:
        """The figure of each boot in these stamps, which is remembered if it is better than the one before."""
        device = verified.device
        names = {stamp.boot for stamp in stamps}
        before = {boot: self.known[device.device, boot] for boot in names if (device.device, boot) in self.known}
        found = boots_of(stamps, when, before)
        for boot, ahead in found.items():
            was, key = before.get(boot), (device.device, boot)
            if ahead == was or (was and was.sure and not ahead.sure) or NAME.fullmatch(boot) is None:
                continue
            if was and not was.sure:
                self.better.add(key)
            self.known[key], self.moved[key] = ahead, device.center
        return found

    def filed(self, verified: VerifiedBatch, rows: Sequence[Filed], found: Mapping[str, Ahead], when: Bracket) -> None:
        """Remembers the readings that no synchronised clock has dated."""
        unsure: dict[str, list[list[object]]] = defaultdict(list)
        for kind, subject, seq, stamp, wall_ms in rows:
            if not found[stamp.boot].sure and NAME.fullmatch(stamp.boot):
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
        query = sa.select(_b.device, _b.boot, _b.ahead_ms, _b.sure).where(sa.tuple_(_b.device, _b.boot).in_(cold))
        found = {(row.device, row.boot): Ahead(row.ahead_ms, row.sure) for row in conn.execute(query)}
        for key in cold:
            known[keys[key]][key] = found.get(key)
    figures = {key: known[center][key] for key, center in keys.items()}
    return BootClocks({key: ahead for key, ahead in figures.items() if ahead is not None})


def _named(verified: VerifiedBatch) -> set[str]:
    found = {entry[1].boot for entry in verified.readings if not isinstance(entry, wire.WireError)}
    return {boot for boot in found if NAME.fullmatch(boot)}


def flush(conn: sa.Connection, boots: BootClocks, now_ms: int) -> list[tuple[int, str]]:
    """Writes what is known now, after the readings themselves; returns the moves: (time of a reading, center), both
    the old and the new one."""
    bulk_insert(conn, schema.guesses, boots.guesses)
    rows = [
        {
            "device": key[0],
            "boot": key[1],
            "center": center,
            "ahead_ms": boots.known[key].ms,
            "sure": boots.known[key].sure,
            "noted_ms": now_ms,
        }
        for key, center in sorted(boots.moved.items())
    ]
    with warm.written_through(conn, "boots"):
        upsert(conn, schema.boots, rows)
    for key, center in boots.moved.items():
        if (known := warm.held(conn, "boots", center)) is not None:
            known[key] = boots.known[key]
    return [move for key in sorted(boots.better) for move in _move(conn, key, boots.known[key])]


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
    found = sa.and_(
        table.c.wall_ms == p("was_ms"), table.c.center == p("the_center"), table.c.device == p("the_device"),
        table.c.spool == p("the_spool"), table.c.seq == p("the_seq"),
    )  # fmt: skip
    conn.execute(sa.update(table).where(found).values(wall_ms=p("is_ms")), moves)
    newest = sa.and_(
        _l.center == p("the_center"), _l.kind == kind, _l.subject == p("the_subject"),
        _l.device == p("the_device"), _l.wall_ms == p("was_ms"),
    )  # fmt: skip
    codes = {item["the_center"] for item in moves}
    redated = sa.update(schema.latest).where(newest).values(wall_ms=p("is_ms"))
    conn.execute(redated, moves, execution_options={warm.CENTERS: codes})
