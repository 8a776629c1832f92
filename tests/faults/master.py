"""The master checker: what must hold after every ordeal, whoever was killed, cut off, filled up or lied to.

Everything promised is held, once, as it was promised, and stands once in its table of readings; what is not held is
named by an account of it that is held; every center's minutes stand in exactly one bucket, so that the calendar sums
to 100 %; and nobody who was not killed has ended. That no hand was needed shows in who calls it: a rig kills and
starts, and does nothing else.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent import wire
from agent.common.center_time import TZ
from collector.commands.simulation.truth import read_promises
from collector.register import centers, opening_hours
from collector.reports import monthly
from collector.standard import Standards
from collector.store import Store, schema
from tests.collector.standard.timeless import timeless_standards

Heads = Mapping[str, tuple[int, bytes]]  # by spool: the last number promised, and the chain there
Hashes = dict[str, dict[int, str]]  # by spool and number: SHA-256 of the bytes that were promised
Build = Callable[[sa.Connection, centers.Center, str, Standards, int], dict[str, Any]]
CALENDARS = 4  # centers whose month is summed


@dataclass(frozen=True)
class Account:
    """Readings. `altered`: other bytes than promised, and batches that their gateway did not sign so. `unfiled`: held
    as evidence, but in no table. `shed`: not held, and named by an account that is. `strange`: held under a promised
    spool beyond any promise (what was taken later, for a spool that goes on). `off_calendar`: centers whose minutes
    are not each in one bucket. `ended`: processes that nobody ended."""

    promised: int = 0
    held: int = 0
    lost: int = 0
    doubled: int = 0
    altered: int = 0
    unfiled: int = 0
    shed: int = 0
    strange: int = 0
    off_calendar: int = 0
    ended: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.altered or self.unfiled or self.off_calendar or self.ended)

    @property
    def unbroken(self) -> bool:
        """The chain over everything held is the spool's own."""
        return not self.altered

    def __add__(self, other: Account) -> Account:
        return Account(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})


def check(database: str, promises: Heads, truth: Path | None = None, ended: Sequence[str] = ()) -> Account:
    """The one judgement of all fault rows: promises of real spools, and those of a simulated fleet's truth file."""
    hashes: Hashes = {}
    for (_device, spool, seq), digest in (read_promises(truth) if truth else {}).items():
        hashes.setdefault(spool, {})[seq] = digest
    with closing(Store.open(database)) as store, store.read() as conn:
        found = Account(ended=tuple(ended), off_calendar=off_calendar(conn, time.time_ns() // 1_000_000))
        for spool, (last, chain) in promises.items():
            found += of_spool(conn, spool, last, chain)
        for spool, digests in hashes.items():
            found += of_hashes(conn, spool, digests)
    return found


@dataclass
class Held:
    """What is held of a spool: every copy of every reading by number, and the chain that its batch says was before it.
    `unsigned`: batches whose bytes are not those that the gateway signed."""

    copies: dict[int, list[bytes]] = field(default_factory=dict)
    before: dict[int, bytes] = field(default_factory=dict)
    unsigned: int = 0


def held_of(conn: sa.Connection, spool: str) -> Held:
    table, devices, held = schema.evidence.c, schema.devices.c, Held()
    device = conn.scalar(sa.select(schema.spools.c.device).where(schema.spools.c.spool == spool))
    key = conn.scalar(sa.select(devices.public_key).where(devices.device == device)) or b""
    query = sa.select(table.body, table.fresh, table.signature).where(table.device == device, table.spool == spool)
    for body, fresh, signature in conn.execute(query.order_by(table.id)):
        held.unsigned += not signed(key, bytes(body), bytes(signature))
        _add(held, wire.decode_batch(body), {n for first, last in json.loads(fresh) for n in range(first, last + 1)})
    return held


def _add(held: Held, batch: wire.Batch, fresh: set[int]) -> None:
    before = bytes.fromhex(batch.prev)
    for seq, raw in enumerate(map(bytes, batch.readings), batch.first_seq):
        if seq in fresh:
            held.copies.setdefault(seq, []).append(raw)
            held.before[seq] = before
        before = wire.chain(before, [raw])


def signed(key: bytes, body: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, body)
    except (InvalidSignature, ValueError):  # of a wrong key, of no key
        return False
    return True


def of_spool(conn: sa.Connection, spool: str, last: int, chain: bytes) -> Account:
    """Of a spool whose own chain is known at its last number: each reading held must lead to the next one held."""
    held, wanted = held_of(conn, spool), set(range(1, last + 1))
    after = {seq: held.before.get(seq + 1) for seq in held.before} | {last: chain}
    broken = sum(
        wire.chain(before, [held.copies[seq][0]]) != after[seq]
        for seq, before in held.before.items()
        if seq in wanted and after[seq] is not None
    )
    found = _counted(conn, spool, held, wanted, (wanted & named(conn, spool)) - held.copies.keys())
    return replace(found, altered=broken + held.unsigned)


def of_hashes(conn: sa.Connection, spool: str, digests: dict[int, str]) -> Account:
    held = held_of(conn, spool)
    known = digests.keys() & held.copies.keys()
    altered = sum(hashlib.sha256(copy).hexdigest() != digests[seq] for seq in known for copy in held.copies[seq])
    return replace(_counted(conn, spool, held, set(digests), set()), altered=altered + held.unsigned)


def _counted(conn: sa.Connection, spool: str, held: Held, wanted: set[int], shed: set[int]) -> Account:
    rows, copies = Counter(filed(conn, spool)), held.copies
    return Account(
        promised=len(wanted),
        held=len(wanted & copies.keys()),
        lost=len(wanted - copies.keys() - shed),
        doubled=sum(len(copy) - 1 for copy in copies.values()) + sum(rows.values()) - len(rows),
        unfiled=len(copies.keys() - rows.keys()),
        shed=len(shed),
        strange=len(copies.keys() - wanted),
    )


def filed(conn: sa.Connection, spool: str) -> list[int]:
    """The numbers of a spool in the tables of readings, as often as they stand there."""
    tables = schema.readings.values()
    return [seq for table in tables for seq in conn.scalars(sa.select(table.c.seq).where(table.c.spool == spool))]


def named(conn: sa.Connection, spool: str) -> set[int]:
    """The numbers of a spool that accounts name as gone which are held: its own, and those of one that followed it."""
    table = schema.readings["shed"].c
    its = sa.or_(sa.and_(table.spool == spool, table.subject == ""), table.subject == spool)
    rows = conn.execute(sa.select(table.first_seq, table.last_seq).where(its))
    return {seq for first, last in rows for seq in range(first, last + 1)}


def off_calendar(conn: sa.Connection, now_ms: int, build: Build = monthly.build) -> int:
    """Centers whose ledger of this month does not have each open minute once, counted here minute by minute."""
    standards = timeless_standards()
    wrong = 0
    for center in centers.all_centers(conn)[:CALENDARS]:
        month = opening_hours.local(now_ms, TZ)[:7]
        book = build(conn, center, month, standards, now_ms)
        hours = opening_hours.parse(center.opening)
        minutes = range(book["from_ms"], book["to_ms"], opening_hours.MINUTE_MS)
        buckets, before = dict(book["ledger"]), book["minutes"]["before"]
        wrong += sum(opening_hours.is_open(hours, at_ms) for at_ms in minutes) != buckets.pop("open") + before
        wrong += sum(buckets.values()) != book["ledger"]["open"]
    return wrong
