"""Notices that the database was put back behind our back: a file copied over it, a dump played in by hand.

Its epoch is the same then, and gateways offer nothing of the spools before their present one. But a gateway that is
asked for what it has a receipt for shows that receipt: nobody else can have sealed it, and what it was given for was
committed. A database that lacks that is an older one, and begins an epoch of its own (design P10).

So with the journal of decisions: receipts tell how many it has. A disk image takes database and journal back together;
a gateway that has heard of more decisions shows the receipt that told of them, and people are told what may be undone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import sqlalchemy as sa

from agent import wire
from agent.common.logs import Event
from agent.common.reasons import Reason, encode
from collector.common.messages import DeviceFinding
from collector.common.sequence_ranges import missing
from collector.ingest.spools import SpoolState
from collector.ingest.verify import VerifiedBatch
from collector.store import DECISIONS, EPOCH, schema, warm
from collector.store.cold import held

WENT_BACK = Event(
    __name__, "error", "database_went_back", "the database lacks what it had committed: an older copy stands in its "
    "place; gateways are asked for what it lacks", key="device", fields="from_ms",
)  # fmt: skip

JOURNAL_OLDER = Event(
    __name__, "error", "journal_went_back", "gateways have heard of decisions that the journal lacks: it is an older "
    "copy; look for what may be undone", key="device", fields="known heard",
)  # fmt: skip

IsOurs = Callable[[bytes, bytes], bool]
"""Whether the collector's own key has sealed a body: (body, signature)."""


def current(conn: sa.Connection) -> str:
    return str(conn.scalar(_EPOCH) or "")


def current_and_mark(conn: sa.Connection) -> tuple[str, int | None, int]:
    """The epoch; the mark of what others have changed of nobody knows whom (collector.store.warm); and how many
    decisions the journal has, or had as gateways have shown."""
    row = conn.execute(_ALL).one_or_none()
    return ("", None, 0) if row is None else (row[0], row[1], max(row[2] or 0, int(row[3] or 0)))


def went_back(verified: VerifiedBatch, spool: SpoolState, epoch: str, is_ours: IsOurs) -> wire.Receipt | None:
    """The receipt that a gateway shows, if it is one of this epoch for readings that are held no more. Pure."""
    receipt = shown(verified, is_ours)
    if receipt is None or (receipt.epoch, receipt.spool) != (epoch, verified.batch.spool):
        return None
    return receipt if missing(spool.ranges, receipt.first_seq, receipt.last_seq) else None


def shown(verified: VerifiedBatch, is_ours: IsOurs) -> wire.Receipt | None:
    """The receipt that a gateway shows, if the collector has sealed it for this gateway. Pure."""
    if not verified.batch.proof:
        return None
    try:
        body, signature = wire.unseal(verified.batch.proof.encode(), wire.MAX_SMALL_BYTES)
        receipt = wire.decode_receipt(body) if is_ours(body, signature) else None
    except (wire.WireError, UnicodeEncodeError):
        return None
    return receipt if receipt is not None and receipt.device == verified.device.device else None


def note_journal(conn: sa.Connection, heard: int, known: int, device: str, center: str, now_ms: int) -> DeviceFinding:
    """On record, and in receipts from now on, so that it is noted once: the gateway has heard of more decisions."""
    about = schema.about.c
    conn.execute(sa.update(schema.about).where(about.name == DECISIONS).values(value=str(heard)))
    detail = Reason.of("receipt.older_journal", device=device, known=known, heard=heard)
    JOURNAL_OLDER.log(device=device, known=known, heard=heard)
    row = {"at_ms": now_ms, "center": center, "device": device, "finding": "older_journal", "detail": encode(detail)}
    conn.execute(sa.insert(schema.integrity).values(**row))
    return DeviceFinding(device, "older_journal", detail, center)


def begin(conn: sa.Connection, receipt: wire.Receipt, center: str, now_ms: int) -> DeviceFinding | None:
    """A new epoch, and the time of which readings may be lost, on record. None if another transaction was first."""
    fresh, about = secrets.token_hex(16), schema.about.c
    change = sa.update(schema.about).where(about.name == EPOCH, about.value == receipt.epoch).values(value=fresh)
    if conn.execute(change).rowcount != 1:
        return None
    before, _ = held.beside(conn, receipt.device, receipt.spool, (receipt.first_seq, receipt.last_seq))
    from_ms = receipt.at_ms if before is None else min(before.received_ms, receipt.at_ms)
    conn.execute(sa.insert(schema.restores).values(epoch=fresh, from_ms=from_ms, to_ms=max(now_ms, from_ms)))
    numbers = f"{receipt.first_seq}-{receipt.last_seq}"
    detail = Reason.of("receipt.went_back", device=receipt.device, spool=receipt.spool, numbers=numbers)
    WENT_BACK.log(device=receipt.device, from_ms=from_ms)
    about_it = {"at_ms": now_ms, "center": center, "device": receipt.device, "finding": "went_back"}
    conn.execute(sa.insert(schema.integrity).values(**about_it, detail=encode(detail)))
    return DeviceFinding(receipt.device, "went_back", detail, center)


_other = schema.about.alias()
_everybody = sa.select(schema.generations.c.generation).where(schema.generations.c.center == warm.EVERYBODY)
_noticed = sa.select(_other.c.value).where(_other.c.name == DECISIONS)
_ALL = sa.select(
    schema.about.c.value, _everybody.scalar_subquery(),
    sa.select(sa.func.max(schema.journal.c.n)).scalar_subquery(), _noticed.scalar_subquery(),
).where(schema.about.c.name == EPOCH)  # fmt: skip
_EPOCH = sa.select(schema.about.c.value).where(schema.about.c.name == EPOCH)
